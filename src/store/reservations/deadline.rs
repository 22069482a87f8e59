//! When a hold is over, and what may put that off: judged by the database's clock, never by a worker's.

use std::time::Duration;

use uuid::Uuid;

use crate::ids::OrderId;
use crate::store::{Stored, Tx, millis};

/// An order's hold, as expiry and payment-open judge it.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Whose.
    pub order: OrderId,
    /// Which hold of the order.
    pub epoch: i32,
    /// How long until it is over by the database's clock; negative once it is.
    pub left_ms: i64,
    /// How long until no extension helps.
    pub longest_left_ms: i64,
    /// How often it can still be extended.
    pub extensions_left: i32,
    /// Whether it waits for a bank that takes days.
    pub is_settling: bool,
    /// For how long the provider has been asked at its deadline; none where it is not asked.
    pub closing_ms: Option<i64>,
}

impl Held {
    /// Whether the provider is being asked at its deadline.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing_ms.is_some()
    }
}

/// The active holds of these orders, one for each order (all lines of an order share their times), locked.
pub async fn active(tx: &mut Tx, orders: &[OrderId]) -> Stored<Vec<Held>> {
    let orders: Vec<Uuid> = orders.iter().map(|order| order.uuid()).collect();
    let rows = sqlx::query!(
        r#"/* reservations::active */
        with locked as (
          select order_id, epoch, expires_at, max_until, max_extensions, extensions, closing_at, settling_until from reservations
           where order_id = any($1) and state = 'active' order by id for update)
        select order_id, max(epoch) as "epoch!",
               floor(extract(epoch from max(expires_at) - clock_timestamp()) * 1000)::bigint as "left_ms!",
               floor(extract(epoch from max(max_until) - clock_timestamp()) * 1000)::bigint as "longest_left_ms!",
               min(max_extensions - extensions) as "extensions_left!", bool_or(settling_until is not null) as "is_settling!",
               floor(extract(epoch from clock_timestamp() - min(closing_at)) * 1000)::bigint as closing_ms
          from locked group by order_id"#,
        &orders
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Held {
            order: row.order_id.into(),
            epoch: row.epoch,
            left_ms: row.left_ms,
            longest_left_ms: row.longest_left_ms,
            extensions_left: row.extensions_left,
            is_settling: row.is_settling,
            closing_ms: row.closing_ms,
        })
        .collect())
}

/// Marks the active holds of an order as closing: the provider is asked from now on, or is asked already.
pub async fn mark_closing(tx: &mut Tx, order: OrderId) -> Stored<()> {
    sqlx::query!(
        r#"/* reservations::mark_closing */
        update reservations set closing_at = clock_timestamp()
         where order_id = $1 and state = 'active' and closing_at is null"#,
        order.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Lets the active holds of an order last this long from now, never past their longest. `spends` counts it as an
/// extension (a customer in 3-D Secure); a payment that was just opened starts the time again without one. Returns how
/// long they last then; nothing where there are none.
pub async fn extend(tx: &mut Tx, order: OrderId, by: Duration, spends: bool) -> Stored<Duration> {
    let left = sqlx::query_scalar!(
        r#"/* reservations::extend */
        with extended as (
          update reservations
             set expires_at = least(max_until, greatest(expires_at, clock_timestamp() + $2::bigint * interval '1 ms')),
                 extensions = extensions + case when $3 then 1 else 0 end, closing_at = null
           where order_id = $1 and state = 'active' returning expires_at)
        select ceil(extract(epoch from max(expires_at) - clock_timestamp()) * 1000)::bigint from extended"#,
        order.uuid(),
        millis(by),
        spends
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(Duration::from_millis(left.and_then(|left| u64::try_from(left).ok()).unwrap_or_default()))
}

/// The money of an order is at a bank that takes days: its active holds may last this long from now, whatever their longest
/// was. Only the first time counts, so that a bank that never answers does not keep the pieces for ever.
pub async fn settling(tx: &mut Tx, order: OrderId, time: Duration) -> Stored<()> {
    sqlx::query!(
        r#"/* reservations::settling */
        update reservations
           set settling_until = clock_timestamp() + $2::bigint * interval '1 ms',
               max_until = greatest(max_until, clock_timestamp() + $2::bigint * interval '1 ms')
         where order_id = $1 and state = 'active' and settling_until is null"#,
        order.uuid(),
        millis(time)
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
