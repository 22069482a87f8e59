//! Asks where a parcel is of which nobody has said anything for long: its scans were lost on the way to us, or there were none.
//!
//! What it is told counts as a scan, once for each status of a tracker: a look that finds nothing new changes nothing. It
//! asks only while the parcel is under way.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Called, Job, Loaded, Rules, tracking};
use crate::config::OrderSettings;
use crate::domain::event::TrackerSeen;
use crate::ids::{JobId, OrderId, ShipmentId};
use crate::job::{Calls, Dependency, Failure, Lane, Limits, NewJob, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::store::shipments::{self, Followed};
use crate::store::{Tx, jobs, orders};

/// The age of a label whose parcel nobody asks about any more: carriers search for two months at most.
const GIVEN_UP: Duration = Duration::from_hours(24 * 60);

/// Which parcel of which order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParcelLook {
    /// The order.
    pub order: OrderId,
    /// The parcel.
    pub shipment: ShipmentId,
}

impl Payload for ParcelLook {
    const KIND: &'static str = "parcel-look";
    const LANE: Lane = Lane::Shipping;
    const CALLS: Calls = Calls::Always(Dependency::EasyPost);
    const LIMITS: Limits = Limits {
        attempts: 8,
        // One call of 15 s, with room for two transactions.
        deadline: Duration::from_secs(30),
        // The next sweep asks again.
        max_age: Duration::from_hours(12),
        slice: 16,
        settle: 16,
        calls: 8,
    };

    fn subject(&self) -> Uuid {
        self.order.uuid()
    }
}

impl Job for ParcelLook {
    type Plan = Followed;
    type Receipt = TrackerSeen;

    async fn load(
        jobs: &[Loaded<Self>],
        tx: &mut Tx,
        _rules: &Rules,
    ) -> Result<Vec<Step<Followed>>, Failure> {
        let mut steps = Vec::with_capacity(jobs.len());
        for loaded in jobs {
            steps.push(shipments::followed(tx, loaded.job.shipment).await?.map_or(Step::Done, Step::Call));
        }
        Ok(steps)
    }

    async fn call(&self, plan: &Followed, to: &Providers) -> Result<TrackerSeen, Failure> {
        let seen = match &plan.tracker_id {
            Some(id) => to.easypost.tracker(id).await,
            None => to.easypost.follow(&plan.tracking_code, &plan.carrier).await,
        };
        Ok(seen?)
    }

    async fn settle(back: &[Called<Self>], tx: &mut Tx, rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        let of: Vec<OrderId> = back.iter().map(|called| called.loaded.job.order).collect();
        orders::lock(tx, &of).await?;
        for called in back {
            let (job, seen) = (&called.loaded.job, &called.receipt);
            let event = format!("look:{}:{}", seen.id, seen.status);
            tracking::heard(tx, rules, seen, (job.shipment, job.order), &event).await?;
        }
        Ok(vec![Verdict::Done; back.len()])
    }

    /// A look that was given up hides nothing: the dead letter shows it, and the next sweep asks again.
    async fn buried(&self, _id: JobId, _failure: &Failure, _tx: &mut Tx) -> Result<(), Failure> {
        Ok(())
    }

    fn order(&self) -> Option<OrderId> {
        Some(self.order)
    }
}

/// Inserts a look at each parcel that was silent for too long.
pub(super) async fn sweep(tx: &mut Tx, settings: &OrderSettings) -> Result<(), Failure> {
    let silence = Duration::from_secs(settings.parcel_silence_seconds);
    let silent = shipments::take_silent(tx, silence, GIVEN_UP).await?;
    let looks =
        silent.into_iter().map(|(order, shipment)| NewJob::of(&ParcelLook { order, shipment }, "sweep"));
    jobs::insert(tx, looks.collect()).await?;
    Ok(())
}
