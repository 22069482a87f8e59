//! The dead letters of a customer who is being erased.

use uuid::Uuid;

use super::{PAGE, Whose};
use crate::store::retention::empty_letters;
use crate::store::{Stored, Tx};

/// What is written where a wish of theirs was still open.
const DROPPED: &str = "its customer was erased";

/// Their wishes that died. One that is still open is dropped: what it wished is gone.
pub(super) async fn of_wishes(tx: &mut Tx, whose: Whose<'_>, actor: &str) -> Stored<u64> {
    let letters = sqlx::query_scalar!(
        r#"/* erasure::letters_of_wishes */
        select id from dead_letters
         where kind = 'order-intent' and payload ->> 'tenant' = $1
           and coalesce(payload #>> '{body,customer,id}', 'guest:' || (payload #>> '{body,cart_id}')) = $2
         order by id limit $3 for no key update"#,
        whose.tenant,
        whose.customer,
        PAGE
    )
    .fetch_all(tx.conn())
    .await?;
    sqlx::query!(
        r#"/* erasure::letters_of_wishes */
        update dead_letters set dropped_at = now(), dropped_by = $2, drop_reason = $3
         where id = any($1) and replayed_at is null and dropped_at is null"#,
        &letters,
        actor,
        DROPPED
    )
    .execute(tx.conn())
    .await?;
    empty_letters(tx, &letters).await
}

/// What died about their orders and had its end since, however lately. What is open keeps them from being erased: it may be
/// money of which nobody knows yet.
pub(super) async fn of_orders(tx: &mut Tx, orders: &[Uuid]) -> Stored<u64> {
    let letters = sqlx::query_scalar!(
        r#"/* erasure::letters_of_orders */
        select id from dead_letters
         where coalesce(replayed_at, dropped_at) is not null and emptied_at is null
           and (order_id = any($1) or payload ->> 'object_id' = any(array(
                 select provider_payment_id from payments where order_id = any($1)
                 union all select provider_refund_id from refunds where order_id = any($1)
                 union all select provider_dispute_id from disputes where order_id = any($1)
                 union all select tracker_id from labels where order_id = any($1))))
         order by id for no key update"#,
        orders
    )
    .fetch_all(tx.conn())
    .await?;
    empty_letters(tx, &letters).await
}
