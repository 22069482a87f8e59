//! Stock rows and their ledger. Every change of a row is a movement in the same commit, so that the sums are the stock.

use std::collections::{BTreeMap, BTreeSet};

use super::{Store, StoreError, Stored, Tx};
use crate::domain::stock::Left;
use crate::ids::OrderId;
use crate::time::Stopwatch;

/// One SKU's stock, locked.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    /// Pieces in the house.
    pub on_hand: i64,
    /// Pieces held.
    pub reserved: i64,
    /// Pieces that may be sold beyond what is there.
    pub backorder_limit: i64,
    /// Pieces of those that are sold, and owed.
    pub backordered: i64,
    /// Raised by every change.
    pub version: i64,
}

impl Level {
    /// Pieces that can still be held.
    #[must_use]
    pub fn available(&self) -> i64 {
        let promised = self.on_hand.saturating_add(self.backorder_limit).saturating_sub(self.backordered);
        promised.saturating_sub(self.reserved)
    }
}

impl Store {
    /// Articles for sale of which nothing can be held any more.
    pub async fn sold_out_articles(&self) -> Stored<u64> {
        let mut conn = self.pool().acquire().await?;
        let count = sqlx::query_scalar!(
            r#"/* stock::sold_out_articles */
            select count(*) as "count!" from stock s join skus a using (sku)
             where a.is_sold and s.on_hand + s.backorder_limit - s.backordered <= s.reserved"#
        )
        .fetch_one(&mut *conn)
        .await?;
        Ok(u64::try_from(count).unwrap_or_default())
    }
}

/// Locks these SKUs' rows in SKU order: all that a slice needs, in one go, as late as possible. `FOR NO KEY UPDATE`,
/// because with `FOR UPDATE` and a foreign key 131 of 240 slices deadlocked.
pub async fn lock(tx: &mut Tx, skus: &BTreeSet<String>) -> Stored<BTreeMap<String, Level>> {
    let skus: Vec<String> = skus.iter().cloned().collect();
    let watch = Stopwatch::start();
    let rows = sqlx::query!(
        r#"/* stock::lock */
        select sku, on_hand, reserved, backorder_limit, backordered, version from stock
         where sku = any($1) and location = 'main'
         order by sku, location for no key update"#,
        &skus
    )
    .fetch_all(tx.conn())
    .await?;
    tx.waited(watch.elapsed());
    Ok(rows
        .into_iter()
        .map(|row| {
            let level = Level {
                on_hand: row.on_hand,
                reserved: row.reserved,
                backorder_limit: row.backorder_limit,
                backordered: row.backordered,
                version: row.version,
            };
            (row.sku, level)
        })
        .collect())
}

/// How an operator changes a SKU's stock.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// To this many pieces in the house.
    Set(i64),
    /// By this many pieces.
    Adjust(i64),
}

impl Change {
    /// What it makes of so many pieces in the house.
    const fn to(self, on_hand: i64) -> i64 {
        match self {
            Self::Set(pieces) => pieces,
            Self::Adjust(by) => on_hand.saturating_add(by),
        }
    }
}

/// Changes a SKU's stock under `source` (a request's key: the same twice is once) and returns where it stands then. What comes
/// goes to those first whom pieces are owed. None where the shop has no such SKU; the constraints refuse fewer than are held.
pub async fn change(tx: &mut Tx, sku: &str, change: Change, source: &str) -> Stored<Option<Level>> {
    sqlx::query!(
        r#"/* stock::change */
        insert into stock (sku, on_hand) select sku, 0 from skus where sku = $1 on conflict do nothing"#,
        sku
    )
    .execute(tx.conn())
    .await?;
    let Some(level) = lock(tx, &BTreeSet::from([sku.to_owned()])).await?.get(sku).copied() else {
        return Ok(None);
    };
    let delta = change.to(level.on_hand).saturating_sub(level.on_hand);
    let moved = sqlx::query!(
        r#"/* stock::change */
        insert into stock_movements (sku, location, kind, source, delta_on_hand, delta_reserved)
        values ($1, 'main', 'adjustment', $2, $3, 0) on conflict do nothing"#,
        sku,
        source,
        delta
    )
    .execute(tx.conn())
    .await?;
    let applied = if moved.rows_affected() == 1 { delta } else { 0 };
    let level = sqlx::query_as!(
        Level,
        r#"/* stock::change */
        update stock set on_hand = on_hand + $2 - least(backordered, greatest($2, 0)),
                         backordered = backordered - least(backordered, greatest($2, 0)), version = version + 1
         where sku = $1 and location = 'main'
        returning on_hand, reserved, backorder_limit, backordered, version"#,
        sku,
        applied
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Some(level))
}

/// Says how many pieces of a SKU may be sold before they come. None where the shop has no such SKU; the constraint refuses
/// fewer than are held or owed beyond what is in the house.
pub async fn limit_backorders(tx: &mut Tx, sku: &str, pieces: i64) -> Stored<Option<Level>> {
    let level = sqlx::query_as!(
        Level,
        r#"/* stock::limit_backorders */
        update stock set backorder_limit = $2, version = version + 1 where sku = $1 and location = 'main'
        returning on_hand, reserved, backorder_limit, backordered, version"#,
        sku,
        pieces
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(level)
}

/// The orders whose holds would have to end for a change to fit, the youngest first; not locked. None while it fits.
pub async fn in_the_way(tx: &mut Tx, sku: &str, change: Change) -> Stored<Vec<OrderId>> {
    let level = sqlx::query!(
        r#"/* stock::in_the_way */
        select on_hand, reserved, backorder_limit, backordered from stock where sku = $1 and location = 'main'"#,
        sku
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(level) = level else { return Ok(Vec::new()) };
    let promised = level.backorder_limit.saturating_sub(level.backordered);
    let sold_at_most = change.to(level.on_hand).max(0).saturating_add(promised);
    let rows = sqlx::query_scalar!(
        r#"/* stock::in_the_way */
        select order_id from (
          select order_id, created_at, id, sum(quantity) over (order by created_at desc, id desc) - quantity as freed_before
            from reservations where sku = $1 and location = 'main' and state = 'active') r
         where freed_before::bigint < $2 order by created_at desc, id desc"#,
        sku,
        level.reserved.saturating_sub(sold_at_most)
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(OrderId::from).collect())
}

impl Store {
    /// The same as [`change`], in a transaction of its own.
    pub async fn change_stock(&self, sku: &str, to: Change, source: &str) -> Stored<Option<Level>> {
        let mut tx = self.begin().await?;
        let changed = change(&mut tx, sku, to, source).await?;
        tx.commit().await?;
        Ok(changed)
    }
}

impl Store {
    /// What is left of these articles; those that are not sold here are absent.
    pub async fn left(&self, skus: &[String]) -> Stored<Vec<Left>> {
        let rows = sqlx::query!(
            r#"/* stock::left */
            select sku, version, on_hand + backorder_limit - backordered - reserved as "available!" from stock
             where sku = any($1) and location = 'main'"#,
            skus
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Left { sku: row.sku, version: row.version, available: row.available })
            .collect())
    }

    /// The articles of which there is most to sell, and how many pieces.
    pub async fn best_stocked(&self, count: i64) -> Stored<Vec<(String, i64)>> {
        let rows = sqlx::query!(
            r#"/* stock::best_stocked */
            select s.sku, s.on_hand - s.reserved as "available!" from stock s join skus k on k.sku = s.sku and k.is_sold
             where s.location = 'main' order by 2 desc, 1 limit $1"#,
            count
        )
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|row| (row.sku, row.available)).collect())
    }
}

/// Whether the database refused a change because fewer pieces would be left than are held.
#[must_use]
pub fn is_below_held(error: &StoreError) -> bool {
    matches!(error, StoreError::Data(inner)
        if inner.as_database_error().and_then(sqlx::error::DatabaseError::constraint).is_some_and(|name| name.starts_with("stock_")))
}
