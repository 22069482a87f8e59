//! The controls: what the sandbox knows, and what it shall do next. None of it is part of a provider's protocol.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::books::State as Known;
use super::easypost::trackers;
use super::faults::Rule;
use super::smtp::mail::Mail;
use super::stripe::{Outcome, disputes, payments_settle, refunds};
use super::truth::Fact;
use super::wallet::WalletPayment;
use super::world::World;

/// Routes under `/_sandbox`.
pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/_sandbox/health", get(|| async { Json(json!({"service": "orderfleet-sandbox"})) }))
        .route("/_sandbox/truth", get(truth))
        .route("/_sandbox/requests", get(requests))
        .route("/_sandbox/mails", get(mails))
        .route("/_sandbox/mails/{n}", get(mail))
        .route("/_sandbox/faults", get(faults).post(add_faults).delete(clear_faults))
        .route("/_sandbox/webhooks/hold", post(hold))
        .route("/_sandbox/webhooks/release", post(release))
        .route("/_sandbox/trackers/{tracking_code}/{status}", post(push_tracker))
        .route("/_sandbox/payments/{id}/{outcome}", post(settle_payment))
        .route("/_sandbox/refunds/{id}/{outcome}", post(settle_refund))
        .route("/_sandbox/payments/{id}/disputed", post(raise_dispute))
        .route("/_sandbox/disputes/{id}/{outcome}", post(settle_dispute))
        .route("/_sandbox/reset", post(reset))
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Payments,
    Refunds,
    Disputes,
    Labels,
    Shipments,
    Mails,
    Webhooks,
    Requests,
    Wallet,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    kind: Option<Kind>,
}

/// One kind as an array; without a kind, an object of all that providers keep.
async fn truth(State(world): State<Arc<World>>, Query(wanted): Query<Wanted>) -> Json<Value> {
    let known = &world.books().state;
    Json(match wanted.kind {
        Some(kind) => facts(known, kind),
        None => json!({
            "payments": facts(known, Kind::Payments),
            "refunds": facts(known, Kind::Refunds),
            "disputes": facts(known, Kind::Disputes),
            "labels": facts(known, Kind::Labels),
            "mails": facts(known, Kind::Mails),
            "webhooks": facts(known, Kind::Webhooks),
        }),
    })
}

fn facts(known: &Known, kind: Kind) -> Value {
    match kind {
        Kind::Payments => known
            .intents
            .iter()
            .map(|intent| {
                json!({"id": intent.id, "amount": intent.amount, "amount_received": intent.received, "amount_refunded": intent.refunded,
                       "currency": intent.currency, "status": intent.status, "metadata": intent.metadata})
            })
            .collect(),
        Kind::Refunds => known
            .refunds
            .iter()
            .map(|refund| {
                json!({"id": refund.id, "payment_id": refund.intent, "amount": refund.amount,
                       "currency": refund.currency, "status": refund.status, "metadata": refund.metadata})
            })
            .collect(),
        Kind::Disputes => known
            .disputes
            .iter()
            .map(|dispute| {
                json!({"id": dispute.id, "payment_id": dispute.intent, "amount": dispute.amount,
                       "currency": dispute.currency, "status": dispute.status})
            })
            .collect(),
        Kind::Labels => known.shipments.iter().filter_map(label).collect(),
        Kind::Shipments => known
            .shipments
            .iter()
            .map(|shipment| {
                json!({"shipment_id": shipment.id, "reference": shipment.reference,
                       "bought": shipment.purchase.is_some(), "refund_status": shipment.refund})
            })
            .collect(),
        Kind::Wallet => known.wallet.iter().map(WalletPayment::body).collect(),
        Kind::Mails => known.mails.iter().map(headline).collect(),
        Kind::Webhooks => known.delivered.iter().map(|delivered| json!(delivered)).collect(),
        Kind::Requests => known
            .requests
            .iter()
            .map(|(at, asked)| {
                json!({"at": at, "provider": asked.provider, "method": asked.method, "path": asked.path,
                       "idempotency_key": asked.key})
            })
            .collect(),
    }
}

fn label(shipment: &super::easypost::shipment::Shipment) -> Option<Value> {
    let purchase = shipment.purchase.as_ref()?;
    let rate = &purchase.rate;
    Some(json!({
        "shipment_id": shipment.id, "label_id": purchase.label, "reference": shipment.reference,
        "tracking_code": purchase.tracking_code, "rate_id": rate.id, "carrier": rate.carrier, "service": rate.service,
        "amount_cents": rate.cents, "currency": "USD", "refund_status": shipment.refund,
        "insurance": purchase.insurance,
    }))
}

fn headline(mail: &Mail) -> Value {
    json!({"message_id": mail.message_id, "to": mail.to, "subject": mail.subject, "headers": mail.headers})
}

async fn requests(State(world): State<Arc<World>>) -> Json<Value> {
    Json(json!(world.books().state.counts))
}

/// Without the raw text; their place in the list is their number.
async fn mails(State(world): State<Arc<World>>) -> Json<Value> {
    Json(facts(&world.books().state, Kind::Mails))
}

async fn mail(State(world): State<Arc<World>>, Path(n): Path<usize>) -> Response {
    match world.books().state.mails.get(n) {
        Some(mail) => Json(json!(mail)).into_response(),
        None => problem(StatusCode::NOT_FOUND, "there is no such mail; the first is 0"),
    }
}

async fn faults(State(world): State<Arc<World>>) -> Json<Value> {
    Json(world.faults.with(|armed| json!(armed)))
}

async fn add_faults(State(world): State<Arc<World>>, body: Bytes) -> Response {
    let rules: Vec<Rule> = match serde_json::from_slice(&body) {
        Ok(rules) => rules,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match world.faults.add(rules) {
        Ok(()) => faults(State(world)).await.into_response(),
        Err(error) => problem(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn clear_faults(State(world): State<Arc<World>>) -> StatusCode {
    world.faults.clear();
    StatusCode::NO_CONTENT
}

async fn hold(State(world): State<Arc<World>>) -> StatusCode {
    world.post.hold();
    StatusCode::NO_CONTENT
}

async fn release(State(world): State<Arc<World>>) -> StatusCode {
    world.post.release();
    StatusCode::NO_CONTENT
}

async fn push_tracker(
    State(world): State<Arc<World>>,
    Path((code, status)): Path<(String, String)>,
) -> Response {
    trackers::push(&world, &code, &status).into_response()
}

/// What becomes of a payment: one that is `processing` is `succeeded` or `failed`, a new one `authorised`, an authorised one
/// `lapsed`, one whose buyer is at the bank's page `authenticated` or `unauthenticated`.
async fn settle_payment(
    State(world): State<Arc<World>>,
    Path((id, outcome)): Path<(String, String)>,
) -> Response {
    match Outcome::named(&outcome) {
        Some(outcome) => payments_settle(&world, &id, outcome).into_response(),
        None => problem(
            StatusCode::BAD_REQUEST,
            "a payment becomes succeeded, failed, authorised, lapsed, authenticated or unauthenticated",
        ),
    }
}

/// What becomes of a refund: one under way is `pending`, `requires_action`, `succeeded`, `failed` or `canceled`; one that had
/// succeeded may fail, as a bank may do days later.
async fn settle_refund(
    State(world): State<Arc<World>>,
    Path((id, outcome)): Path<(String, String)>,
) -> Response {
    match refunds::Status::named(&outcome) {
        Some(status) => refunds::settle(&world, &id, status).into_response(),
        None => problem(
            StatusCode::BAD_REQUEST,
            "a refund becomes pending, requires_action, succeeded, failed or canceled",
        ),
    }
}

/// How a customer goes to their bank.
#[derive(Debug, Deserialize)]
struct Raised {
    /// How much of the payment, in the currency's smallest unit; all of it where nothing is said.
    amount: Option<i64>,
    /// Whether the bank only asks at first.
    #[serde(default)]
    asks: bool,
}

/// A customer's bank wants a payment back.
async fn raise_dispute(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
    Query(raised): Query<Raised>,
) -> Response {
    disputes::raise(&world, &id, raised.amount, raised.asks).into_response()
}

/// A dispute goes on: `escalated`, `reviewed`, `closed`, `won` or `lost`.
async fn settle_dispute(
    State(world): State<Arc<World>>,
    Path((id, outcome)): Path<(String, String)>,
) -> Response {
    match disputes::Outcome::named(&outcome) {
        Some(outcome) => disputes::settle(&world, &id, outcome).into_response(),
        None => {
            problem(StatusCode::BAD_REQUEST, "a dispute becomes escalated, reviewed, closed, won or lost")
        }
    }
}

/// Forgets everything; the truth says that it did.
async fn reset(State(world): State<Arc<World>>) -> StatusCode {
    world.faults.clear();
    world.post.release();
    world.change(|books, now| books.record(now, Fact::Reset));
    StatusCode::NO_CONTENT
}

fn problem(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({"detail": detail}))).into_response()
}
