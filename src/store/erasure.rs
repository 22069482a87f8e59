//! Erases a customer: their orders keep their money, goods and history, and lose their person.
//!
//! Only what has come to its end is erased: a parcel on its way needs its address, and a mail its reader. In pages of some
//! orders, each a transaction of its own, so that a customer with thousands is no event; killed midway, the same again goes
//! on. What was erased is found under its old name no more, so that twice is the same as once.

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::actions::note;
use super::retention::{empty_effects, empty_mails};
use super::{Store, Stored, Tx};

mod letters;

/// Orders in one transaction.
const PAGE: i64 = 100;
/// Orders under way that are named, at most.
const NAMED: i64 = 10;

/// Whose data.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// Whose shop.
    pub tenant: &'a str,
    /// The shop's id of the customer.
    pub customer: &'a str,
    /// What stands in its place from now on: it leads to nobody.
    pub instead: &'a str,
}

/// What was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Orders that lost their person.
    pub orders: u64,
    /// Mails that were emptied.
    pub mails: u64,
    /// Order intents that were emptied.
    pub intents: u64,
    /// Dead letters that were emptied; open ones of wishes were dropped.
    pub letters: u64,
}

impl Erased {
    /// Whether there was anything.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// Both together.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            orders: self.orders + more.orders,
            mails: self.mails + more.mails,
            intents: self.intents + more.intents,
            letters: self.letters + more.letters,
        }
    }
}

impl Store {
    /// What of theirs has not come to its end: orders, mails, jobs about them that were given up and wait for a person's
    /// decision, and wishes that are still to be decided. Nothing is erased before.
    pub async fn under_way(&self, tenant: &str, customer: &str) -> Stored<Vec<String>> {
        Ok(sqlx::query_scalar!(
            r#"/* erasure::under_way */
            select o.order_number || ' (' || o.status || ')' as "what!" from orders o
             where o.tenant = $1 and o.customer_id = $2 and o.status not in ('completed', 'cancelled', 'refunded', 'delivered')
            union all
            select o.order_number || ' (a mail: ' || c.kind || ')' from orders o join communications c on c.order_id = o.id
             where o.tenant = $1 and o.customer_id = $2 and c.state in ('queued', 'sending')
            union all
            select o.order_number || ' (a dead letter: ' || d.kind || ')'
              from orders o
             cross join lateral (
               select kind from dead_letters
                where order_id = o.id and kind <> 'order-intent' and replayed_at is null and dropped_at is null
               union all
               select d.kind from payments p join dead_letters d on d.payload ->> 'object_id' = p.provider_payment_id
                where p.order_id = o.id and d.order_id is null and d.replayed_at is null and d.dropped_at is null) d
             where o.tenant = $1 and o.customer_id = $2
            union all
            select 'an order that is not decided yet' from jobs j
             where j.kind = 'order-intent' and j.payload ->> 'tenant' = $1
               and coalesce(j.payload #>> '{body,customer,id}', 'guest:' || (j.payload #>> '{body,cart_id}')) = $2
             limit $3"#,
            tenant,
            customer,
            NAMED
        )
        .fetch_all(self.pool())
        .await?)
    }

    /// Erases one page of their orders, with everything that hangs on these; where no order is left, what is left beside
    /// them. Nothing where all is done.
    pub async fn erase(&self, whose: Whose<'_>, actor: &str, reason: &str) -> Stored<Erased> {
        let mut tx = self.begin().await?;
        let orders = page(&mut tx, whose).await?;
        let erased = if orders.is_empty() {
            Erased {
                intents: intents(&mut tx, whose).await?,
                letters: letters::of_wishes(&mut tx, whose, actor).await?,
                ..Erased::default()
            }
        } else {
            Erased {
                orders: orders.len().try_into().unwrap_or_default(),
                letters: letters::of_orders(&mut tx, &orders).await?,
                mails: page_of(&mut tx, whose, &orders, actor).await?,
                ..Erased::default()
            }
        };
        if !erased.is_nothing() {
            note(&mut tx, actor, "customers.erase", &told(whose, erased, reason)).await?;
        }
        tx.commit().await?;
        Ok(erased)
    }
}

/// By the new name alone: the record must not lead back to the person.
fn told(whose: Whose<'_>, erased: Erased, reason: &str) -> Value {
    json!({ "tenant": whose.tenant, "customer": whose.instead, "erased": erased, "reason": reason })
}

/// The next orders of theirs that have ended.
async fn page(tx: &mut Tx, whose: Whose<'_>) -> Stored<Vec<Uuid>> {
    Ok(sqlx::query_scalar!(
        r#"/* erasure::page */
        select id from orders where tenant = $1 and customer_id = $2 and status in ('completed', 'cancelled', 'refunded', 'delivered')
         order by id limit $3"#,
        whose.tenant,
        whose.customer,
        PAGE
    )
    .fetch_all(tx.conn())
    .await?)
}

/// Everything of these orders, in the one order of locks. Answers how many mails there were.
async fn page_of(tx: &mut Tx, whose: Whose<'_>, orders: &[Uuid], actor: &str) -> Stored<u64> {
    let parcels = sqlx::query_scalar!(
        "/* erasure::parcels */ select reference from shipments where order_id = any($1)",
        orders
    )
    .fetch_all(tx.conn())
    .await?;
    let asked: Vec<String> =
        parcels.iter().flat_map(|parcel| [format!("{parcel}:create"), format!("{parcel}:buy")]).collect();
    empty_effects(tx, &asked).await?;
    sqlx::query!(
        r#"/* erasure::receipts */
        update effects set receipt = jsonb_set(receipt, '{label,label_url}', '""')
         where name = any($1) and receipt #>> '{label,label_url}' is not null"#,
        &asked
    )
    .execute(tx.conn())
    .await?;
    let mails = sqlx::query_scalar!(
        "/* erasure::mails */ select id from communications where order_id = any($1) and recipient <> '' order by id",
        orders
    )
    .fetch_all(tx.conn())
    .await?;
    let mails = empty_mails(tx, &mails).await?;
    sqlx::query!(
        r#"/* erasure::orders */
        update orders o set customer = '{}', shipping_address = '{}', billing_address = null, metadata = '{}', customer_id = $2,
               erased_at = clock_timestamp(), actor = $3, cause = 'customers.erase'
          from (select id from orders where id = any($1) order by cart_id, id for no key update) mine where o.id = mine.id"#,
        orders,
        whose.instead,
        actor
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "/* erasure::items */ update order_items set attributes = '{}' where order_id = any($1) and attributes <> '{}'",
        orders
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "/* erasure::payments */ update payments set client_secret_enc = null where order_id = any($1)",
        orders
    )
    .execute(tx.conn())
    .await?;
    // A provider's refusal may quote an address. What is open is about amounts, and a person needs it.
    sqlx::query!(
        "/* erasure::exceptions */ update order_exceptions set detail = '' where order_id = any($1) and state = 'resolved'",
        orders
    )
    .execute(tx.conn())
    .await?;
    // Their pictures show the address.
    sqlx::query!("/* erasure::labels */ update labels set label_url = '' where order_id = any($1)", orders)
        .execute(tx.conn())
        .await?;
    Ok(mails)
}

/// Their wishes, also those that became no order.
async fn intents(tx: &mut Tx, whose: Whose<'_>) -> Stored<u64> {
    let done = sqlx::query!(
        r#"/* erasure::intents */
        update order_intents i set payload = '{}', customer_id = $3
          from (select id from order_intents where tenant = $1 and customer_id = $2 order by id limit $4 for no key update) mine
         where i.id = mine.id"#,
        whose.tenant,
        whose.customer,
        whose.instead,
        PAGE
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}
