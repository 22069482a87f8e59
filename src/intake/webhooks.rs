//! `POST /webhooks/stripe`, `POST /webhooks/easypost`, and `/webhooks/payments/{provider}` of the configured ones.
//!
//! Verified over the raw bytes before anything reads them, pushed, answered: milliseconds, and never Postgres. The job's
//! id is made of the event's, so that the queue knows a repetition; one that comes after the job is done finds the
//! event in the inbox. Unknown types are taken in as well: what an event means is the job's to say. What is refused
//! leaves a count and its reason, nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde_json::{Value, json};
use tracing::{debug, error, warn};

use super::problem::{Code, Problem};
use super::{Door, request};
use crate::domain::offer::Provider;
use crate::domain::webhook::{NoEvent, WebhookPayload};
use crate::ids::JobId;
use crate::job::{Band, Listed};
use crate::jobs::payment_confirmation::PaymentConfirmation;
use crate::jobs::tracking::Tracking;
use crate::queue::{Copy, Origin, Pushed};
use crate::signature::{Letter, Refused};

pub(super) async fn stripe(State(door): State<Arc<Door>>, request: Request) -> Result<Json<Value>, Problem> {
    let (head, body) = request.into_parts();
    let bytes = request::body(&head.headers, body, door.settings.max_webhook_bytes).await?;
    let signature = value(&head.headers, "stripe-signature");
    door.stripe
        .verify(signature, &bytes, door.clock.unix_seconds())
        .map_err(|cause| refused("stripe", &cause))?;
    let event = WebhookPayload::stripe(request::json(&bytes)?)?;
    let (id, job) = (event.job_id(), PaymentConfirmation(event));
    take_in(&door, id, &job, &head.headers).await
}

pub(super) async fn easypost(
    State(door): State<Arc<Door>>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (head, body) = request.into_parts();
    let bytes = request::body(&head.headers, body, door.settings.max_webhook_bytes).await?;
    let signature = value(&head.headers, "x-hmac-signature");
    door.easypost.verify(signature, &bytes).map_err(|cause| refused("easypost", &cause))?;
    let event = WebhookPayload::easypost(request::json(&bytes)?)?;
    let (id, job) = (event.job_id(), Tracking(event));
    take_in(&door, id, &job, &head.headers).await
}

/// A configured provider posts its message, or has its customer's browser bring it.
pub(super) async fn configured(
    State(door): State<Arc<Door>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let unknown = || Problem::new(Code::NotFound, "no payment provider of this name is set up here");
    let Path(name) = name.map_err(|_| unknown())?;
    let provider = door.offers.configured(&name).ok_or_else(unknown)?;
    let (head, body) = request.into_parts();
    let bytes = request::body(&head.headers, body, door.settings.max_webhook_bytes).await?;
    let message = message(provider, &head, &bytes, door.clock.unix_seconds())
        .map_err(|cause| refused(&name, &cause))?;
    let event = WebhookPayload::configured(&name, &message, &provider.event)
        .map_err(|silent| Problem::new(Code::NoEvent, silent.to_string()))?;
    let (id, job) = (event.job_id(), PaymentConfirmation(event));
    take_in(&door, id, &job, &head.headers).await
}

/// What a configured provider said, once that is proved.
fn message(provider: &Provider, head: &Parts, body: &[u8], now: i64) -> Result<Value, Refused> {
    let mut parts = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
    let wanted = provider.signature.query();
    let query = wanted.and_then(|wanted| parts.find(|(name, _)| name == wanted));
    let letter = Letter {
        header: &|name| value(&head.headers, name),
        query: query.as_ref().map(|(_, message)| message.as_ref()),
        body,
    };
    provider.signature.open(&letter, now)
}

async fn take_in<J: Listed>(
    door: &Door,
    id: JobId,
    job: &J,
    headers: &HeaderMap,
) -> Result<Json<Value>, Problem> {
    if let Some(wait) = door.capacity.webhooks(J::LANE) {
        let detail = "nothing was taken in: too many events wait";
        return Err(Problem::new(Code::OverCapacity, detail).retry_after(wait));
    }
    let body = serde_json::to_vec(job).map_err(|fault| {
        error!(%fault, "an event can not be written");
        Problem::new(Code::Internal, "the event can not be written")
    })?;
    let copy = Copy {
        id,
        kind: J::KIND.to_owned(),
        lane: J::LANE,
        band: Band::Normal,
        origin: Origin::Intake,
        attempts: 0,
        delay: Duration::ZERO,
        body,
        traceparent: Some(request::traceparent(headers)),
    };
    let pushed = door.queue.push(&[copy]).await?;
    let is_new = pushed.first() == Some(&Pushed::Queued);
    debug!(job = %id, kind = J::KIND, is_new, "webhook taken in");
    Ok(Json(json!({ "received": true })))
}

impl From<NoEvent> for Problem {
    fn from(none: NoEvent) -> Self {
        Self::new(Code::NoEvent, none.to_string())
    }
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get(name).map(axum::http::HeaderValue::as_bytes)
}

fn refused(provider: &str, cause: &Refused) -> Problem {
    let reason = match cause {
        Refused::Missing => "missing",
        Refused::Malformed(_) => "malformed",
        Refused::NoScheme(_) => "no_scheme",
        Refused::Mismatch => "mismatch",
        Refused::TooOld { .. } => "too_old",
        Refused::TooNew { .. } => "too_new",
    };
    metrics::counter!("orderfleet_webhook_refused_total", "provider" => provider.to_owned(), "reason" => reason)
        .increment(1);
    warn!(provider, reason, "webhook refused");
    Problem::new(Code::BadSignature, cause.to_string()).because(reason)
}
