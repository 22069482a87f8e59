//! Orders by the page, as people look for them: the newest first, from where the last page ended.
//!
//! An order's id begins with the time at which it was made, so that the primary key is the list in its order, a cursor
//! is an id, and a time is a place in the list. What has no index of its own (a status, a text) is looked for among at
//! most [`LOOKED_AT`] orders a page: then a page may be short, or empty, and still tell where to go on. So no search,
//! however rare its finds, holds the database for longer than that.

use chrono::{DateTime, Duration, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{Store, StoreError, Stored};
use crate::domain::offer;
use crate::domain::order::search::Search;
use crate::domain::order::{FulfilmentStatus, PaymentStatus, Status};
use crate::ids::{IntentId, OrderId, PaymentId};

/// Orders that one page passes over at most: a tenth of a second where a text is looked for, of 150,000.
const LOOKED_AT: i64 = 10_000;
/// An id carries the time of the worker that made it, a row the database's: clocks that differ by more than this are what
/// `orderfleet doctor` is for.
const CLOCKS: Duration = Duration::hours(1);

/// Whose orders there are to see.
#[derive(Clone, Debug)]
pub struct Visible {
    /// The shop's.
    pub tenant: String,
    /// Of these, this customer's alone.
    pub customer: Option<String>,
    /// Of these, those with lines of this vendor's.
    pub vendor: Option<String>,
    /// Whether they are also found by who bought them: a find tells as much as a look.
    pub persons: bool,
}

impl Visible {
    /// Whether every order of the shop is, as it is for staff.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.customer.is_none() && self.vendor.is_none()
    }
}

/// An order, as a list tells it.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its id.
    pub id: OrderId,
    /// Its number on the bill.
    pub number: String,
    /// The wish that it came from.
    pub intent: IntentId,
    /// The cart that it came from.
    pub cart: String,
    /// Where it stands.
    pub status: Status,
    /// What it goes on as, where it waits aside.
    pub resumes: Option<Status>,
    /// Where its money stands, by name.
    pub payment: String,
    /// Where its parcels stand, by name.
    pub fulfilment: String,
    /// Why it was called off.
    pub cancel_reason: Option<String>,
    /// It will be called off once its payment is.
    pub cancel_requested: bool,
    /// How urgent it is.
    pub priority: String,
    /// The shop's id of the customer.
    pub customer_id: String,
    /// ISO 4217 code of all its amounts.
    pub currency: String,
    /// What it costs, and what came and went.
    pub money: Money,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
    /// Until when it can be paid.
    pub payable_until: DateTime<Utc>,
    /// Raised by every change.
    pub version: i64,
}

/// An order's sums, in minor units of its currency.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Money {
    /// Of all lines.
    pub subtotal: i64,
    /// Taken off.
    pub discount: i64,
    /// For the way.
    pub shipping: i64,
    /// On top.
    pub tax: i64,
    /// To be paid.
    pub total: i64,
    /// What came.
    pub captured: i64,
    /// What went back.
    pub refunded: i64,
}

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The orders, the newest first.
    pub heads: Vec<Head>,
    /// Where the next page begins: after this order. None where there is none.
    pub next: Option<OrderId>,
}

/// The part of the list that a page is made of: after one id, not past another.
struct Part {
    after: Option<Uuid>,
    from: Option<Uuid>,
    one: Option<Uuid>,
    limit: i64,
}

impl Store {
    /// The orders that are looked for, after the one at which the last page ended.
    pub async fn order_page(
        &self,
        visible: &Visible,
        search: &Search,
        after: Option<OrderId>,
    ) -> Stored<Page> {
        let named = search.number.is_some() || search.payment_id.is_some();
        let one = if named { self.named(search).await? } else { None };
        if named && one.is_none() {
            return Ok(Page::default());
        }
        let before = search.until.map(|time| first_id(time.checked_add_signed(CLOCKS)));
        let after = [after.map(OrderId::uuid), before].into_iter().flatten().min();
        let earliest = search.from.map(|time| first_id(time.checked_sub_signed(CLOCKS)));
        let mut part = Part { after, from: earliest, one, limit: search.limit.saturating_add(1) };
        let looks = search.passes_over() || visible.vendor.is_some();
        let seam = if looks && one.is_none() { self.seam(visible, &part).await? } else { None };
        part.from = part.from.max(seam);
        let mut conn = self.pool().acquire().await?;
        let mut heads = heads(&mut conn, visible, search, &part).await?;
        let wanted = usize::try_from(search.limit).unwrap_or_default();
        let is_full = heads.len() > wanted;
        heads.truncate(wanted);
        let next = if is_full { heads.last().map(|head| head.id) } else { seam.map(OrderId::from) };
        Ok(Page { heads, next })
    }

    /// The order that goes by this number or was paid by this payment: both have an index.
    async fn named(&self, search: &Search) -> Stored<Option<Uuid>> {
        // A reference of ours tells which payment it is; only Stripe's ids are its own.
        let ours = search.payment_id.as_deref().and_then(offer::referred).map(PaymentId::uuid);
        Ok(sqlx::query_scalar!(
            r#"/* order_pages::named */
            select o.id from orders o
             where ($1::text is null or o.order_number = $1)
               and ($2::text is null or o.id = any(array(
                     select order_id from payments where provider = 'stripe' and account = '' and provider_payment_id = $2
                     union all select order_id from payments where id = $3 and provider_payment_id = $2)))
             limit 1"#,
            search.number,
            search.payment_id,
            ours
        )
        .fetch_optional(self.pool())
        .await?)
    }

    /// The last order that this page looks at; none where it reaches the end of the list.
    async fn seam(&self, visible: &Visible, part: &Part) -> Stored<Option<Uuid>> {
        Ok(sqlx::query_scalar!(
            r#"/* order_pages::seam */
            select id from orders
             where tenant = $1 and ($2::text is null or customer_id = $2)
               and ($3::uuid is null or id < $3) and ($4::uuid is null or id >= $4)
             order by id desc offset $5::bigint - 1 limit 1"#,
            visible.tenant,
            visible.customer,
            part.after,
            part.from,
            LOOKED_AT
        )
        .fetch_optional(self.pool())
        .await?)
    }
}

/// One order, where it is one of the visible ones.
pub(super) async fn head(
    conn: &mut sqlx::PgConnection,
    visible: &Visible,
    order: OrderId,
) -> Stored<Option<Head>> {
    let part = Part { after: None, from: None, one: Some(order.uuid()), limit: 1 };
    Ok(heads(conn, visible, &Search::default(), &part).await?.pop())
}

async fn heads(
    conn: &mut sqlx::PgConnection,
    visible: &Visible,
    search: &Search,
    part: &Part,
) -> Stored<Vec<Head>> {
    let statuses = names(search.statuses.as_deref(), Status::name);
    let payment = names(search.payment.as_deref(), PaymentStatus::name);
    let fulfilment = names(search.fulfilment.as_deref(), FulfilmentStatus::name);
    let rows = sqlx::query_as!(
        Row,
        r#"/* order_pages::heads */
        select o.id, o.order_number, o.intent_id, o.cart_id, o.status, o.resume_to, o.cancel_reason, o.cancel_requested,
               o.priority, o.customer_id, o.currency, o.subtotal_minor, o.discount_minor, o.shipping_minor, o.tax_minor,
               o.total_minor, o.captured_minor, o.refunded_minor, o.created_at, o.updated_at, o.payable_until, o.version,
               m.payment as "payment!", f.fulfilment as "fulfilment!"
          from orders o
          left join lateral (select state from payments where order_id = o.id
                              order by (role = 'primary') desc, attempt_no desc limit 1) p on true
          -- What is not decided counts before what is, a loss before a win.
          left join lateral (select state from disputes where order_id = o.id and state in ('open', 'lost', 'won')
                              order by rank limit 1) d on true
          cross join lateral (select case
                 when o.captured_minor > 0 and o.refunded_minor = o.captured_minor then 'refunded'
                 when o.captured_minor > 0 and d.state in ('open', 'lost') then case d.state when 'open' then 'disputed' else 'dispute_lost' end
                 when o.refunded_minor > 0 then 'partially_refunded'
                 when o.captured_minor > 0 and d.state = 'won' then 'dispute_won'
                 when o.captured_minor > 0 then 'captured'
                 when o.total_minor = 0 then 'not_required'
                 when p.state in ('authorized', 'cancelled') then p.state
                 else 'awaiting' end as payment) m
          left join lateral (select count(*) as parcels, count(l.id) as labelled,
                   coalesce(min(s.tracking_rank), 0) as rank,
                   coalesce(bool_or(s.tracking_status in ('return_to_sender', 'failure')), false) as is_back
              from (select distinct on (parcel_no) id, parcel_no, tracking_rank, tracking_status from shipments
                     where order_id = o.id and state <> 'cancelled' order by parcel_no, epoch desc) s
              left join labels l on l.order_id = o.id and l.shipment_id = s.id and l.voided_at is null) s on true
          cross join lateral (select case
                 when s.is_back then 'returned'
                 when s.labelled = 0 then 'unfulfilled'
                 when s.labelled < s.parcels then 'partially_fulfilled'
                 when s.rank >= 40 then 'delivered'
                 when s.rank >= 20 then 'shipped'
                 else 'fulfilled' end as fulfilment) f
         where o.tenant = $1
           and ($2::text is null or o.customer_id = $2)
           and ($3::text is null or exists (select from order_items i where i.order_id = o.id and i.vendor = $3))
           and ($4::uuid is null or o.id = $4)
           and ($5::uuid is null or o.id < $5)
           and ($6::uuid is null or o.id >= $6)
           and ($7::timestamptz is null or o.created_at >= $7)
           and ($8::timestamptz is null or o.created_at < $8)
           and ($9::text is null or o.customer_id = $9)
           and ($10::text[] is null or coalesce(case when $11 then o.resume_to end, o.status) = any($10))
           and ($12::text[] is null or m.payment = any($12))
           and ($13::text[] is null or f.fulfilment = any($13))
           and ($14::text is null
                or strpos(lower(concat_ws(chr(10), o.order_number, o.cart_id, o.customer_id)), lower($14)) > 0
                or $16::bool and strpos(lower(concat_ws(chr(10), o.customer ->> 'name', o.customer ->> 'email',
                                                        o.customer ->> 'phone')), lower($14)) > 0)
         order by o.id desc limit $15"#,
        visible.tenant,
        visible.customer,
        visible.vendor,
        part.one,
        part.after,
        part.from,
        search.from,
        search.until,
        search.customer,
        statuses.as_deref(),
        !search.vocabulary.tells_aside(),
        payment.as_deref(),
        fulfilment.as_deref(),
        search.text,
        part.limit,
        visible.persons
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Head::try_from).collect()
}

/// The stored names of what any is looked for.
fn names<T: Copy>(any: Option<&[T]>, name: impl Fn(T) -> &'static str) -> Option<Vec<String>> {
    any.map(|any| any.iter().map(|each| name(*each).to_owned()).collect())
}

/// What the list's query answers of an order.
struct Row {
    id: Uuid,
    order_number: String,
    intent_id: Uuid,
    cart_id: String,
    status: String,
    resume_to: Option<String>,
    cancel_reason: Option<String>,
    cancel_requested: bool,
    priority: String,
    customer_id: String,
    currency: String,
    subtotal_minor: i64,
    discount_minor: i64,
    shipping_minor: i64,
    tax_minor: i64,
    total_minor: i64,
    captured_minor: i64,
    refunded_minor: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    payable_until: DateTime<Utc>,
    version: i64,
    payment: String,
    fulfilment: String,
}

impl TryFrom<Row> for Head {
    type Error = StoreError;

    fn try_from(row: Row) -> Stored<Self> {
        let status = |value: String| {
            let read = Status::named(&value);
            read.ok_or(StoreError::Unreadable { column: "orders.status", value })
        };
        Ok(Self {
            id: row.id.into(),
            number: row.order_number,
            intent: row.intent_id.into(),
            cart: row.cart_id,
            status: status(row.status)?,
            resumes: row.resume_to.map(status).transpose()?,
            payment: row.payment,
            fulfilment: row.fulfilment,
            cancel_reason: row.cancel_reason,
            cancel_requested: row.cancel_requested,
            priority: row.priority,
            customer_id: row.customer_id,
            currency: row.currency,
            money: Money {
                subtotal: row.subtotal_minor,
                discount: row.discount_minor,
                shipping: row.shipping_minor,
                tax: row.tax_minor,
                total: row.total_minor,
                captured: row.captured_minor,
                refunded: row.refunded_minor,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
            payable_until: row.payable_until,
            version: row.version,
        })
    }
}

/// The least id that could be made at this time: its first 48 bits are the milliseconds since 1970.
fn first_id(time: Option<DateTime<Utc>>) -> Uuid {
    let ms = time.unwrap_or_default().timestamp_millis();
    Uuid::from_u128(u128::try_from(ms).unwrap_or_default() << 80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Clock;

    #[test]
    fn a_time_is_a_place_among_the_ids() {
        let before = Clock::real().now();
        let id = OrderId::new().uuid();
        assert!(first_id(Some(before)) <= id);
        assert!(first_id(before.checked_add_signed(Duration::seconds(1))) > id);
        assert_eq!(first_id(None), Uuid::nil());
    }
}
