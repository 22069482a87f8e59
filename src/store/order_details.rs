//! One order with all that belongs to it, as its own people read it: lines, money, parcels, mails, history.
//!
//! All of it is read at one moment, so that the version tells of exactly what stands beside it: whoever changes the order
//! from that version changes what they saw. Who may see which part of it is the reader's to decide.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::order_pages::{Head, Visible, head};
use super::timeline::{self, Moment};
use super::{Store, Stored};
use crate::ids::{DisputeId, OrderId, PaymentId, RefundId, ShipmentId};

/// One moment for all parts: two that were read at different ones could contradict each other.
const SNAPSHOT: &str = "begin isolation level repeatable read read only";

/// An order and what belongs to it.
#[derive(Clone, Debug)]
pub struct Details {
    /// What a list tells of it.
    pub head: Head,
    /// Who bought it, and where it goes.
    pub person: Person,
    /// Its lines.
    pub items: Vec<Item>,
    /// Its charges, the first one first.
    pub payments: Vec<Payment>,
    /// Its refunds, the first one first.
    pub refunds: Vec<Refund>,
    /// What banks want back, the first one first. Read for staff alone.
    pub disputes: Vec<Dispute>,
    /// Its parcels, as they are packed now.
    pub shipments: Vec<Shipment>,
    /// What was written to the customer.
    pub mails: Vec<Mail>,
    /// The history of its status.
    pub events: Vec<Event>,
    /// What a person must see, or had to. Read for staff alone, like what follows.
    pub exceptions: Vec<Exception>,
    /// Everything that happened, as `orderfleet orders show` tells it.
    pub timeline: Vec<Moment>,
    /// What is not over yet.
    pub open: Vec<String>,
    /// The trace that it is; none where an older version made it.
    pub trace_id: Option<String>,
}

/// Who bought it, and where it goes. Personal data.
#[derive(Clone, Debug, Serialize)]
pub struct Person {
    /// Name, e-mail address, phone number, language.
    pub customer: Value,
    /// Where it goes.
    pub shipping_address: Value,
    /// Where the bill goes, where that is elsewhere.
    pub billing_address: Option<Value>,
    /// How it goes.
    pub shipping_method: String,
    /// What the shop noted of it.
    pub metadata: Value,
}

/// A line.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    /// Whose line it is.
    #[serde(skip)]
    pub order: Uuid,
    /// Its number.
    pub line_no: i32,
    /// The article.
    pub sku: String,
    /// The article's name when it was bought.
    pub name: String,
    /// Pieces.
    pub quantity: i64,
    /// Of one piece, in minor units.
    pub unit_price: i64,
    /// Of all pieces, in minor units.
    pub total: i64,
    /// Who makes it; empty where the shop does.
    pub vendor: String,
    /// What the customer chose.
    pub attributes: Value,
}

/// A charge.
#[derive(Clone, Debug, Serialize)]
pub struct Payment {
    /// Its id.
    pub payment_id: PaymentId,
    /// Which charge of the order it is.
    pub attempt: i32,
    /// Where.
    pub provider: String,
    /// Its id there.
    pub provider_payment_id: Option<String>,
    /// In minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// What is known of it.
    pub status: String,
    /// `primary` paid the order, `surplus` goes back, `candidate` is neither.
    pub role: String,
    /// What came, in minor units.
    pub captured: i64,
    /// Codes of attempts that failed, such as declined cards.
    pub failed_attempts: Vec<String>,
    /// When the provider knew it.
    pub opened_at: Option<DateTime<Utc>>,
    /// When the money came.
    pub settled_at: Option<DateTime<Utc>>,
}

/// Money that goes back.
#[derive(Clone, Debug, Serialize)]
pub struct Refund {
    /// Its id.
    pub refund_id: RefundId,
    /// Of which charge.
    pub payment_id: PaymentId,
    /// In minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// What is known of it.
    pub status: String,
    /// What caused it.
    pub origin: String,
    /// Why, in the words of whoever asked.
    pub reason: String,
    /// When it was wanted.
    pub created_at: DateTime<Utc>,
    /// When it was over.
    pub settled_at: Option<DateTime<Utc>>,
}

/// Money that a bank wants back.
#[derive(Clone, Debug, Serialize)]
pub struct Dispute {
    /// Its id.
    pub dispute_id: DisputeId,
    /// Of which charge.
    pub payment_id: PaymentId,
    /// Its id at the provider.
    pub provider_dispute_id: String,
    /// In minor units.
    pub amount: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// What is known of it.
    pub status: String,
    /// The bank's reason, as a code.
    pub reason: String,
    /// Since when.
    pub opened_at: DateTime<Utc>,
    /// Until when.
    pub closed_at: Option<DateTime<Utc>>,
}

/// A parcel.
#[derive(Clone, Debug, Serialize)]
pub struct Shipment {
    /// Its id.
    pub shipment_id: ShipmentId,
    /// Which parcel of the order it is.
    pub parcel: i32,
    /// How far its label is.
    pub status: String,
    /// Where the carrier says that it is.
    pub tracking_status: String,
    /// Who carries it.
    pub carrier: Option<String>,
    /// How.
    pub service: Option<String>,
    /// What the carrier calls it.
    pub tracking_code: Option<String>,
    /// Where its label can be printed from, again too. For staff.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_url: Option<String>,
    /// When the label was bought.
    pub labelled_at: Option<DateTime<Utc>>,
}

/// What was written to the customer.
#[derive(Clone, Debug, Serialize)]
pub struct Mail {
    /// About what.
    pub kind: String,
    /// How far it is.
    pub status: String,
    /// When it was to be written.
    pub created_at: DateTime<Utc>,
    /// When the mail server had it.
    pub sent_at: Option<DateTime<Utc>>,
}

/// A move of the order.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Which move it was.
    pub seq: i32,
    /// From where; none for its beginning.
    pub from: Option<String>,
    /// To where.
    pub to: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Who moved it. For staff.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The job, event or request that did. For staff.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// What a person must see.
#[derive(Clone, Debug, Serialize)]
pub struct Exception {
    /// What it is.
    pub kind: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// `open`, `acknowledged` or `resolved`.
    pub status: String,
    /// Ids, codes and amounts.
    pub detail: String,
    /// Since when.
    pub opened_at: DateTime<Utc>,
    /// Until when.
    pub resolved_at: Option<DateTime<Utc>>,
}

impl Store {
    /// An order with all that belongs to it; none where there is none, or none that is visible.
    pub async fn order_details(&self, visible: &Visible, order: OrderId) -> Stored<Option<Details>> {
        let mut snapshot = self.pool().begin_with(SNAPSHOT).await?;
        let conn: &mut PgConnection = &mut snapshot;
        let Some(head) = head(conn, visible, order).await? else { return Ok(None) };
        let id = order.uuid();
        let (disputes, exceptions, timeline, open, trace_id) = if visible.is_all() {
            let (history, open) = (timeline::history(conn, id).await?, timeline::open(conn, id).await?);
            let trace = timeline::trace(conn, id).await?;
            (disputes(conn, id).await?, exceptions(conn, id).await?, history, open, trace)
        } else {
            Default::default()
        };
        let details = Details {
            head,
            person: person(conn, id).await?,
            items: items(conn, &[id]).await?,
            payments: payments(conn, id).await?,
            refunds: refunds(conn, id).await?,
            disputes,
            shipments: shipments(conn, id).await?,
            mails: mails(conn, id).await?,
            events: events(conn, id).await?,
            exceptions,
            timeline,
            open,
            trace_id,
        };
        snapshot.rollback().await?;
        Ok(Some(details))
    }

    /// The lines of these orders, by order and number.
    pub async fn order_items(&self, orders: &[OrderId]) -> Stored<Vec<Item>> {
        let orders: Vec<Uuid> = orders.iter().map(|order| order.uuid()).collect();
        items(&mut *self.pool().acquire().await?, &orders).await
    }
}

async fn person(conn: &mut PgConnection, order: Uuid) -> Stored<Person> {
    Ok(sqlx::query_as!(
        Person,
        r#"/* order_details::person */
        select customer, shipping_address, billing_address, shipping_method, metadata from orders where id = $1"#,
        order
    )
    .fetch_one(conn)
    .await?)
}

async fn items(conn: &mut PgConnection, orders: &[Uuid]) -> Stored<Vec<Item>> {
    Ok(sqlx::query_as!(
        Item,
        r#"/* order_details::items */
        select order_id as "order", line_no, sku, name, quantity, unit_minor as unit_price, total_minor as total, vendor, attributes
          from order_items where order_id = any($1) order by order_id, line_no"#,
        orders
    )
    .fetch_all(conn)
    .await?)
}

async fn payments(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<Payment>> {
    Ok(sqlx::query_as!(
        Payment,
        r#"/* order_details::payments */
        select id as "payment_id: Uuid", attempt_no as attempt, provider, provider_payment_id, amount_minor as amount, currency,
               state as status, role, captured_minor as captured, opened_at, settled_at,
               array(select code from payment_attempts where payment_id = p.id order by at) as "failed_attempts!"
          from payments p where order_id = $1 order by attempt_no"#,
        order
    )
    .fetch_all(conn)
    .await?)
}

async fn refunds(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<Refund>> {
    Ok(sqlx::query_as!(
        Refund,
        r#"/* order_details::refunds */
        select id as "refund_id: Uuid", payment_id as "payment_id: Uuid", amount_minor as amount, currency, state as status,
               origin, reason, created_at, settled_at
          from refunds where order_id = $1 order by created_at, id"#,
        order
    )
    .fetch_all(conn)
    .await?)
}

async fn disputes(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<Dispute>> {
    Ok(sqlx::query_as!(
        Dispute,
        r#"/* order_details::disputes */
        select id as "dispute_id: Uuid", payment_id as "payment_id: Uuid", provider_dispute_id, amount_minor as amount, currency,
               state as status, reason, opened_at, closed_at
          from disputes where order_id = $1 order by opened_at, id"#,
        order
    )
    .fetch_all(conn)
    .await?)
}

async fn shipments(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<Shipment>> {
    Ok(sqlx::query_as!(
        Shipment,
        r#"/* order_details::shipments */
        select distinct on (s.parcel_no) s.id as "shipment_id: Uuid", s.parcel_no as parcel, s.state as status, s.tracking_status,
               l.carrier as "carrier?", l.service as "service?", l.tracking_code as "tracking_code?", l.label_url as "label_url?",
               l.purchased_at as "labelled_at?"
          from shipments s left join labels l on l.order_id = s.order_id and l.shipment_id = s.id and l.voided_at is null
         where s.order_id = $1 order by s.parcel_no, s.epoch desc"#,
        order
    )
    .fetch_all(conn)
    .await?)
}

async fn mails(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<Mail>> {
    Ok(sqlx::query_as!(
        Mail,
        r#"/* order_details::mails */
        select kind, state as status, created_at, sent_at from communications where order_id = $1 order by created_at, id"#,
        order
    )
    .fetch_all(conn)
    .await?)
}

async fn events(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<Event>> {
    Ok(sqlx::query_as!(
        Event,
        r#"/* order_details::events */
        select seq, from_status as "from?", to_status as "to", at, actor as "actor?", cause as "cause?"
          from order_events where order_id = $1 order by seq"#,
        order
    )
    .fetch_all(conn)
    .await?)
}

async fn exceptions(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<Exception>> {
    Ok(sqlx::query_as!(
        Exception,
        r#"/* order_details::exceptions */
        select type as kind, severity, state as status, detail, opened_at, resolved_at
          from order_exceptions where order_id = $1 order by opened_at, id"#,
        order
    )
    .fetch_all(conn)
    .await?)
}
