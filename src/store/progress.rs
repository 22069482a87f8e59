//! How far a set of orders is: for whoever placed them and waits.

use uuid::Uuid;

use super::{Store, Stored};
use crate::ids::OrderId;

/// How far a set of orders is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Orders that are paid, labelled, and have both mails out.
    pub complete: u64,
    /// Orders with a primary payment.
    pub paid: u64,
    /// Orders with a live label.
    pub labelled: u64,
    /// Confirmations that the mail server accepted.
    pub confirmation_mails: u64,
    /// Shipping notices that the mail server accepted.
    pub shipping_mails: u64,
    /// Mails whose outcome nobody knew for a while.
    pub possible_duplicates: u64,
    /// Jobs given up, of any order.
    pub dead_letters: u64,
    /// From settled payment to bought label, in milliseconds, for each order that has both.
    pub payment_to_label_ms: Vec<u64>,
}

impl Store {
    /// How far these orders are.
    pub async fn progress(&self, orders: &[OrderId]) -> Stored<Progress> {
        let ids: Vec<Uuid> = orders.iter().map(|order| order.uuid()).collect();
        let rows = sqlx::query!(
            r#"/* progress::orders */
            select exists (select from payments p where p.order_id = o.id and p.role = 'primary') as "paid!",
                   exists (select from communications c where c.order_id = o.id and c.kind = 'order_confirmation' and c.state = 'sent') as "confirmed!",
                   exists (select from communications c where c.order_id = o.id and c.kind = 'shipping_notification' and c.state = 'sent') as "notified!",
                   coalesce((select sum(possible_duplicates) from communications c where c.order_id = o.id), 0)::bigint as "duplicates!",
                   (select min(l.purchased_at) from labels l where l.order_id = o.id and l.voided_at is null) as labelled_at,
                   (select (extract(epoch from min(l.purchased_at) - min(p.settled_at)) * 1000)::bigint
                      from labels l join payments p on p.order_id = l.order_id and p.role = 'primary' where l.order_id = o.id) as took_ms
              from orders o where o.id = any($1)"#,
            &ids
        )
        .fetch_all(self.pool())
        .await?;
        let dead = sqlx::query_scalar!(
            "/* progress::dead */ select count(*) as \"count!\" from dead_letters where replayed_at is null and dropped_at is null"
        )
        .fetch_one(self.pool())
        .await?;
        let mut progress = Progress { dead_letters: unsigned(dead), ..Progress::default() };
        for row in rows {
            let labelled = row.labelled_at.is_some();
            progress.paid += u64::from(row.paid);
            progress.labelled += u64::from(labelled);
            progress.confirmation_mails += u64::from(row.confirmed);
            progress.shipping_mails += u64::from(row.notified);
            progress.complete += u64::from(row.paid && labelled && row.confirmed && row.notified);
            progress.possible_duplicates += unsigned(row.duplicates);
            progress.payment_to_label_ms.extend(row.took_ms.map(unsigned));
        }
        Ok(progress)
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
