//! Orders that ended years ago, and everything that hangs on them, are deleted: what grows without end would be slow one day.
//!
//! By deletion, some orders a time, because unique keys are not given up for partitions: a redelivered event or a repeated
//! wish is known as long as its order is. What counts beyond its order is carried: the sums of its stock movements and the
//! uses of its coupon. An order that anything is still open about stays, however old it is. The database refuses to delete
//! what is younger than a year.

use std::time::Duration;

use uuid::Uuid;

use super::retention::{PIECE, Swept, is_full};
use super::{Stored, Tx, millis};
use crate::ids::{CommunicationId, LabelId, PaymentId, RefundId};

/// Orders in one piece: each has some thirty rows, which take two milliseconds.
const ORDERS: i64 = 50;

/// Deletes one piece of what ended longer ago than `keep`: orders first, then wishes that never became one.
pub(super) async fn sweep(tx: &mut Tx, keep: Duration) -> Stored<Swept> {
    let orders = ended(tx, keep).await?;
    if orders.is_empty() {
        let rows = rejected(tx, keep).await?;
        return Ok(Swept { rows, is_more: is_full(rows) });
    }
    outside(tx, &orders).await?;
    carry(tx, &orders).await?;
    parts(tx, &orders).await?;
    let rows = whole(tx, &orders).await?;
    Ok(Swept { rows, is_more: true })
}

/// The next orders of which nothing is open any more, locked; what another worker has is passed over. Each question is
/// asked of the one order, by its index (`offset 0`): joined, they were answered by reading whole tables for every piece.
async fn ended(tx: &mut Tx, keep: Duration) -> Stored<Vec<Uuid>> {
    Ok(sqlx::query_scalar!(
        r#"/* archive::ended */
        select o.id from orders o
         where o.status in ('completed', 'cancelled', 'refunded') and o.updated_at < now() - $1::bigint * interval '1 ms'
           and not exists (select from order_exceptions e where e.order_id = o.id and e.state <> 'resolved' offset 0)
           and not exists (select from payments p where p.order_id = o.id and p.state not in ('cancelled', 'captured') offset 0)
           and not exists (select from refunds r where r.order_id = o.id and r.settled_at is null offset 0)
           and not exists (select from disputes d where d.order_id = o.id and d.closed_at is null offset 0)
           and not exists (select from labels l where l.order_id = o.id and l.void_state = 'void_requested' offset 0)
           and not exists (select from communications c where c.order_id = o.id and c.state in ('queued', 'sending') offset 0)
           and not exists (select from dead_letters d where d.order_id = o.id and d.replayed_at is null and d.dropped_at is null offset 0)
           and not exists (select from reservations r join stock_movements m on m.reservation_id = r.id
                            where r.order_id = o.id and (r.state = 'active' or m.at > now() - $1::bigint * interval '1 ms') offset 0)
         order by o.updated_at limit $2 for update of o skip locked"#,
        millis(keep),
        ORDERS
    )
    .fetch_all(tx.conn())
    .await?)
}

/// What was asked of the outside about them, and what it said.
async fn outside(tx: &mut Tx, orders: &[Uuid]) -> Stored<()> {
    let known = sqlx::query!(
        r#"/* archive::outside */
        select array(select id from payments where order_id = any($1)) as "payments!",
               array(select id from refunds where order_id = any($1)) as "refunds!",
               array(select id from labels where order_id = any($1)) as "labels!",
               array(select id from communications where order_id = any($1)) as "mails!",
               array(select reference from shipments where order_id = any($1)) as "parcels!""#,
        orders
    )
    .fetch_one(tx.conn())
    .await?;
    let told = sqlx::query!(
        r#"/* archive::outside */
        select provider as "provider!", object as "object!" from (
          select provider, provider_payment_id from payments where order_id = any($1)
          union all select provider, provider_refund_id from refunds where order_id = any($1)
          union all select provider, provider_dispute_id from disputes where order_id = any($1)
          union all select provider, provider_shipment_id from shipments where order_id = any($1)
          union all select s.provider, unnest(array[l.tracker_id, l.tracking_code])
                      from labels l join shipments s on s.id = l.shipment_id where l.order_id = any($1)
          union all select '', message_id from communications where order_id = any($1)) o (provider, object)
         where object is not null"#,
        orders
    )
    .fetch_all(tx.conn())
    .await?;
    let (providers, objects): (Vec<String>, Vec<String>) =
        told.into_iter().map(|row| (row.provider, row.object)).unzip();
    let mut effects = Vec::new();
    for id in known.payments {
        let payment = PaymentId::from(id);
        effects.extend(["pay_create", "pay_cancel", "pay_capture"].map(|step| format!("{step}:{payment}")));
    }
    effects.extend(known.refunds.into_iter().map(|id| format!("refund:{}", RefundId::from(id))));
    effects.extend(known.labels.into_iter().map(|id| format!("label_void:{}", LabelId::from(id))));
    effects.extend(known.mails.into_iter().map(|id| format!("mail:{}", CommunicationId::from(id))));
    for parcel in known.parcels {
        effects.extend(["create", "buy"].map(|step| format!("{parcel}:{step}")));
    }
    sqlx::query!(
        r#"/* archive::outside */
        with evidence as (delete from effect_evidence where name = any($1)),
             effects as (delete from effects where name = any($1)),
             facts as (delete from applied_signals s using unnest($2::text[], $3::text[]) o (provider, object)
                        where s.provider = o.provider and s.object_id = o.object)
        delete from inbox where object_id = any($3) and state in ('applied', 'ignored')"#,
        &effects,
        &providers,
        &objects
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What counts beyond its order: pieces that were sold, uses of coupons.
async fn carry(tx: &mut Tx, orders: &[Uuid]) -> Stored<()> {
    sqlx::query!(
        r#"/* archive::carry */
        with gone as (
          delete from stock_movements m using reservations r where r.id = m.reservation_id and r.order_id = any($1)
          returning m.sku, m.location, m.delta_on_hand, m.delta_reserved)
        insert into stock_carried as c (sku, location, delta_on_hand, delta_reserved)
        select sku, location, sum(delta_on_hand), sum(delta_reserved) from gone group by sku, location order by sku, location
        on conflict (sku, location) do update set delta_on_hand = c.delta_on_hand + excluded.delta_on_hand"#,
        orders
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        r#"/* archive::carry */
        with gone as (delete from coupon_uses where order_id = any($1) returning code, given_back_at),
             used as (select code, count(*) as uses from gone where given_back_at is null group by code)
        update coupons c set archived_uses = c.archived_uses + u.uses from used u where c.code = u.code"#,
        orders
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The rows that hang on them: what hangs on another goes first.
async fn parts(tx: &mut Tx, orders: &[Uuid]) -> Stored<()> {
    sqlx::query!(
        r#"/* archive::parts */
        with attempts as (delete from payment_attempts a using payments p where p.id = a.payment_id and p.order_id = any($1)),
             scans as (delete from tracking_events t using shipments s where s.id = t.shipment_id and s.order_id = any($1)),
             labels as (delete from labels where order_id = any($1)),
             lines as (delete from parcel_lines where order_id = any($1)),
             refunds as (delete from refunds where order_id = any($1)),
             disputes as (delete from disputes where order_id = any($1)),
             mails as (delete from communications where order_id = any($1)),
             exceptions as (delete from order_exceptions where order_id = any($1))
        delete from reservations where order_id = any($1)"#,
        orders
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What they hang on, and the orders with their history and their wishes.
async fn whole(tx: &mut Tx, orders: &[Uuid]) -> Stored<u64> {
    sqlx::query!(
        r#"/* archive::whole */
        with payments as (delete from payments where order_id = any($1)),
             shipments as (delete from shipments where order_id = any($1)),
             items as (delete from order_items where order_id = any($1)),
             wishes as (delete from order_intents where order_id = any($1))
        delete from order_events where order_id = any($1)"#,
        orders
    )
    .execute(tx.conn())
    .await?;
    let gone = sqlx::query!("/* archive::whole */ delete from orders where id = any($1)", orders)
        .execute(tx.conn())
        .await?;
    Ok(gone.rows_affected())
}

/// Wishes that ended without an order.
async fn rejected(tx: &mut Tx, keep: Duration) -> Stored<u64> {
    let gone = sqlx::query!(
        r#"/* archive::rejected */
        delete from order_intents i
         using (select id from order_intents where state in ('rejected', 'failed')
                   and created_at < now() - $1::bigint * interval '1 ms'
                 order by created_at limit $2 for update skip locked) old
         where i.id = old.id"#,
        millis(keep),
        PIECE
    )
    .execute(tx.conn())
    .await?;
    Ok(gone.rows_affected())
}
