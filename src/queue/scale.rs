//! How many workers a lane wants, from what was seen of it. A hint for a person or an autoscaler, not a promise.
//!
//! Depth alone says nothing: ten thousand mails are a minute's work for one fleet and a day's for another. What counts is
//! what one worker does in a second, and that shows only while the lane is behind: a worker that waits for work is not slow.
//! So a pace is believed where jobs waited for long at both ends of a look, and kept from then on: beside the lane, so that
//! a worker that was started just now, and whoever asks once, know what those before them learnt.

use std::time::Duration;

use super::partitions::Partition;
use super::{Depth, FleetLimits, Queue, QueueError, WorkerSeen};
use crate::job::Lane;

/// A worker that was silent for longer is not counted among the living, in milliseconds: five heartbeats.
pub const LIVE: i64 = 5_000;
/// A job that waits this long found no free hand: an idle lane begins one within milliseconds.
const BEHIND: Duration = Duration::from_secs(2);
/// What is kept of the best pace at each look of a lane that is behind, so that yesterday's faster provider is forgotten.
const KEPT: f64 = 0.97;
/// How much more a backlog counts, at most, for being older than anybody should wait: an urgent number, not an endless one.
const MOST_URGENT: f64 = 4.0;
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
    /// How long the oldest of them has waited.
    pub oldest: Duration,
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
            oldest: Duration::from_secs(after.oldest_seconds.unwrap_or_default()),
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

    /// Whether anything was learnt.
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.0.is_some()
    }

    /// How many workers would do what arrives, and work the backlog off within `target`; of one that is older than that, the
    /// more. None where nothing was ever behind, so that nobody knows what a worker does. More workers would not help a lane
    /// that is held.
    #[must_use]
    pub fn wanted(self, load: Load, target: Duration) -> Option<u64> {
        if load.is_held {
            return Some(load.workers);
        }
        let Some(pace) = self.0 else {
            // Behind, and not one done: one more is a beginning.
            return (load.is_behind || (load.workers == 0 && load.waiting > 0)).then_some(load.workers + 1);
        };
        let target = target.as_secs_f64().max(1.0);
        let urgency = (load.oldest.as_secs_f64() / target).clamp(1.0, MOST_URGENT);
        let backlog = float(load.waiting) / target * urgency;
        let (enough, easy) =
            ((load.rates.pushed + backlog) / pace, (load.rates.pushed / BUSY + backlog) / pace);
        let (enough, easy) = (up(enough), up(easy));
        Some(if enough > load.workers { enough } else { easy.min(load.workers).max(1) })
    }

    /// Why so many are `wanted`, as a sentence.
    #[must_use]
    pub fn sentence(self, load: Load, target: Duration, wanted: u64) -> String {
        let Load { rates: Rates { pushed, done }, workers, .. } = load;
        let said = format!("{wanted} worker{} wanted, {workers} work", if wanted == 1 { "" } else { "s" });
        let Some(pace) = self.0.filter(|_| !load.is_held) else {
            let why = if load.is_held {
                "something else holds the lane, more would not help"
            } else if wanted > workers {
                "jobs wait, and none was seen done"
            } else {
                "it was never behind, so nobody knows what one does"
            };
            return format!("{said}: {why}");
        };
        let waits = if load.waiting == 0 {
            "nothing waits".to_owned()
        } else {
            let (oldest, target) = (load.oldest.as_secs(), target.as_secs());
            format!("{} wait, the oldest {oldest} s of {target} s wanted", load.waiting)
        };
        let [pushed, done, pace] = [pushed, done, pace].map(rate);
        format!("{said}: {pushed} jobs/s come, {done}/s are done, one does {pace}/s, {waits}")
    }
}

/// A rate for a person: of slow ones the first digit behind the point counts.
fn rate(a_second: f64) -> String {
    let digits = usize::from(a_second < 10.0);
    format!("{a_second:.digits$}")
}

impl Queue {
    /// What one worker of a lane does, as the fleet saw it last.
    pub async fn pace(&self, lane: Lane) -> Result<Pace, QueueError> {
        let meter = self.0.keys(Partition::home(lane)).meter();
        let kept: Option<String> =
            self.0.link.send(&meter, redis::cmd("HGET").arg(&meter).arg("pace")).await?;
        let kept = kept.and_then(|kept| kept.parse().ok());
        Ok(Pace(kept.filter(|pace: &f64| pace.is_finite() && *pace > 0.0)))
    }

    /// Keeps what one worker of a lane does, where that is known.
    pub async fn keep_pace(&self, lane: Lane, pace: Pace) -> Result<(), QueueError> {
        let Pace(Some(pace)) = pace else { return Ok(()) };
        let meter = self.0.keys(Partition::home(lane)).meter();
        let mut set = redis::cmd("HSET");
        set.arg(&meter).arg("pace").arg(format!("{pace:.3}"));
        let _is_new: i64 = self.0.link.send(&meter, &set).await?;
        Ok(())
    }
}

/// What is told of a lane of which nobody knows what it wants: as many as live, where no lane is known, because an autoscaler
/// must not take a fleet that was started just now for an idle one. Else one, so that those that are known decide.
#[must_use]
pub fn unknown(is_any_known: bool, living: u64) -> u64 {
    if is_any_known { 1 } else { living }
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
        Load {
            rates: Rates { pushed, done },
            waiting,
            oldest: Duration::from_secs(u64::from(waiting > 0)),
            is_behind: waiting > 0,
            is_held: false,
            workers,
        }
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
    fn a_fleet_of_which_nothing_is_known_is_left_as_it_is_and_an_unknown_lane_decides_nothing_beside_others()
    {
        assert_eq!((unknown(false, 5), unknown(false, 0)), (5, 0));
        assert_eq!(unknown(true, 5), 1);
    }

    #[test]
    fn a_backlog_that_is_older_than_anybody_should_wait_wants_more_and_not_without_end() {
        let pace = Pace(Some(50.0));
        let aged = |seconds| {
            let seen = load(50.0, 50.0, 3_000, 2);
            pace.wanted(Load { oldest: Duration::from_secs(seconds), ..seen }, TARGET)
        };
        assert_eq!([0, 15, 30, 60, 120, 86_400].map(aged), [3, 3, 3, 5, 9, 9].map(Some));
    }

    #[test]
    fn a_sentence_says_how_many_and_why() {
        let seen = Load { oldest: Duration::from_secs(14), ..load(120.0, 60.0, 300, 2) };
        let target = Duration::from_secs(5);
        assert_eq!(
            Pace(Some(30.0)).sentence(seen, target, 10),
            "10 workers wanted, 2 work: 120 jobs/s come, 60/s are done, one does 30/s, 300 wait, the oldest 14 s of 5 s wanted"
        );
        let calm = load(6.0, 6.0, 0, 1);
        assert!(Pace(Some(30.0)).sentence(calm, target, 1).ends_with("one does 30/s, nothing waits"));
        let said = |pace: Pace, seen, wanted| pace.sentence(seen, target, wanted);
        assert!(said(Pace::default(), calm, 1).starts_with("1 worker wanted, 1 work: it was never behind"));
        assert!(said(Pace::default(), seen, 3).ends_with("none was seen done"));
        let held = Load { is_held: true, ..seen };
        assert!(
            said(Pace(Some(30.0)), held, 2).starts_with("2 workers wanted, 2 work: something else holds")
        );
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
