//! Events of providers that were taken in. That a row exists never means that the event was applied.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Stored, Tx};

/// What tells an event from every other one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName {
    /// Who sent it.
    pub provider: String,
    /// The connected account that it is about; empty for our own.
    pub account: String,
    /// The provider's id of it.
    pub event_id: String,
}

/// An event, as the job that carries it knows it.
#[derive(Clone, Debug)]
pub struct Event {
    /// What tells it from every other event.
    pub name: EventName,
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

/// Takes events in, by name, and tells which are settled already (applied or ignored).
pub async fn take(tx: &mut Tx, events: &[Event]) -> Stored<HashMap<EventName, bool>> {
    let mut sorted: Vec<&Event> = events.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let providers: Vec<String> = sorted.iter().map(|event| event.name.provider.clone()).collect();
    let accounts: Vec<String> = sorted.iter().map(|event| event.name.account.clone()).collect();
    let ids: Vec<String> = sorted.iter().map(|event| event.name.event_id.clone()).collect();
    let types: Vec<String> = sorted.iter().map(|event| event.event_type.clone()).collect();
    let objects: Vec<String> = sorted.iter().map(|event| event.object_id.clone()).collect();
    let payloads: Vec<Value> = sorted.iter().map(|event| event.payload.clone()).collect();
    sqlx::query!(
        r#"/* inbox::take */
        insert into inbox (provider, account, event_id, type, object_id, payload, state)
        select provider, account, event_id, type, object_id, payload, 'received'
          from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[])
               as n(provider, account, event_id, type, object_id, payload)
        on conflict do nothing"#,
        &providers,
        &accounts,
        &ids,
        &types,
        &objects,
        &payloads
    )
    .execute(tx.conn())
    .await?;
    let rows = sqlx::query!(
        r#"/* inbox::take */
        select i.provider, i.account, i.event_id, i.state in ('applied', 'ignored') as "settled!"
          from inbox i join unnest($1::text[], $2::text[], $3::text[]) as n(provider, account, event_id)
            on i.provider = n.provider and i.account = n.account and i.event_id = n.event_id
         order by i.provider, i.account, i.event_id for update of i"#,
        &providers,
        &accounts,
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    let named = rows.into_iter().map(|row| {
        let name = EventName { provider: row.provider, account: row.account, event_id: row.event_id };
        (name, row.settled)
    });
    Ok(named.collect())
}

/// Which of these events were taken in, whatever became of them.
pub async fn known(tx: &mut Tx, names: &[EventName]) -> Stored<HashSet<EventName>> {
    let providers: Vec<String> = names.iter().map(|name| name.provider.clone()).collect();
    let accounts: Vec<String> = names.iter().map(|name| name.account.clone()).collect();
    let ids: Vec<String> = names.iter().map(|name| name.event_id.clone()).collect();
    let rows = sqlx::query_as!(
        EventName,
        r#"/* inbox::known */
        select i.provider, i.account, i.event_id
          from inbox i join unnest($1::text[], $2::text[], $3::text[]) as n(provider, account, event_id)
            on i.provider = n.provider and i.account = n.account and i.event_id = n.event_id"#,
        &providers,
        &accounts,
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().collect())
}

/// How much an event says that somebody recorded, in minor units; none where there is no such event.
pub async fn recorded(tx: &mut Tx, event: &EventName) -> Stored<Option<i64>> {
    let minor = sqlx::query_scalar!(
        r#"/* inbox::recorded */
        select (payload -> 'recorded' ->> 'amount_minor')::bigint as "minor!" from inbox
         where provider = $1 and account = $2 and event_id = $3 and payload ? 'recorded'"#,
        event.provider,
        event.account,
        event.event_id
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(minor)
}

/// Writes what became of an event. A settled one stays settled.
pub async fn resolve(tx: &mut Tx, event: &EventName, fate: Fate, note: &str) -> Stored<()> {
    sqlx::query!(
        r#"/* inbox::resolve */
        update inbox set state = $4, note = $5,
               resolved_at = case when $4 in ('applied', 'ignored') then clock_timestamp() end
         where provider = $1 and account = $2 and event_id = $3 and state not in ('applied', 'ignored')"#,
        event.provider,
        event.account,
        event.event_id,
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
