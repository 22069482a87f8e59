//! What is done with dead letters, each in the commit that says who did it.

use serde_json::Value;
use uuid::Uuid;

use crate::ids::{DeadLetterId, JobId, OrderId};
use crate::store::{Stored, Tx, exactly};

/// An open letter that this transaction has locked.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its id.
    pub id: DeadLetterId,
    /// The job that was given up.
    pub job: JobId,
    /// Its kind.
    pub kind: String,
    /// Its fields.
    pub payload: Value,
    /// The order that it is about, where it is known.
    pub order: Option<OrderId>,
}

fn uuids(ids: &[DeadLetterId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.uuid()).collect()
}

/// Locks those of these that are open, in the order of their ids.
pub async fn open(tx: &mut Tx, ids: &[DeadLetterId]) -> Stored<Vec<Open>> {
    let rows = sqlx::query!(
        r#"/* dead_letters::open */
        select id, job_id, kind, payload, order_id from dead_letters
         where id = any($1) and replayed_at is null and dropped_at is null order by id for no key update"#,
        &uuids(ids)
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Open {
            id: row.id.into(),
            job: row.job_id.into(),
            kind: row.kind,
            payload: row.payload,
            order: row.order_id.map(OrderId::from),
        })
        .collect())
}

/// Replays dead letters: an insert of each job under a new id, its attempts at none, in the same commit that marks the
/// dead letter. One that was replayed or dropped before is left out, so that twice is once. Answers how many there were.
pub async fn replay(tx: &mut Tx, ids: &[DeadLetterId], actor: &str) -> Stored<u64> {
    let jobs: Vec<Uuid> = ids.iter().map(|_| JobId::new().uuid()).collect();
    let done = sqlx::query!(
        r#"/* dead_letters::replay */
        with wanted as (select * from unnest($1::uuid[], $2::uuid[]) as w (letter, job)),
        locked as (
          select d.id, d.job_id, d.kind, d.lane, d.band, d.payload, d.traceparent, w.job
            from dead_letters as d join wanted as w on w.letter = d.id
           where d.replayed_at is null and d.dropped_at is null order by d.id for no key update of d),
        marked as (
          update dead_letters as d set replayed_at = now(), replayed_by = $3, replayed_as = l.job from locked as l where d.id = l.id)
        insert into jobs (id, kind, lane, band, payload, run_at, caused_by, traceparent)
        select job, kind, lane, band, payload, now(), job_id::text, traceparent from locked"#,
        &uuids(ids),
        &jobs,
        actor
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

/// Gives open letters up for good. Answers how many there were.
pub async fn drop_all(tx: &mut Tx, ids: &[DeadLetterId], actor: &str, reason: &str) -> Stored<u64> {
    let done = sqlx::query!(
        r#"/* dead_letters::drop_all */
        with locked as (select id from dead_letters
                         where id = any($1) and replayed_at is null and dropped_at is null order by id for no key update)
        update dead_letters d set dropped_at = now(), dropped_by = $2, drop_reason = $3 from locked l where d.id = l.id"#,
        &uuids(ids),
        actor,
        reason
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

/// Writes another payload into a letter that this transaction has locked, and keeps what stood there.
pub async fn edit(tx: &mut Tx, letter: &Open, payload: &Value, actor: &str, reason: &str) -> Stored<()> {
    sqlx::query!(
        r#"/* dead_letters::edit */
        insert into dead_letter_edits (letter_id, no, before, actor, reason)
        select $1, coalesce(max(no), 0) + 1, $2, $3, $4 from dead_letter_edits where letter_id = $1"#,
        letter.id.uuid(),
        letter.payload,
        actor,
        reason
    )
    .execute(tx.conn())
    .await?;
    let order = super::order_of(tx, payload).await?;
    let done = sqlx::query!(
        "/* dead_letters::edit */ update dead_letters set payload = $2, order_id = $3 where id = $1",
        letter.id.uuid(),
        payload,
        order
    )
    .execute(tx.conn())
    .await?;
    exactly("dead_letters::edit", 1, done.rows_affected())
}
