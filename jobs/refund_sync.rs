//! Looks at a payment's refunds at the provider, and brings ours to where they stand.
//!
//! Inserted for each event that tells of one. Events are no more than the occasion: some tell all refunds of a charge in
//! one sum, some come before our own answer or in the wrong order, and some name no amount. A look tells each refund with
//! its own id, so that none is counted twice and none is guessed. One that nobody here asked for was made at the
//! provider's own page: it gets its row, because its money went back all the same.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::refund::{self, Refund};
use super::{Called, Job, Loaded, Rules, giveback};
use crate::domain::refund::{Origin, State};
use crate::ids::{JobId, OrderId, PaymentId};
use crate::job::{Calls, Dependency, Failure, Lane, Limits, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::provider::stripe::RefundSeen;
use crate::store::exceptions::{self, Severity};
use crate::store::orders::Order;
use crate::store::payments::Payment;
use crate::store::refunds::{self, NewRefund, News};
use crate::store::{Tx, jobs, orders, payments};

/// Which payment of which order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundSync {
    /// The order: one look at it is settled at a time.
    pub order: OrderId,
    /// The payment.
    pub payment: PaymentId,
}

impl Payload for RefundSync {
    const KIND: &'static str = "refund-sync";
    const LANE: Lane = Lane::PaymentsIn;
    const CALLS: Calls = Calls::Always(Dependency::Stripe);
    const LIMITS: Limits = Limits {
        attempts: 12,
        // A look of 8 s for each hundred refunds of one payment, with room for two transactions.
        deadline: Duration::from_secs(25),
        // As long as Stripe tells an event again.
        max_age: Duration::from_hours(72),
        slice: 32,
        settle: 32,
        calls: 16,
    };

    fn subject(&self) -> Uuid {
        self.order.uuid()
    }
}

impl Job for RefundSync {
    /// The provider's id of the payment.
    type Plan = String;
    type Receipt = Vec<RefundSeen>;
    const EXCEPTION: Option<&'static str> = Some("refunds_not_seen");

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Step<String>>, Failure> {
        let ids: Vec<PaymentId> = jobs.iter().map(|loaded| loaded.job.payment).collect();
        let known = payments::lock(tx, &ids).await?;
        let at_the_provider = |loaded: &Loaded<Self>| known.get(&loaded.job.payment)?.provider_id.clone();
        Ok(jobs.iter().map(|loaded| at_the_provider(loaded).map_or(Step::Done, Step::Call)).collect())
    }

    async fn call(&self, plan: &String, to: &Providers) -> Result<Vec<RefundSeen>, Failure> {
        Ok(to.stripe.refunds_of(plan).await?)
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let of: Vec<OrderId> = back.iter().map(|called| called.loaded.job.order).collect();
        let parts: Vec<PaymentId> = back.iter().map(|called| called.loaded.job.payment).collect();
        orders::lock(tx, &of).await?;
        let paid = payments::lock(tx, &parts).await?;
        let mut verdicts = Vec::with_capacity(back.len());
        for called in back {
            let verdict = match paid.get(&called.loaded.job.payment) {
                Some(payment) => all(tx, payment, &called.receipt, &called.loaded.cause()).await?,
                None => Verdict::Done,
            };
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    /// Money may have gone back without our books: a person has to look.
    async fn buried(&self, id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        let detail = format!("{id} could not look at the refunds of {}: {}", self.payment, failure.code);
        exceptions::open(tx, self.order, "refunds_not_seen", Severity::Warning, &detail).await?;
        Ok(())
    }

    fn order(&self) -> Option<OrderId> {
        Some(self.order)
    }
}

/// Brings every refund of a payment to where it was seen.
async fn all(tx: &mut Tx, payment: &Payment, seen: &[RefundSeen], cause: &str) -> Result<Verdict, Failure> {
    let mut verdict = Verdict::Done;
    for seen in seen {
        // Read again for each: the one before may have moved it.
        let Some(order) = orders::lock(tx, &[payment.order]).await?.remove(&payment.order) else {
            return Ok(Verdict::Done);
        };
        let ours = refunds::seen_as(tx, payment.id, &seen.id, seen.refund_id).await?;
        if let Some(refund) = ours {
            told(tx, &order, &refund, seen, cause).await?;
        } else if !seen.state.gave_up() && !from_outside(tx, &order, payment, seen, cause).await? {
            let detail = format!("{} is more than is left of {}", seen.id, payment.id);
            verdict = Verdict::Refused(Failure::retry("no_room_yet", detail));
        }
    }
    Ok(verdict)
}

async fn told(
    tx: &mut Tx,
    order: &Order,
    ours: &refunds::Refund,
    seen: &RefundSeen,
    cause: &str,
) -> Result<(), Failure> {
    let news = News { state: seen.state, provider_id: Some(&seen.id), failure: seen.failure.as_deref() };
    refund::is_there(tx, ours.id, seen).await?;
    let is_news = giveback::apply(tx, order, ours, &news, cause).await?;
    if is_news && ours.state == State::Pending {
        // Nothing is left to look at.
        jobs::forget(tx, &[Refund { order: order.id, refund: ours.id }.key()]).await?;
    }
    Ok(())
}

/// A refund that somebody made at the provider's own page. False where it does not fit yet beside what we have set aside:
/// one of ours is about to be refused.
async fn from_outside(
    tx: &mut Tx,
    order: &Order,
    payment: &Payment,
    seen: &RefundSeen,
    cause: &str,
) -> Result<bool, Failure> {
    let captured = payments::captured_of(tx, order.id).await?;
    let left = captured.iter().find(|captured| captured.id == payment.id).map(payments::Captured::left_minor);
    if left.is_none_or(|left| left < seen.amount_minor) {
        return Ok(false);
    }
    let new = NewRefund {
        payment: payment.id,
        amount_minor: seen.amount_minor,
        origin: Origin::External,
        key: format!("{}:{}", Origin::External.name(), seen.id),
        reason: String::new(),
        actor: "provider".to_owned(),
    };
    if let Some((id, _)) = refunds::insert(tx, &new, cause).await?
        && let Some(mut refund) = refunds::lock(tx, &[id]).await?.remove(&id)
    {
        let sent = News { state: State::Submitting, provider_id: None, failure: None };
        refunds::advance(tx, &refund, &sent).await?;
        refund.state = State::Submitting;
        told(tx, order, &refund, seen, cause).await?;
    }
    Ok(true)
}
