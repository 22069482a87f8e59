//! How the statements are run: on a few connections that see one snapshot, each taking the next statement.
//!
//! Statements read whole tables, and most of their time is one core's. A statement that several invariants name is run
//! once and judges all of them, because reading a big table is what costs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::try_join_all;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};

use super::{Invariant, LISTED, Offender, Outcome};
use crate::store::{Store, Stored};
use crate::time::Stopwatch;

/// Connections that look: a second one halves the time where there are two cores; more would take from the fleet whose
/// tables these are, and from the connections of the process.
const LOOKERS: usize = 2;
/// Each statement reads whole tables, which the ten seconds of a job's statement are not made for; and one session may
/// sort in memory what the fleet's many could not. The first session waits in its transaction for the others.
const SESSION: &str = "set local statement_timeout = '5min'; set local work_mem = '128MB'; \
    set local enable_hashjoin = on; set local enable_mergejoin = on; \
    set local enable_material = on; set local enable_seqscan = on; \
    set local idle_in_transaction_session_timeout = '5min'";
/// One moment for all checks: two that looked at different ones could both be right and contradict each other.
const SNAPSHOT: &str = "begin isolation level repeatable read read only";

/// One statement, and whom it judges.
pub(super) struct Pass {
    sql: &'static str,
    /// Several invariants name it: it says in a third column which of them an offender breaks.
    is_shared: bool,
    judged: Vec<&'static Invariant>,
}

/// What was found of one invariant, and how long its statement took, in milliseconds.
pub(super) struct Found {
    pub(super) outcome: Outcome,
    pub(super) millis: i64,
}

/// The statements of those invariants that `wanted` lets pass, each once.
pub(super) fn passes(all: &[&'static Invariant], wanted: impl Fn(&'static Invariant) -> bool) -> Vec<Pass> {
    let mut passes: Vec<Pass> = Vec::new();
    for invariant in all {
        match passes.iter_mut().find(|pass| pass.sql == invariant.sql) {
            Some(pass) => {
                pass.is_shared = true;
                pass.judged.push(invariant);
            }
            None => passes.push(Pass { sql: invariant.sql, is_shared: false, judged: vec![invariant] }),
        }
    }
    for pass in &mut passes {
        pass.judged.retain(|invariant| wanted(invariant));
    }
    passes.retain(|pass| !pass.judged.is_empty());
    passes
}

/// Runs all of them in one snapshot. `truth` is given to each that asks for it.
pub(super) async fn look(
    store: &Store,
    passes: &[Pass],
    truth: Option<&str>,
) -> Stored<HashMap<&'static str, Found>> {
    let mut lookers = vec![store.pool().begin_with(SNAPSHOT).await?];
    session(&mut lookers[0], SESSION).await?;
    let snapshot = exported(&mut lookers[0]).await?;
    while lookers.len() < LOOKERS.min(passes.len()) {
        // Where the process has no connection to spare, one looks at everything.
        let Ok(mut another) = store.pool().begin_with(SNAPSHOT).await else { break };
        session(&mut another, &format!("set transaction snapshot '{snapshot}'; {SESSION}")).await?;
        lookers.push(another);
    }
    let next = AtomicUsize::new(0);
    let found = lookers.into_iter().map(|looker| turns(looker, passes, &next, truth));
    Ok(try_join_all(found).await?.into_iter().flatten().collect())
}

/// One looker's turns: whatever statement is next, until there is none.
async fn turns(
    mut looker: Transaction<'static, Postgres>,
    passes: &[Pass],
    next: &AtomicUsize,
    truth: Option<&str>,
) -> Stored<Vec<(&'static str, Found)>> {
    let mut found = Vec::new();
    while let Some(pass) = passes.get(next.fetch_add(1, Ordering::Relaxed)) {
        let since = Stopwatch::start();
        let mut broken = pass.run(&mut looker, truth).await?;
        let millis = since.elapsed_ms();
        for invariant in &pass.judged {
            let outcome = broken.remove(invariant.id).unwrap_or(Outcome::Held);
            found.push((invariant.id, Found { outcome, millis }));
        }
    }
    looker.rollback().await?;
    Ok(found)
}

async fn session(connection: &mut PgConnection, sql: &str) -> Stored<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?;
    Ok(())
}

/// The name under which other connections find this one's snapshot.
async fn exported(connection: &mut PgConnection) -> Stored<String> {
    Ok(sqlx::query_scalar!(r#"/* audit::exported */ select pg_export_snapshot() as "name!""#)
        .fetch_one(connection)
        .await?)
}

impl Pass {
    /// What it finds, by the invariant that is broken.
    #[expect(
        clippy::disallowed_methods,
        reason = "one frame around statements of a table; the planted violation of each proves that it runs and finds"
    )]
    async fn run(&self, looker: &mut PgConnection, truth: Option<&str>) -> Stored<HashMap<String, Outcome>> {
        let framed = self.framed();
        let query = sqlx::query_as::<_, (String, String, String, i64)>(AssertSqlSafe(framed));
        let query = match truth {
            Some(rows) if self.sql.contains("$1") => query.bind(rows),
            Some(_) | None => query,
        };
        let mut broken: HashMap<String, Outcome> = HashMap::new();
        for (check, id, detail, all) in query.fetch_all(looker).await? {
            let Some(invariant) = self.judged.iter().find(|invariant| invariant.id == check) else {
                continue;
            };
            let offender = Offender { id: invariant.of.show(id), detail };
            let count = u64::try_from(all).unwrap_or(u64::MAX);
            match broken.entry(check).or_insert(Outcome::Violated { count, sample: Vec::new() }) {
                Outcome::Violated { sample, .. } => sample.push(offender),
                Outcome::Held | Outcome::NotApplicable { .. } => {}
            }
        }
        Ok(broken)
    }

    /// The statement, so that it counts all offenders of each invariant and lists the first of them.
    fn framed(&self) -> String {
        let names: Vec<&str> = self.judged.iter().map(|invariant| invariant.id).collect();
        let (name, first) = (names.join(", "), names.first().copied().unwrap_or_default());
        let (columns, check) = if self.is_shared {
            ("id, detail, invariant", "invariant::text".to_owned())
        } else {
            ("id, detail", format!("'{first}'::text"))
        };
        let sql = self.sql;
        format!(
            "/* audit::{name} */ with offenders ({columns}) as ({sql}),
               counted as (select {check} as invariant, id::text as id, detail from offenders),
               placed as (select *, count(*) over (partition by invariant),
                                 row_number() over (partition by invariant order by id, detail) as place from counted)
             select invariant, id, detail, count from placed where place <= {LISTED} order by invariant, place"
        )
    }
}
