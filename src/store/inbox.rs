//! Events of providers that were taken in. That a row exists never means that the event was applied.

use std::collections::HashMap;

use serde_json::Value;

use super::{Stored, Tx};

/// An event, as the job that carries it knows it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Who sent it.
    pub provider: String,
    /// The provider's id of it.
    pub event_id: String,
    /// The provider's name of what happened.
    pub event_type: String,
    /// What it happened to.
    pub object_id: String,
    /// The event, without personal data.
    pub payload: Value,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It changed what we know, or told us what we knew.
    Applied,
    /// It is of no concern.
    Ignored,
    /// It came before what it is about: taken up again.
    Parked,
    /// It was given up.
    Failed,
}

impl Fate {
    const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Ignored => "ignored",
            Self::Parked => "parked",
            Self::Failed => "failed",
        }
    }
}

/// Takes events in, by provider and id, and tells which are settled already (applied or ignored).
pub async fn take(tx: &mut Tx, events: &[Event]) -> Stored<HashMap<(String, String), bool>> {
    let mut sorted: Vec<&Event> = events.iter().collect();
    sorted.sort_by(|a, b| (&a.provider, &a.event_id).cmp(&(&b.provider, &b.event_id)));
    let providers: Vec<String> = sorted.iter().map(|event| event.provider.clone()).collect();
    let ids: Vec<String> = sorted.iter().map(|event| event.event_id.clone()).collect();
    let types: Vec<String> = sorted.iter().map(|event| event.event_type.clone()).collect();
    let objects: Vec<String> = sorted.iter().map(|event| event.object_id.clone()).collect();
    let payloads: Vec<Value> = sorted.iter().map(|event| event.payload.clone()).collect();
    sqlx::query!(
        r#"/* inbox::take */
        insert into inbox (provider, event_id, type, object_id, payload, state)
        select provider, event_id, type, object_id, payload, 'received'
          from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[]) as n(provider, event_id, type, object_id, payload)
        on conflict do nothing"#,
        &providers, &ids, &types, &objects, &payloads
    )
    .execute(tx.conn())
    .await?;
    let rows = sqlx::query!(
        r#"/* inbox::take */
        select i.provider, i.event_id, i.state in ('applied', 'ignored') as "settled!"
          from inbox i join unnest($1::text[], $2::text[]) as n(provider, event_id) on i.provider = n.provider and i.event_id = n.event_id
         where i.account = '' order by i.provider, i.event_id for update of i"#,
        &providers,
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| ((row.provider, row.event_id), row.settled)).collect())
}

/// Writes what became of an event. A settled one stays settled.
pub async fn resolve(tx: &mut Tx, event: (&str, &str), fate: Fate, note: &str) -> Stored<()> {
    sqlx::query!(
        r#"/* inbox::resolve */
        update inbox set state = $3, note = $4,
               resolved_at = case when $3 in ('applied', 'ignored') then clock_timestamp() end
         where provider = $1 and account = '' and event_id = $2 and state not in ('applied', 'ignored')"#,
        event.0,
        event.1,
        fate.name(),
        note
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Remembers that a fact was applied. False where another event told the same before.
pub async fn apply_signal(
    tx: &mut Tx,
    provider: &str,
    object: (&str, &str),
    amount_minor: i64,
    event_id: &str,
) -> Stored<bool> {
    let done = sqlx::query!(
        r#"/* inbox::apply_signal */
        insert into applied_signals (provider, object_id, signal, amount_minor, event_id) values ($1, $2, $3, $4, $5)
        on conflict do nothing"#,
        provider,
        object.0,
        object.1,
        amount_minor,
        event_id
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}
