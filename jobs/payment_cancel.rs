//! Cancels a payment that nobody may pay any more. If the money was faster, it is settled instead.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::payment_sync::PaymentSync;
use super::settlement::{Books, Heard};
use super::{Called, Job, Loaded, Rules, handover};
use crate::domain::payment::State;
use crate::ids::{JobId, OrderId, PaymentId};
use crate::job::{Calls, Dependency, Failure, Lane, Limits, NewJob, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::provider::stripe::{PaymentSeen, SeenStatus};
use crate::store::effects::{self, EffectState, NewEffect, Proof};
use crate::store::exceptions::{self, Severity};
use crate::store::payments::{self, Payment};
use crate::store::{Tx, jobs};

/// Which payment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentCancel {
    /// The payment.
    pub payment: PaymentId,
}

impl PaymentCancel {
    /// What the job is inserted under, once.
    pub(super) fn key(payment: PaymentId) -> String {
        format!("payment-cancel:{payment}")
    }
}

impl Payload for PaymentCancel {
    const KIND: &'static str = "payment-cancel";
    const LANE: Lane = Lane::PaymentsOut;
    const CALLS: Calls = Calls::Always(Dependency::Stripe);
    const LIMITS: Limits = Limits {
        attempts: 12,
        // Two calls of 8 s, with room for two transactions.
        deadline: Duration::from_secs(25),
        // An open payment can take a customer's money: worth a day of trying.
        max_age: Duration::from_hours(24),
        slice: 32,
        settle: 32,
        calls: 16,
    };

    fn subject(&self) -> Uuid {
        self.payment.uuid()
    }
}

/// The provider's id of the payment, and the key of its cancellation.
#[derive(Clone, Debug)]
pub struct Cancel {
    pub(super) payment: PaymentId,
    pub(super) order: OrderId,
    pub(super) provider_id: String,
    pub(super) effect: String,
    pub(super) key: String,
}

impl Job for PaymentCancel {
    type Plan = Cancel;
    type Receipt = PaymentSeen;
    const EXCEPTION: Option<&'static str> = Some("payment_not_cancelled");

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Step<Cancel>>, Failure> {
        let ids: Vec<PaymentId> = jobs.iter().map(|loaded| loaded.job.payment).collect();
        let known = payments::lock(tx, &ids).await?;
        let mut steps = Vec::with_capacity(jobs.len());
        for loaded in jobs {
            let known = known.get(&loaded.job.payment);
            known.inspect(|payment| tx.about(loaded.id, payment.order));
            let step = match known {
                Some(payment) if !payment.state.is_over() => {
                    let wait = loaded.age.clamp(Duration::from_secs(1), Duration::from_mins(1));
                    let early = || Failure::snooze(wait, "not_open_yet", "the provider has not answered yet");
                    let cancel = plan(tx, payment, loaded.id).await?;
                    cancel.map_or_else(|| Step::Refused(early()), Step::Call)
                }
                _ => Step::Done,
            };
            steps.push(step);
        }
        Ok(steps)
    }

    async fn call(&self, plan: &Cancel, to: &Providers) -> Result<PaymentSeen, Failure> {
        cancel_or_look(plan, to).await
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let mut verdicts = Vec::with_capacity(back.len());
        let books = open(tx, back.iter().map(|called| &*called.plan)).await?;
        for called in back {
            let seen = &called.receipt;
            heard(tx, rules, &books, &called.plan, seen, &called.loaded.cause()).await?;
            verdicts.push(if is_over(seen.status) {
                Verdict::Done
            } else {
                Verdict::Refused(Failure::retry(
                    "still_open",
                    format!("{} is still open", called.plan.payment),
                ))
            });
        }
        Ok(verdicts)
    }

    /// A payment that can't be cancelled may still take money: a person has to look.
    async fn buried(&self, id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        if let Some(payment) = payments::lock(tx, &[self.payment]).await?.get(&self.payment) {
            let detail = format!("{id} could not cancel {}: {}", self.payment, failure.code);
            exceptions::open(tx, payment.order, "payment_not_cancelled", Severity::Critical, &detail).await?;
        }
        Ok(())
    }

    fn effect(plan: &Cancel) -> Option<&str> {
        Some(&plan.effect)
    }

    fn proof(plan: &Cancel, receipt: &PaymentSeen) -> Option<Proof> {
        proof(plan, receipt)
    }
}

/// Nobody may pay these any more: Stripe is told, and what begins here ends here. Their orders are locked.
pub(super) async fn let_go(tx: &mut Tx, open: &[PaymentId], cause: &str) -> Result<(), Failure> {
    let mut cancels = Vec::new();
    for payment in payments::lock(tx, open).await?.into_values() {
        if handover::begins_here(&payment.provider) {
            payments::advance(tx, payment.id, State::Cancelled).await?;
            jobs::forget(tx, &PaymentSync::keys(payment.id).collect::<Vec<_>>()).await?;
        } else {
            let cancel = PaymentCancel { payment: payment.id };
            cancels.push(NewJob::of(&cancel, cause).once(PaymentCancel::key(payment.id)));
        }
    }
    jobs::insert(tx, cancels).await?;
    Ok(())
}

/// What a cancellation proves, where the payment is cancelled.
pub(super) fn proof(plan: &Cancel, seen: &PaymentSeen) -> Option<Proof> {
    (seen.status == SeenStatus::Canceled).then(|| Proof {
        effect: plan.effect.clone(),
        provider_ref: seen.id.clone(),
        receipt: serde_json::to_value(seen).unwrap_or_default(),
    })
}

/// The effect of cancelling a payment, taken up. None where the provider does not know the payment yet.
pub(super) async fn plan(tx: &mut Tx, payment: &Payment, job: JobId) -> Result<Option<Cancel>, Failure> {
    let Some(provider_id) = payment.provider_id.clone() else {
        return Ok(None);
    };
    let name = format!("pay_cancel:{}", payment.id);
    let request = serde_json::json!({ "payment_intent": provider_id });
    let effect = effects::begin(tx, &[NewEffect { name: name.clone(), request, job }]).await?.remove(&name);
    let effect = effect.ok_or_else(|| Failure::retry("no_effect", "the effect's row is gone"))?;
    Ok(Some(Cancel { payment: payment.id, order: payment.order, provider_id, effect: name, key: effect.key }))
}

/// Cancels; where the provider says that it is over or does something else, looks what it is.
pub(super) async fn cancel_or_look(plan: &Cancel, to: &Providers) -> Result<PaymentSeen, Failure> {
    match to.stripe.cancel(&plan.provider_id, &plan.key).await {
        Ok(seen) => Ok(seen),
        Err(error) if error.says_look_first() => Ok(to.stripe.retrieve(&plan.provider_id).await?),
        Err(error) => Err(error.into()),
    }
}

/// The books of the payments that were to be cancelled.
pub(super) async fn open(tx: &mut Tx, plans: impl Iterator<Item = &Cancel> + Send) -> Result<Books, Failure> {
    let (orders, payments): (Vec<OrderId>, Vec<PaymentId>) =
        plans.map(|plan| (plan.order, plan.payment)).unzip();
    Books::open(tx, &orders, &payments).await
}

/// Applies what the provider said of a payment.
pub(super) async fn heard(
    tx: &mut Tx,
    rules: &Rules,
    books: &Books,
    plan: &Cancel,
    seen: &PaymentSeen,
    cause: &str,
) -> Result<(), Failure> {
    books.apply(tx, rules, (plan.order, plan.payment), &in_our_words(seen), cause).await?;
    if seen.status != SeenStatus::Canceled {
        // The cancellation did not happen and will not: the money was faster, or it is asked for anew. Then under a new
        // key, because the provider may have kept a failure under this one.
        effects::renew_key(tx, &plan.effect).await?;
        effects::mark(tx, &plan.effect, EffectState::Failed).await?;
    }
    Ok(())
}

/// Whether nothing more comes of it.
pub(super) const fn is_over(status: SeenStatus) -> bool {
    matches!(status, SeenStatus::Canceled | SeenStatus::Succeeded)
}

/// What was seen, as the settlement takes it.
pub(super) fn in_our_words(seen: &PaymentSeen) -> Heard {
    let state = match seen.status {
        SeenStatus::RequiresPaymentMethod | SeenStatus::RequiresConfirmation | SeenStatus::Other => {
            State::Pending
        }
        SeenStatus::RequiresAction => State::RequiresAction,
        SeenStatus::Processing => State::Processing,
        SeenStatus::RequiresCapture => State::Authorized,
        SeenStatus::Succeeded => State::Captured,
        SeenStatus::Canceled => State::Cancelled,
    };
    Heard { state, received_minor: seen.received_minor, currency: seen.currency.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    #[test]
    fn each_state_at_the_provider_is_one_of_ours_and_only_two_of_them_are_ends() {
        for (status, state, ends) in [
            (SeenStatus::RequiresPaymentMethod, State::Pending, false),
            (SeenStatus::RequiresConfirmation, State::Pending, false),
            (SeenStatus::RequiresAction, State::RequiresAction, false),
            (SeenStatus::Processing, State::Processing, false),
            (SeenStatus::RequiresCapture, State::Authorized, false),
            (SeenStatus::Succeeded, State::Captured, true),
            (SeenStatus::Canceled, State::Cancelled, true),
            (SeenStatus::Other, State::Pending, false),
        ] {
            let seen = PaymentSeen {
                id: "pi_1".into(),
                status,
                amount_minor: 500,
                received_minor: 300,
                currency: Currency::USD,
                client_secret: None,
            };
            let heard = in_our_words(&seen);
            let money = (heard.received_minor, heard.currency.as_str());
            assert_eq!((heard.state, money), (state, (300, "USD")), "{status:?}");
            assert_eq!((is_over(status), state.is_over()), (ends, ends), "{status:?}");
        }
    }
}
