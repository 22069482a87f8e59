//! Disputes: what banks want back. A row is only touched under the locks of its order and its payment, so that it needs
//! none of its own; the database counts on the payment what is lost.

use std::collections::HashMap;

use uuid::Uuid;

use super::{StoreError, Stored, Tx, exactly};
use crate::domain::dispute::State;
use crate::ids::{DisputeId, OrderId, PaymentId};

/// A dispute.
#[derive(Clone, Debug)]
pub struct Dispute {
    /// Its id.
    pub id: DisputeId,
    /// The provider's id.
    pub provider_id: String,
    /// The payment that the bank wants back.
    pub payment: PaymentId,
    /// How much it wants, in minor units of its currency.
    pub amount_minor: i64,
    /// What is known of it.
    pub state: State,
    /// Whether its order waits for it, and goes on by itself once it has ended well.
    pub holds_order: bool,
}

/// What is to be known of a dispute from now on.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// The provider's id.
    pub provider_id: &'a str,
    /// Where it stands.
    pub state: State,
    /// How much the bank wants, in minor units, and of which currency.
    pub amount: (i64, &'a str),
    /// How much of the payment that is, in minor units of the payment's currency.
    pub part_minor: i64,
    /// The bank's reason, as a code.
    pub reason: &'a str,
}

/// Every dispute of an order, whose row is locked, by their ids.
pub async fn of_order(tx: &mut Tx, order: OrderId) -> Stored<Vec<Dispute>> {
    let rows = sqlx::query!(
        r#"/* disputes::of_order */
        select id, provider_dispute_id, payment_id, amount_minor, state, holds_order from disputes where order_id = $1 order by id"#,
        order.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    let read = rows.into_iter().map(|row| {
        let state = State::named(&row.state)
            .ok_or_else(|| StoreError::Unreadable { column: "disputes.state", value: row.state.clone() })?;
        Ok(Dispute {
            id: row.id.into(),
            provider_id: row.provider_dispute_id,
            payment: row.payment_id.into(),
            amount_minor: row.amount_minor,
            state,
            holds_order: row.holds_order,
        })
    });
    read.collect()
}

/// The payments and orders of disputes that are known by these ids of the provider's: not locked.
pub async fn find(
    tx: &mut Tx,
    provider: &str,
    provider_ids: &[String],
) -> Stored<HashMap<String, (PaymentId, OrderId)>> {
    let rows = sqlx::query!(
        r#"/* disputes::find */
        select provider_dispute_id, payment_id, order_id from disputes where provider = $1 and provider_dispute_id = any($2)"#,
        provider,
        provider_ids
    )
    .fetch_all(tx.conn())
    .await?;
    let found =
        rows.into_iter().map(|row| (row.provider_dispute_id, (row.payment_id.into(), row.order_id.into())));
    Ok(found.collect())
}

/// Writes what is known of a dispute of this payment, whose row is locked. The database refuses a step back.
pub async fn write(tx: &mut Tx, payment: PaymentId, known: &Known<'_>) -> Stored<DisputeId> {
    let row = sqlx::query!(
        r#"/* disputes::write */
        insert into disputes (id, order_id, payment_id, provider, provider_dispute_id, amount_minor, currency, part_minor, reason, state, closed_at)
        select $1, order_id, id, provider, $3, $4, $5, $6, $7, $8,
               case when $8 in ('inquiry_closed', 'lost', 'won') then clock_timestamp() end
          from payments where id = $2
        on conflict (provider, provider_dispute_id) do update
           set state = excluded.state, amount_minor = excluded.amount_minor, part_minor = excluded.part_minor,
               closed_at = case when excluded.closed_at is not null then coalesce(disputes.closed_at, excluded.closed_at) end
        returning id"#,
        DisputeId::new().uuid(),
        payment.uuid(),
        known.provider_id,
        known.amount.0,
        known.amount.1,
        known.part_minor,
        known.reason,
        known.state.name()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(row.id.into())
}

/// An order waits for a dispute, or no longer.
pub async fn hold(tx: &mut Tx, id: DisputeId, holds: bool) -> Stored<()> {
    let done = sqlx::query!(
        "/* disputes::hold */ update disputes set holds_order = $2 where id = $1",
        id.uuid(),
        holds
    )
    .execute(tx.conn())
    .await?;
    exactly("disputes::hold", 1, done.rows_affected())
}

/// Somebody moved the order by hand: no dispute moves it on by itself any more.
pub async fn let_go(tx: &mut Tx, order: OrderId) -> Stored<()> {
    sqlx::query!(
        "/* disputes::let_go */ update disputes set holds_order = false where order_id = $1 and holds_order",
        order.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Why no money of a payment goes back now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// A bank has taken it, and has not judged yet.
    Open,
    /// A bank has taken it for good: what is set aside to go back is no longer there.
    Lost,
}

/// What stands in the way of refunds of these payments, whose rows are locked.
pub async fn bars(tx: &mut Tx, payments: &[PaymentId]) -> Stored<HashMap<PaymentId, Bar>> {
    let ids: Vec<Uuid> = payments.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"/* disputes::bars */
        select p.id, exists (select from disputes d where d.payment_id = p.id and d.state = 'open') as "open!"
          from payments p
         where p.id = any($1)
           and (exists (select from disputes d where d.payment_id = p.id and d.state = 'open')
             or p.lost_minor > 0 and p.refund_reserved_minor + p.lost_minor > p.captured_minor)"#,
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (row.id.into(), if row.open { Bar::Open } else { Bar::Lost })).collect())
}
