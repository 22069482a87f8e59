//! One dead letter with everything that is known of it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::ids::{DeadLetterId, JobId, OrderId};
use crate::store::{Store, Stored};

/// An attempt that did not end well.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub struct Attempt {
    /// The first is 1.
    pub no: i32,
    /// Who tried.
    pub worker: String,
    /// What followed from it.
    pub class: String,
    /// Why, as a code.
    pub code: String,
    /// Why, in words.
    pub detail: String,
    /// How long its call took, in milliseconds.
    pub duration_ms: i64,
    /// When it ended.
    pub at: DateTime<Utc>,
}

/// A change of a payload.
#[derive(Clone, Debug, Serialize)]
pub struct Edited {
    /// The payload until then.
    pub before: Value,
    /// Who changed it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// A dead letter.
#[derive(Clone, Debug, Serialize)]
pub struct Letter {
    /// Its id.
    pub id: DeadLetterId,
    /// The job that was given up.
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
    /// Why, as a code.
    pub code: String,
    /// Why, in words.
    pub detail: String,
    /// What the provider calls it, where it said so.
    pub provider_code: Option<String>,
    /// What letters that died of the same have in common.
    pub fingerprint: String,
    /// The event, request or job that caused the job.
    pub caused_by: String,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// The order that it is about, where it is known.
    pub order: Option<OrderId>,
    /// That order's number on the bill.
    pub order_number: Option<String>,
    /// When it was given up.
    pub died_at: DateTime<Utc>,
    /// When it was replayed.
    pub replayed_at: Option<DateTime<Utc>>,
    /// Who did that.
    pub replayed_by: Option<String>,
    /// The job that took it up.
    pub replayed_as: Option<JobId>,
    /// When it was given up for good.
    pub dropped_at: Option<DateTime<Utc>>,
    /// Who did that.
    pub dropped_by: Option<String>,
    /// Why.
    pub drop_reason: Option<String>,
    /// Its attempts that did not end well, the first one first.
    pub tried: Vec<Attempt>,
    /// Changes of its payload, the first one first.
    pub edits: Vec<Edited>,
}

impl Store {
    /// Whose shop a letter is about, where its order or its fields say so.
    pub async fn dead_letter_tenant(&self, id: DeadLetterId) -> Stored<Option<String>> {
        let found = sqlx::query_scalar!(
            r#"/* dead_letters::tenant */
            select coalesce(o.tenant, d.payload ->> 'tenant') from dead_letters d left join orders o on o.id = d.order_id
             where d.id = $1"#,
            id.uuid()
        )
        .fetch_optional(self.pool())
        .await?;
        Ok(found.flatten())
    }

    /// A dead letter.
    pub async fn dead_letter(&self, id: DeadLetterId) -> Stored<Option<Letter>> {
        let mut conn = self.pool().acquire().await?;
        let row = sqlx::query!(
            r#"/* dead_letters::one */
            select d.id, d.job_id, d.kind, d.lane, d.band, d.payload, d.attempts, d.code, d.detail, d.fingerprint, d.caused_by, d.traceparent,
                   d.order_id, d.died_at, d.replayed_at, d.replayed_by, d.replayed_as, d.dropped_at, d.dropped_by, d.drop_reason,
                   o.order_number as "order_number?"
              from dead_letters d left join orders o on o.id = d.order_id where d.id = $1"#,
            id.uuid()
        )
        .fetch_optional(&mut *conn)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let tried = sqlx::query_as!(
            Attempt,
            r#"/* dead_letters::tried */
            select no, worker, class, code, detail, duration_ms, at from attempts where job_id = $1 order by no"#,
            row.job_id
        )
        .fetch_all(&mut *conn)
        .await?;
        let edits = sqlx::query_as!(
            Edited,
            "/* dead_letters::edits */ select before, actor, reason, at from dead_letter_edits where letter_id = $1 order by no",
            row.id
        )
        .fetch_all(&mut *conn)
        .await?;
        Ok(Some(Letter {
            id,
            provider_code: super::provider_code(&row.fingerprint, &row.kind, &row.code),
            job: row.job_id.into(),
            kind: row.kind,
            lane: row.lane,
            band: row.band,
            payload: row.payload,
            attempts: row.attempts,
            code: row.code,
            detail: row.detail,
            fingerprint: row.fingerprint,
            caused_by: row.caused_by,
            traceparent: row.traceparent,
            order: row.order_id.map(OrderId::from),
            order_number: row.order_number,
            died_at: row.died_at,
            replayed_at: row.replayed_at,
            replayed_by: row.replayed_by,
            replayed_as: row.replayed_as.map(JobId::from),
            dropped_at: row.dropped_at,
            dropped_by: row.dropped_by,
            drop_reason: row.drop_reason,
            tried,
            edits,
        }))
    }
}
