//! Which night was audited, by whom, and what came of it. Workers have no leader: the night's row decides.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;

use super::{Store, Stored, millis};

/// Hours of a night: one that nobody audited meanwhile is left out, because an audit at noon would take from the day's work.
const HOURS: i32 = 3;
/// After this a worker that has not ended its audit is believed dead: many times as long as one takes.
const GIVEN_UP: Duration = Duration::from_mins(15);

/// The last audit that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct LastAudit {
    /// When.
    pub ended_at: DateTime<Utc>,
    /// How long it took.
    pub took: Duration,
    /// How many break each invariant that was judged; 0 where it holds.
    pub violations: BTreeMap<String, u64>,
}

impl Store {
    /// Takes this night's audit, where its time has come (`hour` of the day, by UTC and the database's clock) and nobody
    /// has it. Answers which night.
    pub async fn take_night(&self, hour: u8, worker: &str) -> Stored<Option<NaiveDate>> {
        Ok(sqlx::query_scalar!(
            r#"/* audits::take_night */
            insert into audits (night, worker)
            select (now() at time zone 'utc')::date, $2
             where extract(hour from now() at time zone 'utc')::integer between $1 and $1 + $3 - 1
            on conflict (night) do update set worker = excluded.worker, began_at = now()
             where audits.ended_at is null and audits.began_at < now() - $4::bigint * interval '1 ms'
            returning night"#,
            i32::from(hour),
            worker,
            HOURS,
            millis(GIVEN_UP)
        )
        .fetch_optional(self.pool())
        .await?)
    }

    /// A night's audit has ended. Nothing is written where another worker has taken it over.
    pub async fn end_night(
        &self,
        night: NaiveDate,
        worker: &str,
        took: Duration,
        violations: &BTreeMap<String, u64>,
    ) -> Stored<()> {
        sqlx::query!(
            r#"/* audits::end_night */
            update audits set ended_at = clock_timestamp(), millis = $3, violations = $4
             where night = $1 and worker = $2 and ended_at is null"#,
            night,
            worker,
            millis(took),
            serde_json::json!(violations)
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// The last audit that ended; none before the first.
    pub async fn last_audit(&self) -> Stored<Option<LastAudit>> {
        let row = sqlx::query!(
            r#"/* audits::last_audit */
            select ended_at as "ended_at!", millis as "millis!", violations as "violations!"
              from audits where ended_at is not null order by night desc limit 1"#
        )
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|row| LastAudit {
            ended_at: row.ended_at,
            took: Duration::from_millis(u64::try_from(row.millis).unwrap_or(0)),
            violations: counts(row.violations),
        }))
    }
}

fn counts(violations: Value) -> BTreeMap<String, u64> {
    let Value::Object(violations) = violations else { return BTreeMap::new() };
    violations.into_iter().map(|(invariant, count)| (invariant, count.as_u64().unwrap_or(0))).collect()
}
