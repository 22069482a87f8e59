//! Whether there is room for one more job, and if not, when there will be.
//!
//! A look at each lane that the intake feeds, twice a second and in the background, tells how much is open, how fast it
//! is worked off and how full the memory is; no request asks. What was pushed since then, by whatever door, stands in
//! the sequence that each push answers. Where the intents' lane is crowded, the push itself passes a [`Gate`] that books
//! a place for whoever is sent away: callers who wait as told get in, and newcomers do not take their places.
//!
//! Webhooks are money and parcels that exist: intents are refused long before them, both for memory and, in lanes of
//! their own, for depth.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::LaneSettings;
use crate::ids::jitter;
use crate::job::Lane;
use crate::queue::{Gate, Gauge, Queue};
use crate::time::Stopwatch;

/// The lanes that the intake feeds.
pub(super) const FED: [Lane; 4] = [Lane::Intents, Lane::PaymentsIn, Lane::ShippingIn, Lane::Housekeeping];
/// Between two looks: a look is one short script for each lane, and no lane fills in half a second.
const LOOK: Duration = Duration::from_millis(500);
/// Without an answer for this long, the process does not call itself ready.
const FRESH: Duration = Duration::from_secs(5);
/// How long it takes a measured second to lose most of its weight: long enough for the clumps in which slices end, short
/// enough for a fleet that grows or breaks.
const MEMORY: f64 = 10.0;
/// Busy seconds that have to be seen before a speed is believed: a first slice takes longer than all that follow.
const EVIDENCE: f64 = 2.0;
/// Where fewer seconds of work are open, newcomers come in whatever is promised: a late caller must not idle the fleet.
const BUSY: Duration = Duration::from_secs(1);
/// No caller is sent away for longer: more workers may come.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// The least that is told where memory is short: it empties with the backlog, and more slowly.
const SHORTEST_MEMORY_WAIT: Duration = Duration::from_secs(5);
/// What is told a provider whose lane is full; it comes back when it likes.
const WEBHOOK_WAIT: Duration = Duration::from_secs(10);
/// Percents of Redis's memory above which no intent is taken in: the rest is for webhooks and for the fleet's own work.
const MEMORY_FOR_INTENTS: u64 = 80;

/// What the intents' lane has to say to a new intent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Room {
    /// It may be pushed.
    Free,
    /// It may be pushed through this gate.
    Crowded(Gate),
    /// Memory is short: this long to stay away.
    NoMemory(Duration),
}

pub(super) struct Capacity {
    max_wait: Duration,
    lanes: BTreeMap<Lane, View>,
}

/// What is known of one lane.
struct View {
    limits: LaneSettings,
    /// The highest push sequence that was answered since the last look.
    heard: AtomicU64,
    /// Pushes that are on their way.
    coming: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When the queue answered last.
    answered: Option<Stopwatch>,
    gauge: Gauge,
    pace: Pace,
}

/// How fast a lane is worked off: jobs done and busy seconds, both weighted by their age.
#[derive(Default)]
struct Pace {
    done: f64,
    seconds: f64,
}

impl Pace {
    fn age(&mut self, by: Duration) {
        let kept = (-by.as_secs_f64() / MEMORY).exp();
        self.done *= kept;
        self.seconds *= kept;
    }

    fn add(&mut self, done: u64, over: Duration) {
        self.done += f64::from(u32::try_from(done).unwrap_or(u32::MAX));
        self.seconds += over.as_secs_f64();
    }

    /// How long one job takes the fleet; unknown until it was seen at work, and again when that is long ago. A fleet that
    /// was never seen is about to start: its lane fills to its depth.
    fn each(&self) -> Option<Duration> {
        let each = (self.seconds / self.done).min(LONGEST_WAIT.as_secs_f64());
        (self.seconds >= EVIDENCE && self.done > 0.0).then(|| Duration::from_secs_f64(each))
    }
}

impl Capacity {
    /// `limits` are the lanes' settings by name; a lane without has no limit.
    pub(super) fn new(limits: &BTreeMap<String, LaneSettings>, max_wait: Duration) -> Self {
        let view = |lane: Lane| View {
            limits: limits.get(lane.name()).cloned().unwrap_or(LaneSettings {
                partitions: 1,
                concurrency: 1,
                slice: 1,
                fleet_concurrency: 0,
                fleet_rate: 0,
                max_depth: u64::MAX,
            }),
            heard: AtomicU64::default(),
            coming: AtomicU64::default(),
            seen: Mutex::default(),
        };
        Self { max_wait, lanes: FED.into_iter().map(|lane| (lane, view(lane))).collect() }
    }

    /// Counts pushes until the next look sees them: `sequence` is what the last of them answered.
    pub(super) fn pushed(&self, lane: Lane, sequence: u64) {
        self.view(lane).heard.fetch_max(sequence, Ordering::Relaxed);
    }

    /// An intent is on its way, until what this answers is dropped. So a herd that comes at once fills the room that there
    /// is, not as much again as is on its way.
    pub(super) fn coming(&self) -> Coming<'_> {
        let coming = &self.view(Lane::Intents).coming;
        coming.fetch_add(1, Ordering::Relaxed);
        Coming(coming)
    }

    /// Whether a new intent, the last of those that are on their way, finds room.
    pub(super) fn intents(&self) -> Room {
        let view = self.view(Lane::Intents);
        let seen = view.seen();
        let Gauge { pushed, promised, used_bytes, allowed_bytes, .. } = seen.gauge;
        let heard = view.heard.load(Ordering::Relaxed).saturating_sub(pushed);
        let coming = view.coming.load(Ordering::Relaxed).saturating_sub(1);
        let open = seen.gauge.open().saturating_add(heard).saturating_add(coming);
        let each = seen.pace.each();
        if allowed_bytes > 0
            && used_bytes.saturating_mul(100) >= allowed_bytes.saturating_mul(MEMORY_FOR_INTENTS)
        {
            let drained = each.map_or(Duration::ZERO, |each| times(each, open));
            // Nothing can be booked where nothing can be written: up to double, so that they do not come back together.
            return Room::NoMemory(drained.clamp(SHORTEST_MEMORY_WAIT, LONGEST_WAIT).mul_f64(1.0 + jitter()));
        }
        let gate = view.gate(each, self.max_wait);
        if promised == 0 && open < gate.full { Room::Free } else { Room::Crowded(gate) }
    }

    /// How many intents are done before this one is, itself included, and how long that takes at the speed of now; none
    /// where nobody knows the speed. By counters alone: `sequence` is what its push answered.
    pub(super) fn place(&self, sequence: u64) -> (u64, Option<Duration>) {
        let seen = self.view(Lane::Intents).seen();
        let place = sequence.saturating_sub(seen.gauge.done).max(1);
        (place, seen.pace.each().map(|each| times(each, place)))
    }

    /// Where there is no room for another webhook: how long to stay away.
    pub(super) fn webhooks(&self, lane: Lane) -> Option<Duration> {
        let view = self.view(lane);
        (view.seen().gauge.open() >= view.limits.max_depth).then(|| WEBHOOK_WAIT.mul_f64(1.0 + jitter()))
    }

    /// Whether the queue answered lately.
    pub(super) fn is_fresh(&self) -> bool {
        self.lanes
            .values()
            .all(|view| view.seen().answered.is_some_and(|answered| answered.elapsed() < FRESH))
    }

    /// Looks at the lanes until `stop`.
    pub(super) async fn measure(&self, queue: Queue, stop: CancellationToken) {
        loop {
            if let Err(error) = queue.hear_of_partitions().await {
                warn!(%error, "how the lanes are split is not known anew");
            }
            join_all(self.lanes.iter().map(async |(lane, view)| {
                let heard = view.heard.load(Ordering::Relaxed);
                match queue.gauge(*lane).await {
                    Ok(gauge) => {
                        let since = view.seen().answered.map(|answered| answered.elapsed());
                        view.take(gauge, since, heard);
                    }
                    Err(error) => warn!(%lane, %error, "how full the lane is is not known"),
                }
            }))
            .await;
            if stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
                return;
            }
        }
    }

    fn view(&self, lane: Lane) -> &View {
        // Nothing but the lanes that are fed is asked for.
        &self.lanes[&lane]
    }
}

/// One push on its way.
pub(super) struct Coming<'a>(&'a AtomicU64);

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl View {
    /// Takes a look over the last one; `heard` is what had been heard when it began.
    fn take(&self, gauge: Gauge, since: Option<Duration>, heard: u64) {
        let mut seen = self.seen();
        if let Some(since) = since {
            seen.pace.age(since);
            // Idle time says nothing of the speed: at both looks a whole slice must have waited for a free hand.
            let slice = self.slice();
            if seen.gauge.waiting >= slice && gauge.waiting >= slice {
                let done = gauge.done.saturating_sub(seen.gauge.done);
                seen.pace.add(done, since);
            }
        }
        // Not the highest: Redis may have been wiped. But where pushes were answered meanwhile, theirs is newer.
        let _newer = self.heard.compare_exchange(heard, gauge.pushed, Ordering::Relaxed, Ordering::Relaxed);
        seen.gauge = gauge;
        seen.answered = Some(Stopwatch::start());
    }

    /// The gate at this speed. Where nobody knows it, a lane that is full is taken to need the longest wait allowed.
    fn gate(&self, each: Option<Duration>, max_wait: Duration) -> Gate {
        let most = self.limits.max_depth;
        let each = each.unwrap_or_else(|| max_wait / u32::try_from(most).unwrap_or(u32::MAX).max(1));
        let within = |time: Duration| time.as_nanos() / each.as_nanos().max(1);
        let jobs = |time: Duration| u64::try_from(within(time)).unwrap_or(u64::MAX);
        Gate {
            // Two slices are gone at the next turn: no lane is full with less.
            full: jobs(max_wait).max(2 * self.slice()).min(most),
            busy: jobs(BUSY).max(self.slice()).min(most),
            most,
            each,
            longest: LONGEST_WAIT,
        }
    }

    fn slice(&self) -> u64 {
        u64::try_from(self.limits.slice).unwrap_or(u64::MAX / 2)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn times(each: Duration, jobs: u64) -> Duration {
    each.saturating_mul(u32::try_from(jobs).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
