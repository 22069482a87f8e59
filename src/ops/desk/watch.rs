//! What the overview shows, looked at every few seconds for everybody who looks, with the last minutes of each lane.
//!
//! It asks by the functions of the commands. A look that fails leaves the last one standing and says since when; nothing
//! is kept beyond the process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Desk;
use crate::ops::queues::{self, Report};
use crate::ops::workers::{self, WorkerReport};
use crate::queue::QueueError;
use crate::store::audits::LastAudit;
use crate::time::Clock;

/// Between two looks. A look itself takes a second, so that a page moves every two.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks that a chart goes back: five minutes of them.
const KEPT: usize = 150;

/// A look at the fleet.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// When it was seen; nothing was seen yet where absent.
    pub(super) at: Option<DateTime<Utc>>,
    /// Why the last look failed.
    pub(super) fault: Option<String>,
    /// The lanes and providers.
    pub(super) report: Option<Report>,
    /// The workers.
    pub(super) workers: Vec<WorkerReport>,
    /// The last audit that ended.
    pub(super) audit: Option<LastAudit>,
    /// Whether Postgres told whether there was one.
    pub(super) is_audit_told: bool,
    /// Each lane's last minutes.
    pub(super) past: BTreeMap<&'static str, Past>,
}

/// A lane's last minutes, the oldest first.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Past {
    /// Jobs that waited.
    pub(super) waiting: VecDeque<f64>,
    /// Jobs done in a second.
    pub(super) done: VecDeque<f64>,
}

/// The last look, for whoever wants to hear of the next one.
pub(super) type Looks = watch::Sender<Arc<Seen>>;

/// Looks until `stop`.
pub(super) async fn run(desk: Arc<Desk>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let Some(found) = stop.run_until_cancelled(look(&desk)).await else { return };
        let mut seen = Seen::clone(&desk.looks.borrow());
        match found {
            Ok((report, workers)) => seen.add(report, workers),
            Err(error) => seen.fault = Some(error.to_string()),
        }
        let audit = tokio::time::timeout(PAUSE, desk.store.last_audit()).await.ok().and_then(Result::ok);
        seen.is_audit_told = audit.is_some();
        seen.audit = audit.flatten();
        desk.looks.send_replace(Arc::new(seen));
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
}

async fn look(desk: &Desk) -> Result<(Report, Vec<WorkerReport>), QueueError> {
    let report = queues::look(&desk.queue, &desk.store, &desk.settings, desk.target()).await?;
    Ok((report, workers::look(&desk.queue).await?))
}

impl Seen {
    fn add(&mut self, report: Report, workers: Vec<WorkerReport>) {
        for lane in &report.lanes {
            let past = self.past.entry(lane.lane).or_default();
            keep(&mut past.waiting, f64::from(u32::try_from(lane.all_waiting()).unwrap_or(u32::MAX)));
            keep(&mut past.done, lane.out_per_second);
        }
        (self.at, self.fault) = (Some(Clock::real().now()), None);
        (self.report, self.workers) = (Some(report), workers);
    }
}

fn keep(values: &mut VecDeque<f64>, value: f64) {
    if values.len() == KEPT {
        values.pop_front();
    }
    values.push_back(value);
}
