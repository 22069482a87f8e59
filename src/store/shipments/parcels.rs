//! Which pieces lie in which parcel, of orders that leave in several. An order without rows is one parcel.

use crate::domain::shipment::Tracking;
use crate::ids::OrderId;
use crate::store::{Stored, Tx, exactly};

/// Pieces of one line in one parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParcelLine {
    /// Which parcel of the order; the first is 1.
    pub parcel_no: i32,
    /// Which line of the order.
    pub line_no: i32,
    /// How many pieces of it.
    pub quantity: i64,
}

/// What lies where, by parcel and line; nothing for an order that is one parcel.
pub async fn contents(tx: &mut Tx, order: OrderId) -> Stored<Vec<ParcelLine>> {
    Ok(sqlx::query_as!(
        ParcelLine,
        r#"/* shipments::contents */
        select parcel_no, line_no, quantity from parcel_lines where order_id = $1 order by parcel_no, line_no"#,
        order.uuid()
    )
    .fetch_all(tx.conn())
    .await?)
}

/// Writes what lies where, once and for all.
pub async fn split(tx: &mut Tx, order: OrderId, lines: &[ParcelLine]) -> Stored<()> {
    let parcels: Vec<i32> = lines.iter().map(|line| line.parcel_no).collect();
    let numbers: Vec<i32> = lines.iter().map(|line| line.line_no).collect();
    let quantities: Vec<i64> = lines.iter().map(|line| line.quantity).collect();
    let done = sqlx::query!(
        r#"/* shipments::split */
        insert into parcel_lines (order_id, parcel_no, line_no, quantity)
        select $1, * from unnest($2::int[], $3::int[], $4::bigint[])"#,
        order.uuid(),
        &parcels,
        &numbers,
        &quantities
    )
    .execute(tx.conn())
    .await?;
    exactly("shipments::split", lines.len(), done.rows_affected())
}

/// Whether every parcel of an order has a label that it can leave with.
pub async fn all_labelled(tx: &mut Tx, order: OrderId) -> Stored<bool> {
    Ok(sqlx::query_scalar!(
        r#"/* shipments::all_labelled */
        select exists (select from labels where order_id = $1 and void_state is null)
           and not exists (select from parcel_lines p where p.order_id = $1
                              and not exists (select from labels l where l.order_id = $1 and l.parcel_no = p.parcel_no
                                                 and l.void_state is null)) as "are_all!""#,
        order.uuid()
    )
    .fetch_one(tx.conn())
    .await?)
}

/// How far the parcels of an order are, by rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// The one that is least far.
    pub slowest: i16,
    /// The one that is furthest.
    pub furthest: i16,
}

impl Ranks {
    /// Whether a carrier has one of them.
    #[must_use]
    pub fn have_left(self) -> bool {
        Tracking::InTransit.rank().is_some_and(|rank| self.furthest >= rank)
    }
}

/// How far the parcels of an order are; none for an order that is one parcel.
pub async fn ranks(tx: &mut Tx, order: OrderId) -> Stored<Option<Ranks>> {
    let row = sqlx::query!(
        r#"/* shipments::ranks */
        select min(furthest) as slowest, max(furthest) as furthest from (
            select coalesce(max(s.tracking_rank), 0::smallint) as furthest
              from (select distinct parcel_no from parcel_lines where order_id = $1) p
              left join shipments s on s.order_id = $1 and s.parcel_no = p.parcel_no group by p.parcel_no) as parcels"#,
        order.uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.slowest.zip(row.furthest).map(|(slowest, furthest)| Ranks { slowest, furthest }))
}
