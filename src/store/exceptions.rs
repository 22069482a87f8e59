//! What a person must see about an order.

use std::collections::HashSet;

use uuid::Uuid;

use super::{Stored, Tx};
use crate::ids::{ExceptionId, OrderId};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look today.
    Warning,
    /// Money or goods are concerned: somebody must look now.
    Critical,
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Opens an exception; one of a type is open for an order at a time. `detail` holds ids, codes and amounts only.
pub async fn open(
    tx: &mut Tx,
    order: OrderId,
    kind: &str,
    severity: Severity,
    detail: &str,
) -> Stored<ExceptionId> {
    let row = sqlx::query!(
        r#"/* exceptions::open */
        insert into order_exceptions (id, order_id, type, severity, detail) values ($1, $2, $3, $4, $5)
        on conflict (order_id, type) where state <> 'resolved' do update set detail = excluded.detail
        returning id"#,
        ExceptionId::new().uuid(),
        order.uuid(),
        kind,
        severity.name(),
        detail
    )
    .fetch_one(tx.conn())
    .await?;
    tracing::warn!(order = %order, kind, severity = severity.name(), detail, "order exception opened");
    Ok(row.id.into())
}

/// Whether somebody has looked at an exception of this type, and let the order go on.
pub async fn was_resolved(tx: &mut Tx, order: OrderId, kind: &str) -> Stored<bool> {
    Ok(sqlx::query_scalar!(
        r#"/* exceptions::was_resolved */
        select exists (select from order_exceptions where order_id = $1 and type = $2 and state = 'resolved') as "was!""#,
        order.uuid(),
        kind
    )
    .fetch_one(tx.conn())
    .await?)
}

/// Resolves what was open of one type: it is over by itself.
pub async fn resolve_kind(tx: &mut Tx, order: OrderId, kind: &str) -> Stored<()> {
    sqlx::query!(
        r#"/* exceptions::resolve_kind */
        update order_exceptions set state = 'resolved', resolved_at = clock_timestamp()
         where order_id = $1 and type = $2 and state <> 'resolved'"#,
        order.uuid(),
        kind
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Resolves what was open about an order: somebody has looked at it and lets it go on.
pub async fn resolve(tx: &mut Tx, order: OrderId) -> Stored<()> {
    sqlx::query!(
        r#"/* exceptions::resolve */
        update order_exceptions set state = 'resolved', resolved_at = clock_timestamp()
         where order_id = $1 and state <> 'resolved'"#,
        order.uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Resolves, of these orders, the exceptions of a type that jobs of a kind opened when they were given up: all of those jobs
/// are replayed, or dropped.
pub async fn taken_up(tx: &mut Tx, orders: &[OrderId], exception: &str, kind: &str) -> Stored<()> {
    let orders: Vec<Uuid> = orders.iter().map(|order| order.uuid()).collect();
    sqlx::query!(
        r#"/* exceptions::taken_up */
        update order_exceptions e set state = 'resolved', resolved_at = clock_timestamp()
         where e.order_id = any($1) and e.type = $2 and e.state <> 'resolved'
           and not exists (select from dead_letters d where d.order_id = e.order_id and d.kind = $3
                                                        and d.replayed_at is null and d.dropped_at is null)"#,
        &orders,
        exception,
        kind
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Which of these orders have no exception open but one of this type.
pub async fn waits_only_for(tx: &mut Tx, orders: &[OrderId], exception: &str) -> Stored<HashSet<OrderId>> {
    let orders: Vec<Uuid> = orders.iter().map(|order| order.uuid()).collect();
    let rows = sqlx::query_scalar!(
        r#"/* exceptions::waits_only_for */
        select order_id from order_exceptions where order_id = any($1) and state <> 'resolved'
         group by order_id having bool_and(type = $2)"#,
        &orders,
        exception
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(OrderId::from).collect())
}
