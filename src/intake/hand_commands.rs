//! What staff does by hand: records money that no provider tells of, that it came and that it went back; and writes to a
//! customer.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Door;
use super::order_commands::REPLAYED;
use super::problem::{Code, Problem};
use crate::auth::Action;
use crate::domain::command::{MailBody, PaymentBody};
use crate::domain::key::IdempotencyKey;
use crate::ids::RefundId;
use crate::jobs::commands::{confirm_refund, record_payment, write_mail};

/// `POST /v1/orders/{id}/payments`.
pub(super) async fn record_payment(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let mut asked = door.command(id, request, Action::RecordPayment).await?;
    let key = IdempotencyKey::read(asked.key.as_ref().map(HeaderValue::as_bytes))?;
    let body = PaymentBody::read(&asked.body).map_err(Problem::faults)?;
    let wish = record_payment::Wish {
        key: key.text().to_owned(),
        amount_minor: body.amount_minor,
        currency: body.currency,
        note: body.note.unwrap_or_default(),
        actor: asked.actor(),
    };
    let became = record_payment::record_payment(&mut asked.tx, asked.order, &wish, &asked.cause).await?;
    let recorded = became.map_err(|refused| not_recorded(&refused))?;
    door.commit(asked.tx).await?;
    let shown = json!({ "order_id": asked.order, "payment_id": recorded.payment, "status": "recorded" });
    Ok(accepted(shown, recorded.is_replay))
}

fn accepted(shown: Value, is_replay: bool) -> Response {
    let mut response = (StatusCode::ACCEPTED, Json(shown)).into_response();
    if is_replay {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// `POST /v1/orders/{id}/emails`.
pub(super) async fn write_mail(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let mut asked = door.command(id, request, Action::SendMail).await?;
    let key = IdempotencyKey::read(asked.key.as_ref().map(HeaderValue::as_bytes))?;
    let body = MailBody::read(&asked.body).map_err(Problem::faults)?;
    let wish = write_mail::Wish {
        key: key.text().to_owned(),
        subject: body.subject,
        message: body.message,
        actor: asked.actor(),
    };
    let became = write_mail::write_mail(&mut asked.tx, asked.order, &wish, &asked.cause).await?;
    let written = became.map_err(|refused| match refused {
        write_mail::Refused::Nobody => {
            Problem::new(Code::IllegalTransition, refused.to_string()).because("erased")
        }
        write_mail::Refused::KeyReused => Problem::new(Code::KeyReused, refused.to_string()),
    })?;
    door.commit(asked.tx).await?;
    let shown = json!({ "order_id": asked.order, "mail_id": written.mail, "status": "queued" });
    Ok(accepted(shown, written.is_replay))
}

/// `POST /v1/orders/{id}/refunds/{refund}/confirm`.
pub(super) async fn confirm_refund(
    State(door): State<Arc<Door>>,
    ids: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(Code::NotFound, "the order has no such refund");
    let Path((order, refund)) = ids.map_err(|_| unknown())?;
    let refund: RefundId = refund.parse().map_err(|_| unknown())?;
    let mut asked = door.command(Ok(Path(order)), request, Action::RecordPayment).await?;
    let became = confirm_refund::confirm_refund(&mut asked.tx, asked.order, refund, &asked.cause).await?;
    became.map_err(|refused| match refused {
        confirm_refund::Refused::Unknown => unknown(),
        confirm_refund::Refused::NotByHand => {
            Problem::new(Code::IllegalTransition, refused.to_string()).because("by_provider")
        }
        confirm_refund::Refused::Over(state) => {
            Problem::new(Code::IllegalTransition, refused.to_string()).because(state.name())
        }
    })?;
    door.commit(asked.tx).await?;
    let shown = json!({ "order_id": asked.order, "refund_id": refund, "status": "succeeded" });
    Ok(Json(shown).into_response())
}

fn not_recorded(refused: &record_payment::Refused) -> Problem {
    let detail = refused.to_string();
    match refused {
        record_payment::Refused::NotByHand(_) => {
            Problem::new(Code::NotPayable, detail).because("by_provider")
        }
        record_payment::Refused::Nothing => Problem::new(Code::NotPayable, detail).because("no_payment"),
        record_payment::Refused::Before => Problem::new(Code::NotPayable, detail).because("captured"),
        record_payment::Refused::KeyReused(_) => Problem::new(Code::KeyReused, detail),
    }
}
