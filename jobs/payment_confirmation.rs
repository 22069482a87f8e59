//! Settles what the payment provider said: the verified event, with amount and currency compared.
//!
//! An event proves nothing by its order or its number: it is remembered by its id, a fact is applied once whatever the
//! number of events that tell it, and a signal below what is known changes nothing. One that is faster than our own
//! commit is parked and taken up again; one that names a payment nobody here knows ends as a dead letter, never in silence.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::dispute::{self, Told};
use super::payment_cancel::in_our_words;
use super::payment_status::{self, PaymentStatus};
use super::refund_sync::RefundSync;
use super::settlement::{Books, Heard};
use super::{Called, Job, Loaded, Rules, taken};
use crate::config::ConfirmBy;
use crate::domain::dispute::State as DisputeState;
use crate::domain::event::StripeEvent;
use crate::domain::money::{Amount, Currency};
use crate::domain::offer::{self, STRIPE};
use crate::domain::payment::State;
use crate::domain::told;
use crate::domain::webhook::WebhookPayload;
use crate::ids::{JobId, OrderId, PaymentId};
use crate::job::{Calls, Dependency, Failure, Lane, Limits, NewJob, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::provider::stripe::{DisputeSeen, PaymentSeen};
use crate::store::inbox::{self, Fate};
use crate::store::{Tx, disputes, jobs, payments, refunds};
use about::{About, pays};
use declined::declined;

mod about;
mod declined;

/// An event of a payment provider, as the intake took it in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PaymentConfirmation(pub WebhookPayload);

impl Payload for PaymentConfirmation {
    const KIND: &'static str = "payment-confirmation";
    const LANE: Lane = Lane::PaymentsIn;
    const CALLS: Calls = Calls::Sometimes(Dependency::Stripe);
    const LIMITS: Limits = Limits {
        attempts: 12,
        // One look-up of 8 s, with room for two transactions.
        deadline: Duration::from_secs(20),
        // How long an event waits for what it tells of; our own commit may be as late as its job's last attempt.
        max_age: Duration::from_mins(30),
        slice: 128,
        settle: 32,
        calls: 16,
    };

    /// The payment: two events of one are worked on one after the other.
    fn subject(&self) -> Uuid {
        self.0.subject()
    }
}

/// What has to be looked up: the event does not say enough.
#[derive(Clone, Debug)]
pub enum Look {
    /// A payment, by the provider's id.
    Payment(String),
    /// A dispute, by the provider's id.
    Dispute(String),
}

/// What the provider said when it was asked.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Of a payment.
    Payment(PaymentSeen),
    /// Of a dispute.
    Dispute(DisputeSeen),
}

impl Seen {
    /// The payment that it is about, by the provider's id.
    fn payment(&self) -> Option<&str> {
        match self {
            Self::Payment(seen) => Some(&seen.id),
            Self::Dispute(seen) => seen.payment_intent.as_deref(),
        }
    }
}

impl Job for PaymentConfirmation {
    type Plan = Look;
    type Receipt = Seen;

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Step<Look>>, Failure> {
        let settled = taken::take(tx, jobs, |job| &job.0).await?;
        let known = Known::find(tx, jobs.iter().map(|loaded| &loaded.job.0)).await?;
        let is_over = jobs.iter().any(|loaded| may_be_over(&loaded.job.0));
        let books = open(tx, known.0.values().flat_map(HashMap::values), is_over).await?;
        let mut seen = HashSet::new();
        let mut steps = Vec::with_capacity(jobs.len());
        for (loaded, settled) in jobs.iter().zip(settled) {
            let found = known.paid_by(&loaded.job.0);
            found.inspect(|(_, order)| tx.about(loaded.id, *order));
            let step = match (settled, found) {
                (true, found) => {
                    // Written again from Postgres: Redis may have lost it.
                    found.inspect(|(_, order)| tx.touch_order(*order));
                    Step::Done
                }
                // Two payments of one order in one slice: the second waits for the first's commit.
                (false, Some((_, order))) if !seen.insert(order) => {
                    Step::Refused(Failure::snooze(Duration::from_millis(10), "order_in_slice", order))
                }
                (false, found) => one(tx, rules, &books, loaded, found).await?,
            };
            steps.push(step);
        }
        Ok(steps)
    }

    async fn call(&self, plan: &Look, to: &Providers) -> Result<Seen, Failure> {
        Ok(match plan {
            Look::Payment(id) => Seen::Payment(to.stripe.retrieve(id).await?),
            Look::Dispute(id) => Seen::Dispute(to.stripe.retrieve_dispute(id).await?),
        })
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let named = |called: &Called<Self>| called.receipt.payment().map(str::to_owned);
        let objects: Vec<String> = back.iter().filter_map(named).collect();
        let known = payments::find(tx, STRIPE, &objects).await?;
        let over = |called: &Called<Self>| match called.receipt.as_ref() {
            Seen::Payment(seen) => in_our_words(seen).state.is_over(),
            Seen::Dispute(_) => true,
        };
        let books = open(tx, known.values(), back.iter().any(over)).await?;
        let mut verdicts = Vec::with_capacity(back.len());
        for called in back {
            let found = called.receipt.payment().and_then(|id| known.get(id)).copied();
            verdicts.push(answered(tx, rules, &books, called, found).await?);
        }
        Ok(verdicts)
    }

    /// The inbox says that it was given up; a replay takes it up again.
    async fn buried(&self, _id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        taken::give_up(tx, &self.0, failure.code).await
    }
}

/// The payments that a slice's events tell of, by provider and by its id: what one provider says of another's payment
/// is of nobody's.
struct Known(HashMap<String, HashMap<String, (PaymentId, OrderId)>>);

impl Known {
    async fn find(
        tx: &mut Tx,
        webhooks: impl Iterator<Item = &WebhookPayload> + Send,
    ) -> Result<Self, Failure> {
        let mut objects: HashMap<String, Vec<String>> = HashMap::new();
        for webhook in webhooks {
            objects.entry(webhook.provider.clone()).or_default().push(pays(webhook).to_owned());
        }
        let mut known = HashMap::with_capacity(objects.len());
        for (provider, objects) in objects {
            let mut found = payments::find(tx, &provider, &objects).await?;
            if provider == STRIPE {
                found.extend(refunds::find(tx, STRIPE, &objects).await?);
                found.extend(disputes::find(tx, STRIPE, &objects).await?);
            }
            known.insert(provider, found);
        }
        Ok(Self(known))
    }

    fn paid_by(&self, webhook: &WebhookPayload) -> Option<(PaymentId, OrderId)> {
        self.0.get(&webhook.provider)?.get(pays(webhook)).copied()
    }
}

async fn open(
    tx: &mut Tx,
    found: impl Iterator<Item = &(PaymentId, OrderId)> + Send,
    is_over: bool,
) -> Result<Books, Failure> {
    let (payments, orders): (Vec<PaymentId>, Vec<OrderId>) = found.copied().unzip();
    Books::hearing(tx, &orders, &payments, is_over).await
}

/// Whether the payment that an event tells of may be over: all but the events that tell of its beginning.
fn may_be_over(webhook: &WebhookPayload) -> bool {
    let is_told = webhook.provider == STRIPE && matches!(About::of(webhook), About::Payment);
    let told = is_told.then(|| read(webhook).ok()).flatten().and_then(|event| heard(&event));
    told.is_none_or(|heard| heard.state.is_over())
}

/// What one unsettled event leads to.
async fn one(
    tx: &mut Tx,
    rules: &Rules,
    books: &Books,
    loaded: &Loaded<PaymentConfirmation>,
    found: Option<(PaymentId, OrderId)>,
) -> Result<Step<Look>, Failure> {
    let webhook = &loaded.job.0;
    if webhook.provider != STRIPE {
        return configured(tx, rules, books, loaded, found).await;
    }
    match (About::of(webhook), found) {
        (About::Refund, found) => return refunded(tx, loaded, found).await,
        (About::Dispute, found) => return disputed(tx, rules, books, loaded, found).await,
        (About::Checkout, Some(_)) => return Ok(Step::Call(Look::Payment(pays(webhook).to_owned()))),
        (About::Checkout, None) | (About::Other, _) => {
            taken::resolve(tx, webhook, Fate::Ignored, "of no concern").await?;
            return Ok(Step::Done);
        }
        (About::Payment, _) => {}
    }
    let Some(found) = found else {
        return Ok(Step::Refused(taken::park(tx, webhook, loaded.age, "unknown payment").await?));
    };
    let event = read(webhook)?;
    match heard(&event) {
        Some(heard) => {
            if event.kind == "payment_intent.payment_failed" {
                declined(tx, rules, books, found, &event).await?;
            }
            apply(tx, rules, books, webhook, found, &heard).await?;
            Ok(Step::Done)
        }
        None => Ok(Step::Call(Look::Payment(webhook.object_id.clone()))),
    }
}

/// What a look leads to.
async fn answered(
    tx: &mut Tx,
    rules: &Rules,
    books: &Books,
    called: &Called<PaymentConfirmation>,
    found: Option<(PaymentId, OrderId)>,
) -> Result<Verdict, Failure> {
    let (loaded, webhook) = (&called.loaded, &called.loaded.job.0);
    match (called.receipt.as_ref(), found) {
        (Seen::Payment(seen), Some(found)) => {
            apply(tx, rules, books, webhook, found, &in_our_words(seen)).await?;
            Ok(Verdict::Done)
        }
        (Seen::Payment(_), None) => Ok(Verdict::Done),
        (Seen::Dispute(seen), found) => {
            let told = Told {
                provider_id: seen.id.clone(),
                state: seen.state,
                amount_minor: seen.amount_minor,
                currency: seen.currency.to_string(),
                reason: seen.reason.clone(),
            };
            let parked = told_of(tx, rules, books, loaded, found, &told).await?;
            Ok(parked.map_or(Verdict::Done, Verdict::Refused))
        }
    }
}

fn read(webhook: &WebhookPayload) -> Result<StripeEvent, Failure> {
    let bytes = webhook.event.to_string();
    StripeEvent::read(bytes.as_bytes())
        .map_err(|error| Failure::permanent("unreadable_event", error.to_string()))
}

/// What an event of a configured provider leads to: its word is taken, or it is an occasion to ask.
async fn configured(
    tx: &mut Tx,
    rules: &Rules,
    books: &Books,
    loaded: &Loaded<PaymentConfirmation>,
    found: Option<(PaymentId, OrderId)>,
) -> Result<Step<Look>, Failure> {
    let webhook = &loaded.job.0;
    let Some((payment, order)) = found else {
        return Ok(Step::Refused(taken::park(tx, webhook, loaded.age, "unknown payment").await?));
    };
    // Who proves nothing by a webhook is asked by those who know the route, whatever the intake was told.
    let provider = rules.offers.configured(&webhook.provider);
    let proves = provider.is_some_and(|provider| provider.confirm_by == ConfirmBy::Webhook);
    if !proves && !offer::is_by_hand(&webhook.provider) {
        jobs::insert(tx, vec![PaymentStatus::told((order, payment), webhook)]).await?;
        let fact = (webhook.object_id.as_str(), "looked_up");
        inbox::apply_signal(tx, &webhook.provider, fact, 0, &webhook.event_id).await?;
        taken::resolve(tx, webhook, Fate::Applied, "looked up").await?;
        return Ok(Step::Done);
    }
    let unreadable = |what: String| Step::Refused(Failure::permanent("unreadable_event", what));
    let told: Result<told::Told, _> = serde_json::from_value(webhook.event.clone());
    let asked = books
        .payments
        .get(&payment)
        .map(|row| row.currency.parse::<Currency>().map(|of| (row.amount_minor, of)));
    let heard = match (told, asked) {
        (Ok(told), Some(Ok((minor, currency)))) => payment_status::heard(&told, Amount::new(minor, currency)),
        (Err(error), _) => return Ok(unreadable(error.to_string())),
        (Ok(_), _) => return Ok(unreadable(format!("{payment} has no currency"))),
    };
    match heard {
        Ok(heard) => {
            apply(tx, rules, books, webhook, (payment, order), &heard).await?;
            Ok(Step::Done)
        }
        Err(unreadable) => Ok(Step::Refused(unreadable)),
    }
}

/// What went back is looked up, whatever the event says of it.
async fn refunded(
    tx: &mut Tx,
    loaded: &Loaded<PaymentConfirmation>,
    found: Option<(PaymentId, OrderId)>,
) -> Result<Step<Look>, Failure> {
    let webhook = &loaded.job.0;
    let Some((payment, order)) = found else {
        return Ok(Step::Refused(taken::park(tx, webhook, loaded.age, "unknown refund").await?));
    };
    let look = NewJob::of(&RefundSync { order, payment }, &webhook.event_id);
    jobs::insert(tx, vec![look.once(format!("refund-sync:{}", webhook.event_id))]).await?;
    inbox::apply_signal(tx, "stripe", (&webhook.object_id, "refund"), 0, &webhook.event_id).await?;
    taken::resolve(tx, webhook, Fate::Applied, "looked up").await?;
    Ok(Step::Done)
}

/// What a bank wants, as the event says it; one that says too little is looked up.
async fn disputed(
    tx: &mut Tx,
    rules: &Rules,
    books: &Books,
    loaded: &Loaded<PaymentConfirmation>,
    found: Option<(PaymentId, OrderId)>,
) -> Result<Step<Look>, Failure> {
    let event = read(&loaded.job.0)?;
    let Some(told) = wanted_back(&event) else { return Ok(Step::Call(Look::Dispute(event.object_id))) };
    let parked = told_of(tx, rules, books, loaded, found, &told).await?;
    Ok(parked.map_or(Step::Done, Step::Refused))
}

/// What an event says of a dispute, in our words. None where it has to be looked up.
fn wanted_back(event: &StripeEvent) -> Option<Told> {
    let object = event.object.as_ref()?;
    let amount = object.asked().ok().flatten().filter(|amount| amount.minor > 0)?;
    Some(Told {
        provider_id: event.object_id.clone(),
        state: DisputeState::of_stripe(object.status.as_deref()?)?,
        amount_minor: amount.minor,
        currency: amount.currency.to_string(),
        reason: object.reason.clone().unwrap_or_default(),
    })
}

/// Applies what was told of a dispute, and settles the event; or parks it until its payment has brought money here.
async fn told_of(
    tx: &mut Tx,
    rules: &Rules,
    books: &Books,
    loaded: &Loaded<PaymentConfirmation>,
    found: Option<(PaymentId, OrderId)>,
    told: &Told,
) -> Result<Option<Failure>, Failure> {
    let webhook = &loaded.job.0;
    let found = found.and_then(|(payment, order)| Some((books.orders.get(&order)?, payment)));
    let is_applied = match found {
        Some(found) => dispute::apply(tx, &rules.orders, found, told, &webhook.event_id).await?,
        None => false,
    };
    if !is_applied {
        return Ok(Some(taken::park(tx, webhook, loaded.age, "unknown payment").await?));
    }
    let fact = (told.provider_id.as_str(), told.state.name());
    inbox::apply_signal(tx, "stripe", fact, told.amount_minor, &webhook.event_id).await?;
    taken::resolve(tx, webhook, Fate::Applied, told.state.name()).await?;
    Ok(None)
}

/// What an event says, in our words. None where it has to be looked up: a thin event, or one without its amount.
fn heard(event: &StripeEvent) -> Option<Heard> {
    let object = event.object.as_ref()?;
    let state = match event.kind.as_str() {
        "payment_intent.succeeded" => State::Captured,
        "payment_intent.canceled" => State::Cancelled,
        "payment_intent.processing" => State::Processing,
        "payment_intent.requires_action" => State::RequiresAction,
        "payment_intent.amount_capturable_updated" => State::Authorized,
        _ => State::Pending,
    };
    let received = object.received().ok().flatten();
    if state == State::Captured {
        let received = received.filter(|amount| amount.minor > 0)?;
        return Some(Heard {
            state,
            received_minor: received.minor,
            currency: received.currency.to_string(),
        });
    }
    Some(Heard { state, received_minor: 0, currency: String::new() })
}

/// Applies a fact once, and settles the event.
async fn apply(
    tx: &mut Tx,
    rules: &Rules,
    books: &Books,
    webhook: &WebhookPayload,
    (payment, order): (PaymentId, OrderId),
    heard: &Heard,
) -> Result<(), Failure> {
    books.apply(tx, rules, (order, payment), heard, &webhook.event_id).await?;
    let fact = (webhook.object_id.as_str(), heard.state.name());
    inbox::apply_signal(tx, &webhook.provider, fact, heard.received_minor, &webhook.event_id).await?;
    taken::resolve(tx, webhook, Fate::Applied, heard.state.name()).await
}

#[cfg(test)]
mod tests;
