//! Calls off an order that nobody paid while it could be paid.
//!
//! Inserted where an unpaid order loses its hold, so that a paid order never has one. It is the end of the way back: an
//! expired order can be paid again until then, and never after. What is still being paid keeps its order a while longer.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::cancellation::{self, By};
use super::commands::cancel;
use super::payment_cancel::PaymentCancel;
use super::{Called, Job, Loaded, Never, Rules};
use crate::domain::order::{CancelReason, Status};
use crate::ids::{JobId, OrderId};
use crate::job::{Failure, Lane, Limits, NewJob, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::store::exceptions::{self, Severity};
use crate::store::orders::{self, Order};
use crate::store::{Tx, coupons, jobs, reservations};

/// How long an order waits whose hold is being ended right now.
const OVERDUE: Duration = Duration::from_secs(10);

/// Which order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderLapse {
    /// The order.
    pub order: OrderId,
}

impl OrderLapse {
    /// The job of an order that has lost its hold and still awaits its money.
    pub(super) fn of(order: &Order, cause: &str) -> NewJob {
        let lapse = NewJob::of(&Self { order: order.id }, cause).after(order.payable_for);
        lapse.once(format!("order-lapse:{}", order.id))
    }
}

impl Payload for OrderLapse {
    const KIND: &'static str = "order-lapse";
    const LANE: Lane = Lane::Expiry;
    const LIMITS: Limits = Limits {
        attempts: 5,
        deadline: Duration::from_secs(15),
        // An order that is held again in its last moment waits for that hold's end.
        max_age: Duration::from_hours(25),
        slice: 128,
        settle: 128,
        calls: 1,
    };

    fn subject(&self) -> Uuid {
        self.order.uuid()
    }
}

impl Job for OrderLapse {
    type Plan = Never;
    type Receipt = Never;
    const EXCEPTION: Option<&'static str> = Some("order_not_lapsed");

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Step<Never>>, Failure> {
        let ids: Vec<OrderId> = jobs.iter().map(|loaded| loaded.job.order).collect();
        let orders = orders::lock(tx, &ids).await?;
        let held = reservations::active(tx, &ids).await?;
        coupons::lock_used(tx, &ids).await?;
        let mut steps = Vec::with_capacity(jobs.len());
        for loaded in jobs {
            let left = held.iter().find(|held| held.order == loaded.job.order).map(|held| held.left_ms);
            let step = match (orders.get(&loaded.job.order), left) {
                // What waits aside is a person's; resumed, it gets another job.
                (Some(order), _) if order.status != Status::PendingPayment => Step::Done,
                (Some(_), Some(left)) => {
                    let rest = Duration::from_millis(u64::try_from(left).unwrap_or_default()).max(OVERDUE);
                    Step::Refused(Failure::snooze(rest, "held_again", "it is being paid again"))
                }
                (Some(order), None) if !order.payable_for.is_zero() => {
                    Step::Refused(Failure::snooze(order.payable_for, "not_due", "it can be paid for longer"))
                }
                (Some(order), None) => lapse(tx, loaded, order).await?,
                (None, _) => Step::Done,
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

    /// It stays unpaid and open: a person has to see why.
    async fn buried(&self, id: JobId, failure: &Failure, tx: &mut Tx) -> Result<(), Failure> {
        let detail = format!("{id} could not call off the unpaid order: {}", failure.code);
        exceptions::open(tx, self.order, "order_not_lapsed", Severity::Warning, &detail).await?;
        Ok(())
    }

    fn order(&self) -> Option<OrderId> {
        Some(self.order)
    }
}

/// Nobody paid in time: the order is called off, where a payment of it may still bring money once that one has ended.
async fn lapse(tx: &mut Tx, loaded: &Loaded<OrderLapse>, order: &Order) -> Result<Step<Never>, Failure> {
    let cause = loaded.cause();
    let open = cancel::still_open(tx, order.id).await?;
    if open.is_empty() {
        let by = By { reason: CancelReason::Expired, actor: "system", cause: &cause };
        cancellation::cancel(tx, order, by).await?;
        return Ok(Step::Done);
    }
    orders::request_cancel(tx, order.id, CancelReason::Expired, ("system", &cause)).await?;
    let cancels = open
        .into_iter()
        .map(|payment| NewJob::of(&PaymentCancel { payment }, &cause).once(PaymentCancel::key(payment)));
    jobs::insert(tx, cancels.collect()).await?;
    Ok(Step::Done)
}
