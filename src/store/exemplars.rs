//! One job of each kind that ended well, as it looked: what a dead letter of that kind is held against.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Store, Stored, millis};
use crate::ids::JobId;

/// A job that ended well.
#[derive(Clone, Debug)]
pub struct Exemplar {
    /// The job.
    pub job: JobId,
    /// Its fields, without what leads to a person.
    pub payload: Value,
    /// About when it ended.
    pub ended_at: DateTime<Utc>,
}

impl Store {
    /// Keeps a job that has ended as its kind's exemplar: its payload leads to no person any more, and it was not given
    /// up. One that is younger than `lasts` stays.
    pub async fn keep_exemplar(
        &self,
        kind: &str,
        job: JobId,
        payload: &Value,
        lasts: Duration,
    ) -> Stored<()> {
        sqlx::query!(
            r#"/* exemplars::keep */
            insert into exemplars as e (kind, job_id, payload)
            select $1, $2, $3 where not exists (select from dead_letters where job_id = $2)
            on conflict (kind) do update set job_id = excluded.job_id, payload = excluded.payload, ended_at = excluded.ended_at
             where e.ended_at < clock_timestamp() - $4::bigint * interval '1 ms'"#,
            kind,
            job.uuid(),
            payload,
            millis(lasts)
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// The exemplar of a kind; none before a job of it ended well.
    pub async fn exemplar(&self, kind: &str) -> Stored<Option<Exemplar>> {
        let row = sqlx::query!(
            "/* exemplars::of */ select job_id, payload, ended_at from exemplars where kind = $1",
            kind
        )
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|row| Exemplar { job: row.job_id.into(), payload: row.payload, ended_at: row.ended_at }))
    }
}
