//! Order intents: what became of each wish.

use std::collections::HashSet;

use serde_json::Value;
use uuid::Uuid;

use super::{Stored, Tx, made};
use crate::domain::intent::AcceptedIntent;
use crate::ids::{IntentId, OrderId};

/// What became of an intent.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is an order now, and these lines are short in it.
    Accepted(OrderId, Option<Value>),
    /// It can not be one: a code, and the lines concerned.
    Rejected(&'static str, Value),
    /// It was given up: a code, and what is known.
    Failed(&'static str, Value),
}

/// Which of these have an outcome already.
pub async fn decided(tx: &mut Tx, intents: &[IntentId]) -> Stored<HashSet<IntentId>> {
    let ids: Vec<Uuid> = intents.iter().map(|id| id.uuid()).collect();
    let rows =
        sqlx::query_scalar!("/* intents::decided */ select id from order_intents where id = any($1)", &ids)
            .fetch_all(tx.conn())
            .await?;
    Ok(rows.into_iter().map(IntentId::from).collect())
}

/// Writes outcomes, sorted by the intents' ids, which others conflict on (by another order 39 of 160 slices deadlocked).
pub async fn decide(tx: &mut Tx, mut outcomes: Vec<(&AcceptedIntent, Outcome)>) -> Stored<()> {
    if outcomes.is_empty() {
        return Ok(());
    }
    outcomes.sort_by_key(|(intent, _)| intent.intent_id);
    let rows: Vec<Value> = outcomes.iter().map(|(intent, outcome)| row(intent, outcome)).collect();
    let done = sqlx::query!(
        r#"/* intents::decide */
        insert into order_intents (id, tenant, customer_id, cart_id, fingerprint, state, order_id, reject_code, reject_details, payload)
        select id, tenant, customer_id, cart_id, decode(fingerprint, 'hex'), state, order_id, reject_code, reject_details, payload
          from jsonb_to_recordset($1) as n(id uuid, tenant text, customer_id text, cart_id text, fingerprint text, state text,
            order_id uuid, reject_code text, reject_details jsonb, payload jsonb)
        on conflict (id) do nothing"#,
        Value::Array(rows)
    )
    .execute(tx.conn())
    .await?;
    for (intent, _) in &outcomes {
        tx.touch(intent.intent_id);
    }
    made("intents::decide", outcomes.len(), done.rows_affected())
}

/// Takes the answer back that these failed: they are to be decided after all. Their owners read `failed` until they are.
pub async fn take_back(tx: &mut Tx, intents: &[IntentId]) -> Stored<()> {
    let ids: Vec<Uuid> = intents.iter().map(|id| id.uuid()).collect();
    sqlx::query!(
        r#"/* intents::take_back */
        delete from order_intents where id in
          (select id from order_intents where id = any($1) and state = 'failed' order by id for update)"#,
        &ids
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn row(intent: &AcceptedIntent, outcome: &Outcome) -> Value {
    let (state, order, code, details) = match outcome {
        Outcome::Accepted(order, short) => ("accepted", Some(order.uuid()), None, short.as_ref()),
        Outcome::Rejected(code, details) => ("rejected", None, Some(*code), Some(details)),
        Outcome::Failed(code, details) => ("failed", None, Some(*code), Some(details)),
    };
    serde_json::json!({
        "id": intent.intent_id.uuid(), "tenant": intent.tenant, "customer_id": intent.body.customer_scope(),
        "cart_id": intent.body.cart_id, "fingerprint": intent.fingerprint, "state": state, "order_id": order,
        "reject_code": code, "reject_details": details, "payload": intent.body,
    })
}
