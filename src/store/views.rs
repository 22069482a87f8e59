//! Read-only questions: where is my order, what does the outside see of it.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Store, Stored};
use crate::ids::{IntentId, OrderId};

/// An intent as its owner sees it. Goes into Redis as the projection; `client_secret` is still encrypted here.
#[derive(Clone, Debug)]
pub struct IntentState {
    /// The intent.
    pub intent: IntentId,
    /// Grows with every public change: the intent's version and its order's together.
    pub version: i64,
    /// The public fields of `GET /v1/order-intents/{id}`, with `client_secret_enc` (base64) and `customer_id`, `tenant`
    /// (whose it is) and, where it is not Stripe, `payment_provider` beside them for the reader.
    pub state: Value,
}

/// The public states of these intents, and of the intents of these orders.
pub(crate) async fn intent_states(
    conn: &mut PgConnection,
    intents: &[Uuid],
    orders: &[Uuid],
) -> Stored<Vec<IntentState>> {
    let rows = sqlx::query!(
        r#"/* views::intent_states */
        select i.id as "id!", i.version + coalesce(o.version, 0) as "version!",
          jsonb_build_object(
            'intent_id', i.id, 'tenant', i.tenant, 'customer_id', i.customer_id,
            'status', case
               when i.state <> 'accepted' then i.state
               when o.status = 'cancelled' then 'cancelled'
               when o.status = 'refunded' and (o.cancel_reason is not null or p.role is distinct from 'primary') then 'cancelled'
               when p.role = 'primary' or (select s.is_paid from order_statuses s where s.status = coalesce(o.resume_to, o.status)) then 'paid'
               when r.active then 'reserved' else 'expired' end,
            'order_id', o.id, 'order_number', o.order_number, 'order_status', o.status,
            'payment_intent_id', case when r.active or p.state = 'captured' then p.provider_payment_id end,
            'client_secret_enc', case when r.active and p.rank < 50 then encode(p.client_secret_enc, 'base64') end,
            'amount_cents', o.total_minor, 'currency', o.currency, 'expires_at', r.expires_at,
            'error', i.reject_code, 'details', coalesce(i.reject_details, '[]')
          ) || case when p.provider <> 'stripe' then jsonb_build_object('payment_provider', p.provider) else '{}' end as "state!"
        from order_intents i
        left join orders o on o.id = i.order_id
        left join lateral (select true as active, max(expires_at) as expires_at from reservations
                            where order_id = o.id and state = 'active' having count(*) > 0) r on true
        left join lateral (select provider, provider_payment_id, client_secret_enc, state, rank, role from payments
                            where order_id = o.id order by (role = 'primary') desc, attempt_no desc limit 1) p on true
        where i.id = any($1) or i.order_id = any($2)"#,
        intents,
        orders
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| IntentState { intent: row.id.into(), version: row.version, state: public(row.state) })
        .collect())
}

/// Writes the ids as the outside reads them, and adds what follows from the status.
fn public(mut state: Value) -> Value {
    let as_id = |value: &Value| value.as_str().and_then(|text| text.parse::<Uuid>().ok());
    if let Some(id) = as_id(&state["intent_id"]) {
        state["intent_id"] = IntentId::from(id).to_string().into();
    }
    if let Some(id) = as_id(&state["order_id"]) {
        state["order_id"] = OrderId::from(id).to_string().into();
    }
    let success = match state["status"].as_str() {
        Some("reserved" | "paid") => Value::Bool(true),
        Some("rejected" | "failed" | "cancelled" | "expired") => Value::Bool(false),
        _ => Value::Null,
    };
    state["success"] = success;
    state
}

impl Store {
    /// The public state of one intent, where Redis no longer has it.
    pub async fn intent_state(&self, intent: IntentId) -> Stored<Option<IntentState>> {
        let mut conn = self.pool().acquire().await?;
        Ok(intent_states(&mut conn, &[intent.uuid()], &[]).await?.pop())
    }
}
