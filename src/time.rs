//! The source of time: the only file that reads it.
//!
//! Deadlines of orders are judged by the database's clock and leases by Redis's; what is left for a process's own clock
//! is the tolerance of a webhook's signature, the age of a stream token and measured durations. Tests set the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeZone, Utc};

/// Tells the time: the machine's, or one that a test sets.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn real() -> Self {
        Self(None)
    }

    /// A clock that stands at `at` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.timestamp_millis()))))
    }

    /// The time now, in UTC, to the millisecond.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let ms = match &self.0 {
            Some(fixed) => fixed.load(Ordering::Relaxed),
            None => machine_now().timestamp_millis(),
        };
        Utc.timestamp_millis_opt(ms).single().unwrap_or_default()
    }

    /// Whole seconds since 1970, as signatures carry them.
    #[must_use]
    pub fn unix_seconds(&self) -> i64 {
        self.now().timestamp()
    }

    /// Nanoseconds since 1970, as spans carry them: finer than [`Clock::now`].
    #[must_use]
    pub fn unix_nanos(&self) -> u64 {
        let nanos = match &self.0 {
            Some(_) => self.now().timestamp_nanos_opt(),
            None => machine_now().timestamp_nanos_opt(),
        };
        nanos.and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or_default()
    }

    /// Moves a fixed clock; the machine's clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Some(fixed) = &self.0 {
            fixed.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this file is where the time is read")]
fn machine_now() -> DateTime<Utc> {
    Utc::now()
}

/// Measures how long something took.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this file is where the time is read")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start, on a clock that never steps back.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The time since the start in milliseconds, for logs and rows.
    #[must_use]
    pub fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_stands_until_it_is_moved() {
        let clock = Clock::fixed(Utc.timestamp_opt(1_000, 0).unwrap());
        assert_eq!(clock.unix_seconds(), 1_000);
        clock.advance(Duration::from_secs(301));
        assert_eq!(clock.unix_seconds(), 1_301);
    }
}
