//! What changes an order: its moves, its money, its end. Each is a compare-and-swap on where it stands, and says who
//! wanted it and what caused it; the database writes the history from that.

use uuid::Uuid;

use super::Order;
use crate::domain::order::{CancelReason, Status};
use crate::ids::OrderId;
use crate::store::{Stored, Tx, exactly};

/// A move of one order: where it must stand, where it goes.
#[derive(Clone, Debug)]
pub struct Move {
    /// Which order.
    pub id: OrderId,
    /// Where it stands.
    pub from: Status,
    /// Where it goes.
    pub to: Status,
    /// Where it will resume: for holds and exceptions.
    pub resume_to: Option<Status>,
}

/// Moves orders, each from the state that it is expected in: one that stands elsewhere fails the whole statement.
/// At most one move of an order in one call.
#[expect(clippy::as_conversions, reason = "sqlx's way to say that an array holds nulls")]
pub async fn advance(tx: &mut Tx, moves: &[Move], cause: &str) -> Stored<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = moves.iter().map(|step| step.id.uuid()).collect();
    let from: Vec<String> = moves.iter().map(|step| step.from.name().to_owned()).collect();
    let to: Vec<String> = moves.iter().map(|step| step.to.name().to_owned()).collect();
    let resume: Vec<Option<String>> =
        moves.iter().map(|step| step.resume_to.map(|status| status.name().to_owned())).collect();
    let done = sqlx::query!(
        r#"/* orders::advance */
        update orders o set status = m.to_status, resume_to = m.resume_to, actor = 'system', cause = $5
          from unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) as m(id, from_status, to_status, resume_to)
         where o.id = m.id and o.status = m.from_status"#,
        &ids,
        &from,
        &to,
        &resume as &[Option<String>],
        cause
    )
    .execute(tx.conn())
    .await?;
    exactly("orders::advance", moves.len(), done.rows_affected())?;
    for step in moves {
        tx.touch_order(step.id);
    }
    Ok(())
}

/// Moves one order as a person asked for; `by` is who it was and what caused it.
pub async fn move_by_hand(tx: &mut Tx, step: &Move, by: (&str, &str)) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* orders::move_by_hand */
        update orders set status = $3, resume_to = $4, actor = $5, cause = $6 where id = $1 and status = $2"#,
        step.id.uuid(),
        step.from.name(),
        step.to.name(),
        step.resume_to.map(Status::name),
        by.0,
        by.1
    )
    .execute(tx.conn())
    .await?;
    tx.touch_order(step.id);
    exactly("orders::move_by_hand", 1, done.rows_affected())
}

/// Counts captured money, in minor units of the order's currency.
pub async fn capture(tx: &mut Tx, id: OrderId, minor: i64, cause: &str) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* orders::capture */
        update orders set captured_minor = captured_minor + $2, actor = 'system', cause = $3 where id = $1"#,
        id.uuid(),
        minor,
        cause
    )
    .execute(tx.conn())
    .await?;
    tx.touch_order(id);
    exactly("orders::capture", 1, done.rows_affected())
}

/// Calls off an order that stands where it was read; `by` is who did it and what caused it.
pub async fn cancel(tx: &mut Tx, order: &Order, reason: CancelReason, by: (&str, &str)) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* orders::cancel */
        update orders set status = 'cancelled', resume_to = null, cancel_reason = $3, cancel_requested = false,
               actor = $4, cause = $5
         where id = $1 and status = $2"#,
        order.id.uuid(),
        order.status.name(),
        reason.name(),
        by.0,
        by.1
    )
    .execute(tx.conn())
    .await?;
    tx.touch_order(order.id);
    exactly("orders::cancel", 1, done.rows_affected())
}

/// Writes that an order is to be called off once its payment can bring no more money. The first reason stays.
pub async fn request_cancel(tx: &mut Tx, id: OrderId, reason: CancelReason, by: (&str, &str)) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* orders::request_cancel */
        update orders set cancel_requested = true, cancel_reason = coalesce(cancel_reason, $2), actor = $3, cause = $4
         where id = $1"#,
        id.uuid(),
        reason.name(),
        by.0,
        by.1
    )
    .execute(tx.conn())
    .await?;
    tx.touch_order(id);
    exactly("orders::request_cancel", 1, done.rows_affected())
}

/// Counts money that went back, in minor units of the order's currency; less than nothing where the bank sent it back again.
pub async fn refund(tx: &mut Tx, id: OrderId, minor: i64, cause: &str) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* orders::refund */
        update orders set refunded_minor = refunded_minor + $2, actor = 'system', cause = $3 where id = $1"#,
        id.uuid(),
        minor,
        cause
    )
    .execute(tx.conn())
    .await?;
    tx.touch_order(id);
    exactly("orders::refund", 1, done.rows_affected())
}

/// While an order waits aside, what it resumes to is another now.
pub async fn resume_elsewhere(tx: &mut Tx, id: OrderId, to: Status, cause: &str) -> Stored<()> {
    let done = sqlx::query!(
        r#"/* orders::resume_elsewhere */
        update orders set resume_to = $2, actor = 'system', cause = $3 where id = $1 and resume_to is not null"#,
        id.uuid(),
        to.name(),
        cause
    )
    .execute(tx.conn())
    .await?;
    tx.touch_order(id);
    exactly("orders::resume_elsewhere", 1, done.rows_affected())
}

/// Something about these orders changed that their readers see: their versions rise.
pub async fn changed(tx: &mut Tx, ids: &[OrderId], cause: &str) -> Stored<()> {
    let uuids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    sqlx::query!(
        "/* orders::changed */ update orders set actor = 'system', cause = $2 where id = any($1)",
        &uuids,
        cause
    )
    .execute(tx.conn())
    .await?;
    for id in ids {
        tx.touch_order(*id);
    }
    Ok(())
}

/// The same for many, each with its own cause.
pub async fn changed_each(tx: &mut Tx, changes: &[(OrderId, String)]) -> Stored<()> {
    let (ids, causes): (Vec<Uuid>, Vec<String>) =
        changes.iter().map(|(id, cause)| (id.uuid(), cause.clone())).unzip();
    sqlx::query!(
        r#"/* orders::changed_each */
        update orders o set actor = 'system', cause = n.cause
          from unnest($1::uuid[], $2::text[]) as n(id, cause) where o.id = n.id"#,
        &ids,
        &causes
    )
    .execute(tx.conn())
    .await?;
    for (id, _) in changes {
        tx.touch_order(*id);
    }
    Ok(())
}
