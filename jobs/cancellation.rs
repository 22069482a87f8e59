//! What an order's cancellation undoes, in one commit: the pieces go back on the shelf and its coupon to whoever
//! comes next, labels are voided, captured money
//! is set aside to go back, the customer is told.
//!
//! Used by whatever finds that an order will not be fulfilled. An order whose payment is still open is not cancelled here
//! before that payment is: money must never come in for what nobody will send.

use super::giveback;
use super::label_void::LabelVoid;
use super::telling;
use crate::domain::notice::{Notice, Once};
use crate::domain::order::CancelReason;
use crate::domain::refund::Origin;
use crate::ids::OrderId;
use crate::job::{Failure, NewJob};
use crate::store::orders::{self, Order};
use crate::store::reservations::{self, End};
use crate::store::{Tx, coupons, jobs, payments, shipments};

/// Why an order is called off, by whom, and what caused that.
#[derive(Clone, Copy, Debug)]
pub(super) struct By<'a> {
    /// Why.
    pub(super) reason: CancelReason,
    /// Who: system, or a role and its key.
    pub(super) actor: &'a str,
    /// The job, event or request.
    pub(super) cause: &'a str,
}

/// Cancels an order, which this transaction has locked and found to be one that may be.
pub(super) async fn cancel(tx: &mut Tx, order: &Order, by: By<'_>) -> Result<(), Failure> {
    orders::cancel(tx, order, by.reason, (by.actor, by.cause)).await?;
    for payment in payments::captured_of(tx, order.id).await? {
        if payment.left_minor() > 0 {
            giveback::open(tx, payment.id, payment.left_minor(), Origin::Cancel, by.cause).await?;
        }
    }
    reservations::end(tx, &[order.id], End::Released).await?;
    reservations::restock(tx, order.id, "cancel").await?;
    coupons::give_back(tx, order.id).await?;
    void_labels(tx, order.id, by.cause).await?;
    telling::tell(tx, order.id, Notice::Cancellation, Once::Order(order.id.uuid()), by.cause).await
}

/// Asks for every live label of an order to be voided.
pub(super) async fn void_labels(tx: &mut Tx, order: OrderId, cause: &str) -> Result<(), Failure> {
    let labels = shipments::request_voids(tx, order).await?;
    let voids = labels.into_iter().map(|label| {
        let job = LabelVoid { order, label };
        NewJob::of(&job, cause).once(job.key())
    });
    jobs::insert(tx, voids.collect()).await?;
    Ok(())
}
