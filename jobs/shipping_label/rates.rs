//! Which rate of a shipment is bought: by the shop's policy at first, and by its own choice when a rate has expired.

use super::{Purchase, ShippingLabel, frozen};
use crate::domain::shipment::{self, Rate};
use crate::job::{Failure, Verdict};
use crate::jobs::{Called, Rules, parcel};
use crate::store::Tx;
use crate::store::{effects, shipments};

/// The exception of an order whose service is not offered any more. Once a person has looked at it, any other is taken.
pub(super) const RATE_CHANGED: &str = "rate_changed";

/// The parcel is known: the rate that the shop's policy takes is chosen, and kept before it is bought.
pub(super) async fn rated(
    tx: &mut Tx,
    rules: &Rules,
    called: &Called<ShippingLabel>,
) -> Result<Verdict, Failure> {
    let (plan, seen) = (&called.plan, &called.receipt);
    let country = plan.order.shipping_address["country"].as_str().unwrap_or_default();
    let days = shipments::max_days(tx, &plan.order.shipping_method, country).await?;
    let days = days.and_then(|days| u32::try_from(days).ok());
    let Some(rate) = shipment::choose_rate(&seen.rates, &parcel::policy(&rules.shipping), days) else {
        let offers = seen.rates.len();
        return Ok(Verdict::Refused(Failure::permanent(
            "no_rate",
            format!("none of {offers} offers is one that may be bought and arrives within {days:?} days"),
        )));
    };
    keep(tx, rules, called, rate).await
}

/// The chosen rate has expired: the same service is bought at its new one. What is dearer or slower under another name
/// is not what the shop chose, so that a person decides.
pub(super) async fn rated_again(
    tx: &mut Tx,
    rules: &Rules,
    called: &Called<ShippingLabel>,
) -> Result<Verdict, Failure> {
    let (plan, seen) = (&called.plan, &called.receipt);
    let Some((carrier, service)) = &plan.shipment.chosen else { return rated(tx, rules, called).await };
    let same = |rate: &&Rate| rate.carrier == *carrier && rate.service == *service;
    if let Some(rate) = seen.rates.iter().find(same) {
        return keep(tx, rules, called, rate).await;
    }
    shipments::unrated(tx, plan.shipment.id).await?;
    let offers = seen.rates.len();
    let detail = format!("{carrier} {service} is not offered any more; {offers} others are");
    Ok(Verdict::Refused(Failure::permanent(RATE_CHANGED, detail)))
}

/// Keeps a rate: a purchase that was refused is asked for in its words.
async fn keep(
    tx: &mut Tx,
    rules: &Rules,
    called: &Called<ShippingLabel>,
    rate: &Rate,
) -> Result<Verdict, Failure> {
    let (plan, job) = (&called.plan, &called.loaded.job);
    shipments::rated(tx, plan.shipment.id, &called.receipt.id, rate).await?;
    let items = parcel::items(tx, plan.order.id, job.parcel).await?;
    let insurance = parcel::insurance(rules, &plan.order, &items);
    let effect = format!("{}:buy", job.key());
    let wanted = Purchase { shipment: called.receipt.id.clone(), rate: rate.id.clone(), insurance };
    effects::reword(tx, &effect, &frozen(&wanted)).await?;
    Ok(Verdict::Again)
}
