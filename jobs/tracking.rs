//! Follows parcels: what carriers tell us moves the order forward, never back.
//!
//! A scan that comes before our own label is written (the provider is that fast) is parked. Trouble on the way opens an
//! exception, of which the customer is told once, and leaves the order's status as it is.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{Called, Job, Loaded, Never, Rules, order_completion, settlement, taken, telling};
use crate::domain::event::{EasyPostEvent, TrackerSeen};
use crate::domain::notice::{Notice, Once};
use crate::domain::order::Status;
use crate::domain::shipment::{News, Tracking as Scan};
use crate::domain::webhook::WebhookPayload;
use crate::ids::{JobId, OrderId, ShipmentId};
use crate::job::{Failure, Lane, Limits, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::store::exceptions::{self, Severity};
use crate::store::inbox::Fate;
use crate::store::orders::Order;
use crate::store::{Tx, orders, shipments};

/// An event of the carriers' broker, as the intake took it in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tracking(pub WebhookPayload);

impl Payload for Tracking {
    const KIND: &'static str = "tracking";
    const LANE: Lane = Lane::ShippingIn;
    const LIMITS: Limits = Limits {
        attempts: 12,
        // Nothing outside is asked.
        deadline: Duration::from_secs(15),
        // Our own label may be as late as its job's last attempt.
        max_age: Duration::from_hours(1),
        slice: 128,
        settle: 128,
        calls: 1,
    };

    /// The tracker: two scans of a parcel are worked on one after the other.
    fn subject(&self) -> Uuid {
        self.0.subject()
    }
}

impl Job for Tracking {
    type Plan = Never;
    type Receipt = Never;

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Step<Never>>, Failure> {
        let settled = taken::take(tx, jobs, |job| &job.0).await?;
        let seen: Vec<Option<TrackerSeen>> = jobs.iter().map(tracker).collect::<Result<_, _>>()?;
        let codes: Vec<String> = seen.iter().flatten().map(|seen| seen.tracking_code.clone()).collect();
        let parcels: HashMap<String, (ShipmentId, OrderId)> = shipments::find(tx, &codes)
            .await?
            .into_iter()
            .map(|(code, shipment, order)| (code, (shipment, order)))
            .collect();
        // All at once, in the order in which everybody locks them: one after the other, two slices deadlocked.
        let orders: Vec<OrderId> = parcels.values().map(|(_, order)| *order).collect();
        orders::lock(tx, &orders).await?;
        let mut steps = Vec::with_capacity(jobs.len());
        for ((loaded, settled), seen) in jobs.iter().zip(settled).zip(seen) {
            let step = match (settled, seen) {
                (true, _) => Step::Done,
                (false, None) => {
                    taken::resolve(tx, &loaded.job.0, Fate::Ignored, "of no concern").await?;
                    Step::Done
                }
                (false, Some(seen)) => match parcels.get(&seen.tracking_code) {
                    Some(parcel) => {
                        tx.about(loaded.id, parcel.1);
                        scanned(tx, rules, loaded, &seen, *parcel).await?;
                        Step::Done
                    }
                    None => {
                        Step::Refused(taken::park(tx, &loaded.job.0, loaded.age, "unknown parcel").await?)
                    }
                },
            };
            steps.push(step);
        }
        Ok(steps)
    }

    async fn call(&self, plan: &Never, _to: &Providers) -> Result<Never, Failure> {
        match *plan {}
    }

    async fn settle(_back: &[Called<Self>], _tx: &mut Tx, _rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        Ok(Vec::new())
    }

    /// The inbox says that it was given up; a replay takes it up again.
    async fn buried(&self, _id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        taken::give_up(tx, &self.0, failure.code).await
    }
}

fn tracker(loaded: &Loaded<Tracking>) -> Result<Option<TrackerSeen>, Failure> {
    let bytes = loaded.job.0.event.to_string();
    let event = EasyPostEvent::read(bytes.as_bytes())
        .map_err(|error| Failure::new(crate::job::Class::Data, "unreadable_event", error))?;
    Ok(event.tracker)
}

/// Applies what an event says of a parcel.
async fn scanned(
    tx: &mut Tx,
    rules: &Rules,
    loaded: &Loaded<Tracking>,
    seen: &TrackerSeen,
    parcel: (ShipmentId, OrderId),
) -> Result<(), Failure> {
    let webhook = &loaded.job.0;
    heard(tx, rules, seen, parcel, &webhook.event_id).await?;
    taken::resolve(tx, webhook, Fate::Applied, Scan::named(&seen.status).name()).await
}

/// Keeps what was heard of a parcel, under the name of the event that told it, and moves parcel and order where it is news.
pub(super) async fn heard(
    tx: &mut Tx,
    rules: &Rules,
    seen: &TrackerSeen,
    (shipment, order): (ShipmentId, OrderId),
    event_id: &str,
) -> Result<(), Failure> {
    let status = Scan::named(&seen.status);
    let orders = orders::lock(tx, &[order]).await?;
    let scan = shipments::Scan {
        event_id: event_id.to_owned(),
        shipment,
        status: status.name().to_owned(),
        rank: status.rank().unwrap_or(0),
        occurred_at: seen.occurred,
    };
    let (before, _) = shipments::scanned(tx, &scan).await?;
    let Some(order) = orders.get(&order) else { return Ok(()) };
    match status.news(before) {
        News::Forward(rank) => {
            forward(tx, rules, order, (shipment, rank, &seen.tracking_code), event_id).await
        }
        News::Trouble => {
            let detail = format!("the carrier says {} of {shipment}", status.name());
            let opened = exceptions::open(tx, order.id, status.name(), Severity::Critical, &detail).await?;
            if order.cancel_reason.is_none() {
                let once = Once::Exception(opened.uuid());
                telling::tell(tx, order.id, Notice::DelayOrException, once, event_id).await?;
            }
            Ok(())
        }
        News::Stale => Ok(()),
    }
}

/// The order follows its parcel, unless it was called off: it has left with the first of several, and is there with the
/// last. The customer is told of each parcel's first scan, of the day on which it comes, and of the delivery.
async fn forward(
    tx: &mut Tx,
    rules: &Rules,
    order: &Order,
    (shipment, rank, tracking_code): (ShipmentId, i16, &str),
    cause: &str,
) -> Result<(), Failure> {
    let in_transit = Scan::InTransit.rank().unwrap_or(i16::MAX);
    if rank < in_transit {
        return Ok(());
    }
    if order.cancel_reason.is_some() {
        let detail = format!("{shipment} is on its way, though its order was called off");
        exceptions::open(tx, order.id, "cancelled_and_shipped", Severity::Critical, &detail).await?;
        return Ok(());
    }
    let of_all = shipments::ranks(tx, order.id).await?;
    let slowest = of_all.map_or(rank, |ranks| ranks.slowest);
    // While another parcel waits for its label, the order is still packed: that label must be bought.
    if of_all.is_none() || shipments::all_labelled(tx, order.id).await? {
        let way = way(order.status, slowest.max(in_transit));
        settlement::walk(tx, order.id, order.status, &way, cause).await?;
    }
    let which = json!({ "tracking_code": tracking_code });
    let once = Once::Shipment(shipment.uuid());
    let told = (Notice::ShippingNotification, once);
    telling::tell_with(tx, order.id, told, which.clone(), cause).await?;
    if Scan::OutForDelivery.rank() == Some(rank) {
        let once = Once::ShipmentStatus(shipment.uuid(), Scan::OutForDelivery.name());
        telling::tell_with(tx, order.id, (Notice::OutForDelivery, once), which.clone(), cause).await?;
    }
    if Scan::Delivered.rank() == Some(rank) {
        let told = (Notice::DeliveryConfirmation, once);
        telling::tell_with(tx, order.id, told, which, cause).await?;
        if slowest >= rank {
            order_completion::after_delivery(tx, &rules.orders, order.id, cause).await?;
        }
        if slowest >= rank && rules.orders.also_mails(Notice::SatisfactionSurvey.name()) {
            let told = (Notice::SatisfactionSurvey, Once::Order(order.id.uuid()));
            telling::tell_after(
                tx,
                order.id,
                told,
                Duration::from_hours(rules.orders.survey_days.saturating_mul(24)),
                cause,
            )
            .await?;
        }
    }
    Ok(())
}

/// The legal steps from where the order stands to where its parcel is. Orders that wait aside, or are over, stay.
fn way(from: Status, rank: i16) -> Vec<Status> {
    let reached = |scan: Scan| scan.rank().is_some_and(|needed| rank >= needed);
    let mut way = Vec::new();
    if matches!(from, Status::Packaging | Status::Fulfilled) {
        way.push(Status::Shipped);
    }
    let on_its_way = !way.is_empty() || from == Status::Shipped;
    if on_its_way && reached(Scan::OutForDelivery) && !reached(Scan::Delivered) {
        way.push(Status::OutForDelivery);
    }
    if (on_its_way || from == Status::OutForDelivery) && reached(Scan::Delivered) {
        way.push(Status::Delivered);
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_legal_and_none_goes_back() {
        for from in Status::ALL {
            for scan in Scan::ALL {
                let mut at = from;
                for to in way(from, scan.rank().unwrap_or(0)) {
                    assert!(at.may_become(to), "{at} to {to}");
                    at = to;
                }
            }
        }
        assert_eq!(way(Status::Fulfilled, 40), [Status::Shipped, Status::Delivered]);
        assert!(way(Status::Delivered, 20).is_empty());
    }

    #[test]
    fn an_order_goes_as_far_as_each_word_of_the_carrier_s_says() {
        for (word, to) in [
            ("in_transit", vec![Status::Shipped]),
            ("out_for_delivery", vec![Status::Shipped, Status::OutForDelivery]),
            // It has left the van for the counter, and its customer still has to come.
            ("available_for_pickup", vec![Status::Shipped, Status::OutForDelivery]),
            ("delivered", vec![Status::Shipped, Status::Delivered]),
        ] {
            assert_eq!(way(Status::Fulfilled, Scan::named(word).rank().unwrap()), to, "{word}");
        }
    }
}
