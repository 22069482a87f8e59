//! One order's whole life, as `orderfleet orders show` tells it: ids, codes and amounts, and nothing of the person. Of the
//! shop's own orders only.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;

use super::Desk;
use super::answer::fresh;
use super::guard::Operator;
use super::problem::{Code, Problem};
use crate::auth::Action;
use crate::store::timeline::OrderName;

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
