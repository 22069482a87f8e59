//! Orders: made in slices, locked and read; what changes one is in [`moves`]. The database writes their history by itself.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::{StoreError, Stored, Tx, exactly, made, millis};
use crate::domain::intent::AcceptedIntent;
use crate::domain::order::{CancelReason, Status};
use crate::domain::pricing::Priced;
use crate::domain::priority::Priority;
use crate::ids::{IntentId, OrderId};
use crate::telemetry::TraceContext;

mod moves;

pub use moves::{
    Move, advance, cancel, capture, changed, changed_each, move_by_hand, refund, request_cancel,
    resume_elsewhere,
};

/// An order that is to be made.
#[derive(Clone, Debug)]
pub struct NewOrder<'a> {
    /// Its id.
    pub id: OrderId,
    /// The wish that it comes from.
    pub intent: &'a AcceptedIntent,
    /// What it costs.
    pub priced: &'a Priced,
    /// How urgent it is.
    pub priority: Priority,
    /// The trace in which it was wished for.
    pub trace: Option<TraceContext>,
}

/// Which of these carts have an open order: (tenant, cart) and the intent that made it.
pub async fn open_carts(
    tx: &mut Tx,
    carts: &[(String, String)],
) -> Stored<HashMap<(String, String), IntentId>> {
    let (tenants, cart_ids): (Vec<String>, Vec<String>) = carts.iter().cloned().unzip();
    let rows = sqlx::query!(
        r#"/* orders::open_carts */
        select c.tenant as "tenant!", c.cart_id as "cart_id!", o.intent_id
          from unnest($1::text[], $2::text[]) as c(tenant, cart_id)
          -- The limit has each cart looked up by the index, whatever the planner believes of the table: a cart has one such order.
          cross join lateral (select intent_id from orders
                               where tenant = c.tenant and cart_id = c.cart_id and captured_minor = 0
                                 and status in ('pending_payment', 'on_hold', 'exception') limit 1) as o"#,
        &tenants,
        &cart_ids
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| ((row.tenant, row.cart_id), row.intent_id.into())).collect())
}

/// Makes orders with their items. Their first event is written by the database. A cart whose other order was made by
/// another transaction meanwhile asks for the same again.
pub async fn insert(tx: &mut Tx, orders: &[NewOrder<'_>], payable_for: Duration, cause: &str) -> Stored<()> {
    let rows: Vec<Value> = orders.iter().map(row).collect();
    let done = sqlx::query!(
        r#"/* orders::insert */
        insert into orders (id, order_number, intent_id, tenant, cart_id, customer_id, customer, shipping_address, billing_address,
            shipping_method, payment_provider, currency, subtotal_minor, discount_minor, shipping_minor, tax_minor, total_minor,
            status, priority, score, metadata, actor, cause, payable_until, traceparent)
        select id, 'OF-' || nextval('order_numbers'), intent_id, tenant, cart_id, customer_id, customer, shipping_address, billing_address,
            shipping_method, payment_provider, currency, subtotal_minor, discount_minor, shipping_minor, tax_minor, total_minor,
            'pending_payment', priority, score, metadata, 'system', $3, clock_timestamp() + $2::bigint * interval '1 ms', traceparent
          from jsonb_to_recordset($1) as n(id uuid, intent_id uuid, tenant text, cart_id text, customer_id text, customer jsonb,
            shipping_address jsonb, billing_address jsonb, shipping_method text, payment_provider text, currency text,
            subtotal_minor bigint, discount_minor bigint, shipping_minor bigint, tax_minor bigint, total_minor bigint, priority text, score smallint, metadata jsonb, traceparent text)
         order by cart_id, id
        on conflict do nothing"#,
        Value::Array(rows),
        millis(payable_for),
        cause
    )
    .execute(tx.conn())
    .await?;
    made("orders::insert", orders.len(), done.rows_affected())?;
    insert_items(tx, orders).await
}

fn row(order: &NewOrder<'_>) -> Value {
    let body = &order.intent.body;
    serde_json::json!({
        "id": order.id.uuid(), "intent_id": order.intent.intent_id.uuid(), "tenant": order.intent.tenant,
        "cart_id": body.cart_id, "customer_id": body.customer_scope(), "customer": body.customer,
        "shipping_address": body.shipping_address, "billing_address": body.billing_address,
        "shipping_method": body.shipping_method, "payment_provider": body.payment_provider, "currency": body.currency,
        "subtotal_minor": order.priced.subtotal_minor, "discount_minor": order.priced.discount_minor, "shipping_minor": order.priced.shipping_minor,
        "tax_minor": order.priced.tax_minor, "total_minor": order.priced.total_minor,
        "priority": order.priority.name, "score": order.priority.score, "metadata": body.metadata,
        "traceparent": order.trace.map(|trace| trace.to_string()),
    })
}

async fn insert_items(tx: &mut Tx, orders: &[NewOrder<'_>]) -> Stored<()> {
    let mut rows = Vec::new();
    for order in orders {
        for (line, no) in order.priced.lines.iter().zip(1_i32..) {
            rows.push(serde_json::json!({
                "order_id": order.id.uuid(), "line_no": no, "sku": line.sku, "name": line.name, "quantity": line.quantity,
                "unit_minor": line.unit_minor, "total_minor": line.total_minor, "weight_g": line.weight_g,
                "vendor": line.vendor, "attributes": line.attributes,
            }));
        }
    }
    let wanted = rows.len();
    let done = sqlx::query!(
        r#"/* orders::insert_items */
        insert into order_items (order_id, line_no, sku, name, quantity, unit_minor, total_minor, weight_g, vendor, attributes)
        select * from jsonb_to_recordset($1) as n(order_id uuid, line_no int, sku text, name text, quantity bigint,
            unit_minor bigint, total_minor bigint, weight_g int, vendor text, attributes jsonb)"#,
        Value::Array(rows)
    )
    .execute(tx.conn())
    .await?;
    exactly("orders::insert_items", wanted, done.rows_affected())
}

/// An order, locked.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// Its number on the bill.
    pub number: String,
    /// Whose shop.
    pub tenant: String,
    /// Where it stands.
    pub status: Status,
    /// Where it goes on after a hold or an exception.
    pub resume_to: Option<Status>,
    /// ISO 4217 code.
    pub currency: String,
    /// What it costs, in minor units.
    pub total_minor: i64,
    /// What was captured, in minor units.
    pub captured_minor: i64,
    /// What went back, in minor units.
    pub refunded_minor: i64,
    /// Who takes the money.
    pub payment_provider: String,
    /// How it goes.
    pub shipping_method: String,
    /// Where it goes.
    pub shipping_address: Value,
    /// Who buys.
    pub customer: Value,
    /// How urgent it is.
    pub priority: String,
    /// Whether somebody wants it called off, and its payment is being cancelled first.
    pub cancel_requested: bool,
    /// Why it was called off, or is going to be.
    pub cancel_reason: Option<CancelReason>,
    /// How long it can still be paid, by the database's clock; zero where that is over.
    pub payable_for: Duration,
    /// Rises with every change that its readers see.
    pub version: i64,
}

impl Order {
    /// Whether its money is still to come, be it that it waits aside meanwhile.
    #[must_use]
    pub fn awaits_money(&self) -> bool {
        self.status == Status::PendingPayment || self.resume_to == Some(Status::PendingPayment)
    }
}

/// Locks orders by (cart, id).
pub async fn lock(tx: &mut Tx, ids: &[OrderId]) -> Stored<HashMap<OrderId, Order>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"/* orders::lock */
        select id, order_number, tenant, status, resume_to, currency, total_minor, captured_minor, refunded_minor, payment_provider,
               shipping_method, shipping_address, customer, priority, cancel_requested, cancel_reason, version,
               greatest(0, ceil(extract(epoch from payable_until - clock_timestamp()) * 1000))::bigint as "payable_ms!"
          from orders where id = any($1) order by cart_id, id for no key update"#,
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    let mut orders = HashMap::with_capacity(rows.len());
    for row in rows {
        let order = Order {
            id: row.id.into(),
            number: row.order_number,
            tenant: row.tenant,
            status: status("orders.status", &row.status)?,
            resume_to: row.resume_to.as_deref().map(|name| status("orders.resume_to", name)).transpose()?,
            currency: row.currency,
            total_minor: row.total_minor,
            captured_minor: row.captured_minor,
            refunded_minor: row.refunded_minor,
            payment_provider: row.payment_provider,
            shipping_method: row.shipping_method,
            shipping_address: row.shipping_address,
            customer: row.customer,
            priority: row.priority,
            cancel_requested: row.cancel_requested,
            cancel_reason: row.cancel_reason.as_deref().map(reason).transpose()?,
            payable_for: Duration::from_millis(u64::try_from(row.payable_ms).unwrap_or_default()),
            version: row.version,
        };
        orders.insert(order.id, order);
    }
    Ok(orders)
}

/// The traces of orders, of those that have one.
pub async fn traces(tx: &mut Tx, ids: &[OrderId]) -> Stored<HashMap<OrderId, TraceContext>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"/* orders::traces */
        select id, traceparent as "traceparent!" from orders where id = any($1) and traceparent is not null"#,
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.id.into(), row.traceparent.parse().ok()?))).collect())
}

fn reason(name: &str) -> Stored<CancelReason> {
    let unreadable = || StoreError::Unreadable { column: "orders.cancel_reason", value: name.to_owned() };
    CancelReason::named(name).ok_or_else(unreadable)
}

fn status(column: &'static str, name: &str) -> Stored<Status> {
    Status::named(name).ok_or_else(|| StoreError::Unreadable { column, value: name.to_owned() })
}

/// Whose order it is.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Whose shop.
    pub tenant: String,
    /// Who buys, by their id in the shop.
    pub customer: String,
    /// Who makes its lines; an empty name is the shop itself.
    pub vendors: Vec<String>,
}

/// Whose order it is. None where there is no such order.
pub async fn owner(tx: &mut Tx, id: OrderId) -> Stored<Option<Owner>> {
    Ok(sqlx::query_as!(
        Owner,
        r#"/* orders::owner */
        select tenant, customer_id as customer,
               array(select distinct vendor from order_items where order_id = o.id order by 1) as "vendors!"
          from orders o where id = $1"#,
        id.uuid()
    )
    .fetch_optional(tx.conn())
    .await?)
}

/// What mails say of an order.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its number on the bill.
    pub number: String,
    /// ISO 4217 code.
    pub currency: String,
    /// What it costs, in minor units.
    pub total_minor: i64,
    /// What a coupon took off, in minor units.
    pub discount_minor: i64,
    /// What the way costs, in minor units.
    pub shipping_minor: i64,
    /// What the state takes, in minor units.
    pub tax_minor: i64,
    /// Who buys.
    pub customer: Value,
}

/// What mails say of an order; not locked.
pub async fn summary(tx: &mut Tx, id: OrderId) -> Stored<Option<Summary>> {
    Ok(sqlx::query_as!(
        Summary,
        r#"/* orders::summary */
        select order_number as number, currency, total_minor, discount_minor, shipping_minor, tax_minor, customer from orders where id = $1"#,
        id.uuid()
    )
    .fetch_optional(tx.conn())
    .await?)
}

/// One line, as mails and parcels need it.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its number.
    pub line_no: i32,
    /// The article.
    pub sku: String,
    /// Its name on the bill.
    pub name: String,
    /// Pieces.
    pub quantity: i64,
    /// The line, in minor units.
    pub total_minor: i64,
    /// One piece, in minor units.
    pub unit_minor: i64,
    /// One piece, in grams.
    pub weight_g: i32,
    /// One piece, in millimetres: length, width, height.
    pub size_mm: (i32, i32, i32),
    /// For customs: Harmonised System code, country of origin, description.
    pub customs: (String, String, String),
}

/// The lines of an order, by their number.
pub async fn items(tx: &mut Tx, id: OrderId) -> Stored<Vec<Item>> {
    let rows = sqlx::query!(
        r#"/* orders::items */
        select i.line_no, i.sku, i.name, i.quantity, i.total_minor, i.unit_minor, i.weight_g, s.length_mm, s.width_mm, s.height_mm,
               s.hs_code, s.origin, s.customs_description
          from order_items i join skus s on s.sku = i.sku where i.order_id = $1 order by i.line_no"#,
        id.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Item {
            line_no: row.line_no,
            sku: row.sku,
            name: row.name,
            quantity: row.quantity,
            total_minor: row.total_minor,
            unit_minor: row.unit_minor,
            weight_g: row.weight_g,
            size_mm: (row.length_mm, row.width_mm, row.height_mm),
            customs: (row.hs_code, row.origin, row.customs_description),
        })
        .collect())
}
