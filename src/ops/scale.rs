//! How many workers a lane wants, from what was seen of it. A hint for a person or an autoscaler, not a promise.

use std::time::Duration;

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
        let per_second = |[before, after]: [u64; 2]| {
            // Some seconds of jobs: far below what a u32 holds.
            let count = u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX);
            f64::from(count) / apart.as_secs_f64().max(0.001)
        };
        Self { pushed: per_second(pushed), done: per_second(done) }
    }

    /// How long until what is open is done, at this speed; none where it grows or stands.
    #[must_use]
    pub fn drain(self, open: u64) -> Option<Duration> {
        let left = self.done - self.pushed;
        let open = f64::from(u32::try_from(open).unwrap_or(u32::MAX));
        (left > 0.0).then(|| Duration::try_from_secs_f64(open / left).ok()).flatten()
    }
}

/// How many workers would do what arrives and work the backlog off within `target`. Where nothing waits, as many as there
/// are do; where nothing was done, nobody knows what one worker does, and one more is a beginning.
#[must_use]
pub fn wanted(rates: Rates, waiting: u64, workers: u64, target: Duration) -> u64 {
    if waiting == 0 {
        return workers;
    }
    let now = f64::from(u32::try_from(workers).unwrap_or(u32::MAX));
    let each = rates.done / now.max(1.0);
    if workers == 0 || each <= 0.0 {
        return workers + 1;
    }
    let backlog = f64::from(u32::try_from(waiting).unwrap_or(u32::MAX)) / target.as_secs_f64().max(1.0);
    let wanted = ((rates.pushed + backlog) / each).ceil();
    format!("{wanted:.0}").parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_secs(30);

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
        assert_eq!(wanted(Rates { pushed: 100.0, done: 100.0 }, 3_000, 2, TARGET), 4);
        assert_eq!(wanted(Rates { pushed: 0.0, done: 100.0 }, 30, 2, TARGET), 1, "too many is said too");
        assert_eq!(wanted(Rates::default(), 0, 3, TARGET), 3);
        assert_eq!(wanted(Rates::default(), 10, 0, TARGET), 1);
        assert_eq!(wanted(Rates::default(), 10, 2, TARGET), 3, "nothing is done: one more may help");
    }
}
