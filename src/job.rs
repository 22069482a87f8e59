//! The contract of a job: the words that the queue, the store, the providers and the jobs share.
//!
//! What a job *is* stands here ([`Payload`]: kind, lane, limits); what it *does* stands in `jobs/` (`Job`: load, call,
//! settle, buried), because that needs a transaction and the providers, which live below the jobs and above this file.
//! Whether a failure is tried again, and whether that spends an attempt, is decided by [`Class`] and nowhere else.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::ids::JobId;
use crate::telemetry::TraceContext;

mod mask;
mod provider_code;

pub use mask::{anonymous, masked};
pub use provider_code::ProviderCode;

/// A class of kinds with its own concurrency, and a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What payment providers tell us. First of all: it is money.
    PaymentsIn,
    /// Holds whose time is over.
    Expiry,
    /// Orders that want to be.
    Intents,
    /// What we ask of payment providers.
    PaymentsOut,
    /// What we ask of carriers.
    Shipping,
    /// What carriers tell us.
    ShippingIn,
    /// E-mail.
    Mail,
    /// Sweeps.
    Housekeeping,
}

impl Lane {
    /// Every lane, the most urgent first.
    pub const ALL: [Self; 8] = [
        Self::PaymentsIn,
        Self::Expiry,
        Self::Intents,
        Self::PaymentsOut,
        Self::Shipping,
        Self::ShippingIn,
        Self::Mail,
        Self::Housekeeping,
    ];

    /// Its stored name: in Redis keys, job rows, settings and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PaymentsIn => "payments-in",
            Self::Expiry => "expiry",
            Self::Intents => "intents",
            Self::PaymentsOut => "payments-out",
            Self::Shipping => "shipping",
            Self::ShippingIn => "shipping-in",
            Self::Mail => "mail",
            Self::Housekeeping => "housekeeping",
        }
    }

    /// The lane of a stored name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.name() == name)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One of four priorities inside a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Band {
    /// Before all others.
    Express,
    /// Before the usual.
    High,
    /// The usual.
    #[default]
    Normal,
    /// When there is room; never starved.
    Bulk,
}

impl Band {
    /// Every band, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Express, Self::High, Self::Normal, Self::Bulk];

    /// Its number, as stored: 0 is the most urgent.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Express => 0,
            Self::High => 1,
            Self::Normal => 2,
            Self::Bulk => 3,
        }
    }

    /// The band of a stored number.
    #[must_use]
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|band| band.number() == number)
    }
}

/// The bounds of one kind. Each has a reason, told where the kind states it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Outcomes that count; then the job is a dead letter.
    pub attempts: u16,
    /// One attempt, at most: renewal of the lease stops here, and every call's time-out is shorter.
    pub deadline: Duration,
    /// From the job's creation: past it, outages and snoozes end in burial too.
    pub max_age: Duration,
    /// Jobs in one transaction, at most (never above 256: see the savepoint bound in `store`).
    pub slice: usize,
    /// Receipts settled together. 1 where a receipt must be written the moment it is there (e-mail).
    pub settle: usize,
    /// Calls of one slice that run at once.
    pub calls: usize,
}

/// Whom jobs of a kind call. One call for each attempt, or for each of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Nobody: they end in Postgres.
    Nobody,
    /// This one, some of them: the others go on while it is away.
    Sometimes(Dependency),
    /// This one, all of them: while it is away none can go on.
    Always(Dependency),
    /// One of several: which one is known once the job is loaded.
    Either,
}

impl Calls {
    /// Whom they call, if they call, and it is the same for all.
    #[must_use]
    pub const fn whom(self) -> Option<Dependency> {
        match self {
            Self::Nobody | Self::Either => None,
            Self::Sometimes(dependency) | Self::Always(dependency) => Some(dependency),
        }
    }
}

/// What a job is: its stored name, where it waits, its bounds, and its fields on the wire.
///
/// Fields are ids and a version, except for the two kinds that the intake takes in (an order intent carries the intent,
/// a webhook's kind carries the raw event).
///
/// A version that can not read a job's fields, or that finds one more than it knows, leaves the job to one that can: it is
/// parked, because to work it without what it says would be wrong. So a release that gives jobs another meaning gives them
/// a field; one whose field the older may go without leaves it out where it says nothing new.
pub trait Payload: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Stored for ever: a renamed kind keeps an alias.
    const KIND: &'static str;
    /// Where it waits.
    const LANE: Lane;
    /// Its bounds.
    const LIMITS: Limits;
    /// Whom it calls: what that one bears, and whether it is there, is known to the whole fleet.
    const CALLS: Calls = Calls::Nobody;

    /// What the job is about. At most one job of a subject is in a slice: two rows for one order in one
    /// `UPDATE … FROM` would lose one of them silently.
    fn subject(&self) -> Uuid;
}

/// Marks the payloads that the list in `jobs/mod.rs` names: only these can be inserted or pushed.
pub trait Listed: Payload {}

/// A job as the transaction that caused it inserts it.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id, for ever.
    pub id: JobId,
    /// Its stored kind.
    pub kind: &'static str,
    /// Where it waits.
    pub lane: Lane,
    /// Its fields.
    pub payload: serde_json::Value,
    /// How long from the transaction's time until it is due; zero is at once.
    pub delay: Duration,
    /// A second insert under the same key changes nothing.
    pub dedupe_key: Option<String>,
    /// The event, request or job that caused it.
    pub caused_by: String,
    /// The trace that it belongs to, where who inserts it knows; a job of an order is given the order's.
    pub trace: Option<TraceContext>,
}

impl NewJob {
    /// A job that is due at once.
    ///
    /// # Panics
    /// Never: payloads are plain structs, which `serde_json` always writes.
    #[must_use]
    pub fn of<P: Listed>(payload: &P, caused_by: impl fmt::Display) -> Self {
        Self {
            id: JobId::new(),
            kind: P::KIND,
            lane: P::LANE,
            payload: serde_json::to_value(payload).unwrap_or_default(),
            delay: Duration::ZERO,
            dedupe_key: None,
            caused_by: caused_by.to_string(),
            trace: None,
        }
    }

    /// The same job, due later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The same job, in this trace.
    #[must_use]
    pub fn in_trace(mut self, trace: Option<TraceContext>) -> Self {
        self.trace = trace;
        self
    }

    /// The same job, inserted once only.
    #[must_use]
    pub fn once(mut self, key: impl fmt::Display) -> Self {
        self.dedupe_key = Some(key.to_string());
        self
    }
}

/// What a job's `load` decided.
#[derive(Clone, Debug)]
pub enum Step<Plan> {
    /// Nothing is left to do: the row goes with this commit.
    Done,
    /// Ask the provider this, once the transaction is over.
    Call(Plan),
    /// It cannot be done now, or ever.
    Refused(Failure),
}

/// What a job's `settle` decided of one receipt.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Finished: the row goes with this commit.
    Done,
    /// One step of several is written: load, call and settle once more under the same lease, no new attempt.
    Again,
    /// The receipt is written, and says that it did not work.
    Refused(Failure),
}

/// An outside system whose absence is nobody's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dependency {
    /// Postgres.
    Postgres,
    /// Redis.
    Redis,
    /// The payment provider.
    Stripe,
    /// A configured payment provider, by its name in the settings.
    Configured(&'static str),
    /// The carriers' broker.
    EasyPost,
    /// The mail server.
    Smtp,
}

impl Dependency {
    /// Those that jobs call in every shop.
    pub const PROVIDERS: [Self; 3] = [Self::Stripe, Self::EasyPost, Self::Smtp];

    /// The configured payment provider of this name. A name is kept for as long as the process lives: there are as many as the
    /// settings have sections.
    #[must_use]
    pub fn configured(name: &str) -> Self {
        static NAMES: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.get(name).copied();
        Self::Configured(known.unwrap_or_else(|| {
            let kept: &'static str = name.to_owned().leak();
            names.insert(kept);
            kept
        }))
    }

    /// Its name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Stripe => "stripe",
            Self::Configured(name) => name,
            Self::EasyPost => "easypost",
            Self::Smtp => "smtp",
        }
    }
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Not its time yet. Spends no attempt.
    Snooze(Duration),
    /// A dependency is away. Spends no attempt.
    Unavailable(Dependency),
    /// Worth another try. Spends an attempt.
    Retry,
    /// Worth another try, not before this. Spends an attempt.
    RetryAfter(Duration),
    /// Never worth another try: buried.
    Permanent,
    /// It may have happened: looked up before anything else is done. Spends an attempt.
    Unknown,
    /// The database refused this job's data: its slice is bisected until the job stands alone; alone it is buried.
    Data,
}

/// Why an attempt did not end well. `detail` may be shown to operators: ids and codes, never personal data.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Failure {
    /// What follows.
    pub class: Class,
    /// A stable code, for grouping.
    pub code: &'static str,
    /// What happened, in words.
    pub detail: String,
    /// What the provider that said no calls it.
    pub provider_code: Option<ProviderCode>,
}

impl Failure {
    /// A failure of this class.
    pub fn new(class: Class, code: &'static str, detail: impl fmt::Display) -> Self {
        Self { class, code, detail: detail.to_string(), provider_code: None }
    }

    /// The same, and what the provider calls it.
    #[must_use]
    pub fn as_told(mut self, provider_code: Option<ProviderCode>) -> Self {
        self.provider_code = provider_code;
        self
    }

    /// Not its time yet.
    pub fn snooze(after: Duration, code: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(Class::Snooze(after), code, detail)
    }

    /// Never worth another try.
    pub fn permanent(code: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(Class::Permanent, code, detail)
    }

    /// Worth another try.
    pub fn retry(code: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(Class::Retry, code, detail)
    }

    /// Whether this outcome counts against the kind's attempts.
    #[must_use]
    pub const fn spends_an_attempt(&self) -> bool {
        match self.class {
            Class::Snooze(_) | Class::Unavailable(_) => false,
            Class::Retry | Class::RetryAfter(_) | Class::Permanent | Class::Unknown | Class::Data => true,
        }
    }
}
