//! Dead letters on their way into another database.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::one::{Attempt, Letter};
use crate::ids::{DeadLetterId, JobId};
use crate::job::ProviderCode;
use crate::store::{Stored, Tx};

/// A dead letter as it travels: one line of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// Its id, the same wherever it goes.
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
    /// Whether personal data was left out of them: such a line is for reading, and can not be brought in.
    pub masked: bool,
    /// Outcomes that counted.
    pub attempts: i32,
    /// Why, as a code.
    pub code: String,
    /// Why, in words.
    pub detail: String,
    /// What the provider calls it, where it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_code: Option<String>,
    /// What caused the job.
    pub caused_by: String,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// When it was given up.
    pub died_at: DateTime<Utc>,
    /// Its attempts that did not end well.
    pub tried: Vec<Attempt>,
}

impl From<Letter> for Carried {
    fn from(letter: Letter) -> Self {
        Self {
            id: letter.id,
            job: letter.job,
            kind: letter.kind,
            lane: letter.lane,
            band: letter.band,
            payload: letter.payload,
            masked: false,
            attempts: letter.attempts,
            code: letter.code,
            detail: letter.detail,
            provider_code: letter.provider_code,
            caused_by: letter.caused_by,
            traceparent: letter.traceparent,
            died_at: letter.died_at,
            tried: letter.tried,
        }
    }
}

/// Brings a letter in. False where it, or its job, is here already: twice is once, and an open job is not dead.
pub async fn bring_in(tx: &mut Tx, letter: &Carried) -> Stored<bool> {
    let order = super::order_of(tx, &letter.payload).await?;
    let theirs = letter.provider_code.as_deref().and_then(ProviderCode::read);
    let done = sqlx::query!(
        r#"/* dead_letters::bring_in */
        insert into dead_letters (id, job_id, kind, lane, band, payload, attempts, code, detail, fingerprint, order_id, caused_by,
                                  traceparent, died_at)
        select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 where not exists (select from jobs where id = $2)
        on conflict do nothing"#,
        letter.id.uuid(),
        letter.job.uuid(),
        letter.kind,
        letter.lane,
        letter.band,
        letter.payload,
        letter.attempts,
        letter.code,
        letter.detail,
        super::fingerprint(&letter.kind, &letter.code, theirs.as_ref()),
        order,
        letter.caused_by,
        letter.traceparent,
        letter.died_at
    )
    .execute(tx.conn())
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    for tried in &letter.tried {
        sqlx::query!(
            r#"/* dead_letters::bring_in */
            insert into attempts (job_id, no, worker, class, code, detail, duration_ms, at) values ($1, $2, $3, $4, $5, $6, $7, $8)
            on conflict do nothing"#,
            letter.job.uuid(),
            tried.no,
            tried.worker,
            tried.class,
            tried.code,
            tried.detail,
            tried.duration_ms,
            tried.at
        )
        .execute(tx.conn())
        .await?;
    }
    Ok(true)
}
