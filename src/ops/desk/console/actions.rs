//! The page of what operators did.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use serde_json::{Value, json};

use super::following;
use super::pages::Page;
use super::session::Visitor;
use crate::ops::desk::Desk;
use crate::ops::desk::problem::Problem;
use crate::store::actions::Done;

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    visitor: Visitor,
    RawQuery(query): RawQuery,
) -> Result<Page, Problem> {
    let (actions, next) = desk.actions(&visitor.operator, query.as_deref()).await?;
    let next = next.map(|after| following(query.as_deref(), after));
    let pairs = form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let mut sought = json!({ "actor": "", "action": "" });
    for (name, value) in pairs.filter(|(name, _)| name == "actor" || name == "action") {
        sought[name.as_ref()] = json!(value);
    }
    let actions: Vec<Value> = actions.iter().map(told).collect();
    Ok(desk.page("actions.html", &visitor, json!({ "actions": actions, "next": next, "sought": sought })))
}

/// An action, its detail as it stands in the JSON.
fn told(done: &Done) -> Value {
    json!({ "at": done.at, "actor": done.actor, "action": done.action, "detail": done.detail.to_string() })
}
