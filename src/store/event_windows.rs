//! Up to when a provider's own list of events was compared with those that came.

use std::time::Duration;

use super::{Stored, Tx, millis};

/// A span of time whose events are being compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// From this second on, in unix seconds.
    pub from: i64,
    /// Until before this second.
    pub to: i64,
    /// The last event of the page that was read; none before the first.
    pub after: Option<String>,
}

/// Whether a provider's events are to be compared: a window is open, or the next one would be as long as `lag` that it
/// keeps from now. The first to ask begins: what happened before is of nobody's orders.
pub async fn is_due(tx: &mut Tx, provider: &str, lag: Duration) -> Stored<bool> {
    sqlx::query!(
        r#"/* event_windows::is_due */
        insert into event_windows (provider, compared_to) values ($1, clock_timestamp()) on conflict do nothing"#,
        provider
    )
    .execute(tx.conn())
    .await?;
    Ok(sqlx::query_scalar!(
        r#"/* event_windows::is_due */
        select compares_to is not null or compared_to < clock_timestamp() - 2 * $2::bigint * interval '1 ms' as "is_due!"
          from event_windows where provider = $1"#,
        provider,
        millis(lag)
    )
    .fetch_one(tx.conn())
    .await?)
}

/// The window that is open, or the next one where that is due; none where it is not.
pub async fn open(tx: &mut Tx, provider: &str, lag: Duration) -> Stored<Option<Window>> {
    let row = sqlx::query!(
        r#"/* event_windows::open */
        update event_windows
           set compares_to = coalesce(compares_to, clock_timestamp() - $2::bigint * interval '1 ms')
         where provider = $1
           and (compares_to is not null or compared_to < clock_timestamp() - 2 * $2::bigint * interval '1 ms')
        returning floor(extract(epoch from compared_to))::bigint as "from!",
                  floor(extract(epoch from compares_to))::bigint as "to!", after_event"#,
        provider,
        millis(lag)
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Window { from: row.from, to: row.to, after: row.after_event }))
}

/// A page of the open window was compared, which ended with this event.
pub async fn turn(tx: &mut Tx, provider: &str, after: &str) -> Stored<()> {
    sqlx::query!(
        r#"/* event_windows::turn */
        update event_windows set after_event = $2 where provider = $1 and compares_to is not null"#,
        provider,
        after
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The whole window that ended there was compared.
pub async fn close(tx: &mut Tx, provider: &str, window: &Window) -> Stored<()> {
    sqlx::query!(
        r#"/* event_windows::close */
        update event_windows set compared_to = compares_to, compares_to = null, after_event = null
         where provider = $1 and floor(extract(epoch from compares_to))::bigint = $2"#,
        provider,
        window.to
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
