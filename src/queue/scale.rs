//! How many workers a lane wants, from what was seen of it. A hint for a person or an autoscaler, not a promise.
//!
//! Depth alone says nothing: ten thousand mails are a minute's work for one fleet and a day's for another. What counts is
//! what one worker does in a second, and that shows only while the lane is behind: a worker that waits for work is not slow.
//! So a pace is believed where jobs waited for long at both ends of a look, and kept from then on.

use std::time::Duration;

use super::{Depth, FleetLimits, WorkerSeen};

/// A worker that was silent for longer is not counted among the living, in milliseconds: five heartbeats.
pub const LIVE: i64 = 5_000;
/// A job that waits this long found no free hand: an idle lane begins one within milliseconds.
const BEHIND: Duration = Duration::from_secs(2);
/// What is kept of the best pace at each look of a lane that is behind, so that yesterday's faster provider is forgotten.
const KEPT: f64 = 0.97;
/// How busy workers should be where nothing waits: below it one is taken away. Between this and 1 nothing changes, so that the
/// number does not swing.
const BUSY: f64 = 0.7;

/// How fast a lane was filled and emptied while it was watched.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Jobs pushed in a second.
    pub pushed: f64,
    /// Jobs done in a second.
    pub done: f64,
}

impl Rates {
    /// Of two looks at a lane's counters. A counter that fell was wiped: nothing is known then.
    #[must_use]
    pub fn between(pushed: [u64; 2], done: [u64; 2], apart: Duration) -> Self {
        let per_second =
            |[before, after]: [u64; 2]| float(after.saturating_sub(before)) / apart.as_secs_f64().max(0.001);
        Self { pushed: per_second(pushed), done: per_second(done) }
    }

    /// How long until what is open is done, at this speed; none where it grows or stands.
    #[must_use]
    pub fn drain(self, open: u64) -> Option<Duration> {
        let left = self.done - self.pushed;
        (left > 0.0).then(|| Duration::try_from_secs_f64(float(open) / left).ok()).flatten()
    }
}

/// A lane between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// What came and went.
    pub rates: Rates,
    /// Jobs that wait, at the second look.
    pub waiting: u64,
    /// Whether jobs waited for long at both looks, so that nobody who worked here can have been idle.
    pub is_behind: bool,
    /// Whether something other than workers holds it: an operator, a limit of the fleet, a provider that is away.
    pub is_held: bool,
    /// Live workers.
    pub workers: u64,
}

/// A limit that is this full holds a lane: what is counted in one look is never all of it.
const FULL: f64 = 0.9;

impl Load {
    /// Of two looks, and the workers that lived at the second.
    #[must_use]
    pub fn between(looks: [&Depth; 2], apart: Duration, workers: u64) -> Self {
        let [before, after] = looks;
        let waits_long =
            |look: &&Depth| look.oldest_seconds.is_some_and(|seconds| seconds >= BEHIND.as_secs());
        Self {
            rates: Rates::between([before.pushed, after.pushed], [before.done, after.done], apart),
            waiting: after.waiting(),
            is_behind: looks.iter().all(waits_long),
            is_held: after.paused,
            workers,
        }
    }

    /// The same lane under these limits, and with what it can not do without away or not.
    #[must_use]
    pub fn held(self, depth: &Depth, limits: FleetLimits, is_away: bool) -> Self {
        let is_full = limits.concurrency > 0 && depth.leased >= u64::from(limits.concurrency);
        let is_fast = limits.rate > 0 && self.rates.done >= f64::from(limits.rate) * FULL;
        Self { is_held: self.is_held || is_away || is_full || is_fast, ..self }
    }
}

/// Jobs that one worker does in a second when it has enough to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace(Option<f64>);

impl Pace {
    /// Learns from a look, where it teaches something.
    #[must_use]
    pub fn learn(self, load: Load) -> Self {
        if !load.is_behind || load.is_held || load.workers == 0 || load.rates.done <= 0.0 {
            return self;
        }
        let seen = load.rates.done / float(load.workers);
        Self(Some(self.0.map_or(seen, |known| seen.max(known * KEPT))))
    }

    /// How many workers would do what arrives, and work the backlog off within `target`. None where nothing was ever behind,
    /// so that nobody knows what a worker does. More workers would not help a lane that is held.
    #[must_use]
    pub fn wanted(self, load: Load, target: Duration) -> Option<u64> {
        if load.is_held {
            return Some(load.workers);
        }
        let Some(pace) = self.0 else {
            // Behind, and not one done: one more is a beginning.
            return (load.is_behind || (load.workers == 0 && load.waiting > 0)).then_some(load.workers + 1);
        };
        let backlog = float(load.waiting) / target.as_secs_f64().max(1.0);
        let (enough, easy) =
            ((load.rates.pushed + backlog) / pace, (load.rates.pushed / BUSY + backlog) / pace);
        let (enough, easy) = (up(enough), up(easy));
        Some(if enough > load.workers { enough } else { easy.min(load.workers).max(1) })
    }
}

/// The live workers of a lane, by their heartbeats.
#[must_use]
pub fn workers_of(lane: &str, seen: &[WorkerSeen], now_ms: i64) -> u64 {
    let works = |worker: &&WorkerSeen| {
        now_ms.saturating_sub(worker.beat_at_ms) < LIVE
            && worker.card.as_ref().is_some_and(|card| card.lanes.iter().any(|of| of == lane))
    };
    u64::try_from(seen.iter().filter(works).count()).unwrap_or_default()
}

/// Counts of jobs are far below what a u32 holds.
fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The next whole number.
fn up(number: f64) -> u64 {
    format!("{:.0}", number.ceil()).parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_secs(30);

    fn load(pushed: f64, done: f64, waiting: u64, workers: u64) -> Load {
        Load { rates: Rates { pushed, done }, waiting, is_behind: waiting > 0, is_held: false, workers }
    }

    fn wanted(seen: Load) -> Option<u64> {
        Pace::default().learn(seen).wanted(seen, TARGET)
    }

    #[test]
    fn rates_are_differences_and_a_wiped_counter_says_nothing() {
        let rates = Rates::between([100, 160], [0, 30], Duration::from_secs(2));
        assert_eq!(rates, Rates { pushed: 30.0, done: 15.0 });
        let wiped = Rates::between([100, 5], [90, 1], Duration::from_secs(1));
        assert_eq!(wiped, Rates::default());
    }

    #[test]
    fn a_lane_drains_only_if_it_is_emptied_faster_than_it_is_filled() {
        assert_eq!(Rates { pushed: 10.0, done: 60.0 }.drain(100), Some(Duration::from_secs(2)));
        assert_eq!(Rates { pushed: 10.0, done: 10.0 }.drain(100), None);
        assert_eq!(Rates::default().drain(100), None);
    }

    #[test]
    fn a_backlog_wants_workers_by_what_one_does() {
        // Two do 100 a second together; 100 arrive, and 3,000 wait for at most 30 s.
        assert_eq!(wanted(load(100.0, 100.0, 3_000, 2)), Some(4));
        assert_eq!(wanted(load(0.0, 100.0, 30, 2)), Some(1), "too many is said too");
        assert_eq!(wanted(load(0.0, 0.0, 0, 3)), None, "nothing ever waited");
        assert_eq!(wanted(load(0.0, 0.0, 10, 0)), Some(1));
        assert_eq!(wanted(load(0.0, 0.0, 10, 2)), Some(3), "nothing is done: one more may help");
    }

    #[test]
    fn a_worker_that_waits_for_work_is_not_taken_for_a_slow_one() {
        let pace = Pace::default().learn(load(100.0, 100.0, 3_000, 2));
        let quiet = Load { is_behind: false, ..load(3.0, 3.0, 1, 4) };
        assert_eq!(pace.learn(quiet), pace);
        assert_eq!(pace.wanted(quiet, TARGET), Some(1), "one does fifty");
        let asleep = load(0.0, 0.0, 0, 1);
        assert_eq!(pace.wanted(asleep, TARGET), Some(1), "never none");
    }

    #[test]
    fn the_number_does_not_swing_between_enough_and_easy() {
        let pace = Pace::default().learn(load(100.0, 100.0, 3_000, 2));
        let at = |pushed| {
            pace.wanted(Load { is_behind: false, ..load(pushed, pushed, 0, 3) }, TARGET).unwrap_or_default()
        };
        assert_eq!([at(160.0), at(140.0), at(95.0), at(70.0), at(60.0)], [4, 3, 3, 2, 2]);
    }

    #[test]
    fn a_lane_that_is_held_wants_what_it_has() {
        let pace = Pace::default().learn(load(100.0, 100.0, 3_000, 2));
        let seen = load(100.0, 10.0, 90_000, 2);
        let held = |depth: Depth, limits, is_away| {
            let held = seen.held(&depth, limits, is_away);
            assert_eq!(pace.learn(held), pace, "its pace is not the workers'");
            pace.wanted(held, TARGET)
        };
        let free = FleetLimits::default();
        assert_eq!(
            held(Depth { leased: 8, ..Depth::default() }, FleetLimits { concurrency: 8, rate: 0 }, false),
            Some(2)
        );
        assert_eq!(held(Depth::default(), FleetLimits { concurrency: 0, rate: 11 }, false), Some(2));
        assert_eq!(held(Depth::default(), free, true), Some(2));
        assert_eq!(pace.wanted(seen.held(&Depth::default(), free, false), TARGET), Some(62));
    }

    #[test]
    fn a_lane_is_behind_only_if_it_was_at_both_looks() {
        let look = |oldest_seconds| Depth { oldest_seconds, ..Depth::default() };
        let behind =
            |before, after| Load::between([&look(before), &look(after)], Duration::from_secs(1), 1).is_behind;
        assert!(behind(Some(2), Some(2)));
        assert!(!behind(Some(2), Some(1)) && !behind(None, Some(9)) && !behind(Some(9), None));
    }
}
