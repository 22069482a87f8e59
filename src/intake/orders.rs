//! `POST /v1/order-intents` and `GET /v1/order-intents/{id}`.
//!
//! The steps and their order are the protocol's: authenticate, parse and judge, replay look-up, rate limit, capacity, push.
//! A holder of a place is never refused for either. Exactly one durable write comes before the answer, and that is the push;
//! fingerprint, replay and healing are decided in it, in one script. 503 is never remembered under the key.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use tracing::{debug, error};

use super::capacity::Room;
use super::limits::{TooMany, Try};
use super::outcome::{Known, QUEUED, Queued};
use super::problem::{Code, Problem};
use super::request::{Until, Wait, pushing};
use super::watch::Follow;
use super::{Door, client, request, snapshot};
use crate::auth::{Action, Principal, Reach};
use crate::domain::intent::{AcceptedIntent, OrderIntentBody};
use crate::domain::key::{IdempotencyKey, fingerprint, hex};
use crate::domain::priority::Priority;
use crate::ids::{IntentId, JobId, jitter};
use crate::job::{Band, Lane, Payload};
use crate::jobs::order_intent::OrderIntent;
use crate::queue::{Gate, IntentPush, IntentPushed};
use crate::telemetry::TraceContext;
use crate::telemetry::spans::Begun;

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// How far apart callers come back who were given places in the same second.
const SPREAD: Duration = Duration::from_secs(1);
/// Bytes of most accepted intents: what is written of them seldom grows twice.
const USUAL_INTENT: usize = 1024;
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A judged wish, on its way to the queue; boxed, because a body is large and goes from hand to hand.
struct Wish {
    intent: IntentId,
    fingerprint: [u8; 32],
    tenant: String,
    customer: String,
    body: OrderIntentBody,
    trace: Option<TraceContext>,
}

pub(super) async fn place(State(door): State<Arc<Door>>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let caller = door.authenticate(&head.headers)?;
    let reach = super::require(&caller, Action::PlaceIntent)?;
    let key = IdempotencyKey::read(head.headers.get("idempotency-key").map(HeaderValue::as_bytes))?;
    request::expect_json(&head.headers)?;
    let bytes = request::body(&head.headers, body, door.settings.max_body_bytes).await?;
    let wish = judge(&door, &caller, &key, &bytes, &head)?;
    if reach == Reach::Own && wish.body.customer.id != caller.subject {
        return Err(Problem::new(
            Code::Forbidden,
            "customer.id must be the customer that the credential names",
        ));
    }
    let wait = door.held(&head.headers, wish.intent);
    let client = client::address(&caller, &head.headers, &head.extensions, &door.settings.trusted_proxies);
    let visit = door.limits.of(&wish.tenant, &wish.customer, client);
    let taken = take_in(&door, wish, &visit).await?;
    Ok(answer(&door, &caller, taken, wait).await)
}

fn judge(
    door: &Door,
    caller: &Principal,
    key: &IdempotencyKey,
    bytes: &[u8],
    head: &Parts,
) -> Result<Box<Wish>, Problem> {
    let catalogue = door.snapshots.catalogue();
    let body =
        OrderIntentBody::read(request::json(bytes)?, snapshot::known(catalogue.as_deref(), &door.providers))
            .map_err(Problem::faults)?;
    let customer = body.customer_scope();
    Ok(Box::new(Wish {
        intent: door.names.name(&caller.tenant, &customer, key),
        fingerprint: fingerprint(&body),
        tenant: caller.tenant.clone(),
        customer,
        body,
        trace: request::trace(&head.extensions),
    }))
}

/// An intent that the queue holds.
struct Taken {
    intent: IntentId,
    known: Known,
    is_replay: bool,
}

async fn take_in(door: &Door, wish: Box<Wish>, visit: &Try) -> Result<Taken, Problem> {
    let intent = wish.intent;
    // The push looks the key up by itself, before it passes the gate: a holder of an intent is never refused. So a herd
    // costs one call each. Only where nothing may be written the key is asked for first.
    let _coming = door.capacity.coming();
    let gate = match door.capacity.intents() {
        Room::Crowded(gate) => Some(gate),
        Room::NoMemory(wait) if door.queue.intent(intent).await?.is_none() => {
            return Err(refused("memory", wait));
        }
        Room::Free | Room::NoMemory(_) => None,
    };
    let sold_out = door.sold_out.wanted(&wish.body);
    let too_many = door.limits.refuse(&door.queue, visit).await;
    let first = serde_json::to_string(&Queued::new(intent, &wish.tenant, &wish.customer))
        .map_err(|fault| unwritten(&fault))?;
    let only_known = too_many.is_some() || !sold_out.is_empty();
    let begun = Begun::under(wish.trace);
    let pushed = door.queue.push_intent(parcel(wish, first, gate, only_known)?).await;
    if let Some(begun) = begun {
        pushing(begun, OrderIntent::KIND, pushed.as_ref().err())
            .with("orderfleet.intent", intent.to_string())
            .record();
    }
    match pushed? {
        IntentPushed::Accepted { sequence, .. } => {
            door.capacity.pushed(Lane::Intents, sequence);
            debug!(%intent, sequence, "intent accepted");
            Ok(Taken { intent, known: Known::queued(), is_replay: false })
        }
        IntentPushed::Replayed { version, public, healed } => {
            debug!(%intent, version, healed, "intent replayed");
            if too_many.is_none() {
                door.limits.take_back(visit);
            }
            Ok(Taken { intent, known: Known::read(version, &public)?, is_replay: true })
        }
        IntentPushed::Mismatch => {
            let detail = "this key already names another wish of this customer; a new wish needs a new key";
            Err(Problem::new(Code::KeyReused, detail))
        }
        IntentPushed::Unknown => Err(sent_away(too_many, sold_out)),
        IntentPushed::Later { wait, booked } => {
            // Places differ by moments, times by whole seconds: chance spreads who shares one. Without a place, more.
            let spread = if booked { SPREAD } else { wait / 5 };
            Err(refused("wait", wait + spread.mul_f64(jitter())))
        }
    }
}

/// Why somebody was not taken in who would have had to be known: first of all for trying too often.
fn sent_away(too_many: Option<TooMany>, sold_out: Vec<String>) -> Problem {
    let count = |reason: &'static str| {
        metrics::counter!("orderfleet_intake_refused_total", "reason" => reason).increment(1);
    };
    if let Some(TooMany { of, wait }) = too_many {
        count("rate");
        let detail = "nothing was taken in; repeat with the same key once the time has passed";
        return Problem::new(Code::RateLimited, detail).because(of.name()).retry_after(wait);
    }
    count("sold_out");
    let detail = "nothing was taken in; what comes back on sale can be had with the same key";
    let lines = sold_out.into_iter().map(|sku| json!({ "sku": sku, "available": 0 })).collect();
    Problem::new(Code::SoldOut, detail).with("details", lines)
}

fn refused(reason: &'static str, wait: Duration) -> Problem {
    metrics::counter!("orderfleet_intake_refused_total", "reason" => reason).increment(1);
    let detail = "nothing was taken in; repeat with the same key once the time has passed";
    Problem::new(Code::OverCapacity, detail).because(reason).retry_after(wait)
}

fn parcel(
    wish: Box<Wish>,
    public: String,
    gate: Option<Gate>,
    only_known: bool,
) -> Result<IntentPush, Problem> {
    let band = Priority::named(&wish.body.priority).and_then(|priority| Band::numbered(priority.band));
    let Wish { intent, fingerprint, tenant, body, trace, .. } = *wish;
    let accepted =
        OrderIntent(AcceptedIntent { intent_id: intent, tenant, fingerprint: hex(&fingerprint), body });
    let mut written = Vec::with_capacity(USUAL_INTENT);
    serde_json::to_writer(&mut written, &accepted).map_err(|fault| unwritten(&fault))?;
    Ok(IntentPush {
        intent,
        // The intent's own: pushed again after Redis forgot the key, it is the same job.
        job: JobId::from(intent.uuid()),
        kind: OrderIntent::KIND.to_owned(),
        band: band.unwrap_or_default(),
        body: written,
        traceparent: trace,
        fingerprint,
        public,
        gate,
        only_known,
    })
}

/// JSON of our own making, which is none.
fn unwritten(fault: &serde_json::Error) -> Problem {
    error!(%fault, "an accepted intent can not be written");
    Problem::new(Code::Internal, "the intent can not be written")
}

/// What is answered while the intent is on its way: nothing but where to ask.
#[derive(Serialize)]
struct Underway<'a> {
    events_url: String,
    intent_id: IntentId,
    status: &'a str,
    status_url: &'a str,
}

async fn answer(door: &Door, caller: &Principal, taken: Taken, wait: Option<(Wait, Follow)>) -> Response {
    let waits = wait.as_ref().map(|(wait, _)| *wait);
    let known = match wait {
        Some(wait) => door.outcome(taken.known, wait).await,
        None => taken.known,
    };
    let shows_outcome = waits.map_or_else(|| known.status() != QUEUED, |wait| known.ends(wait.until));
    let status_url = format!("/v1/order-intents/{}", taken.intent);
    let events_url = [&*status_url, "/events"].concat();
    let mut response = if shows_outcome {
        let status = if taken.is_replay { StatusCode::OK } else { StatusCode::CREATED };
        let mut shown = door.show(&known, caller);
        shown["status_url"] = status_url.as_str().into();
        shown["events_url"] = events_url.into();
        (status, Json(shown)).into_response()
    } else {
        let (intent_id, status, status_url) = (taken.intent, known.status(), status_url.as_str());
        (StatusCode::ACCEPTED, Json(Underway { events_url, intent_id, status, status_url })).into_response()
    };
    let headers = response.headers_mut();
    if let Ok(location) = status_url.try_into() {
        headers.insert(LOCATION, location);
    }
    if taken.is_replay {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    if let Some(Ok(applied)) = waits.map(|wait| applied(wait).parse()) {
        headers.insert(APPLIED, applied);
    }
    response
}

/// What `Preference-Applied` says.
fn applied(wait: Wait) -> String {
    match wait.until {
        Until::Outcome => format!("wait={}", wait.seconds),
        Until::Reserved => format!("wait={}, until=reserved", wait.seconds),
    }
}

pub(super) async fn show(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let caller = door.authenticate(&headers)?;
    super::require(&caller, Action::ReadIntent)?;
    let known = door.find(read_id(id)?, &caller).await?;
    Ok(Json(door.show(&known, &caller)))
}

/// An id that is none names nothing.
pub(super) fn read_id(id: Result<Path<String>, PathRejection>) -> Result<IntentId, Problem> {
    id.ok()
        .and_then(|Path(id)| id.parse().ok())
        .ok_or_else(|| Problem::new(Code::UnknownIntent, "an intent's id is int_ and 26 letters or digits"))
}
