//! Where one job stands in Postgres, and how many were given up, for the person who asks.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Store, Stored};
use crate::ids::{DeadLetterId, JobId};

/// A job's row.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its kind.
    pub kind: String,
    /// Its lane.
    pub lane: String,
    /// When it is due.
    pub run_at: DateTime<Utc>,
    /// When it was inserted.
    pub created_at: DateTime<Utc>,
    /// When it was pushed last; none where it waits to be pushed.
    pub relayed_at: Option<DateTime<Utc>>,
    /// Outcomes that counted.
    pub attempts: i32,
    /// How the last of them ended: code and words.
    pub last_failure: Option<(String, String)>,
    /// The database's time of this look.
    pub now: DateTime<Utc>,
}

/// A job's dead letter.
#[derive(Clone, Debug)]
pub struct Given {
    /// The dead letter's id.
    pub id: DeadLetterId,
    /// When it was given up.
    pub died_at: DateTime<Utc>,
    /// Why, as a code.
    pub code: String,
    /// Why, in words.
    pub detail: String,
    /// When it was replayed.
    pub replayed_at: Option<DateTime<Utc>>,
    /// When it was dropped, and why.
    pub dropped: Option<(DateTime<Utc>, String)>,
}

impl Store {
    /// A job's row.
    pub async fn job_row(&self, job: JobId) -> Stored<Option<Row>> {
        let mut conn = self.pool().acquire().await?;
        let row = sqlx::query!(
            r#"/* standing::job_row */
            select j.kind, j.lane, j.run_at, j.created_at, j.relayed_at, j.attempts, now() as "now!",
                   a.code as "code?", a.detail as "detail?"
              from jobs j left join attempts a on a.job_id = j.id and a.no = j.attempts
             where j.id = $1"#,
            job.uuid()
        )
        .fetch_optional(&mut *conn)
        .await?;
        Ok(row.map(|row| Row {
            kind: row.kind,
            lane: row.lane,
            run_at: row.run_at,
            created_at: row.created_at,
            relayed_at: row.relayed_at,
            attempts: row.attempts,
            last_failure: row.code.zip(row.detail),
            now: row.now,
        }))
    }

    /// A job's dead letter.
    pub async fn job_given_up(&self, job: JobId) -> Stored<Option<Given>> {
        let mut conn = self.pool().acquire().await?;
        let row = sqlx::query!(
            "/* standing::job_given_up */ select id, died_at, code, detail, replayed_at, dropped_at, drop_reason from dead_letters where job_id = $1",
            job.uuid()
        )
        .fetch_optional(&mut *conn)
        .await?;
        Ok(row.map(|row| Given {
            id: row.id.into(),
            died_at: row.died_at,
            code: row.code,
            detail: row.detail,
            replayed_at: row.replayed_at,
            dropped: row.dropped_at.zip(row.drop_reason),
        }))
    }

    /// Dead letters that were not replayed, by lane.
    pub async fn dead_by_lane(&self) -> Stored<BTreeMap<String, u64>> {
        let mut conn = self.pool().acquire().await?;
        let rows = sqlx::query!(
            r#"/* standing::dead_by_lane */
            select lane, count(*) as "count!" from dead_letters where replayed_at is null and dropped_at is null group by lane"#
        )
        .fetch_all(&mut *conn)
        .await?;
        Ok(rows.into_iter().map(|row| (row.lane, u64::try_from(row.count).unwrap_or_default())).collect())
    }
}
