//! What is done about an order by its page: told first, what would follow, and done by whoever is sure.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::json;

use super::session::Posted;
use crate::ids::{OrderId, random_hex};
use crate::ops::desk::Desk;
use crate::ops::desk::problem::{Code, Problem};
use crate::ops::desk::remedies::{Remedy, Wanted};

/// Looks again, or cancels, refunds or labels anew: the last three first for trial.
pub(super) async fn act(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    let unknown = |_| Problem::new(Code::UnknownOrder, "an order's id is ord_ and 26 letters or digits");
    let order: OrderId = id.parse().map_err(unknown)?;
    let operator = &posted.visitor.operator;
    let wish = posted.field("do").unwrap_or_default();
    let is_sure = posted.field("sure").is_some();
    if wish == "look" {
        desk.look_again(operator, order).await?;
    } else {
        let nothing =
            || Problem::new(Code::NothingChosen, "the form does not say what to do. Nothing was changed");
        let remedy = Remedy::read(wish).ok_or_else(nothing)?;
        // One page is one refund, however often its button is pressed: the key is made for the page, never for what it sends.
        let key =
            if is_sure { posted.field("key").unwrap_or_default().to_owned() } else { random_hex::<16>() };
        let follows = desk.remedy(operator, Wanted { order, remedy, key: &key, is_sure }).await?;
        if !is_sure {
            let facts = json!({ "order": order, "remedy": remedy.name(), "key": key, "follows": follows });
            return Ok(desk.page("remedy.html", &posted.visitor, facts).into_response());
        }
    }
    Ok(Redirect::to(&format!("/orders/{order}")).into_response())
}
