//! One order's whole life, as an operator reads it: states, money, stock, parcels, mails, open jobs, in the order in
//! which they happened. Ids, codes and amounts; never the customer's name, address or e-mail.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Store, Stored};
use crate::ids::{DeadLetterId, IntentId, OrderId};

mod open;

pub(super) use open::open;

/// An order, and everything that happened to it.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    /// Its id.
    pub order_id: OrderId,
    /// Its number on the bill.
    pub order_number: String,
    /// The wish that it came from.
    pub intent_id: IntentId,
    /// Where it stands.
    pub status: String,
    /// The shop's id of the customer.
    pub customer_id: String,
    /// ISO 4217 code.
    pub currency: String,
    /// What it costs, in minor units.
    pub total_minor: i64,
    /// What was captured, in minor units.
    pub captured_minor: i64,
    /// What went back, in minor units.
    pub refunded_minor: i64,
    /// The trace that it is, from the request that wished for it; none where an older version made it.
    pub trace_id: Option<String>,
    /// What happened, the earliest first.
    pub moments: Vec<Moment>,
    /// What is open: jobs, exceptions, holds.
    pub open: Vec<String>,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Moment {
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// What: `order`, `stock`, `coupon`, `payment`, `refund`, `parcel`, `mail`, `exception`, `dead letter`.
    pub about: String,
    /// In words.
    pub what: String,
    /// The amount that it is about, in minor units.
    pub minor: Option<i64>,
    /// ISO 4217 code of the amount.
    pub currency: Option<String>,
    /// The dead letter that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letter: Option<DeadLetterId>,
}

/// What an order can be asked for by.
#[derive(Clone, Debug)]
pub enum OrderName {
    /// Its id.
    Id(OrderId),
    /// Its intent's id.
    Intent(IntentId),
    /// Its number.
    Number(String),
}

impl OrderName {
    /// Reads `ord_…`, `int_…`, or a number.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match (text.parse(), text.parse()) {
            (Ok(id), _) => Self::Id(id),
            (_, Ok(intent)) => Self::Intent(intent),
            _ => Self::Number(text.to_owned()),
        }
    }
}

impl Store {
    /// The timeline of an order; none where there is no such order, or where it is another shop's than this `tenant`'s.
    pub async fn timeline(&self, name: &OrderName, tenant: Option<&str>) -> Stored<Option<Timeline>> {
        let (id, intent, number) = match name {
            OrderName::Id(id) => (Some(id.uuid()), None, None),
            OrderName::Intent(intent) => (None, Some(intent.uuid()), None),
            OrderName::Number(number) => (None, None, Some(number.as_str())),
        };
        let mut conn = self.pool().acquire().await?;
        let order = sqlx::query!(
            r#"/* timeline::order */
            select id, order_number, intent_id, status, customer_id, currency, total_minor, captured_minor, refunded_minor, traceparent
              from orders where (id = $1 or intent_id = $2 or order_number = $3) and ($4::text is null or tenant = $4)"#,
            id,
            intent,
            number,
            tenant
        )
        .fetch_optional(&mut *conn)
        .await?;
        let Some(order) = order else {
            return Ok(None);
        };
        Ok(Some(Timeline {
            order_id: order.id.into(),
            order_number: order.order_number,
            intent_id: order.intent_id.into(),
            status: order.status,
            customer_id: order.customer_id,
            currency: order.currency,
            total_minor: order.total_minor,
            captured_minor: order.captured_minor,
            refunded_minor: order.refunded_minor,
            trace_id: trace_id(order.traceparent.as_deref()),
            moments: history(&mut conn, order.id).await?,
            open: open(&mut conn, order.id).await?,
        }))
    }
}

/// The trace that an order is.
pub(super) async fn trace(conn: &mut PgConnection, order: Uuid) -> Stored<Option<String>> {
    let traceparent =
        sqlx::query_scalar!("/* timeline::trace */ select traceparent from orders where id = $1", order)
            .fetch_one(conn)
            .await?;
    Ok(trace_id(traceparent.as_deref()))
}

fn trace_id(traceparent: Option<&str>) -> Option<String> {
    super::jobs::read(traceparent).map(|trace| trace.trace_id().to_string())
}

/// What happened to an order, the earliest first.
pub(super) async fn history(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<Moment>> {
    let mut all = moments(conn, order).await?;
    all.extend(letters(conn, order).await?);
    // The sort is stable: what was written in one commit stays in its order.
    all.sort_by_key(|moment| moment.at);
    Ok(all)
}

/// What happened in the tables of orders.
async fn moments(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<Moment>> {
    let rows = sqlx::query!(
            r#"/* timeline::moments */
            select at as "at!", about as "about!", what as "what!", minor, currency from (
              select at, 'order' as about, 1 as rank, seq as n,
                     case when from_status is null then to_status else from_status || ' → ' || to_status end || '  (' || actor || ', ' || cause || ')' as what,
                     null::bigint as minor, null::text as currency
                from order_events where order_id = $1
              union all
              select created_at, 'stock', 0, epoch, 'held ' || quantity || ' × ' || sku || ' until ' || to_char(expires_at at time zone 'UTC', 'HH24:MI:SS'), null, null from reservations where order_id = $1
              union all
              select resolved_at, 'stock', 0, epoch, state || ' ' || quantity || ' × ' || sku, null, null from reservations where order_id = $1 and resolved_at is not null
              union all
              select u.taken_at, 'coupon', 0, 0, u.code || ' taken', u.discount_minor, o.currency from coupon_uses u join orders o on o.id = u.order_id where u.order_id = $1
              union all
              select given_back_at, 'coupon', 0, 1, code || ' given back', null, null from coupon_uses where order_id = $1 and given_back_at is not null
              union all
              select opened_at, 'payment', 0, attempt_no, 'opened ' || provider_payment_id || ' at ' || provider, amount_minor, currency
                from payments where order_id = $1 and opened_at is not null
              union all
              select settled_at, 'payment', 0, attempt_no, 'captured (' || role || ')', captured_minor, currency
                from payments where order_id = $1 and settled_at is not null
              union all
              select opened_at, 'payment', 0, 0, 'disputed: ' || provider_dispute_id || ' (' || reason || ')', amount_minor, currency from disputes where order_id = $1
              union all
              select closed_at, 'payment', 0, 1, 'dispute ' || provider_dispute_id || ' ' || state, amount_minor, currency
                from disputes where order_id = $1 and closed_at is not null
              union all
              select a.at, 'payment', 0, 0, 'attempt failed: ' || a.code, null, null from payment_attempts a join payments p on p.id = a.payment_id where p.order_id = $1
              union all
              select created_at, 'refund', 1, 0, 'wanted (' || origin || ', ' || actor || ')', amount_minor, currency from refunds where order_id = $1
              union all
              select settled_at, 'refund', 1, 1, state || coalesce(': ' || provider_refund_id, '') || coalesce(' (' || failure || ')', ''), amount_minor, currency
                from refunds where order_id = $1 and settled_at is not null
              union all
              select purchased_at, 'parcel', 0, parcel_no, 'label bought: ' || carrier || ' ' || service || ' ' || tracking_code, cost_minor, currency
                from labels where order_id = $1
              union all
              select void_requested_at, 'parcel', 1, parcel_no, 'label is to be given back: ' || carrier || ' ' || tracking_code, null, null
                from labels where order_id = $1 and void_requested_at is not null
              union all
              select coalesce(void_ended_at, voided_at), 'parcel', 1, parcel_no,
                     case void_state when 'voided' then 'label given back: ' else 'label not taken back: ' end || carrier || ' ' || tracking_code, cost_minor, currency
                from labels where order_id = $1 and coalesce(void_ended_at, voided_at) is not null
              union all
              select t.received_at, 'parcel', 2, t.rank, 'carrier: ' || t.status, null, null from tracking_events t join shipments s on s.id = t.shipment_id where s.order_id = $1
              union all
              select sent_at, 'mail', 3, 0, kind || ' accepted by the mail server', null, null from communications where order_id = $1 and sent_at is not null
              union all
              select opened_at, 'exception', 4, 0, type || ' (' || severity || '): ' || detail, null, null from order_exceptions where order_id = $1
              union all
              select resolved_at, 'exception', 4, 0, type || ' resolved', null, null from order_exceptions where order_id = $1 and resolved_at is not null
            ) moments order by at, rank, n"#,
            order
        )
        .fetch_all(conn)
        .await?;
    let moments = rows.into_iter().map(|row| Moment {
        at: row.at,
        about: row.about,
        what: row.what,
        minor: row.minor,
        currency: row.currency,
        letter: None,
    });
    Ok(moments.collect())
}

/// Jobs of an order that were given up, and what became of each. Why one was dropped is left out: somebody typed it.
async fn letters(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<Moment>> {
    let rows = sqlx::query!(
        r#"/* timeline::letters */
        select at as "at!", id as "id!", what as "what!" from (
          select died_at as at, id, kind || ' given up after ' || attempts || ' attempts: ' || code as what from dead_letters where order_id = $1
          union all
          select replayed_at, id, kind || ' replayed by ' || replayed_by from dead_letters where order_id = $1 and replayed_at is not null
          union all
          select dropped_at, id, kind || ' dropped by ' || dropped_by from dead_letters where order_id = $1 and dropped_at is not null
        ) letters order by at, id"#,
        order
    )
    .fetch_all(conn)
    .await?;
    let moments = rows.into_iter().map(|row| Moment {
        at: row.at,
        about: "dead letter".to_owned(),
        what: row.what,
        minor: None,
        currency: None,
        letter: Some(row.id.into()),
    });
    Ok(moments.collect())
}
