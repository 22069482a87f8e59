//! What follows when a card is declined: by the shop's word the customer tries again, begins anew, or is let go.
//!
//! A decline ends no payment at its provider, which lets it be tried with another card. So a shop that wants the pieces
//! back has the payment cancelled first, and what its end brings is what it always brings: money that was faster counts.

use crate::config::Declined;
use crate::domain::event::StripeEvent;
use crate::domain::order::{CancelReason, Status};
use crate::ids::{OrderId, PaymentId};
use crate::job::Failure;
use crate::jobs::settlement::Books;
use crate::jobs::{Rules, payment_cancel, telling};
use crate::store::{Tx, orders, payments};

/// Remembers an attempt that was declined, and does what the shop wants done about it.
pub(super) async fn declined(
    tx: &mut Tx,
    rules: &Rules,
    books: &Books,
    (payment, order): (PaymentId, OrderId),
    event: &StripeEvent,
) -> Result<(), Failure> {
    let code = event.object.as_ref().and_then(|object| object.last_error.as_deref());
    payments::attempt_failed(tx, payment, &event.id, code.unwrap_or("unknown")).await?;
    let is_awaited = books.orders.get(&order).is_some_and(|order| order.status == Status::PendingPayment);
    let is_open = books.payments.get(&payment).is_some_and(|payment| !payment.state.is_over());
    if !is_awaited {
        return Ok(());
    }
    match rules.orders.declined {
        Declined::Release if is_open => payment_cancel::let_go(tx, &[payment], &event.id).await?,
        Declined::Cancel if is_open => {
            orders::request_cancel(tx, order, CancelReason::PaymentFailed, ("system", &event.id)).await?;
            let open = payments::open_of(tx, &[order]).await?.into_iter().map(|(_, payment)| payment);
            // The cancellation's own mail says that the payment failed.
            return payment_cancel::let_go(tx, &open.collect::<Vec<_>>(), &event.id).await;
        }
        Declined::Keep | Declined::Release | Declined::Cancel => {}
    }
    telling::tell_failed_attempt(tx, order, (payment, &event.id), &event.id).await
}
