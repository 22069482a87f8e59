//! A look at the provider, because the customer is back from the payment page: it never completes an order in line.

use crate::ids::OrderId;
use crate::job::Failure;
use crate::jobs::payment_sync::PaymentSync;
use crate::store::{Tx, jobs, payments};

/// Inserts a look at each payment of an order that may still bring money; while one waits, none is added.
pub async fn refresh(tx: &mut Tx, order: OrderId, cause: &str) -> Result<(), Failure> {
    let open = payments::open_of(tx, &[order]).await?;
    let looks = open.into_iter().map(|of| PaymentSync::now(of, "refresh", cause));
    jobs::insert(tx, looks.collect()).await?;
    // Written again from Postgres, whatever there is to look at.
    tx.touch_order(order);
    Ok(())
}
