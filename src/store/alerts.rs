//! What the people on call are to know, and what they were told.
//!
//! A rule's row is locked by whoever looks, so that of all workers one tells, and what was told is committed with the mails
//! that tell it. Letters of the last seconds are left to the next look: their transactions may still be open, and what
//! commits behind a look would be told by none.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Store, Stored, Tx};
use crate::domain::mail_news::recipient_hash;
use crate::domain::notice::{Notice, Once};
use crate::ids::CommunicationId;

/// Figures by what they are of.
pub type Figures = BTreeMap<String, i64>;

/// A look that is due.
#[derive(Clone, Debug)]
pub struct Look {
    /// What happened after this was not told.
    pub since: DateTime<Utc>,
    /// What happened after this is left to the next look.
    pub until: DateTime<Utc>,
    /// What the last mail named.
    pub told: Figures,
}

impl Store {
    /// Adds to the counts of webhooks that were not believed, by sender and reason.
    pub async fn count_refused(&self, refused: &BTreeMap<(String, &'static str), i64>) -> Stored<()> {
        let providers: Vec<String> = refused.keys().map(|(provider, _)| provider.clone()).collect();
        let reasons: Vec<String> = refused.keys().map(|(_, reason)| (*reason).to_owned()).collect();
        let counts: Vec<i64> = refused.values().copied().collect();
        let mut conn = self.pool().acquire().await?;
        sqlx::query!(
            r#"/* alerts::count_refused */
            insert into refused_webhooks (provider, reason, refused)
            select provider, reason, refused from unnest($1::text[], $2::text[], $3::bigint[]) as n(provider, reason, refused)
             order by provider, reason
            on conflict (provider, reason)
            do update set refused = refused_webhooks.refused + excluded.refused, last_at = excluded.last_at"#,
            &providers,
            &reasons,
            &counts
        )
        .execute(&mut *conn)
        .await?;
        Ok(())
    }
}

/// Locks a rule that told nothing for `minutes`. None where it did, or somebody else looks.
pub async fn take(tx: &mut Tx, rule: &str, minutes: i32) -> Stored<Option<Look>> {
    sqlx::query!(
        r#"/* alerts::take */
        insert into ops_alerts (rule, since) values ($1, clock_timestamp() - interval '10 s') on conflict do nothing"#,
        rule
    )
    .execute(tx.conn())
    .await?;
    let row = sqlx::query!(
        r#"/* alerts::take */
        select since, told, clock_timestamp() - interval '10 s' as "until!" from ops_alerts
         where rule = $1 and (told_at is null or told_at < clock_timestamp() - make_interval(mins => $2))
           for update skip locked"#,
        rule,
        minutes
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| Look {
        since: row.since,
        until: row.until,
        told: serde_json::from_value(row.told).unwrap_or_default(),
    }))
}

/// Decides that everybody on call is told. Answers the mails that are new.
pub async fn tell(
    tx: &mut Tx,
    (rule, look): (&str, &Look),
    (facts, named): (&Value, &Figures),
    to: &[String],
) -> Stored<Vec<CommunicationId>> {
    let ids: Vec<Uuid> = to.iter().map(|_| CommunicationId::new().uuid()).collect();
    let hashes: Vec<Vec<u8>> = to.iter().map(|address| recipient_hash(address).to_vec()).collect();
    let new = sqlx::query_scalar!(
        r#"/* alerts::tell */
        insert into communications (id, kind, dedupe_key, recipient, recipient_hash, facts, state)
        select id, $1, $2, recipient, hash, $3, 'queued'
          from unnest($4::uuid[], $5::text[], $6::bytea[]) as n(id, recipient, hash)
        on conflict (kind, dedupe_key, recipient_hash) do nothing returning id"#,
        Notice::OpsAlert.name(),
        Once::Alert(rule, look.since).key(),
        facts,
        &ids,
        to,
        &hashes
    )
    .fetch_all(tx.conn())
    .await?;
    sqlx::query!(
        r#"/* alerts::tell */
        update ops_alerts set since = $2, told_at = clock_timestamp(), told = $3 where rule = $1"#,
        rule,
        look.until,
        json!(named)
    )
    .execute(tx.conn())
    .await?;
    Ok(new.into_iter().map(CommunicationId::from).collect())
}

/// Forgets what a rule named and is no more.
pub async fn forget(tx: &mut Tx, rule: &str, left: &Figures) -> Stored<()> {
    sqlx::query!("/* alerts::forget */ update ops_alerts set told = $2 where rule = $1", rule, json!(left))
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Open dead letters of the time of a look: how many died of what, the most first.
pub async fn dead_letters(tx: &mut Tx, look: &Look) -> Stored<Vec<(String, i64)>> {
    let rows = sqlx::query!(
        r#"/* alerts::dead_letters */
        select fingerprint, count(*) as "count!" from dead_letters
         where replayed_at is null and dropped_at is null and died_at > $1 and died_at <= $2
         group by fingerprint order by 2 desc, 1"#,
        look.since,
        look.until
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (row.fingerprint, row.count)).collect())
}

/// Articles for sale of which so few are left, with how many; at most so many articles.
pub async fn low_stock(tx: &mut Tx, left: i64, most: i64) -> Stored<Figures> {
    let rows = sqlx::query!(
        r#"/* alerts::low_stock */
        select s.sku, s.on_hand + s.backorder_limit - s.backordered - s.reserved as "available!"
          from stock s join skus a using (sku)
         where a.is_sold and s.location = 'main' and s.on_hand + s.backorder_limit - s.backordered - s.reserved <= $1
         order by 2, 1 limit $2"#,
        left,
        most
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (row.sku, row.available)).collect())
}

/// Webhooks that were ever not believed, by sender and reason.
pub async fn refused_webhooks(tx: &mut Tx) -> Stored<Figures> {
    let rows = sqlx::query!(
        r#"/* alerts::refused_webhooks */
        select provider || ' (' || reason || ')' as "what!", refused from refused_webhooks"#
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (row.what, row.refused)).collect())
}
