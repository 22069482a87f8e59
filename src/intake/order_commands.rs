//! What people ask of an order: to call it off, to give money back, to move it on, to label it anew. Each is one
//! Postgres transaction that decides and inserts the jobs; the provider's part is the workers'.
//!
//! An order of another tenant, or of another customer or vendor where the caller is one, does not exist for whoever asks.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::order_views::pairs;
use super::problem::{Code, Problem};
use super::{Door, request};
use crate::auth::{Action, Principal, Role};
use crate::domain::command::{CancelBody, RefundBody, StatusBody};
use crate::domain::key::IdempotencyKey;
use crate::domain::order::{CancelReason, search};
use crate::domain::refund;
use crate::ids::OrderId;
use crate::jobs::commands::{cancel, give_back, relabel, set_status};
use crate::store::Tx;
use crate::store::orders::{self, Owner};

pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A command on an order that the caller may act on.
pub(super) struct Asked {
    caller: Principal,
    pub(super) order: OrderId,
    pub(super) key: Option<HeaderValue>,
    pub(super) body: Value,
    pub(super) cause: String,
    pub(super) tx: Tx,
}

impl Asked {
    /// Who asks, as the order's history keeps it: the role, and the key or the person.
    pub(super) fn actor(&self) -> String {
        let by = self.caller.key.map(|key| key.to_string()).or_else(|| self.caller.subject.clone());
        format!("{}:{}", self.caller.role, by.unwrap_or_default())
    }
}

/// Whether an order concerns a caller who may do this: as its buyer, as the maker of a line, as staff.
fn concerns(caller: &Principal, action: Action, owner: &Owner) -> bool {
    if caller.role == Role::Vendor {
        return owner.vendors.iter().any(|vendor| caller.may(action, &owner.tenant, vendor));
    }
    caller.may(action, &owner.tenant, &owner.customer)
}

impl Door {
    /// Authenticates, reads the body (none is an empty one), and begins a transaction on an order of the caller's.
    pub(super) async fn command(
        &self,
        id: Result<Path<String>, PathRejection>,
        request: Request,
        action: Action,
    ) -> Result<Asked, Problem> {
        let (head, body) = request.into_parts();
        let caller = self.authenticate(&head.headers)?;
        super::require(&caller, action)?;
        let unknown = || Problem::new(Code::UnknownOrder, "an order's id is ord_ and 26 letters or digits");
        let order: OrderId = id.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(unknown)?;
        let bytes = request::body(&head.headers, body, self.settings.max_body_bytes).await?;
        let body = if bytes.is_empty() {
            json!({})
        } else {
            request::expect_json(&head.headers)?;
            request::json(&bytes)?
        };
        let mut tx = self.store.begin().await?;
        let owner = orders::owner(&mut tx, order).await?.filter(|owner| concerns(&caller, action, owner));
        let owner = owner.ok_or_else(|| {
            Problem::new(Code::UnknownOrder, "there is no such order, or none that you may see")
        })?;
        if caller.role == Role::Vendor && owner.vendors.len() > 1 {
            let detail = "others make lines of this order too: the shop's staff acts on it";
            return Err(Problem::new(Code::Forbidden, detail).because("not_theirs"));
        }
        let key = head.headers.get("idempotency-key").cloned();
        Ok(Asked { caller, order, key, body, cause: request::id(&head.headers), tx })
    }
}

/// `POST /v1/orders/{id}/cancel`.
pub(super) async fn cancel(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let mut asked = door.command(id, request, Action::CancelOrder).await?;
    let body = CancelBody::read(&asked.body).map_err(Problem::faults)?;
    let role = asked.caller.role;
    let wish =
        cancel::Wish { role, actor: asked.actor(), reason: body.reason.unwrap_or(CancelReason::usual(role)) };
    let became = cancel::cancel(&mut asked.tx, asked.order, &wish, &asked.cause).await?;
    let became = became
        .map_err(|stands| Problem::new(Code::NotCancellable, stands.to_string()).because(stands.0.name()))?;
    door.commit(asked.tx).await?;
    let status = match became {
        cancel::Became::Cancelled(status) => status.name(),
        cancel::Became::Requested => "cancel_requested",
    };
    Ok((StatusCode::ACCEPTED, Json(json!({ "order_id": asked.order, "status": status }))).into_response())
}

/// `POST /v1/orders/{id}/refunds`.
pub(super) async fn give_back(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let mut asked = door.command(id, request, Action::Refund).await?;
    let key = IdempotencyKey::read(asked.key.as_ref().map(HeaderValue::as_bytes))?;
    let body = RefundBody::read(&asked.body).map_err(Problem::faults)?;
    let wish = give_back::Wish {
        key: key.text().to_owned(),
        amount_minor: body.amount_minor,
        reason: body.reason.unwrap_or_default(),
        actor: asked.actor(),
    };
    let made = give_back::give_back(&mut asked.tx, asked.order, &wish, &asked.cause).await?;
    let made = made.map_err(|refused| refusal(&refused))?;
    door.commit(asked.tx).await?;
    let shown = json!({
        "refund_id": made.refund, "order_id": asked.order, "status": made.state.name(),
        "amount": made.amount_minor, "currency": made.currency,
    });
    let mut response = (StatusCode::ACCEPTED, Json(shown)).into_response();
    if made.is_replay {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// `POST /v1/orders/{id}/labels`.
pub(super) async fn relabel(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let mut asked = door.command(id, request, Action::MoveOrder).await?;
    let became = relabel::relabel(&mut asked.tx, asked.order, &asked.cause).await?;
    let next = became.map_err(|refused| {
        let reason = match refused {
            relabel::Refused::NotPacked(status) => status.name(),
            relabel::Refused::NoLabel => "no_label",
        };
        Problem::new(Code::IllegalTransition, refused.to_string()).because(reason)
    })?;
    door.commit(asked.tx).await?;
    let parcels: Vec<Value> =
        next.into_iter().map(|(parcel, epoch)| json!({ "parcel": parcel, "label": epoch })).collect();
    let shown = json!({ "order_id": asked.order, "parcels": parcels });
    Ok((StatusCode::ACCEPTED, Json(shown)).into_response())
}

/// `PUT /v1/orders/{id}/status`.
pub(super) async fn set_status(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let seen = request.headers().get(IF_MATCH).cloned();
    let words = search::vocabulary(&pairs(request.uri().query())).map_err(Problem::faults)?;
    let mut asked = door.command(id, request, Action::MoveOrder).await?;
    let body = StatusBody::read(&asked.body, words).map_err(Problem::faults)?;
    let wish = set_status::Wish {
        role: asked.caller.role,
        actor: asked.actor(),
        to: body.status,
        version: version(seen.as_ref())?,
    };
    let became =
        set_status::set_status(&mut asked.tx, &door.orders, asked.order, &wish, &asked.cause).await?;
    let moved = became.map_err(|refused| not_moved(&refused))?;
    door.commit(asked.tx).await?;
    let shown = json!({ "order_id": asked.order, "status": words.word(moved.status, moved.resumes), "version": moved.version });
    Ok(([(ETAG, format!("\"{}\"", moved.version))], Json(shown)).into_response())
}

/// The version of an `If-Match`: `"7"`, or `*` for whatever there is.
fn version(if_match: Option<&HeaderValue>) -> Result<Option<i64>, Problem> {
    let missing = || {
        Problem::new(
            Code::VersionMissing,
            "send If-Match with the order's version, as in \"7\", or * for any",
        )
    };
    let text = if_match.and_then(|value| value.to_str().ok()).ok_or_else(missing)?.trim();
    if text == "*" {
        return Ok(None);
    }
    text.trim_matches('"').parse().map(Some).map_err(|_| missing())
}

fn not_moved(refused: &set_status::Refused) -> Problem {
    let detail = refused.to_string();
    match refused {
        set_status::Refused::Changed(version) => {
            Problem::new(Code::VersionMismatch, detail).with("version", (*version).into())
        }
        set_status::Refused::Illegal(from, legal) => Problem::new(Code::IllegalTransition, detail)
            .because(from.name())
            .with("legal", legal.iter().map(|status| status.name()).collect()),
        set_status::Refused::Unsettled => {
            Problem::new(Code::IllegalTransition, detail).because("money_unsettled")
        }
        set_status::Refused::Unpaid => Problem::new(Code::IllegalTransition, detail).because("unpaid"),
        set_status::Refused::NoLabel => Problem::new(Code::IllegalTransition, detail).because("no_label"),
        set_status::Refused::Disputed => Problem::new(Code::IllegalTransition, detail).because("disputed"),
    }
}

fn refusal(refused: &give_back::Refused) -> Problem {
    let detail = refused.to_string();
    match refused {
        give_back::Refused::Amount(refund::Refused::Exceeds { left, .. }) => {
            Problem::new(Code::RefundExceedsCaptured, detail).with("left", (*left).into())
        }
        give_back::Refused::Amount(refund::Refused::NothingLeft) => {
            Problem::new(Code::RefundExceedsCaptured, detail).with("left", 0.into())
        }
        give_back::Refused::Amount(refund::Refused::NotPositive(_)) | give_back::Refused::BetweenSteps(_) => {
            Problem::new(Code::InvalidBody, detail)
        }
        give_back::Refused::Disputed => {
            Problem::new(Code::RefundExceedsCaptured, detail).because("disputed").with("left", 0.into())
        }
        give_back::Refused::KeyReused(_) => Problem::new(Code::KeyReused, detail),
    }
}
