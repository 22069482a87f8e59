//! A look at the provider, because the customer is back from the payment page: it never completes an order in line.

use crate::domain::offer::Offers;
use crate::ids::{OrderId, PaymentId};
use crate::job::Failure;
use crate::jobs::handover;
use crate::jobs::payment_status::PaymentStatus;
use crate::jobs::payment_sync::PaymentSync;
use crate::store::{Tx, jobs, payments};

/// Inserts a look at each payment of an order that may still bring money; while one waits, none is added.
pub async fn refresh(tx: &mut Tx, offers: &Offers, order: OrderId, cause: &str) -> Result<(), Failure> {
    let open: Vec<PaymentId> = payments::open_of(tx, &[order]).await?.into_iter().map(|(_, id)| id).collect();
    let known = payments::lock(tx, &open).await?;
    let looks = known.values().filter_map(|payment| {
        let of = (order, payment.id);
        if !handover::begins_here(&payment.provider) {
            return Some(PaymentSync::now(of, "refresh", cause));
        }
        let can_be_asked = offers.configured(&payment.provider)?.can_be_asked;
        can_be_asked.then(|| PaymentStatus::now(of, "refresh", cause))
    });
    jobs::insert(tx, looks.collect()).await?;
    // Written again from Postgres, whatever there is to look at.
    tx.touch_order(order);
    Ok(())
}
