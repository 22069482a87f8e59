//! Gives money back at the provider, exactly once.
//!
//! The row and the money set aside for it are there before this runs. A refund whose answer was lost is looked for among
//! those of its payment by our own id, and only where it provably is not there is it asked for again, under the same key:
//! a request that is still on its way can't be carried out beside it. A new key is taken only where the provider keeps a
//! failure under the old one and there is nothing. What the bank has not confirmed is looked at until it has.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Called, Job, Loaded, Rules, giveback};
use crate::domain::offer::STRIPE;
use crate::domain::refund::State;
use crate::ids::{JobId, OrderId, RefundId};
use crate::job::{Calls, Class, Dependency, Failure, Lane, Limits, Payload, Step, Verdict};
use crate::provider::stripe::{CreateRefund, RefundSeen};
use crate::provider::{CallError, Providers};
use crate::store::disputes::Bar;
use crate::store::effects::{self, EffectState, NewEffect, Proof};
use crate::store::exceptions::{self, Severity};
use crate::store::refunds::{self, News};
use crate::store::{Tx, disputes, orders, payments};

/// The first look at a refund that the bank has not confirmed: its webhook is usually faster.
const FIRST_LOOK: Duration = Duration::from_mins(2);
/// The longest wait between two looks: banks take days.
const LONGEST_LOOK: Duration = Duration::from_hours(12);
/// Until a dispute that Stripe knows of is known here, by its own event: then the refund waits for its end without a job.
const HEARD_OF: Duration = Duration::from_secs(10);

/// The exception that asks a person to give money back.
pub(super) const BY_HAND: &str = "refund_by_hand";

/// Which refund of which order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    /// The order: one refund of it is worked on at a time.
    pub order: OrderId,
    /// The refund.
    pub refund: RefundId,
}

impl Refund {
    /// What the job of a refund is inserted under, once.
    pub(super) fn key(&self) -> String {
        effect_name(self.refund)
    }
}

impl Payload for Refund {
    const KIND: &'static str = "refund";
    const LANE: Lane = Lane::PaymentsOut;
    const CALLS: Calls = Calls::Always(Dependency::Stripe);
    const LIMITS: Limits = Limits {
        attempts: 12,
        // Two calls of 8 s, with room for two transactions.
        deadline: Duration::from_secs(25),
        // Bank transfers are confirmed after weeks; then a person has to ask.
        max_age: Duration::from_hours(24 * 30),
        slice: 32,
        settle: 32,
        calls: 16,
    };

    fn subject(&self) -> Uuid {
        self.order.uuid()
    }
}

/// One step: what is asked, and for which effect.
#[derive(Clone, Debug)]
pub struct Recipe {
    effect: String,
    request: CreateRefund,
    step: Ask,
}

#[derive(Clone, Debug)]
enum Ask {
    /// Give the money back, under this key.
    Send { key: String },
    /// See whether an earlier request worked.
    Look,
    /// See how a refund does that is there, by its id.
    Follow { id: String },
}

impl Job for Refund {
    type Plan = Recipe;
    /// None where it provably is not there.
    type Receipt = Option<RefundSeen>;
    const EXCEPTION: Option<&'static str> = Some("refund_unknown");

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Step<Recipe>>, Failure> {
        let ids: Vec<RefundId> = jobs.iter().map(|loaded| loaded.job.refund).collect();
        // A dispute is written under the payment's lock: none begins between this look and the commit that sends.
        let parts = refunds::payments_of(tx, &ids).await?;
        payments::lock(tx, &parts).await?;
        let bars = disputes::bars(tx, &parts).await?;
        let known = refunds::lock(tx, &ids).await?;
        let mut steps = Vec::with_capacity(jobs.len());
        for loaded in jobs {
            let step = match known.get(&loaded.job.refund) {
                Some(refund) if refund.provider != STRIPE => {
                    by_hand(tx, refund).await?;
                    Step::Done
                }
                Some(refund) if bars.contains_key(&refund.payment) && is_unsent(tx, refund).await? => {
                    barred(tx, refund, bars.get(&refund.payment).copied()).await?;
                    Step::Done
                }
                Some(refund) if refund.state.is_to_be_sent() || refund.state == State::Pending => {
                    plan(tx, loaded, refund).await?
                }
                // Who told of its end has written the receipt, too.
                Some(_) | None => Step::Done,
            };
            steps.push(step);
        }
        Ok(steps)
    }

    async fn call(&self, plan: &Recipe, to: &Providers) -> Result<Option<RefundSeen>, Failure> {
        match &plan.step {
            Ask::Follow { id } => Ok(Some(to.stripe.retrieve_refund(id).await?)),
            Ask::Look => find(plan, to).await,
            Ask::Send { key } => match to.stripe.refund(&plan.request, key).await {
                Ok(seen) => Ok(Some(seen)),
                Err(error) if error.says_disputed() => Err(Failure::snooze(HEARD_OF, "disputed", error)),
                // Under that key it may be on its way this moment: the next attempt looks, and no other key is taken.
                Err(error) if error.says_key_reused() => Err(error.into()),
                Err(error) if error.says_look_first() => find(plan, to).await,
                Err(error) => Err(error.into()),
            },
        }
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let ids: Vec<RefundId> = back.iter().map(|called| called.loaded.job.refund).collect();
        let of: Vec<OrderId> = back.iter().map(|called| called.loaded.job.order).collect();
        let orders = orders::lock(tx, &of).await?;
        let parts = refunds::payments_of(tx, &ids).await?;
        payments::lock(tx, &parts).await?;
        let known = refunds::lock(tx, &ids).await?;
        giveback::lock_ends(tx, orders.values()).await?;
        let mut verdicts = Vec::with_capacity(back.len());
        for called in back {
            let (order, refund) =
                (orders.get(&called.loaded.job.order), known.get(&called.loaded.job.refund));
            let verdict = match (order, refund, called.receipt.as_ref()) {
                (Some(order), Some(refund), Some(seen)) => {
                    let news = News {
                        state: seen.state,
                        provider_id: Some(&seen.id),
                        failure: seen.failure.as_deref(),
                    };
                    giveback::apply(tx, order, refund, &news, &called.loaded.cause()).await?;
                    after(refund.state.merged(seen.state), called)
                }
                (_, Some(_), None) => {
                    not_there(tx, &called.plan).await?;
                    Verdict::Again
                }
                _ => Verdict::Done,
            };
            verdicts.push(verdict);
        }
        Ok(verdicts)
    }

    /// A refund that provably did not happen gives its money back to the payment; of any other nobody knows, and the
    /// money stays set aside until somebody has looked.
    async fn buried(&self, id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        let effect = effects::state_of(tx, &effect_name(self.refund)).await?;
        let orders = orders::lock(tx, &[self.order]).await?;
        let parts = refunds::payments_of(tx, &[self.refund]).await?;
        payments::lock(tx, &parts).await?;
        let known = refunds::lock(tx, &[self.refund]).await?;
        let (Some(order), Some(refund)) = (orders.get(&self.order), known.get(&self.refund)) else {
            return Ok(());
        };
        let provably_not = match effect {
            None | Some(EffectState::Pending | EffectState::Failed) => refund.state.is_to_be_sent(),
            Some(EffectState::InFlight | EffectState::Done | EffectState::Unknown) => false,
        };
        let news = |state| News { state, provider_id: None, failure: Some(failure.code) };
        if provably_not {
            giveback::apply(tx, order, refund, &news(State::Failed), &id.to_string()).await?;
        } else {
            if refund.state.may_become(State::Unknown) {
                refunds::advance(tx, refund, &news(State::Unknown)).await?;
            }
            let detail = format!("{id} does not know what became of {}: {}", self.refund, failure.code);
            exceptions::open(tx, self.order, "refund_unknown", Severity::Critical, &detail).await?;
        }
        Ok(())
    }

    /// A look that fails says nothing of what was sent before it.
    fn effect(plan: &Recipe) -> Option<&str> {
        matches!(plan.step, Ask::Send { .. }).then_some(&plan.effect)
    }

    fn proof(plan: &Recipe, receipt: &Option<RefundSeen>) -> Option<Proof> {
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

fn effect_name(refund: RefundId) -> String {
    format!("refund:{refund}")
}

/// Only Stripe is asked to give money back: of any other the money stays set aside, and a person is shown that they have
/// to. They confirm it when it is done.
async fn by_hand(tx: &mut Tx, refund: &refunds::Refund) -> Result<(), Failure> {
    if refund.state != State::Requested {
        return Ok(());
    }
    let detail = format!(
        "{} of {} {} (minor units) has to go back by hand through {}; then confirm it",
        refund.id, refund.amount_minor, refund.currency, refund.provider
    );
    exceptions::open(tx, refund.order, BY_HAND, Severity::Critical, &detail).await?;
    Ok(())
}

/// The effect and its frozen request, before the call.
async fn plan(
    tx: &mut Tx,
    loaded: &Loaded<Refund>,
    refund: &refunds::Refund,
) -> Result<Step<Recipe>, Failure> {
    let Some(payment_intent) = refund.provider_payment_id.clone() else {
        return Ok(Step::Refused(Failure::permanent("no_payment", "the provider does not know the payment")));
    };
    let request = CreateRefund {
        payment_intent,
        amount_minor: refund.amount_minor,
        currency: refund.currency.parse().map_err(|error| Failure::permanent("bad_currency", error))?,
        refund_id: refund.id,
        order_id: refund.order,
    };
    let name = effect_name(refund.id);
    let frozen = serde_json::to_value(&request).unwrap_or(Value::Null);
    let wanted = NewEffect { name: name.clone(), request: frozen, job: loaded.id };
    let effect = effects::begin(tx, &[wanted]).await?.remove(&name);
    let effect = effect.ok_or_else(|| Failure::retry("no_effect", "the effect's row is gone"))?;
    let step = match (refund.provider_id.clone().or(effect.provider_ref), effect.before) {
        (Some(id), _) => Ask::Follow { id },
        (None, EffectState::Pending | EffectState::Failed) => Ask::Send { key: effect.key },
        (None, EffectState::InFlight | EffectState::Unknown | EffectState::Done) => Ask::Look,
    };
    let mut at = refund.clone();
    for to in way(&step, refund.state) {
        refunds::advance(tx, &at, &News { state: *to, provider_id: None, failure: None }).await?;
        at.state = *to;
    }
    let request = serde_json::from_value(effect.request)
        .map_err(|error| Failure::permanent("unreadable_request", error))?;
    Ok(Step::Call(Recipe { effect: name, request, step }))
}

/// Whether the provider provably never heard of it.
async fn is_unsent(tx: &mut Tx, refund: &refunds::Refund) -> Result<bool, Failure> {
    if !refund.state.is_to_be_sent() || refund.provider_id.is_some() {
        return Ok(false);
    }
    let effect = effects::state_of(tx, &effect_name(refund.id)).await?;
    Ok(matches!(effect, None | Some(EffectState::Pending | EffectState::Failed)))
}

/// Beside a dispute nothing is sent: the refund waits without a job, and the dispute's end inserts one again. What a bank
/// has taken for good is with the customer already.
async fn barred(tx: &mut Tx, refund: &refunds::Refund, bar: Option<Bar>) -> Result<(), Failure> {
    effects::mark(tx, &effect_name(refund.id), EffectState::Failed).await?;
    if bar == Some(Bar::Lost) {
        let over = News { state: State::Cancelled, provider_id: None, failure: Some("lost_to_a_dispute") };
        refunds::advance(tx, refund, &over).await?;
    }
    Ok(())
}

/// The row says what is about to happen before it does.
const fn way(step: &Ask, from: State) -> &'static [State] {
    match (step, from) {
        (Ask::Send { .. }, State::Requested | State::Unknown) => &[State::Submitting],
        (Ask::Look, State::Requested) => &[State::Submitting, State::Unknown],
        (Ask::Look, State::Submitting) => &[State::Unknown],
        (Ask::Send { .. } | Ask::Look | Ask::Follow { .. }, _) => &[],
    }
}

/// There provably is no such refund: it may be asked for, under the same key where nobody has answered under it, so that
/// a request that is still on its way can't be carried out beside it.
async fn not_there(tx: &mut Tx, plan: &Recipe) -> Result<(), Failure> {
    match plan.step {
        Ask::Send { .. } => effects::renew_key(tx, &plan.effect).await?,
        Ask::Look | Ask::Follow { .. } => effects::mark(tx, &plan.effect, EffectState::Pending).await?,
    }
    Ok(())
}

/// What a provider tells of a refund is the receipt of the call that asked for it: that one's own answer may never come, and
/// the refund's end takes its job away. Of one that nobody here asked for there is nothing to write.
pub(super) async fn is_there(tx: &mut Tx, refund: RefundId, seen: &RefundSeen) -> Result<(), Failure> {
    let proof = Proof {
        effect: effect_name(refund),
        provider_ref: seen.id.clone(),
        receipt: serde_json::to_value(seen).unwrap_or(Value::Null),
    };
    effects::record(tx, &[(proof, 0)]).await?;
    Ok(())
}

/// Our refund among those of its payment.
async fn find(plan: &Recipe, to: &Providers) -> Result<Option<RefundSeen>, Failure> {
    let all = to.stripe.refunds_of(&plan.request.payment_intent).await.map_err(in_doubt)?;
    Ok(all.into_iter().find(|seen| seen.refund_id == Some(plan.request.refund_id)))
}

/// A look that was refused proves nothing: what became of the refund is still unknown.
fn in_doubt(error: CallError) -> Failure {
    let failure = Failure::from(error);
    match failure.class {
        Class::Permanent => Failure { class: Class::Unknown, ..failure },
        Class::Snooze(_)
        | Class::Unavailable(_)
        | Class::Retry
        | Class::RetryAfter(_)
        | Class::Unknown
        | Class::Data => failure,
    }
}

/// What is left to do once the provider has answered.
fn after(state: State, called: &Called<Refund>) -> Verdict {
    if state != State::Pending {
        return Verdict::Done;
    }
    let wait = called.loaded.age.clamp(FIRST_LOOK, LONGEST_LOOK);
    Verdict::Refused(Failure::snooze(wait, "not_confirmed", "the bank has not confirmed it yet"))
}
