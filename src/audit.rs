//! What must be true of the tables, each with a name, a reason and the statement that finds whatever breaks it.
//!
//! Constraints and triggers refuse most of it already; the audit proves it from outside, also where they can't reach:
//! across tables, against the clock, and against what providers say that they did. All of it is read in one snapshot, so
//! that it may run beside a working fleet. A statement that can't be run fails the audit: it never passes for held.
//!
//! It must never write, never ask a provider, and never show personal data: ids, codes and amounts only.

use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::ids::{CommunicationId, IntentId, JobId, OrderId, PaymentId, ReservationId, ShipmentId};
use crate::store::{Store, Stored};
use crate::time::Stopwatch;

mod absent;
mod goods;
mod history;
mod money;
mod notices;
mod outside;
mod parcels;
mod render;
mod truth;
mod work;

pub use render::render;
pub use truth::{Truth, TruthError};

/// Offenders that are listed of one check: enough to see the pattern, few enough to read. All of them are counted.
const LISTED: usize = 20;
/// Each statement reads whole tables, which the ten seconds of a job's statement are not made for; and one session may
/// sort in memory what the fleet's many could not.
const SESSION: &str = "set local statement_timeout = '5min'; set local work_mem = '128MB'; \
    set local enable_hashjoin = on; set local enable_mergejoin = on; set local enable_material = on; \
    set local enable_seqscan = on";
/// One moment for all checks: two that looked at different ones could both be right and contradict each other.
const SNAPSHOT: &str = "begin isolation level repeatable read read only";

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
    /// Selects (id, detail) of each offender.
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
    /// How long it took, in milliseconds.
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
    let truth = scope.truth.as_ref().map(Truth::rows);
    let mut snapshot = store.pool().begin_with(SNAPSHOT).await?;
    sqlx::raw_sql(SESSION).execute(&mut *snapshot).await?;
    let mut checks = Vec::new();
    for invariant in tables() {
        checks.push(judge(&mut snapshot, invariant, None, reason_to_skip(invariant, &scope)).await?);
    }
    for invariant in outside::INVARIANTS {
        let no_sandbox = scope.truth.is_none().then_some("no sandbox");
        let skip = no_sandbox.or(reason_to_skip(invariant, &scope));
        checks.push(judge(&mut snapshot, invariant, truth.as_deref(), skip).await?);
    }
    snapshot.rollback().await?;
    checks.extend(absent::ABSENT.iter().map(|absent| Check {
        id: absent.id,
        name: absent.name,
        sentence: absent.sentence,
        outcome: Outcome::NotApplicable { reason: absent.reason },
        millis: 0,
    }));
    let violations = checks.iter().map(|check| check.outcome.count()).sum();
    Ok(Report { checks, violations })
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
    let waits = invariant.when == When::Quiescent && !scope.quiescent;
    waits.then_some("holds only once the queues are drained")
}

async fn judge(
    snapshot: &mut PgConnection,
    invariant: &Invariant,
    truth: Option<&str>,
    skip: Option<&'static str>,
) -> Stored<Check> {
    let since = Stopwatch::start();
    let outcome = match skip {
        Some(reason) => Outcome::NotApplicable { reason },
        None => look(snapshot, invariant, truth).await?,
    };
    let Invariant { id, name, sentence, .. } = *invariant;
    Ok(Check { id, name, sentence, outcome, millis: since.elapsed_ms() })
}

#[expect(
    clippy::disallowed_methods,
    reason = "one frame around statements of a table; the planted violation of each proves that it runs and finds"
)]
async fn look(snapshot: &mut PgConnection, invariant: &Invariant, truth: Option<&str>) -> Stored<Outcome> {
    let Invariant { id, sql, of, .. } = *invariant;
    let framed = format!(
        "/* audit::{id} */ with offenders (id, detail) as ({sql})
         select id::text, detail, count(*) over () from offenders order by 1, 2 limit {LISTED}"
    );
    let query = sqlx::query_as::<_, (String, String, i64)>(AssertSqlSafe(framed));
    let query = match truth {
        Some(rows) => query.bind(rows),
        None => query,
    };
    let found = query.fetch_all(snapshot).await?;
    let Some(count) = found.first().map(|(_, _, count)| *count) else {
        return Ok(Outcome::Held);
    };
    let sample = found.into_iter().map(|(id, detail, _)| Offender { id: of.show(id), detail }).collect();
    Ok(Outcome::Violated { count: u64::try_from(count).unwrap_or(u64::MAX), sample })
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
