//! The routes of PaymentIntents: each is one change of the books.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::response::Json;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Caller;
use super::currency;
use super::error::StripeError;
use super::form::Form;
use super::intent::{Intent, Status};
use crate::sandbox::books::Books;
use crate::sandbox::gate::Call;
use crate::sandbox::truth::Fact;
use crate::sandbox::webhooks::{About, Event};
use crate::sandbox::world::{World, fresh_id};

/// Stripe's page when nothing is said, and its largest.
pub(super) const USUAL_PAGE: i64 = 10;
pub(super) const LARGEST_PAGE: i64 = 100;

type Answer = Result<Json<Value>, StripeError>;

/// `POST /v1/payment_intents`; with `confirm=true` it is confirmed at once.
pub(super) async fn create(
    State(world): State<Arc<World>>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Answer {
    let form = Form::parse(&body);
    caller.must_be_shop()?;
    let amount = form.required("amount").and(form.integer("amount"))?.unwrap_or_default();
    let currency = form.required("currency")?.to_lowercase();
    currency::check(amount, &currency)?;
    let id = fresh_id("pi_");
    world.change(|books, now| {
        let mut intent = Intent {
            client_secret: fresh_id(&format!("{id}_secret_")),
            id,
            created: now.timestamp(),
            amount,
            currency,
            status: Status::RequiresPaymentMethod,
            manual_capture: form.text("capture_method") == Some("manual"),
            automatic_methods: form.flag("automatic_payment_methods[enabled]"),
            metadata: form.map("metadata"),
            description: form.text("description").map(str::to_owned),
            method: form.text("payment_method").map(str::to_owned),
            charge: None,
            received: 0,
            refunded: 0,
            decline: None,
            canceled_at: None,
            cancellation_reason: None,
        };
        let created = intent.clone();
        let confirmed = form.flag("confirm").then(|| intent.confirm(None, fresh_id("ch_"))).transpose()?;
        write(books, now, &created, "payment_intent.created", Some(&call));
        if let Some(event) = confirmed {
            write(books, now, &intent, event, Some(&call));
        }
        intent.refusal().map_or_else(|| Ok(Json(intent.body())), Err)
    })
}

/// `GET /v1/payment_intents/{id}`.
pub(super) async fn retrieve(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    let books = world.books();
    find(&books, &id, caller, &form).map(|intent| Json(intent.body()))
}

/// `GET /v1/payment_intents`: newest first, by `created[gte]`, `created[lte]`, `starting_after` and `limit`.
pub(super) async fn list(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Answer {
    caller.must_be_shop()?;
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    let limit = form.integer("limit")?.unwrap_or(USUAL_PAGE).clamp(1, LARGEST_PAGE);
    let limit = usize::try_from(limit).unwrap_or_default();
    let since = form.integer("created[gte]")?.unwrap_or_default();
    let until = form.integer("created[lte]")?.unwrap_or(i64::MAX);
    let after = form.text("starting_after");
    let books = world.books();
    let mut found: Vec<Value> = books
        .state
        .intents
        .iter()
        .rev()
        .skip_while(|intent| after.is_some_and(|after| intent.id != after))
        .skip(usize::from(after.is_some()))
        .take_while(|intent| intent.created >= since)
        .filter(|intent| intent.created <= until)
        .take(limit + 1)
        .map(Intent::body)
        .collect();
    let more = found.len() > limit;
    found.truncate(limit);
    Ok(Json(json!({"object": "list", "url": "/v1/payment_intents", "has_more": more, "data": found})))
}

/// `POST …/confirm`, by the shop or by a browser with the client secret.
pub(super) async fn confirm(
    State(world): State<Arc<World>>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer {
    let form = Form::parse(&body);
    world.change(|books, now| {
        let mut intent = find(books, &id, caller, &form)?.clone();
        let event = intent.confirm(form.text("payment_method"), fresh_id("ch_"))?;
        write(books, now, &intent, event, Some(&call));
        intent.refusal().map_or_else(|| Ok(Json(intent.body())), Err)
    })
}

/// `POST …/capture`: all of what was authorised.
pub(super) async fn capture(
    State(world): State<Arc<World>>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer {
    let form = Form::parse(&body);
    caller.must_be_shop()?;
    world.change(|books, now| {
        let mut intent = find(books, &id, caller, &form)?.clone();
        let event = intent.capture()?;
        write(books, now, &intent, event, Some(&call));
        Ok(Json(intent.body()))
    })
}

/// `POST …/cancel`.
pub(super) async fn cancel(
    State(world): State<Arc<World>>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer {
    let form = Form::parse(&body);
    caller.must_be_shop()?;
    world.change(|books, now| {
        let mut intent = find(books, &id, caller, &form)?.clone();
        let event = intent.cancel(form.text("cancellation_reason"), now.timestamp())?;
        write(books, now, &intent, event, Some(&call));
        Ok(Json(intent.body()))
    })
}

/// What a control can make of a payment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// One that is `processing` is paid.
    Succeeded,
    /// One that is `processing` is refused.
    Failed,
    /// A new one is authorised and waits for its capture.
    Authorised,
    /// An authorised one lapses.
    Lapsed,
    /// The buyer was at the bank's page, and the bank knows them.
    Authenticated,
    /// The buyer was at the bank's page, and the bank does not believe them.
    Unauthenticated,
}

impl Outcome {
    /// The outcome of a name in a path.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "succeeded" => Some(Self::Succeeded),
            "failed" => Some(Self::Failed),
            "authorised" => Some(Self::Authorised),
            "lapsed" => Some(Self::Lapsed),
            "authenticated" => Some(Self::Authenticated),
            "unauthenticated" => Some(Self::Unauthenticated),
            _ => None,
        }
    }
}

/// Brings a payment to this outcome, on the control's word.
pub(crate) fn settle(world: &Arc<World>, id: &str, outcome: Outcome) -> Answer {
    world.change(|books, now| {
        let mut intent = books.state.intents.get(id).ok_or_else(|| missing(id))?.clone();
        let event = match outcome {
            Outcome::Succeeded => intent.settle(true),
            Outcome::Failed => intent.settle(false),
            Outcome::Authorised => intent.authorise(fresh_id("ch_")),
            Outcome::Lapsed => intent.lapse(now.timestamp()),
            Outcome::Authenticated => intent.seen_by_the_bank(true, fresh_id("ch_")),
            Outcome::Unauthenticated => intent.seen_by_the_bank(false, fresh_id("ch_")),
        }?;
        write(books, now, &intent, event, None);
        Ok(Json(intent.body()))
    })
}

fn find<'a>(books: &'a Books, id: &str, caller: Caller, form: &Form) -> Result<&'a Intent, StripeError> {
    let intent = books.state.intents.get(id).ok_or_else(|| missing(id))?;
    let known = caller == Caller::Shop || form.text("client_secret") == Some(&intent.client_secret);
    if known { Ok(intent) } else { Err(missing(id)) }
}

pub(super) fn missing(id: &str) -> StripeError {
    StripeError::missing("payment_intent", id)
}

fn write(books: &mut Books, now: DateTime<Utc>, intent: &Intent, event: &str, call: Option<&Call>) {
    books.record(now, Fact::Payment(intent.clone()));
    books.notify(now, Event::stripe(event, now, call, About::Payment(Box::new(intent.clone()))));
}
