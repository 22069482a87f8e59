//! Completes an order some days after it arrived: time enough for whoever misses something to say so.
//!
//! Inserted where an order is delivered, for shops that want it. What waits aside by then, or came for cash that nobody
//! recorded, is a person's.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Called, Job, Loaded, Never, Rules, settlement};
use crate::config::OrderSettings;
use crate::domain::order::Status;
use crate::ids::{JobId, OrderId};
use crate::job::{Failure, Lane, Limits, NewJob, Payload, Step, Verdict};
use crate::provider::Providers;
use crate::store::orders::{self, Order};
use crate::store::{Tx, jobs};

/// Which order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderCompletion {
    /// The order.
    pub order: OrderId,
}

impl Payload for OrderCompletion {
    const KIND: &'static str = "order-completion";
    const LANE: Lane = Lane::Housekeeping;
    const LIMITS: Limits = Limits {
        attempts: 5,
        deadline: Duration::from_secs(15),
        // It is in no hurry.
        max_age: Duration::from_hours(24),
        slice: 128,
        settle: 128,
        calls: 1,
    };

    fn subject(&self) -> Uuid {
        self.order.uuid()
    }
}

impl Job for OrderCompletion {
    type Plan = Never;
    type Receipt = Never;

    async fn load(jobs: &[Loaded<Self>], tx: &mut Tx, _rules: &Rules) -> Result<Vec<Step<Never>>, Failure> {
        let ids: Vec<OrderId> = jobs.iter().map(|loaded| loaded.job.order).collect();
        let orders = orders::lock(tx, &ids).await?;
        for loaded in jobs {
            if let Some(order) = orders.get(&loaded.job.order).filter(|order| is_over(order)) {
                let way = [Status::Completed];
                settlement::walk(tx, order.id, order.status, &way, &loaded.cause()).await?;
            }
        }
        Ok(jobs.iter().map(|_| Step::Done).collect())
    }

    async fn call(&self, plan: &Never, _to: &Providers) -> Result<Never, Failure> {
        match *plan {}
    }

    async fn settle(_back: &[Called<Self>], _tx: &mut Tx, _rules: &Rules) -> Result<Vec<Verdict>, Failure> {
        Ok(Vec::new())
    }

    /// Nothing is owed to anybody: it stays delivered, and staff can complete it.
    async fn buried(&self, _id: JobId, _failure: &Failure, _tx: &mut Tx) -> Result<(), Failure> {
        Ok(())
    }

    fn order(&self) -> Option<OrderId> {
        Some(self.order)
    }
}

fn is_over(order: &Order) -> bool {
    order.status == Status::Delivered && (order.total_minor == 0 || order.captured_minor > 0)
}

/// An order was delivered: it is completed in some days, where the shop wants that.
pub(super) async fn after_delivery(
    tx: &mut Tx,
    settings: &OrderSettings,
    order: OrderId,
    cause: &str,
) -> Result<(), Failure> {
    if settings.complete_days == 0 {
        return Ok(());
    }
    let wait = Duration::from_hours(settings.complete_days.saturating_mul(24));
    let completion = NewJob::of(&OrderCompletion { order }, cause).after(wait);
    jobs::insert(tx, vec![completion.once(format!("order-completion:{order}"))]).await?;
    Ok(())
}
