//! How long to wait before the next attempt: exponential, with full jitter from a source that is passed in.
//!
//! Full jitter (a uniform pick from zero to the cap) spreads a crowd that failed together best: see Brooker, "Exponential
//! Backoff And Jitter", 2015. A floor keeps one job from hammering.

use std::time::Duration;

/// The first cap.
const BASE: Duration = Duration::from_secs(1);
/// The highest cap: an attempt every five minutes is soon enough for an operator, and rare enough for a provider.
const CAP: Duration = Duration::from_mins(5);
/// The shortest wait.
const FLOOR: Duration = Duration::from_millis(100);

/// The wait before the attempt after `attempts` that did not end well; `jitter` in `0.0..1.0`.
#[must_use]
pub fn delay(attempts: u32, jitter: f64) -> Duration {
    let doubled = BASE.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
    doubled.min(CAP).mul_f64(jitter.clamp(0.0, 1.0)).max(FLOOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn stays_between_floor_and_cap(attempts in 0_u32..100, jitter in 0.0_f64..1.0) {
            let wait = delay(attempts, jitter);
            proptest::prop_assert!((FLOOR..=CAP).contains(&wait));
        }
    }

    #[test]
    fn grows_with_the_attempts() {
        assert_eq!(delay(1, 1.0), Duration::from_secs(1));
        assert_eq!(delay(4, 1.0), Duration::from_secs(8));
        assert_eq!(delay(40, 1.0), CAP);
    }
}
