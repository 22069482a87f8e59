//! The table of open jobs: outbox, fence and recovery in one (the law is told in `lib.rs`).

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::dead_letters::About;
use super::{JobCopy, Store, StoreError, Stored, Tx, exactly, from_millis, millis};
use crate::domain::priority::PRIORITIES;
use crate::ids::JobId;
use crate::job::{Band, NewJob};
use crate::telemetry::TraceContext;

/// Inserts job rows, to be pushed after the commit. A row whose dedupe key is there already changes nothing. A job
/// of an order is in the band of its order's priority. Returns how many are new.
#[expect(clippy::as_conversions, reason = "sqlx's way to say that an array holds nulls")]
pub async fn insert(tx: &mut Tx, mut jobs: Vec<NewJob>) -> Stored<usize> {
    if jobs.is_empty() {
        return Ok(0);
    }
    // Sorted by the key that others conflict on: two slices that insert in different orders would deadlock.
    jobs.sort_by(|a, b| (&a.dedupe_key, a.id).cmp(&(&b.dedupe_key, b.id)));
    let ids: Vec<Uuid> = jobs.iter().map(|job| job.id.uuid()).collect();
    let kinds: Vec<String> = jobs.iter().map(|job| job.kind.to_owned()).collect();
    let lanes: Vec<String> = jobs.iter().map(|job| job.lane.name().to_owned()).collect();
    let payloads: Vec<serde_json::Value> = jobs.iter().map(|job| job.payload.clone()).collect();
    let delays: Vec<i64> = jobs.iter().map(|job| millis(job.delay)).collect();
    let keys: Vec<Option<String>> = jobs.iter().map(|job| job.dedupe_key.clone()).collect();
    let causes: Vec<String> = jobs.iter().map(|job| job.caused_by.clone()).collect();
    let traces: Vec<Option<String>> =
        jobs.iter().map(|job| job.trace.map(|trace| trace.to_string())).collect();
    let about: Vec<About> = jobs.iter().map(|job| About::of(&job.payload)).collect();
    let orders: Vec<Option<Uuid>> = about.iter().map(|about| about.order).collect();
    let notices: Vec<Option<Uuid>> = about.iter().map(|about| about.notice).collect();
    let payments: Vec<Option<Uuid>> = about.iter().map(|about| about.payment).collect();
    let priorities: Vec<String> = PRIORITIES.iter().map(|priority| priority.name.to_owned()).collect();
    let bands: Vec<i16> = PRIORITIES.iter().map(|priority| i16::from(priority.band)).collect();
    let added = sqlx::query!(
        r#"/* jobs::insert */
        insert into jobs (id, kind, lane, band, payload, run_at, due_at, dedupe_key, caused_by, traceparent)
        select id, kind, lane, coalesce(of_order.band, $4), payload, due, due, dedupe_key, caused_by,
               -- Whatever causes it, a job of an order belongs to the order's trace, and is as urgent as the order.
               coalesce(trace, of_order.traceparent)
          from unnest($1::uuid[], $2::text[], $3::text[], $5::jsonb[], $6::bigint[], $7::text[], $8::text[],
                      $9::text[], $10::uuid[], $11::uuid[], $12::uuid[])
               as n(id, kind, lane, payload, delay, dedupe_key, caused_by, trace, about_order, about_notice, about_payment)
               cross join lateral (select clock_timestamp() + delay * interval '1 ms' as due) as d
               left join lateral (
                 select o.traceparent, ($14::smallint[])[array_position($13::text[], o.priority)] as band from orders o where o.id =
                   coalesce(about_order, (select c.order_id from communications c where c.id = about_notice),
                                         (select p.order_id from payments p where p.id = about_payment))) as of_order on true
        on conflict (dedupe_key) do nothing
        returning id, band, traceparent"#,
        &ids,
        &kinds,
        &lanes,
        i16::from(Band::Normal.number()),
        &payloads,
        &delays,
        &keys as &[Option<String>],
        &causes,
        &traces as &[Option<String>],
        &orders as &[Option<Uuid>],
        &notices as &[Option<Uuid>],
        &payments as &[Option<Uuid>],
        &priorities,
        &bands
    )
    .fetch_all(tx.conn())
    .await?;
    let added: HashMap<Uuid, (i16, Option<String>)> =
        added.into_iter().map(|row| (row.id, (row.band, row.traceparent))).collect();
    for job in jobs {
        if let Some((band, traceparent)) = added.get(&job.id.uuid()) {
            push_when_near(tx, job, *band, traceparent.as_deref());
        }
    }
    Ok(added.len())
}

/// What is due later than a minute stays in Postgres until it is near: the relay's sweep finds it.
fn push_when_near(tx: &mut Tx, job: NewJob, band: i16, traceparent: Option<&str>) {
    if job.delay < NEAR {
        tx.push_after_commit(JobCopy {
            id: job.id,
            kind: job.kind.to_owned(),
            lane: job.lane.name().to_owned(),
            band,
            payload: job.payload,
            delay: job.delay,
            attempts: 0,
            traceparent: read(traceparent),
        });
    }
}

/// A stored trace. What is none is no reason to leave the job undone.
pub(super) fn read(traceparent: Option<&str>) -> Option<TraceContext> {
    traceparent?.parse().ok()
}

/// Rows due later than this stay in Postgres: Redis need not hold what nobody can start.
pub const NEAR: Duration = Duration::from_mins(1);

/// A locked job row, before its load.
#[derive(Clone, Copy, Debug)]
pub struct Locked {
    /// The fence as it stands; a load that goes on to a call raises it by one.
    pub run: i32,
    /// Outcomes that counted so far.
    pub attempts: i32,
    /// How long until it is due by the database's clock; zero where it is due.
    pub early: Duration,
    /// How long ago it was first due.
    pub age: Duration,
}

/// Locks these rows in id order. A row that is gone was finished by somebody else.
pub async fn lock(tx: &mut Tx, ids: &[JobId]) -> Stored<HashMap<JobId, Locked>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"/* jobs::lock */
        select id, run, attempts,
               greatest(0, ceil(extract(epoch from run_at - clock_timestamp()) * 1000))::bigint as "early_ms!",
               greatest(0, extract(epoch from clock_timestamp() - due_at) * 1000)::bigint as "age_ms!"
          from jobs where id = any($1) order by id for update"#,
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let locked = Locked {
                run: row.run,
                attempts: row.attempts,
                early: from_millis(row.early_ms),
                age: from_millis(row.age_ms),
            };
            (JobId::from(row.id), locked)
        })
        .collect())
}

/// Raises the fence of rows that this transaction has locked; each new value is the old one plus one.
pub async fn raise(tx: &mut Tx, ids: &[JobId]) -> Stored<()> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let done = sqlx::query!("/* jobs::raise */ update jobs set run = run + 1 where id = any($1)", &ids)
        .execute(tx.conn())
        .await?;
    exactly("jobs::raise", ids.len(), done.rows_affected())
}

/// A job that the intake took in, on its way to become a row.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// Its lane.
    pub lane: String,
    /// Its band.
    pub band: i16,
    /// Its fields.
    pub payload: serde_json::Value,
    /// When it is due.
    pub delay: Duration,
    /// The fence that it starts with.
    pub run: i32,
    /// Outcomes that counted so far.
    pub attempts: i32,
    /// The trace that it belongs to.
    pub traceparent: Option<TraceContext>,
}

/// Gives rows to jobs that came from the intake and do not end in this load. The queue holds their copies already. A row
/// that is there by now is another delivery's: going on would put two of them behind one fence.
pub async fn adopt(tx: &mut Tx, mut jobs: Vec<Adopted>) -> Stored<()> {
    jobs.sort_by_key(|job| job.id);
    for job in jobs {
        let done = sqlx::query!(
            r#"/* jobs::adopt */
            insert into jobs (id, kind, lane, band, payload, run_at, run, attempts, caused_by, relayed_at, traceparent)
            values ($1, $2, $3, $4, $5, clock_timestamp() + $6::bigint * interval '1 ms', $7, $8, 'intake', now(), $9)
            on conflict (id) do nothing"#,
            job.id.uuid(),
            job.kind,
            job.lane,
            job.band,
            job.payload,
            millis(job.delay),
            job.run,
            job.attempts,
            job.traceparent.map(|trace| trace.to_string())
        )
        .execute(tx.conn())
        .await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Met("jobs::adopt"));
        }
    }
    Ok(())
}

/// Locks, of these (job, run) pairs, the rows that still hold that run: only these may be settled.
pub async fn still_ours(tx: &mut Tx, runs: &[(JobId, i32)]) -> Stored<Vec<JobId>> {
    let ids: Vec<Uuid> = runs.iter().map(|(id, _)| id.uuid()).collect();
    let wanted: Vec<i32> = runs.iter().map(|(_, run)| *run).collect();
    let rows = sqlx::query_scalar!(
        r#"/* jobs::still_ours */
        select j.id from jobs j join unnest($1::uuid[], $2::int[]) as w(id, run) on w.id = j.id and w.run = j.run
         order by j.id for update of j"#,
        &ids,
        &wanted
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(JobId::from).collect())
}

/// Removes finished rows. Rows that are not there (intake-born, ended in load) are no fault.
pub async fn delete(tx: &mut Tx, ids: &[JobId]) -> Stored<()> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    sqlx::query!("/* jobs::delete */ delete from jobs where id = any($1)", &ids).execute(tx.conn()).await?;
    sqlx::query!("/* jobs::delete */ delete from attempts where job_id = any($1)", &ids)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Removes rows that have become pointless, by their dedupe keys, with their attempts. One that somebody holds is left:
/// its load finds that there is nothing to do.
pub async fn forget(tx: &mut Tx, keys: &[String]) -> Stored<()> {
    sqlx::query!(
        r#"/* jobs::forget */
        with gone as (delete from jobs where id in
          (select id from jobs where dedupe_key = any($1) order by id for update skip locked) returning id)
        delete from attempts where job_id in (select id from gone)"#,
        keys
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Removes a row that was put off to a later time, by its dedupe key, so that it can be inserted anew and is due now. Its copy
/// in the queue finds nothing to do when its own time comes.
pub async fn recall(tx: &mut Tx, key: &str) -> Stored<()> {
    sqlx::query!(
        r#"/* jobs::recall */
        with gone as (delete from jobs where id in
          (select id from jobs where dedupe_key = $1 and run_at > clock_timestamp() for update skip locked) returning id)
        delete from attempts where job_id in (select id from gone)"#,
        key
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Writes when this row is due again, and how many attempts it has spent.
pub async fn postpone(tx: &mut Tx, id: JobId, delay: Duration, attempts: i32) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* jobs::postpone */
        update jobs set run_at = clock_timestamp() + $2::bigint * interval '1 ms', attempts = $3 where id = $1"#,
        id.uuid(),
        millis(delay),
        attempts
    )
    .execute(tx.conn())
    .await?;
    exactly("jobs::postpone", 1, done.rows_affected())
}

/// Rows younger than this are left to the process that wrote them.
const YOUNG: Duration = Duration::from_millis(250);

/// Rows that want a copy in the queue, locked: due within a minute, and not held by anybody. Locked until the commit, so
/// that two relays never push the same rows (select, push and mark without the lock pushed every row twice).
pub async fn unrelayed(tx: &mut Tx, limit: i64) -> Stored<Vec<JobCopy>> {
    let rows = sqlx::query!(
        r#"/* jobs::unrelayed */
        select id, kind, lane, band, payload, attempts, traceparent,
               greatest(0, ceil(extract(epoch from run_at - clock_timestamp()) * 1000))::bigint as "delay_ms!"
          from jobs
         where relayed_at is null and run_at < now() + $2::bigint * interval '1 ms'
           and created_at < now() - $3::bigint * interval '1 ms'
         order by run_at, id limit $1 for update skip locked"#,
        limit,
        millis(NEAR),
        millis(YOUNG)
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| JobCopy {
            id: row.id.into(),
            kind: row.kind,
            lane: row.lane,
            band: row.band,
            payload: row.payload,
            delay: from_millis(row.delay_ms),
            attempts: row.attempts,
            traceparent: read(row.traceparent.as_deref()),
        })
        .collect())
}

/// Marks rows that this transaction has locked as pushed.
pub async fn relayed(tx: &mut Tx, ids: &[JobId]) -> Stored<()> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    sqlx::query!("/* jobs::relayed */ update jobs set relayed_at = now() where id = any($1)", &ids)
        .execute(tx.conn())
        .await?;
    Ok(())
}

impl Store {
    /// A page of rows that the queue should know: pushed at least `grace` ago, in id order after `after`.
    pub async fn relayed_page(
        &self,
        lane: &str,
        after: Option<JobId>,
        grace: Duration,
        limit: i64,
    ) -> Stored<Vec<JobId>> {
        let rows = sqlx::query_scalar!(
            r#"/* jobs::relayed_page */
            select id from jobs
             where lane = $1 and relayed_at < now() - $2::bigint * interval '1 ms' and id > $3
             order by id limit $4"#,
            lane,
            millis(grace),
            after.map_or(Uuid::nil(), JobId::uuid),
            limit
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(JobId::from).collect())
    }

    /// The queue lost these: they want a copy again. Rows that somebody holds are left for the next look.
    pub async fn unrelay(&self, ids: &[JobId]) -> Stored<u64> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        let done = sqlx::query!(
            r#"/* jobs::unrelay */
            update jobs set relayed_at = null where id in
              (select id from jobs where id = any($1) order by id for update skip locked)"#,
            &ids
        )
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected())
    }

    /// The queue lost a whole lane: up to `limit` rows of it behind `after` want copies again. Returns them, by id. Each
    /// page begins where the last one ended: what is pushed meanwhile is not looked at twice, and a million rows are walked
    /// once.
    pub async fn unrelay_lane(&self, lane: &str, after: Option<JobId>, limit: i64) -> Stored<Vec<JobId>> {
        let mut lost = sqlx::query_scalar!(
            r#"/* jobs::unrelay_lane */
            update jobs set relayed_at = null where id in
              (select id from jobs where lane = $1 and relayed_at is not null and id > $2
                order by id limit $3 for update skip locked)
            returning id"#,
            lane,
            after.map_or(Uuid::nil(), JobId::uuid),
            limit
        )
        .fetch_all(self.pool())
        .await?;
        lost.sort_unstable();
        Ok(lost.into_iter().map(JobId::from).collect())
    }

    /// Marks rows as pushed: those that are still there and that nobody holds.
    pub async fn mark_relayed(&self, ids: &[JobId]) -> Stored<()> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        sqlx::query!(
            r#"/* jobs::mark_relayed */
            update jobs set relayed_at = now() where id in
              (select id from jobs where id = any($1) and relayed_at is null order by id for update skip locked)"#,
            &ids
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }
}
