//! What the lanes hold, for whoever reads `/metrics`: looked at when somebody reads, so that a fleet that nobody watches pays
//! nothing for it.

use std::time::Duration;

use tokio::sync::Mutex;

use crate::job::Lane;
use crate::queue::{Depth, Queue};
use crate::store::Store;
use crate::time::Stopwatch;

/// Readers within this time share a look.
const FRESH: Duration = Duration::from_secs(5);
/// A reader waits no longer for a silent Redis or Postgres: the other figures are worth having.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks at the lanes.
pub(super) struct Gauges {
    queue: Queue,
    store: Store,
    lanes: Vec<Lane>,
    looked: Mutex<Option<Stopwatch>>,
}

impl Gauges {
    pub(super) fn new(queue: &Queue, store: &Store, lanes: Vec<Lane>) -> Self {
        Self { queue: queue.clone(), store: store.clone(), lanes, looked: Mutex::default() }
    }

    /// Brings the gauges up to date, unless they are.
    pub(super) async fn refresh(&self) {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|looked| looked.elapsed() < FRESH) {
            return;
        }
        *looked = Some(Stopwatch::start());
        let look = async {
            for lane in &self.lanes {
                if let Ok(depth) = self.queue.depth(*lane).await {
                    show(*lane, &depth);
                }
            }
        };
        let dead = async {
            if let Ok(dead) = self.store.dead_by_lane().await {
                for lane in &self.lanes {
                    let letters = dead.get(lane.name()).copied().unwrap_or_default();
                    metrics::gauge!("orderfleet_lane_dead_letters", "lane" => lane.name())
                        .set(float(letters));
                }
            }
        };
        let (look, dead) = (tokio::time::timeout(PATIENCE, look), tokio::time::timeout(PATIENCE, dead));
        // Whoever is silent keeps the figures of the last look.
        let _ = tokio::join!(look, dead);
        metrics::gauge!("orderfleet_process_resident_bytes").set(resident_bytes());
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
