//! What follows from a failure: the one place where a job is put off or given up.

use std::time::Duration;

use crate::domain::backoff;
use crate::job::{Class, Dependency, Failure, Limits};
use crate::queue::Word;

/// How long a job waits for a dependency that is away: soon enough to go on within seconds of its return.
const AWAY: Duration = Duration::from_secs(1);

/// The longest that one answer may keep the whole fleet away from a provider: the job itself waits as long as it was told.
const LONGEST_HOLD: Duration = Duration::from_mins(1);

/// What becomes of a job that did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is due again after a while, with this many attempts spent.
    Later(Duration, i32),
    /// It is given up, with this many attempts spent.
    Buried(i32),
}

/// Judges a failure of a job that has spent `attempts` and is this old; `jitter` in `0.0..1.0`.
pub(super) fn judge(failure: &Failure, attempts: i32, age: Duration, limits: &Limits, jitter: f64) -> Fate {
    let spent = attempts.saturating_add(i32::from(failure.spends_an_attempt()));
    let delay = match failure.class {
        Class::Permanent | Class::Data => return Fate::Buried(spent),
        Class::Snooze(_) | Class::Unavailable(_) if age > limits.max_age => return Fate::Buried(spent),
        Class::Retry | Class::RetryAfter(_) | Class::Unknown if spent >= i32::from(limits.attempts) => {
            return Fate::Buried(spent);
        }
        Class::Snooze(after) => after,
        Class::Unavailable(_) => AWAY.mul_f64(1.0 + jitter),
        Class::RetryAfter(after) => after.mul_f64(1.0 + jitter / 10.0),
        Class::Retry | Class::Unknown => backoff::delay(spent.unsigned_abs(), jitter),
    };
    Fate::Later(delay, spent)
}

/// What the end of a call says of the provider, which the whole fleet goes by.
pub(super) fn word(answer: Result<(), &Failure>, of: Dependency) -> Word {
    let Err(failure) = answer else { return Word::Lives };
    match failure.class {
        Class::Unavailable(away) if away == of => Word::Away,
        Class::RetryAfter(after) => Word::Busy(after.min(LONGEST_HOLD)),
        // It said no: it is there.
        Class::Permanent => Word::Lives,
        // Silence, our own panic, a lost lease: neither there nor away.
        Class::Unavailable(_) | Class::Snooze(_) | Class::Retry | Class::Unknown | Class::Data => {
            Word::Unsure
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        attempts: 3,
        deadline: Duration::from_secs(1),
        max_age: Duration::from_mins(1),
        slice: 1,
        settle: 1,
        calls: 1,
    };

    fn after(class: Class, attempts: i32, age: u64) -> Fate {
        judge(&Failure::new(class, "x", "x"), attempts, Duration::from_secs(age), &LIMITS, 0.5)
    }

    #[test]
    fn the_last_attempt_buries() {
        assert!(matches!(after(Class::Retry, 1, 0), Fate::Later(_, 2)));
        assert_eq!(after(Class::Retry, 2, 0), Fate::Buried(3));
        assert_eq!(after(Class::Unknown, 2, 0), Fate::Buried(3));
    }

    #[test]
    fn outages_and_snoozes_spend_nothing_until_the_job_is_too_old() {
        let away = Class::Unavailable(Dependency::Stripe);
        assert!(matches!(after(away, 2, 59), Fate::Later(_, 2)));
        assert_eq!(after(away, 2, 61), Fate::Buried(2));
        assert_eq!(
            after(Class::Snooze(Duration::from_secs(9)), 2, 0),
            Fate::Later(Duration::from_secs(9), 2)
        );
    }

    #[test]
    fn what_never_helps_is_not_tried_again() {
        assert_eq!(after(Class::Permanent, 0, 0), Fate::Buried(1));
        assert_eq!(after(Class::Data, 0, 0), Fate::Buried(1));
    }

    #[test]
    fn a_provider_that_says_when_is_never_asked_earlier() {
        let said = Duration::from_secs(30);
        assert!(matches!(after(Class::RetryAfter(said), 0, 0), Fate::Later(wait, 1) if wait >= said));
    }

    #[test]
    fn only_who_finds_nobody_there_calls_a_provider_away() {
        let said = |class| word(Err(&Failure::new(class, "x", "x")), Dependency::Stripe);
        assert_eq!(word(Ok(()), Dependency::Stripe), Word::Lives);
        assert_eq!(said(Class::Unavailable(Dependency::Stripe)), Word::Away);
        assert_eq!(said(Class::Unavailable(Dependency::Postgres)), Word::Unsure, "that is another's absence");
        assert_eq!(said(Class::Permanent), Word::Lives, "a card that is refused proves that they are there");
        assert_eq!(said(Class::Unknown), Word::Unsure);
        assert_eq!(said(Class::RetryAfter(Duration::from_secs(3))), Word::Busy(Duration::from_secs(3)));
        assert_eq!(said(Class::RetryAfter(Duration::from_hours(3))), Word::Busy(LONGEST_HOLD));
    }
}
