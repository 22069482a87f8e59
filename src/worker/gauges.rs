//! What the lanes hold, for whoever reads `/metrics`. The first reader waits for a look; while readers come back it is looked
//! at beside them, so that a scrape waits for no server, and a fleet that nobody watches pays nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{try_join, try_join_all};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{LaneSettings, OrderSettings};
use crate::job::Lane;
use crate::jobs::needed_by;
use crate::queue::scale::{Load, Pace, unknown, workers_of};
use crate::queue::{Depth, FleetLimits, Queue, QueueError};
use crate::store::Store;
use crate::time::Stopwatch;

mod tables;

use tables::Tables;

/// Between two looks: what is read is hardly older.
const FRESH: Duration = Duration::from_secs(5);
/// How long after its last reader it is looked at: Prometheus comes back within a minute, unless told otherwise, and may miss
/// one of its times.
const WATCHED: Duration = Duration::from_secs(150);
/// A reader waits no longer for a silent Redis: the other figures are worth having.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks at the lanes.
pub(super) struct Gauges {
    queue: Queue,
    tables: Tables,
    /// Where it is looked, until the stop.
    tasks: TaskTracker,
    stop: CancellationToken,
    lanes: Vec<(Lane, FleetLimits)>,
    target: Duration,
    /// Since the last reader; none while nobody looks for readers.
    read: Mutex<Option<Stopwatch>>,
    /// What was seen of each lane before.
    seen: Mutex<BTreeMap<&'static str, (Stopwatch, Depth, Pace)>>,
}

impl Gauges {
    /// Of these lanes; `target` is how soon a backlog should be worked off, and `orders` say when one is stuck.
    pub(super) fn new(
        (queue, store): (&Queue, &Store),
        (tasks, stop): (&TaskTracker, &CancellationToken),
        lanes: &[Lane],
        settings: &BTreeMap<String, LaneSettings>,
        target: Duration,
        orders: &OrderSettings,
    ) -> Self {
        let limits = |lane: &Lane| settings.get(lane.name()).map(FleetLimits::from).unwrap_or_default();
        let tables = Tables {
            store: store.clone(),
            lanes: lanes.to_vec(),
            late_label: Duration::from_secs(orders.late_label_seconds),
            goes_on: orders.auto_fulfil,
            slowly: Mutex::default(),
        };
        let lanes = lanes.iter().map(|lane| (*lane, limits(lane))).collect();
        Self {
            queue: queue.clone(),
            tables,
            tasks: tasks.clone(),
            stop: stop.clone(),
            lanes,
            target,
            read: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Somebody reads: they find the gauges up to date.
    pub(super) async fn refresh(self: &Arc<Self>) {
        let mut read = self.read.lock().await;
        if read.is_none() {
            // Who goes away meanwhile was no reader: nobody looks for them, and the next is the first.
            self.look().await;
            let watch = Arc::clone(self).watch();
            self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(watch));
        }
        *read = Some(Stopwatch::start());
    }

    /// Looks again and again, until nobody reads any more.
    async fn watch(self: Arc<Self>) {
        loop {
            // Whoever came first got no figures of the tables, and waited for none.
            tokio::join!(self.tables.refresh(), tokio::time::sleep(FRESH));
            let mut read = self.read.lock().await;
            if read.is_none_or(|reader| reader.elapsed() > WATCHED) {
                *read = None;
                return;
            }
            drop(read);
            self.look().await;
        }
    }

    async fn look(&self) {
        let mut seen = self.seen.lock().await;
        match tokio::time::timeout(PATIENCE, self.look_at_lanes(&mut seen)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the gauges of lanes keep their last figures"),
            Err(_) => tracing::debug!("Redis is silent: the gauges of lanes keep their last figures"),
        }
        metrics::gauge!("orderfleet_process_resident_bytes").set(resident_bytes());
    }

    async fn look_at_lanes(
        &self,
        seen: &mut BTreeMap<&'static str, (Stopwatch, Depth, Pace)>,
    ) -> Result<(), QueueError> {
        let (workers, now) = try_join(self.queue.workers(), self.queue.now_ms()).await?;
        // All at once: whoever reads waits for one of them, and not for each.
        let looks = try_join_all(self.lanes.iter().map(|(lane, _)| self.look_at(*lane))).await?;
        let mut told = Vec::with_capacity(self.lanes.len());
        for ((lane, limits), (depth, is_away)) in self.lanes.iter().zip(looks) {
            show(*lane, &depth);
            let living = workers_of(lane.name(), &workers, now);
            metrics::gauge!("orderfleet_lane_workers", "lane" => lane.name()).set(float(living));
            let (pace, wanted) = if let Some((watch, before, learnt)) = seen.get(lane.name()) {
                let load = Load::between([before, &depth], watch.elapsed(), living);
                let load = load.held(&depth, depth.set.over(*limits), is_away);
                let pace = learnt.learn(load);
                if pace != *learnt {
                    self.queue.keep_pace(*lane, pace).await?;
                }
                (pace, pace.wanted(load, self.target))
            } else {
                // What comes and goes shows at the next look.
                (self.queue.pace(*lane).await?, Some(living))
            };
            seen.insert(lane.name(), (Stopwatch::start(), depth, pace));
            told.push((*lane, living, wanted));
        }
        let is_any_known = seen.values().any(|(_, _, pace)| pace.is_known());
        for (lane, living, wanted) in told {
            let wanted = wanted.unwrap_or_else(|| unknown(is_any_known, living));
            metrics::gauge!("orderfleet_lane_wanted_workers", "lane" => lane.name()).set(float(wanted));
        }
        Ok(())
    }

    /// A lane, and whether whom all of its jobs call is away.
    async fn look_at(&self, lane: Lane) -> Result<(Depth, bool), QueueError> {
        let is_away = async {
            let Some(provider) = needed_by(lane) else { return Ok(false) };
            Ok(self.queue.provider_seen(provider.name()).await?.probe_at_ms.is_some())
        };
        try_join(self.queue.depth(lane), is_away).await
    }
}

fn show(lane: Lane, depth: &Depth) {
    let lane = lane.name();
    for (band, waiting) in ["express", "high", "normal", "bulk"].into_iter().zip(depth.bands) {
        metrics::gauge!("orderfleet_lane_waiting_jobs", "lane" => lane, "band" => band).set(float(waiting));
    }
    metrics::gauge!("orderfleet_lane_suspect_jobs", "lane" => lane).set(float(depth.suspects));
    metrics::gauge!("orderfleet_lane_delayed_jobs", "lane" => lane).set(float(depth.delayed));
    metrics::gauge!("orderfleet_lane_in_flight_jobs", "lane" => lane).set(float(depth.leased));
    metrics::gauge!("orderfleet_lane_parked_jobs", "lane" => lane).set(float(depth.parked));
    metrics::gauge!("orderfleet_lane_quarantined_jobs", "lane" => lane).set(float(depth.dead));
    metrics::gauge!("orderfleet_lane_oldest_seconds", "lane" => lane)
        .set(float(depth.oldest_seconds.unwrap_or_default()));
    metrics::gauge!("orderfleet_lane_paused", "lane" => lane).set(f64::from(u8::from(depth.paused)));
    metrics::counter!("orderfleet_lane_pushed_total", "lane" => lane).absolute(depth.pushed);
    metrics::counter!("orderfleet_lane_done_total", "lane" => lane).absolute(depth.done);
}

/// Counts of jobs are far below what a u32 holds.
fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// What the kernel says; 0 where it says nothing.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.unwrap_or_default() * 1_024.0
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::config::load::{Sources, load};
    use crate::queue::tests::server::Server;

    #[tokio::test]
    async fn a_reader_who_goes_away_while_they_wait_leaves_the_next_one_the_first() {
        let server = Server::start().await;
        let settings = load(&Sources::default()).unwrap();
        let queue = Queue::connect(&server.settings(), &settings.queue, &settings.lanes).await.unwrap();
        // Nobody asks this Postgres before somebody watches.
        let mut postgres = settings.postgres;
        postgres.url = "postgres://nobody@127.0.0.1:1/none".to_owned().into();
        let (store, tasks) = (Store::new(&postgres).unwrap(), TaskTracker::new());
        let stop = CancellationToken::new();
        let gauges = Arc::new(Gauges::new(
            (&queue, &store),
            (&tasks, &stop),
            &Lane::ALL,
            &settings.lanes,
            FRESH,
            &settings.orders,
        ));
        assert!(gauges.refresh().now_or_never().is_none(), "they wait for Redis");
        assert!(gauges.seen.lock().await.is_empty() && tasks.is_empty());
        gauges.refresh().await;
        assert_eq!(gauges.seen.lock().await.len(), Lane::ALL.len(), "it was looked at for them");
        assert_eq!(tasks.len(), 1, "and is from now on");
        gauges.refresh().await;
        assert_eq!(tasks.len(), 1, "by one");
        stop.cancel();
    }

    #[test]
    fn the_kernel_says_how_much_memory_this_process_holds() {
        assert!(resident_bytes() > 1_000_000.0);
    }
}
