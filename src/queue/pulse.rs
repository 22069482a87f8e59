//! The pulse of a loop that must never stand still, and what happens when it does.
//!
//! A loop of the queue (claims, renewals, outcomes, wake-ups, heartbeats) beats its pulse whenever it turns, work or not,
//! and also while Redis is away: a pulse that stops is a fault of ours, never an outage. Readiness sees how old the last
//! beat is. The loop is ended and begun again when it has missed too many looks; if it can not even be ended, because it
//! does not yield, nothing in this process can mend it, and it says so: the process must end for its supervisor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::time::Stopwatch;

/// A loop with nothing to do beats this often: a few wake-ups of a timer, and no command to Redis.
pub(super) const IDLE: Duration = Duration::from_secs(5);
/// Between two looks at a pulse.
const LOOK: Duration = Duration::from_secs(1);
/// Looks without a beat until the loop is begun again: the slowest turn of a loop, with every call to a silent Redis timing
/// out, takes under twelve seconds. Counted in looks and not in time, so that a process that was stopped as a whole, or
/// a machine that slept, is no false alarm.
const STILL: u32 = 20;
/// How long a loop may take to end: it yields at the next await, if it ever reaches one.
const ENDING: Duration = Duration::from_secs(5);

/// Beats while its loop turns.
#[derive(Debug)]
pub(super) struct Pulse {
    beats: AtomicU64,
    last: Mutex<Stopwatch>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { beats: AtomicU64::new(0), last: Mutex::new(Stopwatch::start()) }
    }

    /// The loop turns.
    pub(super) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Stopwatch::start();
    }

    /// How long ago it turned last.
    pub(super) fn age(&self) -> Duration {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn count(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }
}

/// The pulses of the loops that work one lane.
#[derive(Debug)]
pub(super) struct LanePulses {
    pub(super) claims: Pulse,
    pub(super) renewals: Pulse,
    pub(super) outcomes: Pulse,
}

impl LanePulses {
    pub(super) fn new() -> Self {
        Self { claims: Pulse::new(), renewals: Pulse::new(), outcomes: Pulse::new() }
    }

    /// How long ago the one that turned last of all did.
    pub(super) fn age(&self) -> Duration {
        self.claims.age().max(self.renewals.age()).max(self.outcomes.age())
    }
}

/// Why a loop is no longer watched.
enum Stop {
    /// It ended by itself.
    Ended,
    /// It panicked, or stood still and was ended.
    Again,
    /// It does not yield.
    Wedged,
}

/// Runs a loop until it ends by itself, and begins it again where it panicked or stands still. Cancels `wedged` if that
/// can not be done.
pub(super) async fn tend<F>(
    tasks: &TaskTracker,
    what: &'static str,
    pulse: &Pulse,
    wedged: &CancellationToken,
    mut begin: impl FnMut() -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match watch(tasks.spawn(begin()), what, pulse).await {
            Stop::Ended => return,
            Stop::Again => {
                metrics::counter!("orderfleet_loops_begun_again_total", "loop" => what).increment(1);
                pulse.beat();
                // One that panics at once must not spin.
                tokio::time::sleep(LOOK).await;
            }
            Stop::Wedged => {
                tracing::error!(what, "a loop neither turns nor ends: this process can not go on");
                wedged.cancel();
                return;
            }
        }
    }
}

async fn watch(mut running: JoinHandle<()>, what: &'static str, pulse: &Pulse) -> Stop {
    let (mut seen, mut still) = (pulse.count(), 0);
    while still < STILL {
        tokio::select! {
            ended = &mut running => return match ended {
                Ok(()) => Stop::Ended,
                Err(error) => {
                    tracing::error!(what, %error, "a loop ended by a fault of ours: it is begun again");
                    Stop::Again
                }
            },
            () = tokio::time::sleep(LOOK) => {}
        }
        let count = pulse.count();
        still = if count == seen { still + 1 } else { 0 };
        seen = count;
    }
    tracing::error!(what, age = ?pulse.age(), "a loop stands still: it is ended and begun again");
    running.abort();
    match tokio::time::timeout(ENDING, running).await {
        Ok(_) => Stop::Again,
        Err(_) => Stop::Wedged,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_loop_that_panics_is_begun_again_and_one_that_ends_is_not() {
        let (tasks, pulse, wedged) = (TaskTracker::new(), Pulse::new(), CancellationToken::new());
        let begun = Arc::new(AtomicU64::new(0));
        tend(&tasks, "test", &pulse, &wedged, || {
            let before = begun.fetch_add(1, Ordering::Relaxed);
            async move { assert!(before > 0, "the first one panics") }
        })
        .await;
        assert_eq!(begun.load(Ordering::Relaxed), 2);
        assert!(!wedged.is_cancelled());
    }
}
