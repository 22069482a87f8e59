//! Gives a label back that nobody will stick on a parcel.
//!
//! The carrier decides, sometimes weeks later, so a request that was taken is looked at until there is a word. Asked
//! twice is the same as once over there; an answer that was lost is looked up all the same, before it is asked again.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{Called, Job, Loaded, Rules};
use crate::ids::{JobId, LabelId, OrderId};
use crate::job::{Calls, Dependency, Failure, Lane, Limits, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::provider::easypost::ShipmentSeen;
use crate::store::effects::{self, EffectState, NewEffect, Proof};
use crate::store::exceptions::{self, Severity};
use crate::store::shipments::{self, Void};
use crate::store::{Tx, orders};

/// The first look after the request was taken; some carriers answer at once.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// The longest wait between two looks: carriers take up to four weeks.
const LONGEST_LOOK: Duration = Duration::from_hours(6);

/// Which label of which order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelVoid {
    /// The order.
    pub order: OrderId,
    /// The label.
    pub label: LabelId,
}

impl LabelVoid {
    /// What the job of a label is inserted under, once.
    pub(super) fn key(&self) -> String {
        effect_name(self.label)
    }
}

impl Payload for LabelVoid {
    const KIND: &'static str = "label-void";
    const LANE: Lane = Lane::Shipping;
    const CALLS: Calls = Calls::Always(Dependency::EasyPost);
    const LIMITS: Limits = Limits {
        attempts: 12,
        // Two calls of 15 s in one attempt, with room for their transactions.
        deadline: Duration::from_secs(45),
        // USPS answers within four weeks; then a person asks.
        max_age: Duration::from_hours(24 * 35),
        slice: 16,
        settle: 16,
        calls: 8,
    };

    fn subject(&self) -> Uuid {
        self.order.uuid()
    }
}

/// One step: what is asked of the provider's shipment.
#[derive(Clone, Debug)]
pub struct Recipe {
    effect: String,
    shipment: String,
    step: Ask,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// Give the label back.
    Void,
    /// See what became of that.
    Look,
}

impl Job for LabelVoid {
    type Plan = Recipe;
    type Receipt = ShipmentSeen;
    const EXCEPTION: Option<&'static str> = Some("label_not_voided");

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Step<Recipe>>, Failure> {
        let mut steps = Vec::with_capacity(jobs.len());
        for loaded in jobs {
            let step = match shipments::to_be_voided(tx, loaded.job.label).await? {
                Some(shipment) => plan(tx, loaded, shipment).await?,
                None => Step::Done,
            };
            steps.push(step);
        }
        Ok(steps)
    }

    async fn call(&self, plan: &Recipe, to: &Providers) -> Result<ShipmentSeen, Failure> {
        let seen = match plan.step {
            Ask::Void => to.easypost.refund(&plan.shipment).await,
            Ask::Look => to.easypost.retrieve(&plan.shipment).await,
        };
        Ok(seen?)
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let ids: Vec<OrderId> = back.iter().map(|called| called.loaded.job.order).collect();
        orders::lock(tx, &ids).await?;
        let mut verdicts = Vec::with_capacity(back.len());
        for called in back {
            verdicts.push(answered(tx, called).await?);
        }
        Ok(verdicts)
    }

    /// The label may still be paid for: a person has to ask the carrier.
    async fn buried(&self, id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        let detail = format!("{id} could not void {}: {}", self.label, failure.code);
        exceptions::open(tx, self.order, "label_not_voided", Severity::Warning, &detail).await?;
        Ok(())
    }

    /// A look that fails says nothing of what was asked before it.
    fn effect(plan: &Recipe) -> Option<&str> {
        (plan.step == Ask::Void).then_some(&plan.effect)
    }

    fn proof(plan: &Recipe, seen: &ShipmentSeen) -> Option<Proof> {
        seen.refund_status.as_ref().map(|status| Proof {
            effect: plan.effect.clone(),
            provider_ref: seen.id.clone(),
            receipt: json!({ "shipment": seen.id, "refund_status": status }),
        })
    }

    fn order(&self) -> Option<OrderId> {
        Some(self.order)
    }
}

fn effect_name(label: LabelId) -> String {
    format!("label_void:{label}")
}

async fn plan(tx: &mut Tx, loaded: &Loaded<LabelVoid>, shipment: String) -> Result<Step<Recipe>, Failure> {
    let name = effect_name(loaded.job.label);
    let request = json!({ "shipment": shipment });
    let wanted = NewEffect { name: name.clone(), request, job: loaded.id };
    let effect = effects::begin(tx, &[wanted]).await?.remove(&name);
    let effect = effect.ok_or_else(|| Failure::retry("no_effect", "the effect's row is gone"))?;
    let step = match effect.before {
        EffectState::Pending | EffectState::Failed => Ask::Void,
        EffectState::InFlight | EffectState::Unknown | EffectState::Done => Ask::Look,
    };
    Ok(Step::Call(Recipe { effect: name, shipment, step }))
}

/// The carrier's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Nobody pays for it.
    GivenBack,
    /// It stays paid for.
    Refused,
    /// None yet.
    Open,
}

impl Word {
    /// EasyPost's word in ours. None where nobody has asked for the money; one that is not known yet leaves it open.
    fn of(refund_status: Option<&str>) -> Option<Self> {
        Some(match refund_status? {
            // A label that is paid for only when it is scanned needs no refund.
            "refunded" | "not_applicable" => Self::GivenBack,
            "rejected" => Self::Refused,
            _ => Self::Open,
        })
    }
}

/// What the carrier's word means for the label.
async fn answered(tx: &mut Tx, called: &Called<LabelVoid>) -> Result<Verdict, Failure> {
    let (job, plan, seen) = (&called.loaded.job, &called.plan, &called.receipt);
    match (Word::of(seen.refund_status.as_deref()), plan.step) {
        (Some(Word::GivenBack), _) => {
            shipments::void_ended(tx, job.label, Void::Voided).await?;
            Ok(Verdict::Done)
        }
        (Some(Word::Refused), _) => {
            shipments::void_ended(tx, job.label, Void::Rejected).await?;
            let detail = format!("the carrier does not take {} back", job.label);
            exceptions::open(tx, job.order, "label_not_voided", Severity::Warning, &detail).await?;
            Ok(Verdict::Done)
        }
        (Some(Word::Open), _) => {
            let wait = called.loaded.age.clamp(FIRST_LOOK, LONGEST_LOOK);
            Ok(Verdict::Refused(Failure::snooze(wait, "not_voided_yet", "the carrier has not answered yet")))
        }
        (None, Ask::Look) => {
            effects::mark(tx, &plan.effect, EffectState::Pending).await?;
            Ok(Verdict::Again)
        }
        (None, Ask::Void) => {
            Ok(Verdict::Refused(Failure::retry("not_asked", "the answer does not say that it was taken")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_on_a_label_s_refund_ends_it_is_shown_or_is_waited_for() {
        for (theirs, ours) in [
            (Some("submitted"), Some(Word::Open)),
            (Some("refunded"), Some(Word::GivenBack)),
            (Some("not_applicable"), Some(Word::GivenBack)),
            (Some("rejected"), Some(Word::Refused)),
            (Some("a_word_of_tomorrow"), Some(Word::Open)),
            (None, None),
        ] {
            assert_eq!(Word::of(theirs), ours, "{theirs:?}");
        }
    }
}
