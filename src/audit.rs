//! What must be true of the tables, each with a name, a reason and the statement that finds whatever breaks it.
//!
//! Constraints and triggers refuse most of it already; the audit proves it from outside, also where they can't reach:
//! across tables, against the clock, and against what providers say that they did. All of it is read in one snapshot, so
//! that it may run beside a working fleet. A statement that can't be run fails the audit: it never passes for held.
//!
//! It must never write, never ask a provider, and never show personal data: ids, codes and amounts only.

use serde::Serialize;
use uuid::Uuid;

use crate::ids::{CommunicationId, IntentId, JobId, OrderId, PaymentId, ReservationId, ShipmentId};
use crate::store::{Store, StoreError, Stored};
use crate::time::Stopwatch;

mod absent;
mod goods;
mod history;
mod look;
mod money;
mod notices;
mod outside;
mod parcels;
mod render;
mod truth;
mod work;

use look::Found;
pub use render::render;
pub use truth::{Truth, TruthError};

/// Offenders that are listed of one check: enough to see the pattern, few enough to read. All of them are counted.
const LISTED: usize = 20;
/// What is neither looked at nor left out for a reason must not pass for held.
const NOT_LOOKED_AT: StoreError = StoreError::Rows { statement: "audit::look", wanted: 1, got: 0 };

/// When an invariant has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// At every instant.
    Always,
    /// Once the queues are drained.
    Quiescent,
}

/// What the offending ids name, so that they are shown as the commands take them.
#[derive(Clone, Copy, Debug)]
enum Of {
    Order,
    Intent,
    Reservation,
    Payment,
    Shipment,
    Communication,
    Job,
    /// A name that is no id: an SKU and its location, an effect, an event.
    Name,
}

impl Of {
    fn show(self, id: String) -> String {
        let Ok(uuid) = id.parse::<Uuid>() else { return id };
        match self {
            Self::Order => OrderId::from(uuid).to_string(),
            Self::Intent => IntentId::from(uuid).to_string(),
            Self::Reservation => ReservationId::from(uuid).to_string(),
            Self::Payment => PaymentId::from(uuid).to_string(),
            Self::Shipment => ShipmentId::from(uuid).to_string(),
            Self::Communication => CommunicationId::from(uuid).to_string(),
            Self::Job => JobId::from(uuid).to_string(),
            Self::Name => id,
        }
    }
}

/// What must be true, and the statement that finds whatever breaks it.
struct Invariant {
    id: &'static str,
    name: &'static str,
    sentence: &'static str,
    when: When,
    of: Of,
    /// Selects (id, detail) of each offender. Several invariants may name one statement, so that a big table is read once:
    /// then it also selects whose offender that is, as its third column.
    sql: &'static str,
}

/// An invariant that the tables do not allow yet: listed, so that nobody takes it for held.
struct Absent {
    id: &'static str,
    name: &'static str,
    sentence: &'static str,
    reason: &'static str,
}

/// What is to be judged.
#[derive(Debug, Default)]
pub struct Scope {
    /// The queues are drained and nothing is under way: then more must hold than at every instant.
    pub quiescent: bool,
    /// What the sandbox knows; absent in production.
    pub truth: Option<Truth>,
}

/// All checks, in their order.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was judged.
    pub checks: Vec<Check>,
    /// Offenders of all of them.
    pub violations: u64,
    /// How long all of it took, in milliseconds.
    pub millis: i64,
}

/// One invariant, judged.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Its number.
    pub id: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// What must be true.
    pub sentence: &'static str,
    /// Whether it is.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long its statement took, in milliseconds; some judge several invariants.
    pub millis: i64,
}

/// Whether an invariant holds.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing breaks it.
    Held,
    /// This breaks it.
    Violated {
        /// How many there are.
        count: u64,
        /// The first of them.
        sample: Vec<Offender>,
    },
    /// It was not judged.
    NotApplicable {
        /// Why not.
        reason: &'static str,
    },
}

/// Something that breaks an invariant.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Offender {
    /// Its id or name.
    pub id: String,
    /// Ids, codes and amounts that show how.
    pub detail: String,
}

/// Judges everything that `scope` allows, in one snapshot.
pub async fn run(store: &Store, scope: Scope) -> Stored<Report> {
    let since = Stopwatch::start();
    let truth = scope.truth.as_ref().map(Truth::rows);
    let all: Vec<&'static Invariant> = tables().chain(outside::INVARIANTS).collect();
    let passes = look::passes(&all, |invariant| reason_to_skip(invariant, &scope).is_none());
    let mut found = look::look(store, &passes, truth.as_deref()).await?;
    let mut checks = Vec::with_capacity(all.len() + absent::ABSENT.len());
    for invariant in all {
        let Found { outcome, millis } = match reason_to_skip(invariant, &scope) {
            Some(reason) => Found { outcome: Outcome::NotApplicable { reason }, millis: 0 },
            None => found.remove(invariant.id).ok_or(NOT_LOOKED_AT)?,
        };
        let Invariant { id, name, sentence, .. } = *invariant;
        checks.push(Check { id, name, sentence, outcome, millis });
    }
    checks.extend(absent::ABSENT.iter().map(|absent| Check {
        id: absent.id,
        name: absent.name,
        sentence: absent.sentence,
        outcome: Outcome::NotApplicable { reason: absent.reason },
        millis: 0,
    }));
    let violations = checks.iter().map(|check| check.outcome.count()).sum();
    Ok(Report { checks, violations, millis: since.elapsed_ms() })
}

impl Outcome {
    /// How many break it.
    #[must_use]
    pub const fn count(&self) -> u64 {
        match self {
            Self::Violated { count, .. } => *count,
            Self::Held | Self::NotApplicable { .. } => 0,
        }
    }
}

/// The invariants of the tables alone, by what they are about.
fn tables() -> impl Iterator<Item = &'static Invariant> {
    [
        goods::INVARIANTS,
        history::INVARIANTS,
        money::INVARIANTS,
        parcels::INVARIANTS,
        notices::INVARIANTS,
        work::INVARIANTS,
    ]
    .into_iter()
    .flatten()
}

fn reason_to_skip(invariant: &Invariant, scope: &Scope) -> Option<&'static str> {
    let needs_truth = outside::INVARIANTS.iter().any(|outside| outside.id == invariant.id);
    if needs_truth && scope.truth.is_none() {
        return Some("no sandbox");
    }
    let waits = invariant.when == When::Quiescent && !scope.quiescent;
    waits.then_some("holds only once the queues are drained")
}

/// SQL for the public form of an id (`ord_01J…`), as jobs carry it in their payloads: see `ids`.
macro_rules! public_id {
    ($prefix:literal, $uuid:literal) => {
        concat!(
            "(select '",
            $prefix,
            "_' || string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', ",
            "substring(B'00' || ('x' || replace(",
            $uuid,
            "::text, '-', ''))::bit(128) from 5 * i + 1 for 5)",
            "::bit(5)::integer + 1, 1), '' order by i) from generate_series(0, 25) as i)"
        )
    };
}
use public_id;
