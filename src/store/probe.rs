//! The ledger of probes: append-only, and without a unique key, so that nothing but the protocol keeps it exact.
//!
//! A proof makes the table (`tests/stage`); the product has none. Statements are not checked against the schema for that
//! reason, and only in this file.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Stored, Tx};
use crate::ids::JobId;

/// The runs of job rows, as they stand in this transaction. What has no row is not in it.
pub async fn runs(tx: &mut Tx, ids: &[JobId]) -> Stored<HashMap<JobId, i32>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    #[expect(clippy::disallowed_methods, reason = "the product's schema has no probes")]
    let rows: Vec<(Uuid, i32)> =
        sqlx::query_as("select id, run from jobs where id = any($1)").bind(&ids).fetch_all(tx.conn()).await?;
    Ok(rows.into_iter().map(|(id, run)| (JobId::from(id), run)).collect())
}

/// Writes one line for each probe: what its worker believes its run to be, and the run that stands. `refused` ones hold
/// data that Postgres refuses, and with them the whole statement.
pub async fn note(tx: &mut Tx, phase: &str, lines: &[(JobId, i32, bool)]) -> Stored<()> {
    let (mut ids, mut runs, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for (id, run, is_refused) in lines {
        ids.push(id.uuid());
        runs.push(*run);
        refused.push(i32::from(!*is_refused));
    }
    #[expect(clippy::disallowed_methods, reason = "the product's schema has no probes")]
    let statement = sqlx::query(
        "insert into probe_ledger (job, run, standing, phase)
         select line.job, line.run / line.divisor, (select run from jobs where id = line.job), $1
           from unnest($2::uuid[], $3::int[], $4::int[]) as line (job, run, divisor)",
    );
    statement.bind(phase).bind(&ids).bind(&runs).bind(&refused).execute(tx.conn()).await?;
    Ok(())
}
