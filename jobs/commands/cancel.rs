//! Calling an order off: by its buyer while nobody works on it, by staff until the goods leave the house.
//!
//! An order whose payment may still bring money is called off in two steps: here the wish is written and the payment's
//! cancellation begun, and whatever ends that payment ends the order. If the money was faster, it goes back.

use std::fmt;

use crate::auth::Role;
use crate::domain::order::{CancelReason, Status};
use crate::domain::payment::State;
use crate::ids::{OrderId, PaymentId};
use crate::job::{Failure, NewJob};
use crate::jobs::cancellation::{self, By};
use crate::jobs::payment_cancel::PaymentCancel;
use crate::jobs::{handover, payment_open};
use crate::store::{Tx, jobs, orders, payments, shipments};

/// Who wants an order called off, and why.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The part that they play.
    pub role: Role,
    /// Who they are, for the order's history.
    pub actor: String,
    /// Why.
    pub reason: CancelReason,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// It is called off; the money, if any came, is on its way back.
    Cancelled(Status),
    /// Its payment is being cancelled first.
    Requested,
}

/// An order that can't be called off, by where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCancellable(pub Status);

impl fmt::Display for NotCancellable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the order is {}: it can not be called off any more by this role", self.0)
    }
}

/// Calls an order off. Asked twice it is done once.
pub async fn cancel(
    tx: &mut Tx,
    id: OrderId,
    wish: &Wish,
    cause: &str,
) -> Result<Result<Became, NotCancellable>, Failure> {
    let order = orders::lock(tx, &[id]).await?.remove(&id);
    let order = order.ok_or_else(|| Failure::permanent("no_order", id))?;
    if order.status == Status::Cancelled
        || (order.status == Status::Refunded && order.cancel_reason.is_some())
    {
        return Ok(Ok(Became::Cancelled(order.status)));
    }
    if let Some(stands) = obstacle(order.status, order.resume_to, wish.role) {
        return Ok(Err(NotCancellable(stands)));
    }
    // Of an order that leaves in several parcels, a first one may be gone while it is still being packed.
    if shipments::ranks(tx, id).await?.is_some_and(shipments::Ranks::have_left) {
        return Ok(Err(NotCancellable(Status::Shipped)));
    }
    let open = still_open(tx, id).await?;
    if open.is_empty() {
        let by = By { reason: wish.reason, actor: &wish.actor, cause };
        cancellation::cancel(tx, &order, by).await?;
        return Ok(Ok(Became::Cancelled(Status::Cancelled)));
    }
    orders::request_cancel(tx, id, wish.reason, (&wish.actor, cause)).await?;
    let cancels = open
        .into_iter()
        .map(|payment| NewJob::of(&PaymentCancel { payment }, cause).once(PaymentCancel::key(payment)));
    jobs::insert(tx, cancels.collect()).await?;
    Ok(Ok(Became::Requested))
}

/// Where an order stands that this role can't call off. What waits aside is judged by where it goes on.
fn obstacle(status: Status, resume_to: Option<Status>, role: Role) -> Option<Status> {
    let gone = resume_to.filter(|to| !to.before_the_hand_over());
    gone.or((!status.may_be_moved_by(role, Status::Cancelled)).then_some(status))
}

/// The payments that may still bring money. One that the provider provably never heard of ends here,
/// and so does one that nobody can be asked to cancel.
pub(in crate::jobs) async fn still_open(tx: &mut Tx, order: OrderId) -> Result<Vec<PaymentId>, Failure> {
    let open: Vec<PaymentId> =
        payments::open_of(tx, &[order]).await?.into_iter().map(|(_, payment)| payment).collect();
    let known = payments::lock(tx, &open).await?;
    let mut left = Vec::with_capacity(open.len());
    for id in open {
        if known.get(&id).is_some_and(|payment| handover::begins_here(&payment.provider)) {
            payments::advance(tx, id, State::Cancelled).await?;
        } else if !payment_open::end_unsent(tx, id).await? {
            left.push(id);
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_left_the_house_is_not_called_off_wherever_it_waits() {
        for (status, resume_to, role, stands) in [
            (Status::PaymentConfirmed, None, Role::Customer, None),
            (Status::Processing, None, Role::Customer, Some(Status::Processing)),
            (Status::Processing, None, Role::Manager, None),
            (Status::Shipped, None, Role::Administrator, Some(Status::Shipped)),
            (Status::Exception, Some(Status::Packaging), Role::Manager, None),
            (Status::Exception, Some(Status::Shipped), Role::Manager, Some(Status::Shipped)),
            (Status::OnHold, Some(Status::PendingPayment), Role::Customer, Some(Status::OnHold)),
            (Status::Refunded, None, Role::Manager, Some(Status::Refunded)),
        ] {
            assert_eq!(obstacle(status, resume_to, role), stands, "{status} {resume_to:?} {role}");
        }
    }
}
