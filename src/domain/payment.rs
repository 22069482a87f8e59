//! A payment: one charge at one provider, and how what we hear of it adds up.
//!
//! Providers tell things twice and out of order, so a signal is applied only where its rank is higher than what is
//! known: any sequence of the same signals ends in the same state. `captured` wins over `cancelled`, because money that
//! moved has moved.

/// What is known of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Our row exists.
    Created,
    /// The provider knows it.
    Pending,
    /// The customer must do something (3-D Secure).
    RequiresAction,
    /// The money is on its way.
    Processing,
    /// The money is promised, not moved.
    Authorized,
    /// It will not happen.
    Cancelled,
    /// The money is ours.
    Captured,
}

impl State {
    /// Every state, by rising rank.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Pending,
        Self::RequiresAction,
        Self::Processing,
        Self::Authorized,
        Self::Cancelled,
        Self::Captured,
    ];

    /// Its stored name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Pending => "pending",
            Self::RequiresAction => "requires_action",
            Self::Processing => "processing",
            Self::Authorized => "authorized",
            Self::Cancelled => "cancelled",
            Self::Captured => "captured",
        }
    }

    /// The state of a stored name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// What is known after a signal: the higher of the two.
    #[must_use]
    pub fn merged(self, signal: Self) -> Self {
        self.max(signal)
    }

    /// Whether nothing more can come of it, but for a capture that contradicts a cancellation.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Captured)
    }
}

/// What captured money means for its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Amount and currency are the order's.
    Exact,
    /// Another amount or another currency: never confirmed by itself.
    Mismatch,
}

/// Compares captured money with what the order costs, both in minor units.
#[must_use]
pub fn compare(captured: (i64, &str), due: (i64, &str)) -> Match {
    if captured.0 == due.0 && captured.1.eq_ignore_ascii_case(due.1) { Match::Exact } else { Match::Mismatch }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Signals as they were sent, and as they arrived: in any order, some of them more than once.
    fn sent_and_arrived() -> impl Strategy<Value = (Vec<State>, Vec<State>)> {
        let signal = prop::sample::select(State::ALL.to_vec());
        prop::collection::vec((signal, 1_usize..4), 0..12).prop_flat_map(|signals| {
            let sent: Vec<State> = signals.iter().map(|(signal, _)| *signal).collect();
            let told = signals.into_iter().flat_map(|(signal, times)| std::iter::repeat_n(signal, times));
            (Just(sent), Just(told.collect::<Vec<_>>()).prop_shuffle())
        })
    }

    fn end(signals: &[State]) -> State {
        signals.iter().fold(State::Created, |known, signal| known.merged(*signal))
    }

    proptest! {
        #[test]
        fn the_order_and_the_number_of_signals_do_not_matter((sent, arrived) in sent_and_arrived()) {
            prop_assert_eq!(end(&arrived), end(&sent));
        }

        #[test]
        fn no_signal_lowers_what_is_known((_, arrived) in sent_and_arrived()) {
            let mut known = State::Created;
            for signal in arrived {
                let next = known.merged(signal);
                prop_assert!(next >= known && next >= signal);
                known = next;
            }
        }
    }

    #[test]
    fn money_that_moved_wins() {
        assert_eq!(State::Cancelled.merged(State::Captured), State::Captured);
        assert_eq!(State::Captured.merged(State::Cancelled), State::Captured);
    }

    #[test]
    fn another_amount_or_currency_is_a_mismatch() {
        assert_eq!(compare((100, "usd"), (100, "USD")), Match::Exact);
        assert_eq!(compare((99, "USD"), (100, "USD")), Match::Mismatch);
        assert_eq!(compare((100, "EUR"), (100, "USD")), Match::Mismatch);
    }
}
