//! Refunds: a row before the provider is asked. The database moves the payment's reserve with the row, so that nobody
//! who asks at the same time can give back more than came. Locked after orders and payments.

use std::collections::HashMap;

use uuid::Uuid;

use super::{StoreError, Stored, Tx, exactly};
use crate::domain::refund::{Origin, State};
use crate::ids::{OrderId, PaymentId, RefundId};

/// A refund that is to be made.
#[derive(Clone, Debug)]
pub struct NewRefund {
    /// The payment that it is a part of.
    pub payment: PaymentId,
    /// How much, in minor units of the payment's currency.
    pub amount_minor: i64,
    /// Why.
    pub origin: Origin,
    /// What tells this wish from every other one of the order.
    pub key: String,
    /// In the words of whoever asked; may be empty.
    pub reason: String,
    /// Who asked.
    pub actor: String,
}

/// A refund.
#[derive(Clone, Debug)]
pub struct Refund {
    /// Its id.
    pub id: RefundId,
    /// The order.
    pub order: OrderId,
    /// The payment that it is a part of.
    pub payment: PaymentId,
    /// Who took that payment's money.
    pub provider: String,
    /// The provider's id of that payment.
    pub provider_payment_id: Option<String>,
    /// The provider's id; none until it was seen there.
    pub provider_id: Option<String>,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// What is known of it.
    pub state: State,
}

/// Makes the row and sets the money aside. None where this wish has its row already.
pub async fn insert(tx: &mut Tx, new: &NewRefund, cause: &str) -> Stored<Option<(RefundId, OrderId)>> {
    let row = sqlx::query!(
        r#"/* refunds::insert */
        insert into refunds (id, order_id, payment_id, client_key, provider, amount_minor, currency, origin, reason, actor, cause)
        select $1, order_id, id, $3, provider, $4, currency, $5, $6, $7, $8 from payments where id = $2
        on conflict (order_id, client_key) do nothing returning id, order_id"#,
        RefundId::new().uuid(),
        new.payment.uuid(),
        new.key,
        new.amount_minor,
        new.origin.name(),
        new.reason,
        new.actor,
        cause
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| (row.id.into(), row.order_id.into())))
}

/// The payments that these refunds are parts of: not locked, because payments are locked first.
pub async fn payments_of(tx: &mut Tx, ids: &[RefundId]) -> Stored<Vec<PaymentId>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query_scalar!(
        "/* refunds::payments_of */ select distinct payment_id from refunds where id = any($1)",
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(PaymentId::from).collect())
}

/// The order and the payment that a refund is of: not locked, because those are locked first.
pub async fn whose(tx: &mut Tx, id: RefundId) -> Stored<Option<(OrderId, PaymentId)>> {
    let row = sqlx::query!(
        "/* refunds::whose */ select order_id, payment_id from refunds where id = $1",
        id.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|row| (row.order_id.into(), row.payment_id.into())))
}

/// Locks refunds by id.
pub async fn lock(tx: &mut Tx, ids: &[RefundId]) -> Stored<HashMap<RefundId, Refund>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"/* refunds::lock */
        select r.id, r.order_id, r.payment_id, p.provider, p.provider_payment_id, r.provider_refund_id, r.amount_minor, r.currency, r.state
          from refunds r join payments p on p.id = r.payment_id
         where r.id = any($1) order by r.id for no key update of r"#,
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    let mut refunds = HashMap::with_capacity(rows.len());
    for row in rows {
        let state = State::named(&row.state)
            .ok_or_else(|| StoreError::Unreadable { column: "refunds.state", value: row.state.clone() })?;
        let refund = Refund {
            id: row.id.into(),
            order: row.order_id.into(),
            payment: row.payment_id.into(),
            provider: row.provider,
            provider_payment_id: row.provider_payment_id,
            provider_id: row.provider_refund_id,
            amount_minor: row.amount_minor,
            currency: row.currency,
            state,
        };
        refunds.insert(refund.id, refund);
    }
    Ok(refunds)
}

/// The refund that a key names among those of an order, whose row this transaction has locked.
pub async fn by_key(tx: &mut Tx, order: OrderId, key: &str) -> Stored<Option<Refund>> {
    let id = sqlx::query_scalar!(
        "/* refunds::by_key */ select id from refunds where order_id = $1 and client_key = $2",
        order.uuid(),
        key
    )
    .fetch_optional(tx.conn())
    .await?;
    match id {
        Some(id) => Ok(lock(tx, &[id.into()]).await?.into_values().next()),
        None => Ok(None),
    }
}

/// The refunds of a payment that the provider has not told us of, and that may have to be sent: not locked.
pub async fn not_sent(tx: &mut Tx, payment: PaymentId) -> Stored<Vec<RefundId>> {
    let rows = sqlx::query_scalar!(
        r#"/* refunds::not_sent */
        select id from refunds
         where payment_id = $1 and provider_refund_id is null and state in ('requested', 'submitting', 'unknown') order by id"#,
        payment.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(RefundId::from).collect())
}

/// The payments and orders of refunds that are known by these ids of the provider's: not locked.
pub async fn find(
    tx: &mut Tx,
    provider: &str,
    provider_ids: &[String],
) -> Stored<HashMap<String, (PaymentId, OrderId)>> {
    let rows = sqlx::query!(
        r#"/* refunds::find */
        select provider_refund_id as "provider_id!", payment_id, order_id from refunds
         where provider = $1 and provider_refund_id = any($2)"#,
        provider,
        provider_ids
    )
    .fetch_all(tx.conn())
    .await?;
    let found = rows.into_iter().map(|row| (row.provider_id, (row.payment_id.into(), row.order_id.into())));
    Ok(found.collect())
}

/// The refund of a payment that the provider knows by an id, or by ours. Its order and payment are locked.
pub async fn seen_as(
    tx: &mut Tx,
    payment: PaymentId,
    provider_id: &str,
    ours: Option<RefundId>,
) -> Stored<Option<Refund>> {
    let id = sqlx::query_scalar!(
        r#"/* refunds::seen_as */
        select id from refunds
         where payment_id = $1 and (provider_refund_id = $2 or (provider_refund_id is null and id = $3))
         order by provider_refund_id limit 1"#,
        payment.uuid(),
        provider_id,
        ours.map(RefundId::uuid)
    )
    .fetch_optional(tx.conn())
    .await?;
    match id {
        Some(id) => Ok(lock(tx, &[id.into()]).await?.into_values().next()),
        None => Ok(None),
    }
}

/// Whether an order has a refund that a person has to carry out.
pub async fn awaits_a_hand(tx: &mut Tx, order: OrderId) -> Stored<bool> {
    Ok(sqlx::query_scalar!(
        r#"/* refunds::awaits_a_hand */
        select exists (select from refunds where order_id = $1 and provider <> 'stripe' and state = 'requested') as "any!""#,
        order.uuid()
    )
    .fetch_one(tx.conn())
    .await?)
}

/// What was told of a refund.
#[derive(Clone, Debug)]
pub struct News<'a> {
    /// Where it stands now.
    pub state: State,
    /// The provider's id of it, where it was seen there.
    pub provider_id: Option<&'a str>,
    /// The provider's code of why it did not happen.
    pub failure: Option<&'a str>,
}

/// Moves a locked refund on. The database refuses a move that is not legal, and gives back what was set aside where the
/// refund did not happen.
pub async fn advance(tx: &mut Tx, refund: &Refund, news: &News<'_>) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* refunds::advance */
        update refunds set state = $3, provider_refund_id = coalesce(provider_refund_id, $4), failure = coalesce($5, failure),
               settled_at = case when $3 in ('succeeded', 'cancelled', 'failed') then clock_timestamp() end
         where id = $1 and state = $2"#,
        refund.id.uuid(),
        refund.state.name(),
        news.state.name(),
        news.provider_id,
        news.failure
    )
    .execute(tx.conn())
    .await?;
    exactly("refunds::advance", 1, done.rows_affected())
}
