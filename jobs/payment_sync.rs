//! Looks at a payment at the provider: because its webhook may never come, because the customer is back from the payment
//! page, or because money that is promised has to be taken.
//!
//! One look of the schedule inserts the next, so that an order waits with one row and not with three; money that was
//! settled meanwhile takes the row away. Authorised money is taken at once while the pieces are held for it, and let go
//! where they are not: then nothing has to be refunded.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::payment_cancel::{PaymentCancel, in_our_words};
use super::settlement::Books;
use super::{Called, Job, Loaded, Rules};
use crate::config::OrderSettings;
use crate::domain::payment::State;
use crate::ids::{JobId, OrderId, PaymentId};
use crate::job::{Calls, Dependency, Failure, Lane, Limits, NewJob, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::provider::stripe::{PaymentSeen, SeenStatus};
use crate::store::effects::{self, EffectState, NewEffect, Proof};
use crate::store::exceptions::{self, Severity};
use crate::store::orders::Order;
use crate::store::payments::Payment;
use crate::store::{Tx, jobs, orders, payments, reservations};

/// When a payment is looked at, counted from its opening in times of `orders.payment_sync_seconds`: by default after one
/// minute, five, and at the end of the hold.
const LOOKS: [u32; 3] = [1, 5, 15];

/// How long after the one before a look of the schedule is due; none where the schedule is over.
pub(super) fn wait(look: usize, settings: &OrderSettings) -> Option<Duration> {
    let before = look.checked_sub(1).and_then(|last| LOOKS.get(last)).copied().unwrap_or_default();
    Some(Duration::from_secs(settings.payment_sync_seconds) * (LOOKS.get(look)? - before))
}

/// Which payment of which order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentSync {
    /// The order.
    pub order: OrderId,
    /// The payment.
    pub payment: PaymentId,
    /// Which look of the schedule it is, from 0; none where somebody asked for it.
    pub look: Option<usize>,
}

impl PaymentSync {
    /// The first look at a payment that was just opened, where the schedule has one.
    pub(super) fn first(of: (OrderId, PaymentId), rules: &Rules, cause: &str) -> Option<NewJob> {
        Self::scheduled(of, 0, rules, cause)
    }

    fn scheduled(
        (order, payment): (OrderId, PaymentId),
        look: usize,
        rules: &Rules,
        cause: &str,
    ) -> Option<NewJob> {
        let wait = wait(look, &rules.orders)?;
        let job = NewJob::of(&Self { order, payment, look: Some(look) }, cause).after(wait);
        Some(job.once(Self::key(payment, look)))
    }

    pub(super) fn key(payment: PaymentId, look: usize) -> String {
        format!("payment-sync:{payment}:{look}")
    }

    /// What the looks at a payment may be inserted under: to be forgotten once it is over.
    pub(super) fn keys(payment: PaymentId) -> impl Iterator<Item = String> {
        (0..LOOKS.len()).map(move |look| Self::key(payment, look))
    }

    /// A look that is wanted now; `why` tells it from others of the same payment.
    pub(super) fn now((order, payment): (OrderId, PaymentId), why: &str, cause: &str) -> NewJob {
        NewJob::of(&Self { order, payment, look: None }, cause).once(format!("payment-{why}:{payment}"))
    }
}

impl Payload for PaymentSync {
    const KIND: &'static str = "payment-sync";
    const LANE: Lane = Lane::PaymentsIn;
    const CALLS: Calls = Calls::Always(Dependency::Stripe);
    const LIMITS: Limits = Limits {
        attempts: 8,
        // Two calls of 8 s, with room for two transactions.
        deadline: Duration::from_secs(25),
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

/// What the provider is asked, of which payment.
#[derive(Clone, Debug)]
pub struct Ask {
    provider_id: String,
    /// Effect and key, where promised money is to be taken.
    capture: Option<(String, String)>,
}

impl Job for PaymentSync {
    type Plan = Ask;
    type Receipt = PaymentSeen;
    const EXCEPTION: Option<&'static str> = Some("payment_not_captured");

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Step<Ask>>, Failure> {
        let (ids, of): (Vec<OrderId>, Vec<PaymentId>) =
            jobs.iter().map(|loaded| (loaded.job.order, loaded.job.payment)).unzip();
        let orders = orders::lock(tx, &ids).await?;
        let known = payments::lock(tx, &of).await?;
        let held = reservations::active(tx, &ids).await?;
        let mut steps = Vec::with_capacity(jobs.len());
        for loaded in jobs {
            // Written again from Postgres: whoever asked gets what is known.
            tx.touch_order(loaded.job.order);
            let is_held = held.iter().any(|held| held.order == loaded.job.order);
            let step = match (orders.get(&loaded.job.order), known.get(&loaded.job.payment)) {
                (Some(order), Some(payment)) => plan(tx, loaded, (order, payment), is_held).await?,
                _ => Step::Done,
            };
            steps.push(step);
        }
        Ok(steps)
    }

    async fn call(&self, plan: &Ask, to: &Providers) -> Result<PaymentSeen, Failure> {
        let Some((_, key)) = &plan.capture else {
            return Ok(to.stripe.retrieve(&plan.provider_id).await?);
        };
        match to.stripe.capture(&plan.provider_id, key).await {
            Ok(seen) => Ok(seen),
            Err(error) if error.says_look_first() => Ok(to.stripe.retrieve(&plan.provider_id).await?),
            Err(error) => Err(error.into()),
        }
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let (orders, payments): (Vec<OrderId>, Vec<PaymentId>) =
            back.iter().map(|called| (called.loaded.job.order, called.loaded.job.payment)).unzip();
        let is_over = back.iter().any(|called| in_our_words(&called.receipt).state.is_over());
        let books = Books::hearing(tx, &orders, &payments, is_over).await?;
        let mut verdicts = Vec::with_capacity(back.len());
        for called in back {
            verdicts.push(answered(tx, rules, &books, called).await?);
        }
        Ok(verdicts)
    }

    /// A look that was given up hides nothing: the expiry asks once more. Promised money that is not taken lapses.
    async fn buried(&self, id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        let known = payments::lock(tx, &[self.payment]).await?;
        if known.get(&self.payment).is_some_and(|payment| payment.state == State::Authorized) {
            let detail = format!("{id} could not take the money of {}: {}", self.payment, failure.code);
            exceptions::open(tx, self.order, "payment_not_captured", Severity::Critical, &detail).await?;
        }
        Ok(())
    }

    fn effect(plan: &Ask) -> Option<&str> {
        plan.capture.as_ref().map(|(effect, _)| effect.as_str())
    }

    fn proof(plan: &Ask, receipt: &PaymentSeen) -> Option<Proof> {
        let (effect, _) = plan.capture.as_ref()?;
        (receipt.status == SeenStatus::Succeeded).then(|| Proof {
            effect: effect.clone(),
            provider_ref: receipt.id.clone(),
            receipt: serde_json::to_value(receipt).unwrap_or_default(),
        })
    }

    fn order(&self) -> Option<OrderId> {
        Some(self.order)
    }
}

/// What to ask about a payment. Nothing where it is paid, or where the provider does not know it yet.
async fn plan(
    tx: &mut Tx,
    loaded: &Loaded<PaymentSync>,
    (order, payment): (&Order, &Payment),
    is_held: bool,
) -> Result<Step<Ask>, Failure> {
    let Some(provider_id) = payment.provider_id.clone() else { return Ok(Step::Done) };
    match payment.state {
        State::Captured => Ok(Step::Done),
        // Known to be over: only who asks gets another look, which finds money that contradicts it.
        State::Cancelled if loaded.job.look.is_some() => Ok(Step::Done),
        State::Authorized if order.awaits_money() && !order.cancel_requested && is_held => {
            capture(tx, loaded, provider_id).await
        }
        State::Authorized => {
            let cancel = NewJob::of(&PaymentCancel { payment: payment.id }, loaded.cause());
            jobs::insert(tx, vec![cancel.once(PaymentCancel::key(payment.id))]).await?;
            Ok(Step::Done)
        }
        State::Created | State::Pending | State::RequiresAction | State::Processing | State::Cancelled => {
            Ok(Step::Call(Ask { provider_id, capture: None }))
        }
    }
}

async fn capture(
    tx: &mut Tx,
    loaded: &Loaded<PaymentSync>,
    provider_id: String,
) -> Result<Step<Ask>, Failure> {
    let name = format!("pay_capture:{}", loaded.job.payment);
    let wanted =
        NewEffect { name: name.clone(), request: json!({ "payment_intent": provider_id }), job: loaded.id };
    let effect = effects::begin(tx, &[wanted]).await?.remove(&name);
    let effect = effect.ok_or_else(|| Failure::retry("no_effect", "the effect's row is gone"))?;
    Ok(Step::Call(Ask { provider_id, capture: Some((name, effect.key)) }))
}

/// Applies what was seen; a look that found nothing new is followed by the next.
async fn answered(
    tx: &mut Tx,
    rules: &Rules,
    books: &Books,
    called: &Called<PaymentSync>,
) -> Result<Verdict, Failure> {
    let (job, seen, cause) = (&called.loaded.job, &called.receipt, called.loaded.cause());
    let of = (job.order, job.payment);
    books.apply(tx, rules, of, &in_our_words(seen), &cause).await?;
    match (&called.plan.capture, seen.status) {
        (_, SeenStatus::Succeeded) | (None, SeenStatus::Canceled) => Ok(Verdict::Done),
        (None, _) => {
            let next = job.look.and_then(|look| PaymentSync::scheduled(of, look + 1, rules, &cause));
            jobs::insert(tx, next.into_iter().collect()).await?;
            Ok(Verdict::Done)
        }
        (Some((effect, _)), status) => {
            // It did not happen: where it is asked for once more, then under a new key.
            effects::renew_key(tx, effect).await?;
            effects::mark(tx, effect, EffectState::Failed).await?;
            if status == SeenStatus::Canceled {
                return Ok(Verdict::Done);
            }
            let detail = format!("{} was not taken", job.payment);
            Ok(Verdict::Refused(Failure::retry("not_captured", detail)))
        }
    }
}
