//! Asks a configured provider how a payment stands: because its webhook is only an occasion to ask, because it may never
//! come, because the customer is back, or because the hold is over.
//!
//! Its looks are those of [`super::payment_sync`], under the same names, so that whatever settles a payment
//! forgets both. Nothing is cancelled over there, because that can't be asked for: what is not known at the end of the hold
//! is let go here, and money that comes all the same is late.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::payment_sync::{self, PaymentSync};
use super::settlement::{Books, Heard};
use super::{Called, Job, Loaded, Rules};
use crate::config::OrderSettings;
use crate::domain::money::Amount;
use crate::domain::payment::State;
use crate::domain::told::{Outcome, Told};
use crate::domain::webhook::WebhookPayload;
use crate::ids::{JobId, OrderId, PaymentId};
use crate::job::{Calls, Dependency, Failure, Lane, Limits, NewJob, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::provider::configured::{Asked, StatusRoute};
use crate::store::payments::Payment;
use crate::store::{Tx, jobs, payments};

/// Which payment of which order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentStatus {
    /// The order.
    pub order: OrderId,
    /// The payment.
    pub payment: PaymentId,
    /// Which look of the schedule it is, from 0; none where somebody asked for it.
    pub look: Option<usize>,
    /// Whether the hold is over: a payment that the provider does not know is let go.
    #[serde(default)]
    pub closes: bool,
}

impl PaymentStatus {
    /// A look of the schedule, where it has one.
    pub(super) fn scheduled(
        (order, payment): (OrderId, PaymentId),
        look: usize,
        settings: &OrderSettings,
        cause: &str,
    ) -> Option<NewJob> {
        let job = Self { order, payment, look: Some(look), closes: false };
        let wait = payment_sync::wait(look, settings)?;
        Some(NewJob::of(&job, cause).after(wait).once(PaymentSync::key(payment, look)))
    }

    /// A look that is wanted now; `why` tells it from others of the same payment.
    pub(super) fn now((order, payment): (OrderId, PaymentId), why: &str, cause: &str) -> NewJob {
        let job = Self { order, payment, look: None, closes: false };
        NewJob::of(&job, cause).once(format!("payment-{why}:{payment}"))
    }

    /// The look that an event is the occasion of. Each has its own: what it tells may be newer than a look under way.
    pub(super) fn told((order, payment): (OrderId, PaymentId), by: &WebhookPayload) -> NewJob {
        let job = Self { order, payment, look: None, closes: false };
        NewJob::of(&job, &by.event_id).once(format!("payment-status:{}:{}", by.provider, by.event_id))
    }

    /// The look at the end of a hold.
    pub(super) fn closing((order, payment): (OrderId, PaymentId), cause: &str) -> NewJob {
        let job = Self { order, payment, look: None, closes: true };
        NewJob::of(&job, cause).once(format!("payment-closing:{payment}"))
    }
}

impl Payload for PaymentStatus {
    const KIND: &'static str = "payment-status";
    const LANE: Lane = Lane::PaymentsIn;
    const CALLS: Calls = Calls::Either;
    const LIMITS: Limits = Limits {
        attempts: 8,
        // One call of 8 s, with room for two transactions.
        deadline: Duration::from_secs(20),
        // The longest hold: after it the expiry has asked.
        max_age: Duration::from_mins(30),
        slice: 64,
        settle: 32,
        calls: 16,
    };

    fn subject(&self) -> Uuid {
        self.order.uuid()
    }
}

impl Job for PaymentStatus {
    type Plan = Asked;
    /// None where the provider does not know the payment: nobody has begun to pay it.
    type Receipt = Option<Told>;

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Step<Asked>>, Failure> {
        let ids: Vec<PaymentId> = jobs.iter().map(|loaded| loaded.job.payment).collect();
        let known = payments::lock(tx, &ids).await?;
        let mut steps = Vec::with_capacity(jobs.len());
        for loaded in jobs {
            // Written again from Postgres: whoever asked gets what is known.
            tx.touch_order(loaded.job.order);
            steps.push(match known.get(&loaded.job.payment) {
                Some(payment) => plan(loaded, payment)?,
                None => Step::Done,
            });
        }
        Ok(steps)
    }

    async fn call(&self, plan: &Asked, to: &Providers) -> Result<Option<Told>, Failure> {
        let provider = to.configured.get(&plan.provider);
        let unknown = || Failure::permanent("no_status_route", format!("{} can not be asked", plan.provider));
        Ok(provider.ok_or_else(unknown)?.look(plan).await?)
    }

    fn whom(plan: &Asked, providers: &Providers) -> Option<Dependency> {
        providers.configured.get(&plan.provider).map(StatusRoute::dependency)
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let (orders, payments): (Vec<OrderId>, Vec<PaymentId>) =
            back.iter().map(|called| (called.loaded.job.order, called.loaded.job.payment)).unzip();
        // Who does not know the payment may be the last who is asked: it is called off then.
        let is_over = back
            .iter()
            .any(|called| (*called.receipt).as_ref().is_none_or(|told| told.outcome != Outcome::Open));
        let books = Books::hearing(tx, &orders, &payments, is_over).await?;
        let mut verdicts = Vec::with_capacity(back.len());
        for called in back {
            verdicts.push(answered(tx, rules, &books, called).await?);
        }
        Ok(verdicts)
    }

    /// A look that was given up hides nothing: the expiry asks once more, and then lets the payment go.
    async fn buried(&self, _id: JobId, _failure: &Failure, _tx: &mut Tx) -> Result<(), Failure> {
        Ok(())
    }

    fn order(&self) -> Option<OrderId> {
        Some(self.order)
    }
}

/// What to ask of a payment. Nothing where it is paid; known to be over, only who asks gets another look.
fn plan(loaded: &Loaded<PaymentStatus>, payment: &Payment) -> Result<Step<Asked>, Failure> {
    let is_over =
        payment.state == State::Captured || (payment.state == State::Cancelled && loaded.job.look.is_some());
    let Some(reference) = payment.provider_id.clone().filter(|_| !is_over) else { return Ok(Step::Done) };
    let currency = payment.currency.parse().map_err(|error| Failure::permanent("bad_currency", error))?;
    let amount = Amount::new(payment.amount_minor, currency);
    Ok(Step::Call(Asked { provider: payment.provider.clone(), reference, amount }))
}

/// Applies what was said; a look that found nothing new is followed by the next.
async fn answered(
    tx: &mut Tx,
    rules: &Rules,
    books: &Books,
    called: &Called<PaymentStatus>,
) -> Result<Verdict, Failure> {
    let (job, cause) = (&called.loaded.job, called.loaded.cause());
    let of = (job.order, job.payment);
    let heard = match called.receipt.as_ref() {
        Some(told) => match heard(told, called.plan.amount) {
            Ok(heard) => Some(heard),
            Err(unreadable) => return Ok(Verdict::Refused(unreadable)),
        },
        None => job.closes.then(|| Heard::without_money(State::Cancelled)),
    };
    if let Some(heard) = &heard {
        books.apply(tx, rules, of, heard, &cause).await?;
    }
    if !heard.is_some_and(|heard| heard.state.is_over()) {
        let next = job.look.and_then(|look| PaymentStatus::scheduled(of, look + 1, &rules.orders, &cause));
        jobs::insert(tx, next.into_iter().collect()).await?;
    }
    Ok(Verdict::Done)
}

/// What was said, as the settlement takes it. A payment that is told to be paid has to say how much that was.
pub(super) fn heard(told: &Told, asked: Amount) -> Result<Heard, Failure> {
    let unreadable = |what: String| Failure::permanent("unreadable_amount", what);
    match told.outcome {
        Outcome::Failed => Ok(Heard::without_money(State::Cancelled)),
        Outcome::Open => Ok(Heard::without_money(State::Pending)),
        Outcome::Paid => {
            let received = told.received(asked.currency).map_err(|error| unreadable(error.to_string()))?;
            let received = received.filter(|amount| amount.minor > 0);
            let received =
                received.ok_or_else(|| unreadable(format!("{} says no amount", told.reference)))?;
            Ok(Heard {
                state: State::Captured,
                received_minor: received.minor,
                currency: received.currency.to_string(),
            })
        }
    }
}
