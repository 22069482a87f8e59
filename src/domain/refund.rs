//! A refund: money on its way back, from the wish to the bank's last word.
//!
//! A refund whose answer was lost is `unknown`, and only a look at the provider ends that: sent again under another key
//! it would be paid twice. What is told comes twice and out of order, so a word is taken only where it is a legal move
//! from what is known. The money is set aside on its payment before anything is sent, and comes back from there only
//! where the refund provably did not happen.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is known of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Decided; the provider has not been asked.
    Requested,
    /// The provider is being asked.
    Submitting,
    /// It was asked, and nobody knows what became of it: looked up before anything else.
    Unknown,
    /// The provider has taken it; the bank has not confirmed it.
    Pending,
    /// The money went back.
    Succeeded,
    /// It was called off before it happened.
    Cancelled,
    /// The provider or the bank refused it, some of them days after they had taken it.
    Failed,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Requested,
        Self::Submitting,
        Self::Unknown,
        Self::Pending,
        Self::Succeeded,
        Self::Cancelled,
        Self::Failed,
    ];

    /// Its stored name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Submitting => "submitting",
            Self::Unknown => "unknown",
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// The state of a stored name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether a refund may go from here to `to`. The database holds the same table (`refund_moves`).
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        use State as S;
        match self {
            S::Requested => matches!(to, S::Submitting | S::Cancelled | S::Failed),
            S::Submitting => {
                matches!(to, S::Unknown | S::Pending | S::Succeeded | S::Cancelled | S::Failed)
            }
            S::Unknown => {
                matches!(to, S::Submitting | S::Pending | S::Succeeded | S::Cancelled | S::Failed)
            }
            S::Pending => matches!(to, S::Succeeded | S::Cancelled | S::Failed),
            // The bank can send money back days later.
            S::Succeeded => matches!(to, S::Failed),
            S::Cancelled | S::Failed => false,
        }
    }

    /// What is known after a word of the provider's: an older one changes nothing.
    #[must_use]
    pub const fn merged(self, told: Self) -> Self {
        if self.may_become(told) { told } else { self }
    }

    /// Whether the money is no longer set aside for it.
    #[must_use]
    pub const fn gave_up(self) -> bool {
        matches!(self, Self::Cancelled | Self::Failed)
    }

    /// Whether the provider still has to be asked for it, or asked what became of it.
    #[must_use]
    pub const fn is_to_be_sent(self) -> bool {
        matches!(self, Self::Requested | Self::Submitting | Self::Unknown)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why money goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Staff asked for it.
    Api,
    /// The order was cancelled.
    Cancel,
    /// It came when the order could no longer be fulfilled.
    LatePayment,
    /// The order was paid already.
    Surplus,
    /// It was another amount or currency than the order's.
    Mismatch,
    /// Somebody did it at the provider's own page.
    External,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Self; 6] =
        [Self::Api, Self::Cancel, Self::LatePayment, Self::Surplus, Self::Mismatch, Self::External];

    /// Its stored name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Cancel => "cancel",
            Self::LatePayment => "late_payment",
            Self::Surplus => "surplus",
            Self::Mismatch => "mismatch",
            Self::External => "external",
        }
    }
}

/// Why an amount can't go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing, or less than nothing.
    #[error("{0} is not above zero")]
    NotPositive(i64),
    /// More than is left.
    #[error("{wanted} can not go back, {left} is left of what was captured")]
    Exceeds {
        /// What was asked for, in minor units.
        wanted: i64,
        /// What may still go back, in minor units.
        left: i64,
    },
    /// All of it went back already, or is on its way.
    #[error("nothing is left of what was captured")]
    NothingLeft,
}

/// How much of a payment may still go back, in minor units: what was captured, less what is set aside for refunds.
#[must_use]
pub fn left(captured_minor: i64, reserved_minor: i64) -> i64 {
    captured_minor.saturating_sub(reserved_minor).max(0)
}

/// The amount of a refund: `wanted`, or all that is `left`.
pub fn amount(wanted: Option<i64>, left: i64) -> Result<i64, Refused> {
    match wanted {
        Some(minor) if minor <= 0 => Err(Refused::NotPositive(minor)),
        _ if left <= 0 => Err(Refused::NothingLeft),
        Some(minor) if minor > left => Err(Refused::Exceeds { wanted: minor, left }),
        Some(minor) => Ok(minor),
        None => Ok(left),
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the small numbers of a test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a provider can tell of one refund: it ends one way only.
    fn told() -> impl Strategy<Value = Vec<State>> {
        let ends = prop_oneof![
            Just(vec![State::Pending, State::Succeeded, State::Failed]),
            Just(vec![State::Pending, State::Succeeded]),
            Just(vec![State::Pending, State::Cancelled]),
        ];
        ends.prop_flat_map(|words| prop::collection::vec(prop::sample::select(words), 0..12))
    }

    proptest! {
        #[test]
        fn the_order_of_what_is_told_does_not_matter(words in told(), turn in 0_usize..12) {
            let end = |words: &[State]| words.iter().fold(State::Submitting, |known, word| known.merged(*word));
            let mut other = words.clone();
            if !other.is_empty() { let by = turn % other.len(); other.rotate_left(by); }
            other.extend_from_slice(&words);
            prop_assert_eq!(end(&words), end(&other));
        }

        #[test]
        fn no_sequence_gives_back_more_than_came(captured in 1_i64..10_000, asked in prop::collection::vec((prop::option::of(-10_i64..5_000), any::<bool>()), 0..30)) {
            let mut reserved = 0;
            for (wanted, fails) in asked {
                if let Ok(minor) = amount(wanted, left(captured, reserved)) {
                    prop_assert!(minor > 0);
                    reserved += minor;
                    prop_assert!(reserved <= captured);
                    if fails { reserved -= minor; }
                }
            }
        }
    }

    #[test]
    fn nothing_leaves_an_end_and_what_is_unknown_is_never_asked_for_anew() {
        for to in State::ALL {
            assert!(!State::Failed.may_become(to) && !State::Cancelled.may_become(to));
            assert!(!State::Unknown.may_become(State::Requested));
            assert_eq!(State::Succeeded.may_become(to), to == State::Failed);
        }
    }

    #[test]
    fn names_are_read_back() {
        for state in State::ALL {
            assert_eq!(State::named(state.name()), Some(state));
        }
    }

    #[test]
    fn three_thirds_are_a_whole() {
        let mut reserved = 0;
        for part in [333, 333, 334] {
            reserved += amount(Some(part), left(1000, reserved)).unwrap();
        }
        assert_eq!(amount(None, left(1000, reserved)), Err(Refused::NothingLeft));
        assert_eq!(amount(Some(1001), 1000), Err(Refused::Exceeds { wanted: 1001, left: 1000 }));
        assert_eq!(amount(Some(0), 1000), Err(Refused::NotPositive(0)));
        assert_eq!(left(10, 20), 0);
    }
}
