//! Buys the label of a parcel, exactly once, from a provider that knows no idempotency key.
//!
//! Create the shipment, keep its id, then buy that id and no other: an unbought shipment is free, so a crash between the
//! two costs nothing. A buy whose answer was lost is looked up before anything else is done: a label that is there is
//! adopted, and only where there is provably none is the same shipment bought again. Never a second shipment to ask for
//! new rates while the first is unresolved: where the chosen rate has expired the same shipment is rated again, and the
//! same service is bought, or a person decides.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use self::doubt::{look, not_bought};
use self::packing::{Packed, packed};
use self::rates::{RATE_CHANGED, rated, rated_again};
use super::{Called, Job, Loaded, Rules, cancellation, parcel, settlement};
use crate::domain::money::Amount;
use crate::domain::order::Status;
use crate::ids::{JobId, OrderId};
use crate::job::{Calls, Dependency, Failure, Lane, Limits, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::provider::easypost::{CreateShipment, LabelSeen, ShipmentSeen};
use crate::store::Tx;
use crate::store::effects::{self, Effect, EffectState, NewEffect, Proof};
use crate::store::exceptions::{self, Severity};
use crate::store::orders::{self, Order};
use crate::store::shipments::{self, NewLabel, Shipment};

mod doubt;
mod packing;
mod rates;
mod wanted;

pub(super) use self::wanted::{want, want_again};

/// The exception of an order whose label could not be bought.
const LABEL_NOT_BOUGHT: &str = "label_not_bought";

/// The exception of an order whose address nobody can deliver to. Once a person has looked at it, the address is taken.
const ADDRESS_INVALID: &str = "address_invalid";

/// Which parcel of which order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShippingLabel {
    /// The order.
    pub order: OrderId,
    /// The first parcel is 1.
    pub parcel: i32,
    /// The first label of a parcel is 1; a voided one raises it.
    pub epoch: i32,
}

impl ShippingLabel {
    /// The label of an order that has none.
    const fn first(order: OrderId) -> Self {
        Self { order, parcel: 1, epoch: 1 }
    }

    /// What the job is inserted under, once; its effects' names and the shipment's reference begin with it.
    pub(super) fn key(&self) -> String {
        format!("label:{}:{}:{}", self.order, self.parcel, self.epoch)
    }

    /// Whether an order that stands there waits for this label: for its first at the packers', for a later one packed.
    fn is_wanted_at(&self, status: Status) -> bool {
        status == Status::Packaging || (status == Status::Fulfilled && self.epoch > 1)
    }
}

impl Payload for ShippingLabel {
    const KIND: &'static str = "shipping-label";
    const LANE: Lane = Lane::Shipping;
    const CALLS: Calls = Calls::Always(Dependency::EasyPost);
    const LIMITS: Limits = Limits {
        attempts: 12,
        // Four calls of 15 s in one attempt (verify, create, buy, rate again), with room for their transactions.
        deadline: Duration::from_secs(75),
        // A parcel that could not be labelled for a day needs a person.
        max_age: Duration::from_hours(24),
        slice: 16,
        settle: 16,
        calls: 8,
    };

    fn subject(&self) -> Uuid {
        self.order.uuid()
    }
}

/// What is bought: this rate of this shipment, and no other.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Purchase {
    /// The provider's id of the shipment.
    shipment: String,
    /// The provider's id of the rate.
    rate: String,
    /// What the parcel is insured for; none if it is not.
    #[serde(default)]
    insurance: Option<Amount>,
}

/// One step of the recipe.
#[derive(Clone, Debug)]
pub struct Recipe {
    shipment: Shipment,
    order: Box<Order>,
    step: Ask,
}

#[derive(Clone, Debug)]
enum Ask {
    /// Make the parcel known and see what carriers ask; before that, where `verifies`, whether its address exists.
    Create { effect: String, request: Box<CreateShipment>, verifies: bool },
    /// See what carriers ask for the shipment that is stored.
    Rerate { shipment: String },
    /// Buy this rate of the shipment that is stored.
    Buy { effect: String, purchase: Purchase },
    /// See whether an earlier buy worked.
    Look { effect: String, shipment: String },
}

impl Job for ShippingLabel {
    type Plan = Recipe;
    type Receipt = ShipmentSeen;
    const EXCEPTION: Option<&'static str> = Some(LABEL_NOT_BOUGHT);

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Step<Recipe>>, Failure> {
        let ids: Vec<OrderId> = jobs.iter().map(|loaded| loaded.job.order).collect();
        let orders = orders::lock(tx, &ids).await?;
        let mut steps = Vec::with_capacity(jobs.len());
        for loaded in jobs {
            // Two parcels of one order may come together.
            let step = match orders.get(&loaded.job.order).cloned() {
                Some(order) if loaded.job.is_wanted_at(order.status) => {
                    plan(tx, rules, loaded, order).await?
                }
                Some(order) if order.status.is_aside() => {
                    let wait = loaded.age.clamp(Duration::from_secs(5), Duration::from_mins(5));
                    Step::Refused(Failure::snooze(wait, "order_aside", order.status))
                }
                Some(order) => look(tx, loaded, order).await?,
                None => Step::Done,
            };
            steps.push(step);
        }
        Ok(steps)
    }

    async fn call(&self, plan: &Recipe, to: &Providers) -> Result<ShipmentSeen, Failure> {
        let seen = match &plan.step {
            Ask::Create { request, verifies, .. } => {
                if *verifies {
                    exists(to, request).await?;
                }
                to.easypost.create(request).await
            }
            Ask::Rerate { shipment } => to.easypost.rerate(shipment).await,
            Ask::Buy { purchase: Purchase { shipment, rate, insurance }, .. } => {
                match to.easypost.buy(shipment, rate, *insurance).await {
                    Err(error) if error.says_rate_gone() => to.easypost.rerate(shipment).await,
                    other => other,
                }
            }
            Ask::Look { shipment, .. } => to.easypost.retrieve(shipment).await,
        };
        Ok(seen?)
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let ids: Vec<OrderId> = back.iter().map(|called| called.loaded.job.order).collect();
        let orders = orders::lock(tx, &ids).await?;
        let mut verdicts = Vec::with_capacity(back.len());
        for called in back {
            let status = orders.get(&called.loaded.job.order).map(|order| order.status);
            verdicts.push(answered(tx, rules, called, status).await?);
        }
        Ok(verdicts)
    }

    /// A paid order without a label: a person has to see it.
    async fn buried(&self, id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        let cause = id.to_string();
        if let Some(order) = orders::lock(tx, &[self.order]).await?.get(&self.order)
            && self.is_wanted_at(order.status)
        {
            let step = orders::Move {
                id: order.id,
                from: order.status,
                to: Status::Exception,
                resume_to: Some(order.status),
            };
            orders::advance(tx, &[step], &cause).await?;
        }
        let detail = format!("{id} could not buy the label of parcel {}: {}", self.parcel, failure.code);
        exceptions::open(tx, self.order, LABEL_NOT_BOUGHT, Severity::Critical, &detail).await?;
        if [ADDRESS_INVALID, RATE_CHANGED].contains(&failure.code) {
            exceptions::open(tx, self.order, failure.code, Severity::Warning, &failure.detail).await?;
        }
        Ok(())
    }

    /// Orders that wait for nothing but their label go on, also with an address or a service that a person takes as it is.
    async fn replayed(jobs: &[Loaded<Self>], tx: &mut Tx) -> Result<(), Failure> {
        let ids: BTreeSet<OrderId> = jobs.iter().map(|loaded| loaded.job.order).collect();
        let ids: Vec<OrderId> = ids.into_iter().collect();
        let orders = orders::lock(tx, &ids).await?;
        for order in &ids {
            exceptions::resolve_kind(tx, *order, ADDRESS_INVALID).await?;
            exceptions::resolve_kind(tx, *order, RATE_CHANGED).await?;
        }
        let waiting = exceptions::waits_only_for(tx, &ids, LABEL_NOT_BOUGHT).await?;
        let goes_on = |order: &Order| {
            let to = order.resume_to.filter(|to| matches!(to, Status::Packaging | Status::Fulfilled))?;
            let goes_on = order.status == Status::Exception && waiting.contains(&order.id);
            goes_on.then_some(orders::Move { id: order.id, from: Status::Exception, to, resume_to: None })
        };
        let moves: Vec<orders::Move> = orders.values().filter_map(goes_on).collect();
        Ok(orders::advance(tx, &moves, "replay").await?)
    }

    fn effect(plan: &Recipe) -> Option<&str> {
        match &plan.step {
            Ask::Create { effect, .. } | Ask::Buy { effect, .. } => Some(effect),
            Ask::Rerate { .. } | Ask::Look { .. } => None,
        }
    }

    fn proof(plan: &Recipe, seen: &ShipmentSeen) -> Option<Proof> {
        let receipt = || serde_json::to_value(seen).unwrap_or(Value::Null);
        match &plan.step {
            Ask::Create { effect, .. } => {
                Some(Proof { effect: effect.clone(), provider_ref: seen.id.clone(), receipt: receipt() })
            }
            Ask::Rerate { .. } => None,
            Ask::Buy { effect, .. } | Ask::Look { effect, .. } => seen.label.as_ref().map(|label| Proof {
                effect: effect.clone(),
                provider_ref: label.tracking_code.clone(),
                receipt: receipt(),
            }),
        }
    }

    fn order(&self) -> Option<OrderId> {
        Some(self.order)
    }
}

/// The next step of the recipe, by what is stored.
async fn plan(
    tx: &mut Tx,
    rules: &Rules,
    loaded: &Loaded<ShippingLabel>,
    order: Order,
) -> Result<Step<Recipe>, Failure> {
    let job = &loaded.job;
    let Packed { items, parcel, shipment } = packed(tx, loaded, &order).await?;
    let name = job.key();
    let step = match (shipment.provider_id.clone(), shipment.rate_id.clone()) {
        (Some(provider_id), Some(rate)) => {
            let insurance = parcel::insurance(rules, &order, &items);
            let wanted = Purchase { shipment: provider_id.clone(), rate, insurance };
            let effect = begin(tx, format!("{name}:buy"), frozen(&wanted), loaded.id).await?;
            if effect.before == EffectState::Pending {
                shipments::set_state(tx, shipment.id, "purchasing").await?;
                Ask::Buy { purchase: thawed(effect.request)?, effect: effect.name }
            } else {
                Ask::Look { effect: effect.name, shipment: provider_id }
            }
        }
        (Some(provider_id), None) => Ask::Rerate { shipment: provider_id },
        (None, _) => {
            let request = parcel::request(rules, &order, &items, parcel, &name)?;
            let verifies = parcel::is_to_be_verified(rules, &request.to)
                && !exceptions::was_resolved(tx, order.id, ADDRESS_INVALID).await?;
            let effect = begin(tx, format!("{name}:create"), frozen(&request), loaded.id).await?;
            Ask::Create { request: Box::new(thawed(effect.request)?), effect: effect.name, verifies }
        }
    };
    Ok(Step::Call(Recipe { shipment, order: Box::new(order), step }))
}

/// A request as its effect keeps it: what is sent is what was kept first, whatever the settings say by then.
fn frozen(request: &impl Serialize) -> Value {
    serde_json::to_value(request).unwrap_or(Value::Null)
}

/// The request that an effect keeps.
fn thawed<T: DeserializeOwned>(kept: Value) -> Result<T, Failure> {
    serde_json::from_value(kept).map_err(|error| Failure::permanent("unreadable_request", error))
}

/// Asks whether a parcel's address exists: one that does not is the customer's to mend, and nothing is bought for it.
async fn exists(to: &Providers, request: &CreateShipment) -> Result<(), Failure> {
    let faults = to.easypost.verify(&request.to).await?;
    let Some(first) = faults.first() else { return Ok(()) };
    let told: Vec<&str> = faults.iter().map(|fault| fault.text.as_str()).collect();
    Err(Failure::permanent(ADDRESS_INVALID, told.join("; ")).as_told(first.code.clone()))
}

async fn begin(tx: &mut Tx, name: String, request: Value, job: JobId) -> Result<Effect, Failure> {
    let wanted = NewEffect { name: name.clone(), request, job };
    let effect = effects::begin(tx, &[wanted]).await?.remove(&name);
    effect.ok_or_else(|| Failure::retry("no_effect", "the effect's row is gone"))
}

/// What an answer leads to.
async fn answered(
    tx: &mut Tx,
    rules: &Rules,
    called: &Called<ShippingLabel>,
    status: Option<Status>,
) -> Result<Verdict, Failure> {
    let (plan, seen) = (&called.plan, &called.receipt);
    if let Some(label) = &seen.label {
        return bought(tx, called, label, status).await;
    }
    match &plan.step {
        Ask::Create { .. } | Ask::Rerate { .. } => rated(tx, rules, called).await,
        Ask::Look { effect, .. } => {
            let is_wanted = status.is_some_and(|status| called.loaded.job.is_wanted_at(status));
            not_bought(tx, &called.loaded.job, effect, is_wanted).await
        }
        Ask::Buy { effect, .. } if seen.is_rerated => {
            effects::mark(tx, effect, EffectState::Failed).await?;
            rated_again(tx, rules, called).await
        }
        Ask::Buy { effect, .. } => {
            effects::mark(tx, effect, EffectState::Unknown).await?;
            Ok(Verdict::Refused(Failure::retry("no_label", "the purchase came back without a label")))
        }
    }
}

/// The label is there: it is kept, and with the last parcel's the order is fulfilled.
async fn bought(
    tx: &mut Tx,
    called: &Called<ShippingLabel>,
    label: &LabelSeen,
    status: Option<Status>,
) -> Result<Verdict, Failure> {
    let (plan, cause) = (&called.plan, called.loaded.cause());
    let cost = label.cost;
    let new = NewLabel {
        carrier: label.carrier.clone(),
        service: label.service.clone(),
        tracking_code: label.tracking_code.clone(),
        tracker_id: label.tracker_id.clone(),
        label_url: label.label_url.clone(),
        cost_minor: cost.map_or(0, |cost| cost.minor),
        currency: cost.map_or_else(|| plan.order.currency.clone(), |cost| cost.currency.to_string()),
        insured_minor: label.insured.map(|insured| insured.minor),
    };
    shipments::label_bought(tx, &plan.shipment, &new).await?;
    match status {
        Some(Status::Packaging) => {
            let order = plan.order.id;
            if shipments::all_labelled(tx, order).await? {
                // The carrier may have been there for another parcel.
                let has_left = shipments::ranks(tx, order).await?.is_some_and(shipments::Ranks::have_left);
                let way =
                    if has_left { &[Status::Fulfilled, Status::Shipped][..] } else { &[Status::Fulfilled] };
                settlement::walk(tx, order, Status::Packaging, way, &cause).await?;
            }
        }
        // Cancelled while the label was bought: the receipt is kept, and the label goes back.
        Some(Status::Cancelled | Status::Refunded) => {
            cancellation::void_labels(tx, plan.order.id, &cause).await?;
        }
        _ => {}
    }
    Ok(Verdict::Done)
}
