//! Paying again: after the hold ran out, or after the payment died, while the order can still be paid.
//!
//! All lines are held once more or none, and the next payment is opened. While a payment is open there is nothing to do:
//! the caller reads its secret from the intent's state, which is `reserved` again.

use std::fmt;

use crate::config::OrderSettings;
use crate::domain::offer::Offers;
use crate::domain::order::Status;
use crate::ids::OrderId;
use crate::job::{Failure, NewJob};
use crate::jobs::handover::{self, Handed};
use crate::jobs::payment_open::PaymentOpen;
use crate::jobs::reservation_expiry::ReservationExpiry;
use crate::store::payments::Latest;
use crate::store::reservations::{self, Again, HoldFor, Shortage};
use crate::store::{Tx, jobs, orders, payments};

/// Why an order is not paid again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It awaits no money: where it stands.
    Stands(Status),
    /// Its time is over.
    TooLate,
    /// The provider is being asked about the last payment: in a moment it is known.
    Closing,
    /// Of these there is not enough.
    Short(Vec<Shortage>),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stands(status) => {
                write!(f, "the order is {status}: only one that awaits its money is paid")
            }
            Self::TooLate => f.write_str("the time in which the order could be paid is over"),
            Self::Closing => f.write_str("the provider is being asked about the last payment"),
            Self::Short(short) => write!(f, "of {} articles there is not enough", short.len()),
        }
    }
}

/// Holds an order's pieces again where they are not held, and opens a payment where none is open.
pub async fn pay_again(
    tx: &mut Tx,
    (settings, offers): (&OrderSettings, &Offers),
    id: OrderId,
    cause: &str,
) -> Result<Result<(), Refused>, Failure> {
    let order = orders::lock(tx, &[id]).await?.remove(&id);
    let order = order.ok_or_else(|| Failure::permanent("no_order", id))?;
    if order.status != Status::PendingPayment {
        return Ok(Err(Refused::Stands(order.status)));
    }
    if order.cancel_requested {
        return Ok(Err(Refused::Stands(Status::Cancelled)));
    }
    let latest = payments::latest(tx, id).await?;
    match reservations::active(tx, &[id]).await?.first() {
        Some(held) if held.is_closing() => return Ok(Err(Refused::Closing)),
        Some(_) if latest.is_some_and(|latest| latest.is_open && latest.is_known) => return Ok(Ok(())),
        Some(_) => {}
        None if order.payable_for.is_zero() => return Ok(Err(Refused::TooLate)),
        None => {
            let time = HoldFor::from(settings);
            match reservations::again(tx, id, time).await? {
                Again::Short(short) => return Ok(Err(Refused::Short(short))),
                Again::Held(epoch) => {
                    let expiry = ReservationExpiry { order: id, epoch }.at_the_end(time.first, cause);
                    jobs::insert(tx, vec![expiry]).await?;
                }
            }
        }
    }
    let attempt = next_attempt(latest);
    if handover::begins_here(&order.payment_provider) {
        let amount = (order.total_minor, order.currency.as_str());
        let wanted = Handed { order: id, attempt, provider: &order.payment_provider, amount };
        handover::begin(tx, (settings, offers), &[wanted], cause).await?;
    } else {
        let open = NewJob::of(&PaymentOpen { order: id, attempt }, cause).once(PaymentOpen::key(id, attempt));
        jobs::insert(tx, vec![open]).await?;
    }
    orders::changed(tx, &[id], cause).await?;
    Ok(Ok(()))
}

/// A payment that the provider never heard of is opened under its own number; one that it knows is left to its end.
fn next_attempt(latest: Option<Latest>) -> i32 {
    match latest {
        None => 1,
        Some(latest) if latest.is_open && !latest.is_known => latest.attempt,
        Some(latest) => latest.attempt.saturating_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_that_the_provider_never_heard_of_keeps_its_number() {
        let latest = |is_open, is_known| Some(Latest { attempt: 3, is_open, is_known });
        assert_eq!(next_attempt(None), 1);
        assert_eq!(next_attempt(latest(true, false)), 3);
        assert_eq!(next_attempt(latest(true, true)), 4, "the old one is being cancelled");
        assert_eq!(next_attempt(latest(false, true)), 4);
        assert_eq!(next_attempt(latest(false, false)), 4);
    }
}
