//! The record of what operators did, by the page: for those who answer for it.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

use super::Desk;
use super::answer::{self, fresh};
use super::guard::Operator;
use super::problem::{Code, Problem};
use crate::auth::Action;
use crate::ops::actions::{LONGEST_PAGE, USUAL_PAGE};
use crate::store::actions::{Done, Sought};

/// A page's query.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Listed {
    actor: Option<String>,
    action: Option<String>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    limit: Option<String>,
    after: Option<String>,
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (actions, next) = desk.actions(&operator, query.as_deref()).await?;
    Ok(fresh(json!({ "actions": actions, "next": next })))
}

impl Desk {
    /// A page of the record that this query asks for, and after which action the next one begins.
    pub(super) async fn actions(
        &self,
        operator: &Operator,
        query: Option<&str>,
    ) -> Result<(Vec<Done>, Option<i64>), Problem> {
        operator.require(Action::ReadActions)?;
        let Listed { actor, action, since, until, limit, after } = answer::query(query)?;
        let limit = limit.map_or(Ok(USUAL_PAGE), |text| number("limit", &text, LONGEST_PAGE))?;
        let after = after.map(|text| number("after", &text, i64::MAX)).transpose()?;
        let sought = Sought { actor, action, since, until };
        let found = self.store.within(self.store.actions(&sought, after, limit)).await?;
        let is_full = i64::try_from(found.len()) == Ok(limit);
        let next = found.last().filter(|_| is_full).map(|done| done.id);
        Ok((found, next))
    }
}

fn number(name: &str, text: &str, most: i64) -> Result<i64, Problem> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| Problem::new(Code::InvalidQuery, format!("{name} must be a number, 1 to {most}")))
}
