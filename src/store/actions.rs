//! The record of what operators did: one row for each commit, in that commit, and never changed.
//!
//! It says who did what to which ids, how many and why. It must hold no personal data of a customer: it outlives them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{Store, Stored, Tx, millis};

/// Something that an operator did.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// Its place in the record.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who: `operator` and a name of a terminal, or a role and the id of its key.
    pub actor: String,
    /// What, such as `dead.replay`.
    pub action: String,
    /// Ids, filters, counts and reasons.
    pub detail: Value,
}

/// Which of them: those for which everything that is said holds.
#[derive(Clone, Debug, Default)]
pub struct Sought {
    /// By this one.
    pub actor: Option<String>,
    /// This; also all of a subject, such as `dead`.
    pub action: Option<String>,
    /// Then or later.
    pub since: Option<DateTime<Utc>>,
    /// Before.
    pub until: Option<DateTime<Utc>>,
}

/// Remembers what an operator does.
pub async fn note(tx: &mut Tx, actor: &str, action: &str, detail: &Value) -> Stored<()> {
    sqlx::query!(
        "/* actions::note */ insert into operator_actions (actor, action, detail) values ($1, $2, $3)",
        actor,
        action,
        detail
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

impl Store {
    /// Remembers what an operator saw, took along, or did elsewhere than here.
    pub async fn note(&self, actor: &str, action: &str, detail: &Value) -> Stored<()> {
        let mut tx = self.begin().await?;
        note(&mut tx, actor, action, detail).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A page of the record, the newest first, from before `after`.
    pub async fn actions(&self, of: &Sought, after: Option<i64>, limit: i64) -> Stored<Vec<Done>> {
        Ok(sqlx::query_as!(
            Done,
            r#"/* actions::page */
            select id, at, actor, action, detail from operator_actions
             where ($1::bigint is null or id < $1) and ($2::text is null or actor = $2)
               and ($3::text is null or action = $3 or starts_with(action, $3 || '.'))
               and ($4::timestamptz is null or at >= $4) and ($5::timestamptz is null or at < $5)
             order by id desc limit $6"#,
            after,
            of.actor,
            of.action,
            of.since,
            of.until,
            limit
        )
        .fetch_all(self.pool())
        .await?)
    }
}

/// Shortens the record from its old end by one piece. Answers how many went.
pub(super) async fn forget(tx: &mut Tx, keep: std::time::Duration, piece: i64) -> Stored<u64> {
    let done = sqlx::query!(
        r#"/* actions::forget */
        delete from operator_actions where id in (
          select id from operator_actions where at < now() - $1::bigint * interval '1 ms' order by id limit $2
           for update skip locked)"#,
        millis(keep),
        piece
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}
