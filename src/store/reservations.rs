//! Holds on stock, and what becomes of them. A hold, its movement and the stock row change in one statement.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::{Stored, Tx, exactly, millis, stock};
use crate::config::OrderSettings;
use crate::domain::stock::Left;
use crate::ids::{OrderId, ReservationId};

mod again;
mod deadline;

pub use again::{Again, Shortage, again};
pub use deadline::{Held, active, extend, mark_closing, settling};

/// A hold that is to be made.
#[derive(Clone, Debug)]
pub struct NewHold {
    /// Whose.
    pub order: OrderId,
    /// Of what.
    pub sku: String,
    /// How many pieces.
    pub quantity: i64,
    /// The first hold of an order is 1; each later one is a new epoch.
    pub epoch: i32,
}

/// How long holds last.
#[derive(Clone, Copy, Debug)]
pub struct HoldFor {
    /// From now, at first.
    pub first: Duration,
    /// From now, with all extensions.
    pub longest: Duration,
    /// How often it may be extended.
    pub max_extensions: i32,
}

impl From<&OrderSettings> for HoldFor {
    fn from(orders: &OrderSettings) -> Self {
        Self {
            first: Duration::from_secs(orders.reservation_seconds),
            longest: Duration::from_secs(orders.max_hold_seconds),
            max_extensions: orders.max_extensions,
        }
    }
}

/// Makes holds on stock rows that this transaction has locked and counted.
pub async fn hold(tx: &mut Tx, holds: &[NewHold], time: HoldFor) -> Stored<()> {
    let ids: Vec<Uuid> = holds.iter().map(|_| ReservationId::new().uuid()).collect();
    let orders: Vec<Uuid> = holds.iter().map(|hold| hold.order.uuid()).collect();
    let skus: Vec<String> = holds.iter().map(|hold| hold.sku.clone()).collect();
    let quantities: Vec<i64> = holds.iter().map(|hold| hold.quantity).collect();
    let epochs: Vec<i32> = holds.iter().map(|hold| hold.epoch).collect();
    let done = sqlx::query_scalar!(
        r#"/* reservations::hold */
        with n as (select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::int[]) as n(id, order_id, sku, quantity, epoch)),
        held as (
          insert into reservations (id, order_id, sku, quantity, epoch, state, expires_at, max_until, max_extensions)
          select id, order_id, sku, quantity, epoch, 'active', clock_timestamp() + $6::bigint * interval '1 ms',
                 clock_timestamp() + $7::bigint * interval '1 ms', $8 from n returning id, sku, quantity),
        moved as (
          insert into stock_movements (sku, location, kind, reservation_id, delta_on_hand, delta_reserved)
          select sku, 'main', 'reserve', id, 0, quantity from held returning 1),
        changed as (
          update stock s set reserved = reserved + c.pieces, version = version + 1
            from (select sku, sum(quantity)::bigint as pieces from n group by sku) c
           where s.sku = c.sku and s.location = 'main' returning 1)
        select (select count(*) from held) + (select count(*) from moved) as "count!" from (select count(*) from changed) x"#,
        &ids,
        &orders,
        &skus,
        &quantities,
        &epochs,
        millis(time.first),
        millis(time.longest),
        time.max_extensions
    )
    .fetch_one(tx.conn())
    .await?;
    exactly("reservations::hold", holds.len() * 2, u64::try_from(done).unwrap_or(0))
}

/// Locks the active holds of these orders by id, and then all their stock rows in SKU order, those that late money may
/// hold again among them: what a slice that may end or renew holds does once, before it does any. Done one order after
/// the other, two slices met in other orders and deadlocked.
pub async fn lock(tx: &mut Tx, orders: &[OrderId]) -> Stored<()> {
    let orders: Vec<Uuid> = orders.iter().map(|order| order.uuid()).collect();
    let skus = sqlx::query_scalar!(
        r#"/* reservations::lock */
        select sku from reservations where order_id = any($1) and state = 'active' order by id for update"#,
        &orders
    )
    .fetch_all(tx.conn())
    .await?;
    let again = again::wanted_again(tx, &orders).await?;
    stock::lock(tx, &skus.into_iter().chain(again).collect()).await?;
    Ok(())
}

/// How an active hold ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Paid: the pieces are sold.
    Committed,
    /// Given back.
    Released,
    /// Its time is over.
    Expired,
}

impl End {
    const fn state(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }

    const fn movement(self) -> &'static str {
        match self {
            Self::Committed => "commit",
            Self::Released => "release",
            Self::Expired => "expire",
        }
    }
}

/// Ends every active hold of these orders, and returns how many there were. Orders without one are left as they are:
/// the first commit wins.
pub async fn end(tx: &mut Tx, orders: &[OrderId], how: End) -> Stored<u64> {
    ending(tx, orders).await?.end(tx, how).await
}

/// Locks the active holds of these orders by id, to end them later in this transaction.
pub async fn ending(tx: &mut Tx, orders: &[OrderId]) -> Stored<Ending> {
    let orders: Vec<Uuid> = orders.iter().map(|order| order.uuid()).collect();
    let held = sqlx::query!(
        r#"/* reservations::ending */
        select id, order_id, sku from reservations where order_id = any($1) and state = 'active' order by id for update"#,
        &orders
    )
    .fetch_all(tx.conn())
    .await?;
    let mut ending = Ending::default();
    for row in held {
        ending.holds.push(row.id);
        ending.orders.insert(row.order_id.into());
        ending.skus.insert(row.sku);
    }
    Ok(ending)
}

/// Active holds that this transaction has locked.
#[derive(Debug, Default)]
pub struct Ending {
    holds: Vec<Uuid>,
    orders: BTreeSet<OrderId>,
    skus: BTreeSet<String>,
}

impl Ending {
    /// Whether this order has a hold among them.
    #[must_use]
    pub fn is_of(&self, order: OrderId) -> bool {
        self.orders.contains(&order)
    }

    /// Ends them, and returns how many they are. From here on the articles' rows are locked: as late as can be.
    pub async fn end(self, tx: &mut Tx, how: End) -> Stored<u64> {
        if self.holds.is_empty() {
            return Ok(0);
        }
        stock::lock(tx, &self.skus).await?;
        ended(tx, &self.holds, how).await
    }
}

/// Ends holds whose rows and whose articles' rows this transaction has locked.
async fn ended(tx: &mut Tx, ids: &[Uuid], how: End) -> Stored<u64> {
    let sold = how == End::Committed;
    let changed = sqlx::query!(
        r#"/* reservations::end */
        with ended as (
          update reservations set state = $2, resolved_at = clock_timestamp(), closing_at = null where id = any($1)
          returning id, sku, location, quantity),
        moved as (
          insert into stock_movements (sku, location, kind, reservation_id, delta_on_hand, delta_reserved)
          select sku, location, $3, id, case when $4 then -quantity else 0 end, -quantity from ended returning 1),
        changed as (
          update stock s set reserved = reserved - c.pieces,
                             on_hand = on_hand - case when $4 then least(on_hand, c.pieces) else 0 end,
                             backordered = backordered + case when $4 then greatest(c.pieces - on_hand, 0) else 0 end,
                             version = version + 1
            from (select sku, location, sum(quantity)::bigint as pieces from ended group by sku, location) c
           where s.sku = c.sku and s.location = c.location
          returning s.sku, s.version, s.on_hand + s.backorder_limit - s.backordered - s.reserved as available,
                    c.pieces)
        select sku, version, available as "available!", pieces as "pieces!", (select count(*) from moved) as "moved!" from changed"#,
        ids,
        how.state(),
        how.movement(),
        sold
    )
    .fetch_all(tx.conn())
    .await?;
    let ended = changed.first().map_or(0, |row| u64::try_from(row.moved).unwrap_or(0));
    exactly("reservations::end", ids.len(), ended)?;
    for row in changed {
        // Sold pieces were gone before; others are there again.
        if !sold && row.available > 0 && row.available <= row.pieces {
            tx.ran_out(Left { sku: row.sku, version: row.version, available: row.available });
        }
    }
    Ok(ended)
}

/// Puts the sold pieces of an order back on the shelf, once: what came back before stays as it is; those that had not come yet
/// are owed no more. `source` says by what.
/// Returns how many holds there were.
pub async fn restock(tx: &mut Tx, order: OrderId, source: &str) -> Stored<u64> {
    let sold = sqlx::query!(
        r#"/* reservations::restock */
        select id, sku from reservations where order_id = $1 and state = 'committed' order by id for update"#,
        order.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    if sold.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = sold.iter().map(|row| row.id).collect();
    stock::lock(tx, &sold.into_iter().map(|row| row.sku).collect()).await?;
    let back = sqlx::query_scalar!(
        r#"/* reservations::restock */
        with back as (
          update reservations set state = 'restocked' where id = any($1) returning id, sku, location, quantity),
        moved as (
          insert into stock_movements (sku, location, kind, reservation_id, source, delta_on_hand, delta_reserved)
          select sku, location, 'restock', id, $2, quantity, 0 from back returning 1),
        changed as (
          update stock s set on_hand = on_hand + c.pieces - least(backordered, c.pieces),
                             backordered = backordered - least(backordered, c.pieces), version = version + 1
            from (select sku, location, sum(quantity)::bigint as pieces from back group by sku, location) c
           where s.sku = c.sku and s.location = c.location returning 1)
        select (select count(*) from moved) as "count!" from (select count(*) from changed) x"#,
        &ids,
        source
    )
    .fetch_one(tx.conn())
    .await?;
    let back = u64::try_from(back).unwrap_or(0);
    exactly("reservations::restock", ids.len(), back)?;
    Ok(back)
}
