//! Payments: opened, heard of, settled. A signal is applied only where its rank is higher than what is known.

use std::collections::HashMap;

use uuid::Uuid;

use super::{StoreError, Stored, Tx, exactly};
use crate::domain::payment::State;
use crate::domain::refund;
use crate::ids::{OrderId, PaymentId};

/// A payment, locked.
#[derive(Clone, Debug)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// What it pays.
    pub order: OrderId,
    /// Who takes the money.
    pub provider: String,
    /// The provider's id; none until the provider has answered.
    pub provider_id: Option<String>,
    /// What was asked for, in minor units.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// What is known of it.
    pub state: State,
}

/// Makes the payment row of this attempt, where it is not there yet, and returns it.
pub async fn ensure(
    tx: &mut Tx,
    order: OrderId,
    attempt_no: i32,
    provider: &str,
    amount: (i64, &str),
) -> Stored<Payment> {
    sqlx::query!(
        r#"/* payments::ensure */
        insert into payments (id, order_id, attempt_no, provider, amount_minor, currency, state)
        values ($1, $2, $3, $4, $5, $6, 'created') on conflict (order_id, attempt_no) do nothing"#,
        PaymentId::new().uuid(),
        order.uuid(),
        attempt_no,
        provider,
        amount.0,
        amount.1
    )
    .execute(tx.conn())
    .await?;
    let row = sqlx::query!(
        "/* payments::ensure */ select id from payments where order_id = $1 and attempt_no = $2",
        order.uuid(),
        attempt_no
    )
    .fetch_one(tx.conn())
    .await?;
    let found = lock(tx, &[row.id.into()]).await?.into_values().next();
    found.ok_or(StoreError::Rows { statement: "payments::ensure", wanted: 1, got: 0 })
}

/// A payment that begins without a call.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its id.
    pub id: PaymentId,
    /// What it pays.
    pub order: OrderId,
    /// Its number; the first is 1.
    pub attempt: i32,
    /// Who takes the money.
    pub provider: String,
    /// What the provider, or whoever records its money, knows it by.
    pub reference: String,
    /// Pending, or promised.
    pub state: State,
    /// What is asked for, in minor units.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// Makes the rows of payments that begin without a call: one statement for a slice.
pub async fn begin(tx: &mut Tx, payments: &[Begun]) -> Stored<()> {
    let rows = payments.iter().map(|payment| {
        serde_json::json!({
            "id": payment.id.uuid(), "order_id": payment.order.uuid(), "attempt_no": payment.attempt,
            "provider": payment.provider, "reference": payment.reference, "state": payment.state.name(),
            "amount_minor": payment.amount_minor, "currency": payment.currency,
        })
    });
    let done = sqlx::query!(
        r#"/* payments::begin */
        insert into payments (id, order_id, attempt_no, provider, provider_payment_id, amount_minor, currency, state, opened_at)
        select id, order_id, attempt_no, provider, reference, amount_minor, currency, state, clock_timestamp()
          from jsonb_to_recordset($1) as n(id uuid, order_id uuid, attempt_no int, provider text, reference text,
            amount_minor bigint, currency text, state text)"#,
        serde_json::Value::Array(rows.collect())
    )
    .execute(tx.conn())
    .await?;
    exactly("payments::begin", payments.len(), done.rows_affected())
}

/// Which payments these attempts of orders have, where their rows exist.
pub async fn of_attempts(
    tx: &mut Tx,
    attempts: &[(OrderId, i32)],
) -> Stored<HashMap<(OrderId, i32), PaymentId>> {
    let (orders, numbers): (Vec<Uuid>, Vec<i32>) =
        attempts.iter().map(|(order, number)| (order.uuid(), *number)).unzip();
    let rows = sqlx::query!(
        r#"/* payments::of_attempts */
        select p.order_id, p.attempt_no, p.id
          from payments p join unnest($1::uuid[], $2::int[]) as a(order_id, attempt_no)
            on a.order_id = p.order_id and a.attempt_no = p.attempt_no"#,
        &orders,
        &numbers
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| ((row.order_id.into(), row.attempt_no), row.id.into())).collect())
}

/// The last payment of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest {
    /// Its number; the first is 1.
    pub attempt: i32,
    /// Whether it may still bring money.
    pub is_open: bool,
    /// Whether the provider has answered that it knows it.
    pub is_known: bool,
}

/// The last payment of an order, whose row is locked; locked too.
pub async fn last_of(tx: &mut Tx, order: OrderId) -> Stored<Option<Payment>> {
    let id = sqlx::query_scalar!(
        "/* payments::last_of */ select id from payments where order_id = $1 order by attempt_no desc limit 1",
        order.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    match id {
        Some(id) => Ok(lock(tx, &[id.into()]).await?.into_values().next()),
        None => Ok(None),
    }
}

/// The last payment of an order, whose row is locked.
pub async fn latest(tx: &mut Tx, order: OrderId) -> Stored<Option<Latest>> {
    Ok(sqlx::query_as!(
        Latest,
        r#"/* payments::latest */
        select attempt_no as attempt, state not in ('cancelled', 'captured') as "is_open!",
               provider_payment_id is not null as "is_known!"
          from payments where order_id = $1 order by attempt_no desc limit 1"#,
        order.uuid()
    )
    .fetch_optional(tx.conn())
    .await?)
}

/// Locks payments by id.
pub async fn lock(tx: &mut Tx, ids: &[PaymentId]) -> Stored<HashMap<PaymentId, Payment>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"/* payments::lock */
        select id, order_id, provider, provider_payment_id, amount_minor, currency, state
          from payments where id = any($1) order by id for no key update"#,
        &ids
    )
    .fetch_all(tx.conn())
    .await?;
    let mut payments = HashMap::with_capacity(rows.len());
    for row in rows {
        let state = State::named(&row.state)
            .ok_or_else(|| StoreError::Unreadable { column: "payments.state", value: row.state.clone() })?;
        let payment = Payment {
            id: row.id.into(),
            order: row.order_id.into(),
            provider: row.provider,
            provider_id: row.provider_payment_id,
            amount_minor: row.amount_minor,
            currency: row.currency,
            state,
        };
        payments.insert(payment.id, payment);
    }
    Ok(payments)
}

/// The payments behind these provider ids, and their orders: not locked, because orders are locked first.
pub async fn find(
    tx: &mut Tx,
    provider: &str,
    provider_ids: &[String],
) -> Stored<HashMap<String, (PaymentId, OrderId)>> {
    let rows = sqlx::query!(
        r#"/* payments::find */
        select provider_payment_id as "provider_id!", id, order_id from payments
         where provider = $1 and provider_payment_id = any($2)"#,
        provider,
        provider_ids
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (row.provider_id, (row.id.into(), row.order_id.into()))).collect())
}

/// Whose order a payment pays: not locked, because orders are locked first.
pub async fn order_of(tx: &mut Tx, id: PaymentId) -> Stored<Option<OrderId>> {
    let order = sqlx::query_scalar!(
        "/* payments::order_of */ select order_id from payments where id = $1",
        id.uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(order.map(OrderId::from))
}

/// Makes a row for a payment that the provider opened a second time for `first`, whose order is locked. None where there
/// is one already.
pub async fn adopt(tx: &mut Tx, first: PaymentId, provider_id: &str) -> Stored<Option<PaymentId>> {
    let adopted = sqlx::query_scalar!(
        r#"/* payments::adopt */
        insert into payments (id, order_id, attempt_no, provider, account, provider_payment_id, amount_minor, currency, state, opened_at)
        select $1, p.order_id, (select max(attempt_no) + 1 from payments where order_id = p.order_id), p.provider, p.account, $3,
               p.amount_minor, p.currency, 'pending', clock_timestamp()
          from payments p where p.id = $2
        on conflict (provider, account, provider_payment_id) do nothing returning id"#,
        PaymentId::new().uuid(),
        first.uuid(),
        provider_id
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(adopted.map(PaymentId::from))
}

/// The payments of these orders that may still bring money: known to the provider or on their way there.
pub async fn open_of(tx: &mut Tx, orders: &[OrderId]) -> Stored<Vec<(OrderId, PaymentId)>> {
    let orders: Vec<Uuid> = orders.iter().map(|order| order.uuid()).collect();
    let rows = sqlx::query!(
        r#"/* payments::open_of */
        select order_id, id from payments where order_id = any($1) and state not in ('cancelled', 'captured') order by id"#,
        &orders
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|row| (row.order_id.into(), row.id.into())).collect())
}

/// The provider knows this payment now: its id, and the sealed secret that the browser pays with.
pub async fn opened(tx: &mut Tx, id: PaymentId, provider_id: &str, secret: Option<&[u8]>) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* payments::opened */
        update payments set provider_payment_id = $2, client_secret_enc = $3, opened_at = coalesce(opened_at, clock_timestamp()),
               state = case when state = 'created' then 'pending' else state end
         where id = $1"#,
        id.uuid(),
        provider_id,
        secret
    )
    .execute(tx.conn())
    .await?;
    exactly("payments::opened", 1, done.rows_affected())
}

/// What was heard is more than what was known: applied where the rank is still lower. Returns whether it was.
pub async fn advance(tx: &mut Tx, id: PaymentId, to: State) -> Stored<bool> {
    let done = sqlx::query!(
        r#"/* payments::advance */
        update payments set state = $2 where id = $1 and $2 <> 'captured' and rank <
          case $2 when 'pending' then 10 when 'requires_action' then 20 when 'processing' then 30 when 'authorized' then 40
                  when 'cancelled' then 50 else 0 end"#,
        id.uuid(),
        to.name()
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What captured money is to its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It pays the order.
    Primary,
    /// The order is paid already: to be refunded.
    Surplus,
    /// Amount or currency are wrong, or the stock is gone: a person or a policy decides.
    Candidate,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Surplus => "surplus",
            Self::Candidate => "candidate",
        }
    }
}

/// The money moved. Returns false where that was known already.
pub async fn captured(tx: &mut Tx, id: PaymentId, minor: i64, role: Role) -> Stored<bool> {
    let done = sqlx::query!(
        r#"/* payments::captured */
        update payments set state = 'captured', captured_minor = $2, role = $3, settled_at = clock_timestamp()
         where id = $1 and state <> 'captured'"#,
        id.uuid(),
        minor,
        role.name()
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A try that did not work, e.g. a declined card: kept, never lowers the rank.
pub async fn attempt_failed(tx: &mut Tx, id: PaymentId, attempt: &str, code: &str) -> Stored<()> {
    sqlx::query!(
        r#"/* payments::attempt_failed */
        insert into payment_attempts (payment_id, provider_attempt_id, outcome, code) values ($1, $2, 'failed', $3)
        on conflict do nothing"#,
        id.uuid(),
        attempt,
        code
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// A payment that brought money, locked.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Its id.
    pub id: PaymentId,
    /// What came in, in minor units.
    pub captured_minor: i64,
    /// What is set aside to go back, or went, in minor units.
    pub reserved_minor: i64,
    /// What banks took back for good, in minor units.
    pub lost_minor: i64,
    /// Whether a bank has taken it and has not judged yet.
    pub is_disputed: bool,
    /// ISO 4217 code.
    pub currency: String,
}

impl Captured {
    /// What may still go back, in minor units.
    #[must_use]
    pub fn left_minor(&self) -> i64 {
        refund::left(self.captured_minor, self.reserved_minor.saturating_add(self.lost_minor))
    }
}

/// Locks the payments of an order that brought money; the one that pays it comes first.
pub async fn captured_of(tx: &mut Tx, order: OrderId) -> Stored<Vec<Captured>> {
    let rows = sqlx::query!(
        r#"/* payments::captured_of */
        with locked as (
          select id, captured_minor, refund_reserved_minor, lost_minor, currency, role, attempt_no from payments
           where order_id = $1 and state = 'captured' order by id for no key update)
        select id, captured_minor, refund_reserved_minor, lost_minor, currency,
               exists (select from disputes d where d.payment_id = locked.id and d.state = 'open') as "is_disputed!"
          from locked order by role = 'primary' desc, attempt_no"#,
        order.uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Captured {
            id: row.id.into(),
            captured_minor: row.captured_minor,
            reserved_minor: row.refund_reserved_minor,
            lost_minor: row.lost_minor,
            is_disputed: row.is_disputed,
            currency: row.currency,
        })
        .collect())
}
