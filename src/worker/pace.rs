//! How many jobs of a kind one transaction takes: as many as fit into a time, learnt from the last ones.
//!
//! A kind's own limit says what its statements bear; how long they take is the database's to say. A transaction that grows
//! long holds its rows from the slices beside it, and its leases from being worked elsewhere. So a slice that took too long
//! halves the next one, and quick ones double it again: a slow database gets smaller bites, never a longer wait. Time that
//! a slice stood before a hot row does not count: a thousand ends of holds of one article, taken for slow, came down to
//! slices of one and took half a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A transaction should end within this: a quarter of the lock time-out, so that the slice that waits behind it for a hot
/// row, and the one behind that, still get it in time.
const BUDGET: Duration = Duration::from_millis(500);

/// What each kind's slices may hold now; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Arc<Mutex<HashMap<&'static str, usize>>>);

impl Pace {
    /// Jobs of a kind in the next transaction; `most` is the kind's own limit.
    pub(super) fn slice(&self, kind: &'static str, most: usize) -> usize {
        let paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paces.get(kind).copied().unwrap_or(most).clamp(1, most.max(1))
    }

    /// A transaction over so many jobs was busy for so long.
    pub(super) fn took(&self, kind: &'static str, most: usize, jobs: usize, time: Duration) {
        let now = self.slice(kind, most);
        let next = if time > BUDGET {
            jobs / 2
        } else if time * 2 < BUDGET {
            now * 2
        } else {
            now
        };
        let mut paces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        paces.insert(kind, next.clamp(1, most.max(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 256;

    #[test]
    fn a_slow_database_gets_smaller_slices_and_a_quick_one_its_own_again() {
        let pace = Pace::default();
        assert_eq!(pace.slice("a", MOST), MOST, "nothing is known: the kind's own limit");
        pace.took("a", MOST, MOST, BUDGET * 2);
        assert_eq!(pace.slice("a", MOST), 128);
        assert_eq!(pace.slice("b", MOST), MOST, "another kind is not concerned");
        for _ in 0..20 {
            pace.took("a", MOST, pace.slice("a", MOST), BUDGET * 2);
        }
        assert_eq!(pace.slice("a", MOST), 1, "one job is always worked");
        pace.took("a", MOST, 1, BUDGET * 3 / 4);
        assert_eq!(pace.slice("a", MOST), 1, "neither long nor short: as it is");
        for _ in 0..20 {
            pace.took("a", MOST, 1, BUDGET / 10);
        }
        assert_eq!(pace.slice("a", MOST), MOST);
    }
}
