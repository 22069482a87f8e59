//! Holds made once more: for an order whose hold is over, and that was paid late or wants to be paid again.

use uuid::Uuid;

use super::{HoldFor, NewHold, hold};
use crate::ids::OrderId;
use crate::store::{Stored, Tx, stock};

/// What became of the wish to hold an order's pieces once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// All lines are held, under this epoch.
    Held(i32),
    /// Nothing is held: of these there is not enough, or nothing was held before.
    Short(Vec<Shortage>),
}

/// An article of which there is not enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Of what.
    pub sku: String,
    /// Pieces that the order needs.
    pub requested: i64,
    /// Pieces that can still be held.
    pub available: i64,
}

/// Holds all lines of an order once more, under the next epoch, or none of them. The order is locked and has no active
/// hold. A slice locks the stock of all its orders first ([`super::lock`]); here those locks are ours already.
pub async fn again(tx: &mut Tx, order: OrderId, time: HoldFor) -> Stored<Again> {
    let lines = last_held(tx, order).await?;
    let levels = stock::lock(tx, &lines.iter().map(|line| line.sku.clone()).collect()).await?;
    let available = |sku: &str| levels.get(sku).map_or(0, stock::Level::available).max(0);
    let short: Vec<Shortage> = lines
        .iter()
        .filter(|line| available(&line.sku) < line.quantity)
        .map(|line| Shortage {
            sku: line.sku.clone(),
            requested: line.quantity,
            available: available(&line.sku),
        })
        .collect();
    let Some(epoch) = lines.first().map(|line| line.epoch).filter(|_| short.is_empty()) else {
        return Ok(Again::Short(short));
    };
    hold(tx, &lines, time).await?;
    Ok(Again::Held(epoch))
}

/// What the last hold of an order held, as the next one will.
async fn last_held(tx: &mut Tx, order: OrderId) -> Stored<Vec<NewHold>> {
    let rows = sqlx::query!(
        r#"/* reservations::last_held */
        select sku, quantity, epoch + 1 as "next!" from reservations
         where order_id = $1 and state in ('released', 'expired')
           and epoch = (select max(epoch) from reservations where order_id = $1)
         order by sku"#,
        order.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    let line = |sku, quantity, epoch| NewHold { order, sku, quantity, epoch };
    Ok(rows.into_iter().map(|row| line(row.sku, row.quantity, row.next)).collect())
}

/// The articles of these orders' holds that are over while their money is still awaited: late money holds them again.
pub(super) async fn wanted_again(tx: &mut Tx, orders: &[Uuid]) -> Stored<Vec<String>> {
    Ok(sqlx::query_scalar!(
        r#"/* reservations::wanted_again */
        select distinct r.sku from reservations r join orders o on o.id = r.order_id
         where r.order_id = any($1) and r.state in ('released', 'expired')
           and coalesce(o.resume_to, o.status) = 'pending_payment'"#,
        orders
    )
    .fetch_all(tx.conn())
    .await?)
}
