//! Whether there is room for one more intent, and if not, when there will be.
//!
//! A look at the intents' lane each second, in the background, tells how much is open and how fast it is worked off; what
//! this process pushed since then is added. Replays never come here: whoever holds a place keeps it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::ids::jitter;
use crate::job::Lane;
use crate::queue::{Depth, Queue};
use crate::time::Stopwatch;

/// Between two looks: a look is one short script, and a lane of 200,000 does not fill in a second.
const LOOK: Duration = Duration::from_secs(1);
/// Without an answer for this long, the process does not call itself ready.
const FRESH: Duration = Duration::from_secs(5);
/// What a caller is told to wait where nobody knows how fast the lane drains.
const UNKNOWN_WAIT: Duration = Duration::from_secs(5);
/// No caller is sent away for longer: more workers may come.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// Open intents below which the lane is not full: two slices. What waits then is gone at the next turn, and how fast it
/// went says how fast it came, not how fast the fleet is.
const BACKLOG: u64 = 512;
/// How much of the new measurement goes into the average, of ten.
const NEW_PART: u32 = 3;

pub(super) struct Capacity {
    max_depth: u64,
    max_wait: Duration,
    pushed_since: AtomicU64,
    gauge: Mutex<Gauge>,
}

#[derive(Default)]
struct Gauge {
    /// When the queue answered last.
    answered: Option<Stopwatch>,
    open: u64,
    done: u64,
    /// How long one job takes the fleet, on average; unknown until it was seen at work.
    each: Option<Duration>,
}

impl Capacity {
    pub(super) fn new(max_depth: u64, max_wait: Duration) -> Self {
        Self { max_depth, max_wait, pushed_since: AtomicU64::new(0), gauge: Mutex::default() }
    }

    /// Counts a push of this process, until the next look sees it.
    pub(super) fn pushed(&self) {
        self.pushed_since.fetch_add(1, Ordering::Relaxed);
    }

    /// Where there is no room: how long to stay away.
    pub(super) fn refusal(&self) -> Option<Duration> {
        let gauge = self.gauge();
        let open = gauge.open.saturating_add(self.pushed_since.load(Ordering::Relaxed));
        let wait = gauge.each.map(|each| each.saturating_mul(u32::try_from(open).unwrap_or(u32::MAX)));
        if open < BACKLOG.min(self.max_depth) {
            return None;
        }
        if open < self.max_depth && wait.is_none_or(|wait| wait <= self.max_wait) {
            return None;
        }
        // Up to a fifth later, or all that were refused together come back together.
        let wait = wait.unwrap_or(UNKNOWN_WAIT).min(LONGEST_WAIT);
        Some(wait.mul_f64(1.0 + jitter() / 5.0))
    }

    /// Whether the queue answered lately.
    pub(super) fn is_fresh(&self) -> bool {
        self.gauge().answered.is_some_and(|answered| answered.elapsed() < FRESH)
    }

    /// Looks at the lane until `stop`.
    pub(super) async fn measure(&self, queue: Queue, stop: CancellationToken) {
        loop {
            // What was pushed before the look is in its answer; what is pushed meanwhile may be counted twice, never lost.
            let seen = self.pushed_since.load(Ordering::Relaxed);
            match queue.depth(Lane::Intents).await {
                Ok(depth) => {
                    let since = self.gauge().answered.map(|answered| answered.elapsed());
                    self.take(&depth, since);
                    self.pushed_since.fetch_sub(seen, Ordering::Relaxed);
                }
                Err(error) => warn!(%error, "the depth of the intents' lane is not known"),
            }
            if stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                return;
            }
        }
    }

    fn take(&self, depth: &Depth, since: Option<Duration>) {
        let mut gauge = self.gauge();
        let open = depth.waiting().saturating_add(depth.leased);
        let finished = u32::try_from(depth.done.saturating_sub(gauge.done)).unwrap_or(u32::MAX);
        // Idle time says nothing of the speed: both looks must find a backlog.
        let busy = gauge.open >= BACKLOG && open >= BACKLOG;
        if let Some(since) = since
            && busy
            && finished > 0
        {
            let now = since / finished;
            gauge.each =
                Some(gauge.each.map_or(now, |average| (average * (10 - NEW_PART) + now * NEW_PART) / 10));
        }
        gauge.open = open;
        gauge.done = depth.done;
        gauge.answered = Some(Stopwatch::start());
    }

    fn gauge(&self) -> std::sync::MutexGuard<'_, Gauge> {
        self.gauge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(waiting: u64, done: u64) -> Depth {
        Depth { bands: [0, 0, waiting, 0], done, ..Depth::default() }
    }

    #[test]
    fn a_full_lane_refuses_and_pushes_since_the_last_look_count() {
        let capacity = Capacity::new(10, Duration::from_mins(1));
        capacity.take(&depth(9, 0), None);
        assert_eq!(capacity.refusal(), None);
        capacity.pushed();
        assert!(capacity.refusal().is_some_and(|wait| wait >= UNKNOWN_WAIT));
    }

    #[test]
    fn a_wait_that_would_be_too_long_is_refused_and_told() {
        let capacity = Capacity::new(1_000_000, Duration::from_mins(1));
        capacity.take(&depth(1_000, 0), None);
        capacity.take(&depth(1_000, 10), Some(Duration::from_secs(1)));
        let wait = capacity.refusal().unwrap();
        assert!((100..=120).contains(&wait.as_secs()), "{wait:?}");
        capacity.take(&depth(100, 1_000), Some(Duration::from_secs(1)));
        assert_eq!(capacity.refusal(), None);
    }

    #[test]
    fn a_trickle_says_nothing_of_the_speed() {
        let capacity = Capacity::new(1_000_000, Duration::from_mins(1));
        capacity.take(&depth(3, 0), None);
        capacity.take(&depth(3, 2), Some(Duration::from_secs(1)));
        capacity.take(&depth(300, 4), Some(Duration::from_secs(1)));
        assert_eq!(capacity.refusal(), None);
    }

    #[test]
    fn idle_time_says_nothing_of_the_speed() {
        let capacity = Capacity::new(1_000_000, Duration::from_mins(1));
        capacity.take(&depth(0, 0), None);
        capacity.take(&depth(5_000, 1), Some(Duration::from_hours(1)));
        assert_eq!(capacity.refusal(), None);
    }
}
