//! Jobs that were given up, with everything that a person needs to take them up again.

use serde_json::Value;

use super::{Stored, Tx, exactly};
use crate::ids::{DeadLetterId, JobId};
use crate::job::Failure;

/// A job that is being given up.
#[derive(Clone, Debug)]
pub struct Dead {
    /// The job.
    pub job: JobId,
    /// Its kind.
    pub kind: String,
    /// Its lane.
    pub lane: String,
    /// Its band.
    pub band: i16,
    /// Its fields.
    pub payload: Value,
    /// Outcomes that counted.
    pub attempts: i32,
    /// What caused it.
    pub caused_by: String,
}

/// Buries a job: its dead letter stands in the same commit in which its row goes. Once.
pub async fn bury(tx: &mut Tx, dead: &Dead, failure: &Failure) -> Stored<()> {
    let fingerprint = format!("{}:{}", dead.kind, failure.code);
    sqlx::query!(
        r#"/* dead_letters::bury */
        insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, caused_by)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, coalesce((select caused_by from jobs where id = $2), $11))
        on conflict (job_id) do nothing"#,
        DeadLetterId::new().uuid(),
        dead.job.uuid(),
        dead.kind,
        dead.lane,
        dead.band,
        dead.payload,
        dead.attempts,
        failure.code,
        failure.detail,
        fingerprint,
        dead.caused_by
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!("/* dead_letters::bury */ delete from jobs where id = $1", dead.job.uuid())
        .execute(tx.conn())
        .await?;
    tracing::error!(job = %dead.job, kind = dead.kind, code = failure.code, detail = failure.detail, "job buried");
    Ok(())
}

/// Remembers how an attempt ended that did not end well.
pub async fn attempted(
    tx: &mut Tx,
    job: JobId,
    no: i32,
    worker: &str,
    failure: &Failure,
    took_ms: i64,
) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* dead_letters::attempted */
        insert into attempts (job_id, no, worker, class, code, detail, duration_ms) values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (job_id, no) do update set worker = excluded.worker, class = excluded.class, code = excluded.code,
          detail = excluded.detail, duration_ms = excluded.duration_ms, at = excluded.at"#,
        job.uuid(),
        no,
        worker,
        format!("{:?}", failure.class),
        failure.code,
        failure.detail,
        took_ms
    )
    .execute(tx.conn())
    .await?;
    exactly("dead_letters::attempted", 1, done.rows_affected())
}

/// Replays dead letters: an insert of each job under a new id, its attempts at none, in the same commit that marks the
/// dead letter. One that was replayed before is left out, so that twice is once. Answers how many there were.
pub async fn replay(tx: &mut Tx, ids: &[DeadLetterId], actor: &str) -> Stored<u64> {
    let (mut letters, mut jobs) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
    for id in ids {
        letters.push(id.uuid());
        jobs.push(JobId::new().uuid());
    }
    let done = sqlx::query!(
        r#"/* dead_letters::replay */
        with wanted as (select * from unnest($1::uuid[], $2::uuid[]) as w (letter, job)),
        locked as (
          select d.id, d.job_id, d.kind, d.lane, d.band, d.payload, d.traceparent, w.job
            from dead_letters as d join wanted as w on w.letter = d.id
           where d.replayed_at is null order by d.id for no key update of d),
        marked as (
          update dead_letters as d set replayed_at = now(), replayed_by = $3 from locked as l where d.id = l.id)
        insert into jobs (id, kind, lane, band, payload, run_at, caused_by, traceparent)
        select job, kind, lane, band, payload, now(), job_id::text, traceparent from locked"#,
        &letters,
        &jobs,
        actor
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}
