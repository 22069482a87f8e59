//! EasyPost's HTTP, as far as a shop that buys labels sees it: addresses, shipments, trackers and the account.
//!
//! The shapes are those of answers recorded by EasyPost's own client libraries. What it must never be is idempotent:
//! EasyPost documents no idempotency key, so every create makes another one, and only the second buy of one shipment is
//! refused.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::gate;
use super::world::World;
use error::EasypostError;

mod address;
pub(crate) mod error;
mod parts;
pub(crate) mod rates;
pub(crate) mod shipment;
mod shipments;
pub(crate) mod tracker;
pub(crate) mod trackers;

/// The routes, with everything that a request passes: counted, authenticated, then failed or done.
pub(crate) fn router(world: &Arc<World>) -> Router<Arc<World>> {
    Router::new()
        .route("/v2/addresses", post(address::create))
        .route("/v2/addresses/create_and_verify", post(address::create_and_verify))
        .route("/v2/addresses/{id}", get(address::retrieve))
        .route("/v2/addresses/{id}/verify", get(address::verify))
        .route("/v2/shipments", post(shipments::create))
        .route("/v2/shipments/{id}", get(shipments::retrieve))
        .route("/v2/shipments/{id}/buy", post(shipments::buy))
        .route("/v2/shipments/{id}/rerate", post(shipments::rerate))
        .route("/v2/shipments/{id}/refund", post(shipments::refund).get(shipments::refund))
        .route("/v2/trackers", post(trackers::create).get(trackers::list))
        .route("/v2/trackers/{id}", get(trackers::retrieve))
        .route("/v2/users", get(user))
        .layer(from_fn_with_state(Arc::clone(world), gate::work))
        .layer(from_fn_with_state(Arc::clone(world), authenticate))
        .layer(from_fn_with_state(Arc::clone(world), gate::pass))
}

async fn authenticate(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    match given.map(key) {
        Some(Some(key)) if key == world.secrets.easypost_key.expose_secret() => next.run(request).await,
        Some(_) => EasypostError::wrong_key().into_response(),
        None => EasypostError::no_key().into_response(),
    }
}

/// The user of a Basic header, or the key of a Bearer one.
fn key(header: &str) -> Option<String> {
    if let Some(key) = header.strip_prefix("Bearer ") {
        return Some(key.trim().to_owned());
    }
    let pair = BASE64_STANDARD.decode(header.strip_prefix("Basic ")?.trim()).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    Some(pair.split_once(':').map_or(pair.clone(), |(user, _)| user.to_owned()))
}

async fn user() -> Json<Value> {
    Json(json!({
        "id": "user_sandbox", "object": "User", "parent_id": null, "name": "Sandbox", "email": null,
        "phone_number": null, "balance": "100000.00000", "recharge_amount": null, "verified": true,
        "created_at": "2026-01-01T00:00:00Z", "children": [],
    }))
}

/// The JSON body of a request.
fn parse(body: &Bytes) -> Result<Value, EasypostError> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(body).map_err(|_| EasypostError::not_json())
}

/// A time as EasyPost writes it.
fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
