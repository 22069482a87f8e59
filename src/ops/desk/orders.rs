//! Orders as `orderfleet orders` tells them: one order's whole life, by ids, codes and amounts and nothing of the person, and of
//! the shop's own only; and what is stuck, with the safe thing beside each.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::Desk;
use super::answer::{self, fresh};
use super::guard::Operator;
use super::problem::{Code, Problem};
use crate::auth::Action;
use crate::ids::OrderId;
use crate::jobs::commands::refresh::refresh;
use crate::ops::stuck::{self, Line};
use crate::store::actions;
use crate::store::timeline::OrderName;

/// Lines of one reason, at most: who has more has one cause.
const MOST: i64 = 1_000;

pub(super) async fn show(
    State(desk): State<Arc<Desk>>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    operator.require(Action::ReadOrder)?;
    let name = OrderName::read(&id);
    let found = desk.store.within(desk.store.timeline(&name, Some(&operator.tenant))).await?;
    let detail = "name it by its id (ord_…), its intent's (int_…) or its number (OF-…)";
    Ok(fresh(found.ok_or_else(|| Problem::new(Code::UnknownOrder, detail))?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Each {
    limit: Option<String>,
}

pub(super) async fn stuck(
    State(desk): State<Arc<Desk>>,
    operator: Operator,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    operator.require(Action::ReadOrder)?;
    let each = match answer::query::<Each>(query.as_deref())?.limit {
        None => stuck::SHOWN,
        Some(text) => {
            let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
            let refused = || Problem::new(Code::InvalidQuery, format!("limit must be 1 to {MOST}"));
            number.ok_or_else(refused)?
        }
    };
    Ok(fresh(json!({ "stuck": desk.stuck(each).await? })))
}

impl Desk {
    /// Has workers look how an order's payments stand at their providers. Asked twice it is done once, while one look waits.
    pub(super) async fn look_again(&self, operator: &Operator, order: OrderId) -> Result<(), Problem> {
        operator.require(Action::ReplayDeadLetter)?;
        let mut tx = self.own(operator, order).await?;
        let actor = operator.actor();
        refresh(&mut tx, &self.rules.offers, order, &actor).await?;
        actions::note(&mut tx, &actor, "order.look", &json!({ "order": order })).await?;
        // The rows are there: a worker's sweep pushes them within a second or two.
        tx.commit().await?;
        Ok(())
    }

    /// What does not go on by itself, of each reason so many.
    pub(super) async fn stuck(&self, each: i64) -> Result<Vec<Line>, Problem> {
        Ok(stuck::look(&self.store, &self.settings.orders, each).await?)
    }
}
