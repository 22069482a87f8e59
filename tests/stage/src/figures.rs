//! A demonstration, what it came to, and what it must come to whatever was broken meanwhile.

use std::time::Duration;

use serde::Deserialize;

use crate::fleet::Fleet;
use crate::process::{Process, with};

/// How long a demonstration follows its orders, in seconds: below [`crate::process::LONG`], so that its own answer is seen.
const PATIENCE: u64 = 480;

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

impl Fleet {
    /// Starts customers: each orders, pays and is followed.
    pub fn demo(&self, orders: u64) -> Process {
        self.demo_through(orders, Duration::ZERO)
    }

    /// The same, and they are patient for as long as something is away.
    pub fn demo_through(&self, orders: u64, away: Duration) -> Process {
        let (intake, orders) = (format!("http://{}", self.address), orders.to_string());
        let patience = (PATIENCE + away.as_secs()).to_string();
        let arguments = ["demo", "--json", "--orders", &orders, "--patience", &patience];
        let arguments = with(with(self.command(), arguments), ["--intake", &intake, "--api-key", self.key()]);
        Process::start("demo", self.folder.path(), arguments)
    }

    /// Waits for the customers, and reads what they came to.
    pub async fn figures(&self, mut demo: Process) -> Figures {
        demo.ended().await;
        assert!(demo.out().starts_with('{'), "the demonstration did not answer");
        Figures::read(&demo.out())
    }
}
