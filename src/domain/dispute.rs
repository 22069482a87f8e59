//! A dispute: a customer's bank wants a payment's money back, and how what we hear of it adds up.
//!
//! Its events come twice and out of order like all others, so one counts only where its rank is higher than what is known.
//! An end counts more than the quarrel before it; a loss may still be turned into a win by a later instance, never the
//! other way, so that `won` is the highest.

/// What is known of a dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The bank asks, and takes nothing yet: giving the money back still ends it.
    Inquiry,
    /// The question went away.
    InquiryClosed,
    /// The bank has taken the money, and judges.
    Open,
    /// The money is gone.
    Lost,
    /// The money is ours again.
    Won,
}

impl State {
    /// Every state, by rising rank.
    pub const ALL: [Self; 5] = [Self::Inquiry, Self::InquiryClosed, Self::Open, Self::Lost, Self::Won];

    /// Its stored name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inquiry => "inquiry",
            Self::InquiryClosed => "inquiry_closed",
            Self::Open => "open",
            Self::Lost => "lost",
            Self::Won => "won",
        }
    }

    /// The state of a stored name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Stripe's word in ours. None for one that it did not have when this was written: it has to be looked at by a person.
    #[must_use]
    pub fn of_stripe(status: &str) -> Option<Self> {
        Some(match status {
            "warning_needs_response" | "warning_under_review" => Self::Inquiry,
            // Prevented: settled before it became a dispute.
            "warning_closed" | "prevented" => Self::InquiryClosed,
            "needs_response" | "under_review" => Self::Open,
            "lost" => Self::Lost,
            "won" => Self::Won,
            _ => return None,
        })
    }

    /// What is known after a word: the higher of the two.
    #[must_use]
    pub fn merged(self, told: Self) -> Self {
        self.max(told)
    }

    /// Whether it is still going on: then its order waits.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Inquiry | Self::Open)
    }
}

/// How much of a payment a dispute is about, in the payment's minor units. What a bank counts in another currency can't be
/// compared, so it is all of it; and no dispute is about more than came.
#[must_use]
pub fn part(disputed: (i64, &str), captured: (i64, &str)) -> i64 {
    if disputed.1.eq_ignore_ascii_case(captured.1) { disputed.0.min(captured.0) } else { captured.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end(told: &[State]) -> Option<State> {
        told.iter().copied().reduce(State::merged)
    }

    proptest! {
        #[test]
        fn the_order_and_the_number_of_events_do_not_matter(
            (sent, arrived) in prop::collection::vec((prop::sample::select(State::ALL.to_vec()), 1_usize..3), 1..8)
                .prop_flat_map(|told| {
                    let sent: Vec<State> = told.iter().map(|(state, _)| *state).collect();
                    let all: Vec<State> =
                        told.into_iter().flat_map(|(state, times)| std::iter::repeat_n(state, times)).collect();
                    (Just(sent), Just(all).prop_shuffle())
                })
        ) {
            prop_assert_eq!(end(&arrived), end(&sent));
        }
    }

    #[test]
    fn a_loss_may_become_a_win_and_no_end_is_opened_again() {
        assert_eq!(State::Lost.merged(State::Won), State::Won);
        assert_eq!(State::Won.merged(State::Lost), State::Won);
        assert_eq!(State::Lost.merged(State::Open), State::Lost);
        assert_eq!(State::InquiryClosed.merged(State::Open), State::Open, "a question that became a dispute");
    }

    #[test]
    fn names_are_read_back_and_stripe_s_words_are_known() {
        for state in State::ALL {
            assert_eq!(State::named(state.name()), Some(state));
        }
        for (word, state) in [
            ("warning_needs_response", State::Inquiry),
            ("warning_under_review", State::Inquiry),
            ("warning_closed", State::InquiryClosed),
            ("prevented", State::InquiryClosed),
            ("needs_response", State::Open),
            ("under_review", State::Open),
            ("lost", State::Lost),
            ("won", State::Won),
        ] {
            assert_eq!(State::of_stripe(word), Some(state), "{word}");
        }
        assert_eq!(State::of_stripe("a word of tomorrow"), None);
    }

    #[test]
    fn no_more_is_disputed_than_came_and_another_currency_is_all_of_it() {
        assert_eq!(part((700, "usd"), (1_000, "USD")), 700);
        assert_eq!(part((1_050, "usd"), (1_000, "USD")), 1_000);
        assert_eq!(part((10, "EUR"), (1_000, "USD")), 1_000);
    }
}
