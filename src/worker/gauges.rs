//! What the lanes hold, for whoever reads `/metrics`: looked at when somebody reads, so that a fleet that nobody watches pays
//! nothing for it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::config::{LaneSettings, OrderSettings};
use crate::job::Lane;
use crate::jobs::needed_by;
use crate::queue::scale::{Load, Pace, workers_of};
use crate::queue::{Depth, FleetLimits, Queue, QueueError};
use crate::store::stuck::REASONS;
use crate::store::{Store, Stored};
use crate::time::Stopwatch;

/// Readers within this time share a look.
const FRESH: Duration = Duration::from_secs(5);
/// Between two looks at what only a table tells: it changes slowly, and costs a scan.
const SLOW: Duration = Duration::from_mins(1);
/// A reader waits no longer for a silent Redis or Postgres: the other figures are worth having.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks at the lanes.
pub(super) struct Gauges {
    queue: Queue,
    store: Store,
    lanes: Vec<(Lane, FleetLimits)>,
    target: Duration,
    late_label: Duration,
    goes_on: bool,
    seen: Mutex<Seen>,
}

/// What was seen before.
#[derive(Default)]
struct Seen {
    looked: Option<Stopwatch>,
    looked_slowly: Option<Stopwatch>,
    lanes: BTreeMap<&'static str, (Stopwatch, Depth, Pace)>,
}

impl Gauges {
    /// Of these lanes; `target` is how soon a backlog should be worked off, and `orders` say when one is stuck.
    pub(super) fn new(
        (queue, store): (&Queue, &Store),
        lanes: &[Lane],
        settings: &BTreeMap<String, LaneSettings>,
        target: Duration,
        orders: &OrderSettings,
    ) -> Self {
        let limits = |lane: &Lane| settings.get(lane.name()).map(FleetLimits::from).unwrap_or_default();
        let lanes = lanes.iter().map(|lane| (*lane, limits(lane))).collect();
        Self {
            queue: queue.clone(),
            store: store.clone(),
            lanes,
            target,
            late_label: Duration::from_secs(orders.late_label_seconds),
            goes_on: orders.auto_fulfil,
            seen: Mutex::default(),
        }
    }

    /// Brings the gauges up to date, unless they are.
    pub(super) async fn refresh(&self) {
        let mut seen = self.seen.lock().await;
        let is_within = |watch: Option<Stopwatch>, time| watch.is_some_and(|watch| watch.elapsed() < time);
        if is_within(seen.looked, FRESH) {
            return;
        }
        seen.looked = Some(Stopwatch::start());
        let is_slow_due = !is_within(seen.looked_slowly, SLOW);
        if is_slow_due {
            seen.looked_slowly = Some(Stopwatch::start());
        }
        let slow = async {
            if is_slow_due && let Err(error) = self.look_at_tables().await {
                tracing::debug!(%error, "the gauges of tables keep their last figures");
            }
        };
        let look = async {
            if let Err(error) = self.look_at_lanes(&mut seen.lanes).await {
                tracing::debug!(%error, "the gauges of lanes keep their last figures");
            }
        };
        let dead = async {
            if let Ok(dead) = self.store.dead_by_lane().await {
                for (lane, _) in &self.lanes {
                    let letters = dead.get(lane.name()).copied().unwrap_or_default();
                    metrics::gauge!("orderfleet_lane_dead_letters", "lane" => lane.name())
                        .set(float(letters));
                }
            }
        };
        let (look, dead) = (tokio::time::timeout(PATIENCE, look), tokio::time::timeout(PATIENCE, dead));
        let slow = tokio::time::timeout(PATIENCE, slow);
        // Whoever is silent keeps the figures of the last look.
        let _ = tokio::join!(look, dead, slow);
        metrics::gauge!("orderfleet_process_resident_bytes").set(resident_bytes());
    }

    async fn look_at_lanes(
        &self,
        seen: &mut BTreeMap<&'static str, (Stopwatch, Depth, Pace)>,
    ) -> Result<(), QueueError> {
        let (workers, now) = (self.queue.workers().await?, self.queue.now_ms().await?);
        for (lane, limits) in &self.lanes {
            let depth = self.queue.depth(*lane).await?;
            show(*lane, &depth);
            let is_away = match needed_by(*lane) {
                Some(provider) => self.queue.provider_seen(provider.name()).await?.probe_at_ms.is_some(),
                None => false,
            };
            let living = workers_of(lane.name(), &workers, now);
            metrics::gauge!("orderfleet_lane_workers", "lane" => lane.name()).set(float(living));
            let mut pace = Pace::default();
            if let Some((watch, before, learnt)) = seen.get(lane.name()) {
                let load = Load::between([before, &depth], watch.elapsed(), living);
                let load = load.held(&depth, depth.set.over(*limits), is_away);
                pace = learnt.learn(load);
                // Where nothing was ever behind nobody knows, and nothing is said.
                if let Some(wanted) = pace.wanted(load, self.target) {
                    metrics::gauge!("orderfleet_lane_wanted_workers", "lane" => lane.name())
                        .set(float(wanted));
                }
            }
            seen.insert(lane.name(), (Stopwatch::start(), depth, pace));
        }
        Ok(())
    }

    async fn look_at_tables(&self) -> Stored<()> {
        let stuck = self.store.stuck(self.late_label, self.goes_on, 1).await?;
        for reason in REASONS {
            let of = stuck.iter().find(|stuck| stuck.reason == reason).map_or(0, |stuck| stuck.of);
            metrics::gauge!("orderfleet_stuck", "reason" => reason)
                .set(float(u64::try_from(of).unwrap_or_default()));
        }
        metrics::gauge!("orderfleet_stock_sold_out_articles")
            .set(float(self.store.sold_out_articles().await?));
        Ok(())
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
    use super::*;

    #[test]
    fn the_kernel_says_how_much_memory_this_process_holds() {
        assert!(resident_bytes() > 1_000_000.0);
    }
}
