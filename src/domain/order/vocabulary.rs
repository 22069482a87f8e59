//! An order's status in the words of other systems, so that a shop keeps those that its people and programs know.
//!
//! An order has one status; a vocabulary is how it is told and asked for. A coarse vocabulary tells several states by one
//! word, so that a word asks for all of them. What is stored, moved and written into the history is ours alone.

use super::Status;

/// A set of words for where an order stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vocabulary {
    /// Our own sixteen.
    #[default]
    Canonical,
    /// Fourteen: a workshop's, which neither accepts by hand nor tells packed from packing.
    Workshop,
    /// Nine: from pending and paid to delivered.
    Shop,
    /// Three: pending, completed, canceled; the payment status beside it says the rest.
    Admin,
}

/// The words for one status: workshop, shop, admin. Where there is none, the status that the order will resume is told.
const fn words(status: Status) -> [Option<&'static str>; 3] {
    const PENDING: Option<&str> = Some("pending");
    const CANCELED: Option<&str> = Some("canceled");
    match status {
        Status::PendingPayment => [Some("pending_payment"), PENDING, PENDING],
        Status::PaymentConfirmed => [Some("payment_confirmed"), Some("paid"), PENDING],
        Status::Confirmed => [Some("payment_confirmed"), Some("confirmed"), PENDING],
        Status::Processing => [Some("processing"), Some("processing"), PENDING],
        Status::InProduction => [Some("in_production"), Some("processing"), PENDING],
        Status::QualityCheck => [Some("quality_check"), Some("processing"), PENDING],
        Status::Packaging => [Some("packaging"), Some("processing"), PENDING],
        Status::Fulfilled => [Some("packaging"), Some("fulfilled"), PENDING],
        Status::Shipped => [Some("shipped"), Some("shipped"), PENDING],
        Status::OutForDelivery => [Some("out_for_delivery"), Some("shipped"), PENDING],
        Status::Delivered => [Some("delivered"), Some("delivered"), Some("completed")],
        Status::Completed => [Some("completed"), Some("delivered"), Some("completed")],
        Status::OnHold => [Some("on_hold"), None, PENDING],
        Status::Exception => [Some("exception"), None, PENDING],
        Status::Cancelled => [Some("cancelled"), Some("cancelled"), CANCELED],
        Status::Refunded => [Some("refunded"), Some("refunded"), CANCELED],
    }
}

impl Vocabulary {
    /// Every vocabulary.
    pub const ALL: [Self; 4] = [Self::Canonical, Self::Workshop, Self::Shop, Self::Admin];

    /// Its name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
            Self::Workshop => "workshop",
            Self::Shop => "shop",
            Self::Admin => "admin",
        }
    }

    /// The vocabulary of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|vocabulary| vocabulary.name() == name)
    }

    /// How it tells an order that stands at `status` and, where that is a side state, resumes another.
    #[must_use]
    pub fn word(self, status: Status, resumes: Option<Status>) -> &'static str {
        let told = self.own(status).or_else(|| self.own(resumes?));
        told.unwrap_or(status.name())
    }

    /// The states that a word asks for; none where it is no word of this vocabulary. `canceled` and `cancelled` are one.
    #[must_use]
    pub fn states(self, word: &str) -> Vec<Status> {
        let spelled = |word: &str| word.replace("canceled", "cancelled");
        let is_meant = |status: &Status| self.own(*status).map(spelled) == Some(spelled(word));
        Status::ALL.into_iter().filter(is_meant).collect()
    }

    /// Its words, each once, in the order of an order's life.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let mut words = Vec::new();
        for word in Status::ALL.into_iter().filter_map(|status| self.own(status)) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }

    /// Whether it has words for orders that wait aside.
    #[must_use]
    pub fn tells_aside(self) -> bool {
        self.own(Status::OnHold).is_some()
    }

    fn own(self, status: Status) -> Option<&'static str> {
        let [workshop, shop, admin] = words(status);
        match self {
            Self::Canonical => Some(status.name()),
            Self::Workshop => workshop,
            Self::Shop => shop,
            Self::Admin => admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_asks_for_every_state_that_it_tells() {
        for vocabulary in Vocabulary::ALL {
            assert_eq!(Vocabulary::named(vocabulary.name()), Some(vocabulary));
            for status in Status::ALL.into_iter().filter(|status| !status.is_aside()) {
                let word = vocabulary.word(status, None);
                assert!(vocabulary.states(word).contains(&status), "{} {word}", vocabulary.name());
            }
            assert!(vocabulary.states("lost").is_empty());
        }
        assert_eq!(Vocabulary::ALL.map(|vocabulary| vocabulary.words().len()), [16, 14, 9, 3]);
    }

    #[test]
    fn both_spellings_of_a_cancellation_are_read() {
        assert_eq!(Vocabulary::Canonical.states("canceled"), [Status::Cancelled]);
        assert_eq!(Vocabulary::Admin.states("cancelled"), [Status::Cancelled, Status::Refunded]);
    }

    #[test]
    fn what_waits_aside_is_told_by_what_it_resumes_where_there_is_no_word_for_it() {
        let word = |vocabulary: Vocabulary| vocabulary.word(Status::OnHold, Some(Status::QualityCheck));
        assert_eq!(Vocabulary::ALL.map(word), ["on_hold", "on_hold", "processing", "pending"]);
        assert_eq!(Vocabulary::ALL.map(Vocabulary::tells_aside), [true, true, false, true]);
    }
}
