//! Opens the payment of an order at the provider, so that the customer's browser can pay.
//!
//! The order is `reserved` before this runs: a slow provider never slows the herd. What comes back settles only onto an
//! active hold; a hold that ended meanwhile gets its payment cancelled and hands out no secret.
//!
//! Whatever became of an earlier call, the same request under the same key opens one payment: an unknown outcome is looked
//! up by asking again. Only where the provider has kept a failure under the key, or knows it with other words, is the payment
//! looked for by our id, and a new key taken where there provably is none.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::payment_cancel::PaymentCancel;
use super::payment_sync::PaymentSync;
use super::{Called, Job, Loaded, Rules, telling};
use crate::domain::notice::{Notice, Once};
use crate::domain::order::Status;
use crate::domain::payment::State;
use crate::ids::{JobId, OrderId, PaymentId};
use crate::job::{Calls, Dependency, Failure, Lane, Limits, NewJob, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::provider::stripe::{CreatePayment, PaymentSeen};
use crate::store::effects::{self, EffectState, NewEffect, Proof};
use crate::store::exceptions::{self, Severity};
use crate::store::orders::{self, Order};
use crate::store::{Tx, jobs, payments, reservations};

/// Which payment of which order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentOpen {
    /// The order.
    pub order: OrderId,
    /// Its first payment is 1.
    pub attempt: i32,
}

impl PaymentOpen {
    /// What a job that somebody asked for is inserted under, once.
    pub(super) fn key(order: OrderId, attempt: i32) -> String {
        format!("payment-open:{order}:{attempt}")
    }
}

impl Payload for PaymentOpen {
    const KIND: &'static str = "payment-open";
    const LANE: Lane = Lane::PaymentsOut;
    const CALLS: Calls = Calls::Always(Dependency::Stripe);
    const LIMITS: Limits = Limits {
        attempts: 8,
        // Above the provider's time-out of 8 s, with room for two transactions.
        deadline: Duration::from_secs(20),
        // The longest hold: later there is nothing to open a payment for. Also well inside the 24 h in which the
        // provider remembers the key.
        max_age: Duration::from_mins(30),
        slice: 32,
        settle: 32,
        calls: 16,
    };

    fn subject(&self) -> Uuid {
        self.order.uuid()
    }
}

/// How far the provider's clock may be from ours, in seconds, when a payment is looked for.
const CLOCKS_APART: i64 = 300;

/// The request and its key.
#[derive(Clone, Debug)]
pub struct Open {
    payment: PaymentId,
    effect: String,
    key: String,
    request: CreatePayment,
}

impl Job for PaymentOpen {
    type Plan = Open;
    /// None where the key is used up and nothing was opened under it.
    type Receipt = Option<PaymentSeen>;
    const EXCEPTION: Option<&'static str> = Some("payment_not_opened");

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Step<Open>>, Failure> {
        let ids: Vec<OrderId> = jobs.iter().map(|loaded| loaded.job.order).collect();
        let orders = orders::lock(tx, &ids).await?;
        let held = reservations::active(tx, &ids).await?;
        let attempts: Vec<(OrderId, i32)> =
            jobs.iter().map(|loaded| (loaded.job.order, loaded.job.attempt)).collect();
        let known = payments::of_attempts(tx, &attempts).await?;
        let sent = sent(tx, &known).await?;
        let mut steps = Vec::with_capacity(jobs.len());
        for loaded in jobs {
            let waits = held.iter().any(|held| held.order == loaded.job.order && !held.is_closing());
            let step = match orders.get(&loaded.job.order) {
                Some(order)
                    if (order.status == Status::PendingPayment && waits) || sent.contains(&order.id) =>
                {
                    plan(tx, loaded, order).await?
                }
                _ => {
                    // Nobody will open it any more, and who wants to cancel it would wait for its id.
                    if let Some(payment) = known.get(&(loaded.job.order, loaded.job.attempt)) {
                        end_unsent(tx, *payment).await?;
                    }
                    Step::Done
                }
            };
            steps.push(step);
        }
        Ok(steps)
    }

    async fn call(&self, plan: &Open, to: &Providers) -> Result<Option<PaymentSeen>, Failure> {
        match to.stripe.create(&plan.request, &plan.key).await {
            Ok(seen) => Ok(Some(seen)),
            Err(error) if error.says_look_first() => {
                Ok(to.stripe.find(plan.payment, made_at(plan.payment) - CLOCKS_APART).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let ids: Vec<OrderId> = back.iter().map(|called| called.loaded.job.order).collect();
        orders::lock(tx, &ids).await?;
        let held = reservations::active(tx, &ids).await?;
        let time = Duration::from_secs(rules.orders.reservation_seconds);
        let mut verdicts = Vec::with_capacity(back.len());
        for called in back {
            let (order, payment) = (called.loaded.job.order, called.plan.payment);
            let Some(seen) = called.receipt.as_ref() else {
                effects::renew_key(tx, &called.plan.effect).await?;
                verdicts.push(Verdict::Again);
                continue;
            };
            let waits = held.iter().any(|held| held.order == order && !held.is_closing());
            let sealed = seen
                .client_secret
                .as_ref()
                .filter(|_| waits)
                .map(|secret| rules.seal.seal(secret.expose_secret().as_bytes()));
            payments::opened(tx, payment, &seen.id, sealed.as_deref()).await?;
            if waits {
                // The buyer may have waited for the provider: their time starts now.
                reservations::extend(tx, order, time, false).await?;
                let look = PaymentSync::first((order, payment), rules, &called.loaded.cause());
                jobs::insert(tx, look.into_iter().collect()).await?;
                if rules.orders.also_mails(Notice::OrderReceived.name()) {
                    let once = Once::Order(order.uuid());
                    telling::tell(tx, order, Notice::OrderReceived, once, &called.loaded.cause()).await?;
                }
            } else {
                let cancel = NewJob::of(&PaymentCancel { payment }, called.loaded.cause());
                jobs::insert(tx, vec![cancel.once(PaymentCancel::key(payment))]).await?;
            }
            orders::changed(tx, &[order], &called.loaded.cause()).await?;
            verdicts.push(Verdict::Done);
        }
        Ok(verdicts)
    }

    /// Nobody can pay this order: a person has to see that, and the hold runs out by itself.
    async fn buried(&self, id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        let detail = format!("{id} could not open the payment: {}", failure.code);
        exceptions::open(tx, self.order, "payment_not_opened", Severity::Warning, &detail).await?;
        Ok(())
    }

    fn effect(plan: &Open) -> Option<&str> {
        Some(&plan.effect)
    }

    fn proof(plan: &Open, receipt: &Option<PaymentSeen>) -> Option<Proof> {
        receipt.as_ref().map(|seen| Proof {
            effect: plan.effect.clone(),
            provider_ref: seen.id.clone(),
            receipt: serde_json::to_value(seen).unwrap_or(Value::Null),
        })
    }

    fn order(&self) -> Option<OrderId> {
        Some(self.order)
    }
}

/// When a payment's id was made, in unix seconds: nothing was asked of the provider before. An id that does not tell is
/// looked for from the beginning.
fn made_at(payment: PaymentId) -> i64 {
    let told = payment.uuid().get_timestamp().map(|made| made.to_unix().0);
    told.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(CLOCKS_APART)
}

/// The orders whose payment may be open at the provider without our knowing: asked for again under the same key, whatever
/// became of the hold, so that it is known and can be cancelled.
async fn sent(tx: &mut Tx, known: &HashMap<(OrderId, i32), PaymentId>) -> Result<HashSet<OrderId>, Failure> {
    let names: Vec<String> = known.values().map(|payment| effect_name(*payment)).collect();
    let unresolved = effects::unresolved(tx, &names).await?;
    let unresolved = known.iter().filter(|(_, payment)| unresolved.contains(&effect_name(**payment)));
    Ok(unresolved.map(|((order, _), _)| *order).collect())
}

/// Ends a payment that the provider provably never heard of. False where it may have, or where it is over already.
pub(super) async fn end_unsent(tx: &mut Tx, id: PaymentId) -> Result<bool, Failure> {
    let known = payments::lock(tx, &[id]).await?;
    let is_open =
        known.get(&id).is_some_and(|payment| payment.provider_id.is_none() && !payment.state.is_over());
    let opened = effects::state_of(tx, &effect_name(id)).await?;
    if !is_open || !matches!(opened, None | Some(EffectState::Pending | EffectState::Failed)) {
        return Ok(false);
    }
    payments::advance(tx, id, State::Cancelled).await?;
    effects::mark(tx, &effect_name(id), EffectState::Failed).await?;
    Ok(true)
}

/// What opening a payment is called among the effects.
pub(super) fn effect_name(payment: PaymentId) -> String {
    format!("pay_create:{payment}")
}

/// The payment's row and its effect, before the call.
async fn plan(tx: &mut Tx, loaded: &Loaded<PaymentOpen>, order: &Order) -> Result<Step<Open>, Failure> {
    let amount = (order.total_minor, order.currency.as_str());
    let payment = payments::ensure(tx, order.id, loaded.job.attempt, &order.payment_provider, amount).await?;
    if payment.provider_id.is_some() || payment.state.is_over() {
        return Ok(Step::Done);
    }
    let request = CreatePayment {
        amount_minor: order.total_minor,
        currency: order.currency.parse().map_err(|error| Failure::permanent("bad_currency", error))?,
        order_id: order.id,
        payment_id: payment.id,
        order_number: order.number.clone(),
        tenant: order.tenant.clone(),
        description: format!("Order {}", order.number),
    };
    let name = effect_name(payment.id);
    let frozen = serde_json::to_value(&request).unwrap_or(Value::Null);
    let wanted = NewEffect { name: name.clone(), request: frozen, job: loaded.id };
    let effect = effects::begin(tx, &[wanted]).await?.remove(&name);
    let effect = effect.ok_or_else(|| Failure::retry("no_effect", "the effect's row is gone"))?;
    let request = serde_json::from_value(effect.request)
        .map_err(|error| Failure::permanent("unreadable_request", error))?;
    Ok(Step::Call(Open { payment: payment.id, effect: name, key: effect.key, request }))
}
