//! Dead letters by the page, and by what they died of.
//!
//! An id begins with the time at which its letter was written, so that the primary key is the list in its order and a
//! cursor is an id. Payloads are not read here: a list shows ids and codes, and no personal data.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::ids::{DeadLetterId, JobId, OrderId};
use crate::store::{Store, Stored};

/// Which of them, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Neither replayed nor dropped: somebody has to see to them.
    #[default]
    Open,
    /// Taken up again.
    Replayed,
    /// Given up for good.
    Dropped,
    /// All.
    Any,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Dropped => "dropped",
            Self::Any => "any",
        }
    }
}

/// Which dead letters: those for which everything that is said holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// These.
    pub ids: Option<Vec<DeadLetterId>>,
    /// Of this lane.
    pub lane: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// That died of this.
    pub fingerprint: Option<String>,
    /// About this order.
    pub order: Option<OrderId>,
    /// That died then or later.
    pub since: Option<DateTime<Utc>>,
    /// That died before.
    pub until: Option<DateTime<Utc>>,
    /// What became of them.
    pub state: State,
}

impl Selection {
    /// The ids that are asked for, for SQL; none where any may be.
    fn uuids(&self) -> Option<Vec<Uuid>> {
        self.ids.as_ref().map(|ids| ids.iter().map(|id| id.uuid()).collect())
    }
}

/// A dead letter, as a list tells it.
#[derive(Clone, Debug, Serialize)]
pub struct Head {
    /// Its id.
    pub id: DeadLetterId,
    /// The job.
    pub job: JobId,
    /// Its kind.
    pub kind: String,
    /// Its lane.
    pub lane: String,
    /// Why, as a code.
    pub code: String,
    /// Why, in words.
    pub detail: String,
    /// What letters that died of the same have in common.
    pub fingerprint: String,
    /// Outcomes that counted.
    pub attempts: i32,
    /// The order that it is about, where it is known.
    pub order: Option<OrderId>,
    /// When it was given up.
    pub died_at: DateTime<Utc>,
    /// When it was replayed.
    pub replayed_at: Option<DateTime<Utc>>,
    /// When it was dropped.
    pub dropped_at: Option<DateTime<Utc>>,
}

/// Letters that died of the same.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// What they have in common: the kind, the code, and the provider's code where it gave one.
    pub fingerprint: String,
    /// Their kind.
    pub kind: String,
    /// Their lane.
    pub lane: String,
    /// Why, as a code.
    pub code: String,
    /// What the provider calls it, where it said so.
    pub provider_code: Option<String>,
    /// How many.
    pub letters: u64,
    /// When the first of them died.
    pub first: DateTime<Utc>,
    /// When the last of them died.
    pub last: DateTime<Utc>,
}

impl Store {
    /// The database's time: what dies later is not part of what an operator saw.
    pub async fn now(&self) -> Stored<DateTime<Utc>> {
        Ok(sqlx::query_scalar!("/* dead_letters::now */ select clock_timestamp() as \"now!\"")
            .fetch_one(self.pool())
            .await?)
    }

    /// A page of letters, the newest first, after `after`.
    pub async fn dead_letters(
        &self,
        of: &Selection,
        after: Option<DeadLetterId>,
        limit: i64,
    ) -> Stored<Vec<Head>> {
        let rows = sqlx::query!(
            r#"/* dead_letters::page */
            select id, job_id, kind, lane, code, detail, fingerprint, attempts, order_id, died_at, replayed_at, dropped_at
              from dead_letters
             where ($1::uuid is null or id < $1) and ($2::uuid[] is null or id = any($2)) and ($3::text is null or lane = $3)
               and ($4::text is null or kind = $4) and ($5::text is null or fingerprint = $5) and ($6::uuid is null or order_id = $6)
               and ($7::timestamptz is null or died_at >= $7) and ($8::timestamptz is null or died_at < $8)
               and case $9::text when 'open' then replayed_at is null and dropped_at is null
                     when 'replayed' then replayed_at is not null when 'dropped' then dropped_at is not null else true end
             order by id desc limit $10"#,
            after.map(DeadLetterId::uuid),
            of.uuids() as _,
            of.lane,
            of.kind,
            of.fingerprint,
            of.order.map(OrderId::uuid),
            of.since,
            of.until,
            of.state.name(),
            limit
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Head {
                id: row.id.into(),
                job: row.job_id.into(),
                kind: row.kind,
                lane: row.lane,
                code: row.code,
                detail: row.detail,
                fingerprint: row.fingerprint,
                attempts: row.attempts,
                order: row.order_id.map(OrderId::from),
                died_at: row.died_at,
                replayed_at: row.replayed_at,
                dropped_at: row.dropped_at,
            })
            .collect())
    }

    /// What they died of, the most first.
    pub async fn dead_groups(&self, of: &Selection, limit: i64) -> Stored<Vec<Group>> {
        let rows = sqlx::query!(
            r#"/* dead_letters::groups */
            select fingerprint, kind, min(lane) as "lane!", code, count(*) as "letters!", min(died_at) as "first!", max(died_at) as "last!"
              from dead_letters
             where ($1::uuid[] is null or id = any($1)) and ($2::text is null or lane = $2)
               and ($3::text is null or kind = $3) and ($4::text is null or fingerprint = $4) and ($5::uuid is null or order_id = $5)
               and ($6::timestamptz is null or died_at >= $6) and ($7::timestamptz is null or died_at < $7)
               and case $8::text when 'open' then replayed_at is null and dropped_at is null
                     when 'replayed' then replayed_at is not null when 'dropped' then dropped_at is not null else true end
             group by fingerprint, kind, code order by 5 desc, 1 limit $9"#,
            of.uuids() as _,
            of.lane,
            of.kind,
            of.fingerprint,
            of.order.map(OrderId::uuid),
            of.since,
            of.until,
            of.state.name(),
            limit
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Group {
                provider_code: super::provider_code(&row.fingerprint, &row.kind, &row.code),
                fingerprint: row.fingerprint,
                kind: row.kind,
                lane: row.lane,
                code: row.code,
                letters: u64::try_from(row.letters).unwrap_or_default(),
                first: row.first,
                last: row.last,
            })
            .collect())
    }
}
