//! What a demonstration came to, and what it must come to whatever was broken meanwhile.

use serde::Deserialize;

/// The demonstration's answer.
#[derive(Debug, Deserialize)]
pub struct Figures {
    ok: bool,
    paid: u64,
    labelled: u64,
    confirmation_mails: u64,
    shipping_mails: u64,
    mails_accepted: u64,
    mails_twice: u64,
    possible_duplicates: u64,
    dead_letters: u64,
    seconds: f64,
    audit_violations: u64,
    audit_failed: Vec<String>,
}

impl Figures {
    /// Reads it.
    pub fn read(json: &str) -> Self {
        serde_json::from_str(json).unwrap()
    }

    /// Each order once: paid, labelled, two mails. The audit compares payments, labels and mails with the sandbox's own
    /// books; only a mail whose outcome nobody could know may have been sent again, and then it was counted before.
    pub fn must_be_whole(&self, orders: u64, fault: &str) {
        eprintln!("{fault}: {self:?}");
        let Self { paid, labelled, confirmation_mails, shipping_mails, .. } = *self;
        assert_eq!([paid, labelled, confirmation_mails, shipping_mails], [orders; 4], "{fault}");
        assert_eq!(self.mails_accepted - self.mails_twice, 2 * orders, "{fault}");
        assert!(self.mails_twice <= self.possible_duplicates, "{fault}");
        assert_eq!((self.dead_letters, self.audit_violations), (0, 0), "{fault}: {:?}", self.audit_failed);
        assert!(self.ok && self.seconds > 0.0, "{fault}");
    }
}
