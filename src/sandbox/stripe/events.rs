//! Stripe's events: how one looks, and the two routes that find it again.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use serde_json::{Value, json};

use super::API_VERSION;
use super::error::StripeError;
use super::form::Form;
use super::payments::{LARGEST_PAGE, USUAL_PAGE};
use crate::sandbox::webhooks::Event;
use crate::sandbox::world::World;

/// An event as it is posted and listed, about an object as it was then.
pub(crate) fn body(event: &Event, object: &Value) -> Value {
    let request = event.request.as_ref().map(|cause| json!({"id": cause.id, "idempotency_key": cause.key}));
    json!({
        "id": event.id,
        "object": "event",
        "api_version": API_VERSION,
        "created": event.at.timestamp(),
        "data": {"object": object},
        "livemode": false,
        "pending_webhooks": 1,
        "request": request,
        "type": event.kind,
    })
}

/// `GET /v1/events`: newest first, by `type` or `types`, `created[gte]`, `created[lt]`, `starting_after` and `limit`.
pub(super) async fn list(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, StripeError> {
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    let limit = form.integer("limit")?.unwrap_or(USUAL_PAGE).clamp(1, LARGEST_PAGE);
    let since = form.integer("created[gte]")?.unwrap_or_default();
    let before = form.integer("created[lt]")?.unwrap_or(i64::MAX);
    let after = form.text("starting_after");
    let mut kinds: Vec<String> = form.map("types").into_values().collect();
    kinds.extend(form.text("type").map(str::to_owned));
    let limit = usize::try_from(limit).unwrap_or_default();
    let books = world.books();
    let mut found: Vec<Value> = books
        .state
        .events
        .iter()
        .rev()
        .skip_while(|event| after.is_some_and(|after| event.id != after))
        .skip(usize::from(after.is_some()))
        .take_while(|event| event.at.timestamp() >= since)
        .filter(|event| event.at.timestamp() < before)
        .filter(|event| kinds.is_empty() || kinds.contains(&event.kind))
        .filter(|event| event.is_stripe())
        .take(limit + 1)
        .map(Event::body)
        .collect();
    let more = found.len() > limit;
    found.truncate(limit);
    Ok(Json(json!({"object": "list", "url": "/v1/events", "has_more": more, "data": found})))
}

/// `GET /v1/events/{id}`.
pub(super) async fn retrieve(
    State(world): State<Arc<World>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, StripeError> {
    let books = world.books();
    let event = books.state.events.get(&id).filter(|event| event.is_stripe());
    event.map(|event| Json(event.body())).ok_or_else(|| StripeError::missing("event", &id))
}
