//! A payment provider as many countries have one: a page where the customer pays, a signed webhook, a status route.
//!
//! It stands in for every configured provider, under the name `wallet`. It learns of a payment when its customer comes with
//! the shop's reference, believes whatever amount the link says, as real ones do, and answers 404 for what nobody began.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::gate;
use super::truth::Fact;
use super::webhooks::{About, Event};
use super::world::{World, fresh_id};

/// A payment, as the wallet knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WalletPayment {
    /// The shop's reference.
    pub(crate) reference: String,
    /// `SUCCESS`, `FAILED`, or `PENDING` while the customer makes up their mind.
    pub(crate) status: String,
    /// With decimals, as the link said it.
    pub(crate) amount: String,
    /// ISO 4217 code.
    pub(crate) currency: String,
}

impl WalletPayment {
    /// The payment as it is told and answered.
    pub(crate) fn body(&self) -> Value {
        json!(self)
    }
}

/// What the customer comes with, and does.
#[derive(Debug, Deserialize)]
struct Visit {
    reference: String,
    amount: String,
    currency: String,
    /// What they do; they pay where nothing is said.
    outcome: Option<String>,
}

/// The page and the status route.
pub(crate) fn router(world: &Arc<World>) -> Router<Arc<World>> {
    Router::new()
        .route("/wallet/pay", get(visit).post(visit))
        .route("/wallet/status/{reference}", get(status))
        .layer(from_fn_with_state(Arc::clone(world), gate::work))
        .layer(from_fn_with_state(Arc::clone(world), gate::pass))
}

/// The customer's visit: `outcome` is `paid`, `failed` or `pending`. What is paid stays paid.
async fn visit(State(world): State<Arc<World>>, Query(visit): Query<Visit>) -> Response {
    let status = match visit.outcome.as_deref() {
        None | Some("paid") => "SUCCESS",
        Some("failed") => "FAILED",
        Some("pending") => "PENDING",
        Some(_) => return (StatusCode::BAD_REQUEST, "a customer pays, fails or is pending").into_response(),
    };
    let payment = world.change(|books, now| {
        let known = books.state.wallet.get(&visit.reference).filter(|known| known.status == "SUCCESS");
        if let Some(paid) = known {
            return paid.clone();
        }
        let payment = WalletPayment {
            reference: visit.reference,
            status: status.to_owned(),
            amount: visit.amount,
            currency: visit.currency,
        };
        books.record(now, Fact::Wallet(payment.clone()));
        let about = About::Wallet(Box::new(payment.clone()));
        let kind = format!("payment.{}", status.to_lowercase());
        books.notify(now, Event { id: fresh_id("wevt_"), kind, at: now, request: None, about });
        payment
    });
    Json(payment.body()).into_response()
}

async fn status(State(world): State<Arc<World>>, Path(reference): Path<String>) -> Response {
    match world.books().state.wallet.get(&reference) {
        Some(payment) => Json(payment.body()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The event as it is posted.
pub(crate) fn event_body(event: &Event, payment: &WalletPayment) -> Value {
    let mut body = payment.body();
    body["id"] = event.id.clone().into();
    body["at"] = event.at.timestamp().into();
    body
}
