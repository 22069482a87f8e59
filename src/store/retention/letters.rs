//! Empties dead letters that nobody will replay any more.
//!
//! A wish is a person in all its fields. An event is one in what the provider's object says; what tells it from other events
//! stays, because the audit compares that. The other kinds carry ids. Whatever the kind, a failure may quote what a provider
//! said, with the address that it said it of.

use std::time::Duration;

use uuid::Uuid;

use super::{PIECE, Swept, is_full};
use crate::store::{Stored, Tx, millis};

/// One piece of those that had their end long enough ago. An open letter is never emptied: it may be replayed.
pub(super) async fn sweep(tx: &mut Tx, keep: Duration) -> Stored<Swept> {
    let letters = sqlx::query_scalar!(
        r#"/* retention::letters */
        select id from dead_letters
         where emptied_at is null and coalesce(replayed_at, dropped_at) < now() - $1::bigint * interval '1 ms'
         order by coalesce(replayed_at, dropped_at) limit $2 for no key update skip locked"#,
        millis(keep),
        PIECE
    )
    .fetch_all(tx.conn())
    .await?;
    let rows = empty_letters(tx, &letters).await?;
    Ok(Swept { rows, is_more: is_full(rows) })
}

/// Empties letters that had their end, with what their attempts said and what they were before they were edited.
pub(in crate::store) async fn empty_letters(tx: &mut Tx, letters: &[Uuid]) -> Stored<u64> {
    sqlx::query!(
        "/* retention::empty_letters */ update dead_letter_edits set before = '{}' where letter_id = any($1) and before <> '{}'",
        letters
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        r#"/* retention::empty_letters */
        update attempts a set detail = '' from dead_letters d where d.id = any($1) and a.job_id = d.job_id and a.detail <> ''"#,
        letters
    )
    .execute(tx.conn())
    .await?;
    let done = sqlx::query!(
        r#"/* retention::empty_letters */
        update dead_letters
           set emptied_at = now(), detail = '',
               -- A text is what no version could read: it may be anything.
               payload = case when kind = 'order-intent' or jsonb_typeof(payload) = 'string' then '{}'
                              when payload ? 'event' then jsonb_set(payload, '{event}', '{}') else payload end
         where id = any($1)"#,
        letters
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}
