//! What of an order is not over yet: holds, exceptions, mails, labels on their way back, and every job that is about it, with
//! the id by which `queues why` is asked.
//!
//! A job's fields name the order, or only its intent, one of its payments or mails, or what an outside event is about.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{CommunicationId, IntentId, JobId, OrderId, PaymentId};
use crate::store::Stored;

/// What is not over yet, each in words.
pub(in crate::store) async fn open(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<String>> {
    let mut open = things(conn, order).await?;
    open.extend(jobs(conn, order).await?);
    Ok(open)
}

async fn things(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<String>> {
    Ok(sqlx::query_scalar!(
        r#"/* timeline::open */
        select what as "what!" from (
          select 'stock held until ' || to_char(max(expires_at) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC' as what from reservations where order_id = $1 and state = 'active' having count(*) > 0
          union all
          select 'exception ' || type || ' is ' || state from order_exceptions where order_id = $1 and state <> 'resolved'
          union all
          select 'refund by ' || provider || ' is ' || state from refunds where order_id = $1 and settled_at is null
          union all
          select 'label ' || carrier || ' ' || tracking_code || ' is to be given back' from labels where order_id = $1 and void_state = 'void_requested'
          union all
          select 'mail ' || kind || ' is ' || state from communications where order_id = $1 and state in ('queued', 'sending')
        ) open"#,
        order
    )
    .fetch_all(conn)
    .await?)
}

async fn jobs(conn: &mut PgConnection, order: Uuid) -> Stored<Vec<String>> {
    let about = sqlx::query!(
        r#"/* timeline::about */
        select o.intent_id,
               array(select id from payments where order_id = o.id) as "payments!",
               array(select id from communications where order_id = o.id) as "mails!",
               array(select provider_payment_id from payments where order_id = o.id and provider_payment_id is not null
                     union select tracker_id from labels where order_id = o.id and tracker_id is not null) as "objects!"
          from orders o where o.id = $1"#,
        order
    )
    .fetch_one(&mut *conn)
    .await?;
    let payments: Vec<String> =
        about.payments.into_iter().map(|id| PaymentId::from(id).to_string()).collect();
    let mails: Vec<String> =
        about.mails.into_iter().map(|id| CommunicationId::from(id).to_string()).collect();
    let rows = sqlx::query!(
        r#"/* timeline::jobs */
        select id, kind, run_at, attempts from jobs
         where payload ->> 'order' = $1 or payload ->> 'intent_id' = $2 or payload ->> 'payment' = any($3)
            or payload ->> 'communication' = any($4) or payload ->> 'object_id' = any($5)
         order by run_at, id"#,
        OrderId::from(order).to_string(),
        IntentId::from(about.intent_id).to_string(),
        &payments,
        &mails,
        &about.objects
    )
    .fetch_all(conn)
    .await?;
    let told = rows.into_iter().map(|row| {
        let (id, due) = (JobId::from(row.id), row.run_at.format("%Y-%m-%d %H:%M:%S"));
        format!("job {} {id} is due {due} UTC, {} attempts spent", row.kind, row.attempts)
    });
    Ok(told.collect())
}
