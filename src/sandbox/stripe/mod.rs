//! Stripe's HTTP, as far as a shop that takes payments sees it: PaymentIntents, refunds, disputes, events and the account.
//!
//! The shapes are those of API 2026-09-30.endive, checked by two clients that nobody here wrote (the official Python one
//! and async-stripe). What it must never do is be kinder than Stripe: keys, minimums and states are judged as there.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::gate::{self, Call};
use super::world::World;
use error::StripeError;

pub(crate) mod currency;
pub(crate) mod disputes;
pub(crate) mod error;
pub(crate) mod events;
mod form;
mod idempotency;
pub(crate) mod intent;
mod payments;
pub(crate) mod refunds;

pub(crate) use payments::{Outcome, settle as payments_settle};

/// The API version whose shapes these are.
pub(crate) const API_VERSION: &str = "2026-09-30.endive";

/// The routes, with everything that a request passes: counted, authenticated, de-duplicated, then failed or done.
pub(crate) fn router(world: &Arc<World>) -> Router<Arc<World>> {
    Router::new()
        .route("/v1/payment_intents", post(payments::create).get(payments::list))
        .route("/v1/payment_intents/{id}", get(payments::retrieve))
        .route("/v1/payment_intents/{id}/confirm", post(payments::confirm))
        .route("/v1/payment_intents/{id}/capture", post(payments::capture))
        .route("/v1/payment_intents/{id}/cancel", post(payments::cancel))
        .route("/v1/refunds", post(refunds::create).get(refunds::list))
        .route("/v1/refunds/{id}", get(refunds::retrieve))
        .route("/v1/disputes/{id}", get(disputes::retrieve))
        .route("/v1/events", get(events::list))
        .route("/v1/events/{id}", get(events::retrieve))
        .route("/v1/account", get(account))
        .route("/v1/balance", get(balance))
        .route("/v1/webhook_endpoints", get(endpoints))
        .layer(from_fn_with_state(Arc::clone(world), gate::work))
        .layer(from_fn_with_state(Arc::clone(world), idempotency::once))
        .layer(from_fn_with_state(Arc::clone(world), authenticate))
        .layer(from_fn_with_state(Arc::clone(world), gate::pass))
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The shop, with its secret key.
    Shop,
    /// A browser, with a publishable key: it must show the client secret too.
    Browser,
}

impl Caller {
    /// Refuses a browser.
    fn must_be_shop(self) -> Result<(), StripeError> {
        match self {
            Self::Shop => Ok(()),
            Self::Browser => {
                Err(StripeError::unauthorized("This API call cannot be made with a publishable API key."))
            }
        }
    }
}

async fn authenticate(State(world): State<Arc<World>>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get("authorization").and_then(|value| value.to_str().ok()).and_then(key);
    let caller = match given {
        Some(key) if key == world.secrets.stripe_key.expose_secret() => Ok(Caller::Shop),
        Some(key) if key.starts_with("pk_") => Ok(Caller::Browser),
        Some(_) => Err(StripeError::unauthorized("Invalid API Key provided.")),
        None => Err(StripeError::unauthorized(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using \
             Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
        )),
    };
    let id = request.extensions().get::<Call>().map(|call| call.request.clone());
    let mut response = match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    };
    if let Some(id) = id.and_then(|id| HeaderValue::try_from(id).ok()) {
        response.headers_mut().insert("request-id", id);
    }
    response.headers_mut().insert("stripe-version", HeaderValue::from_static(API_VERSION));
    response
}

/// The key of a Bearer header, or the user of a Basic one.
fn key(header: &str) -> Option<String> {
    if let Some(key) = header.strip_prefix("Bearer ") {
        return Some(key.trim().to_owned());
    }
    let pair = BASE64_STANDARD.decode(header.strip_prefix("Basic ")?.trim()).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    Some(pair.split_once(':').map_or(pair.clone(), |(user, _)| user.to_owned()))
}

async fn account() -> Json<Value> {
    Json(json!({
        "id": "acct_sandbox", "object": "account", "business_type": "company", "charges_enabled": true,
        "payouts_enabled": true, "details_submitted": true, "country": "US", "default_currency": "usd",
        "email": null, "metadata": {}, "capabilities": {"card_payments": "active"}, "type": "standard",
    }))
}

/// The one endpoint that it sends to, as if somebody had made it in the dashboard.
async fn endpoints(State(world): State<Arc<World>>) -> Json<Value> {
    let endpoint = json!({
        "id": "we_sandbox", "object": "webhook_endpoint", "url": world.post.stripe_url(), "status": "enabled",
        "api_version": API_VERSION, "enabled_events": ["*"], "livemode": false, "metadata": {},
    });
    Json(json!({"object": "list", "url": "/v1/webhook_endpoints", "has_more": false, "data": [endpoint]}))
}

async fn balance() -> Json<Value> {
    let nothing = json!([{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]);
    Json(json!({"object": "balance", "available": nothing, "pending": nothing, "livemode": false}))
}
