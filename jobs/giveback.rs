//! Money that goes back: the one place where a refund is begun, and where what is told of one moves its order.
//!
//! Used by whatever finds that money has to go back (staff, a cancellation, money that does not fit) and by whatever
//! hears of a refund (its own job, a webhook), so that all of them come to the same end in any order.

use serde_json::json;

use super::payment_cancel;
use super::refund::Refund;
use super::telling;
use crate::domain::money::{Amount, Currency};
use crate::domain::notice::{Notice, Once};
use crate::domain::order::Status;
use crate::domain::refund::{Origin, State};
use crate::ids::{OrderId, PaymentId, RefundId};
use crate::job::{Failure, NewJob};
use crate::store::exceptions::{self, Severity};
use crate::store::orders::{self, Move, Order};
use crate::store::refunds::{self, NewRefund, News};
use crate::store::reservations::{self, End};
use crate::store::{Tx, coupons, jobs, payments};

/// Sets captured money aside to go back, and inserts the job that sends it. Once for a payment and an origin: asked for
/// again it changes nothing. The order and the payment are locked by this transaction.
pub(super) async fn open(
    tx: &mut Tx,
    payment: PaymentId,
    amount_minor: i64,
    origin: Origin,
    cause: &str,
) -> Result<(), Failure> {
    let new = NewRefund {
        payment,
        amount_minor,
        origin,
        key: format!("{}:{payment}", origin.name()),
        reason: String::new(),
        actor: "system".to_owned(),
    };
    begin(tx, &new, cause).await?;
    Ok(())
}

/// The same for any wish; none where it was made before.
pub(super) async fn begin(
    tx: &mut Tx,
    new: &NewRefund,
    cause: &str,
) -> Result<Option<(RefundId, OrderId)>, Failure> {
    let made = refunds::insert(tx, new, cause).await?;
    if let Some((refund, order)) = made {
        let job = Refund { order, refund };
        jobs::insert(tx, vec![NewJob::of(&job, cause).once(job.key())]).await?;
    }
    Ok(made)
}

/// Applies what was told of a refund to it and to its order, both locked by this transaction. An older word changes
/// nothing. Returns whether this one did.
pub(super) async fn apply(
    tx: &mut Tx,
    order: &Order,
    refund: &refunds::Refund,
    told: &News<'_>,
    cause: &str,
) -> Result<bool, Failure> {
    let state = refund.state.merged(told.state);
    if state == refund.state {
        return Ok(false);
    }
    refunds::advance(tx, refund, &News { state, ..told.clone() }).await?;
    match state {
        State::Succeeded => went_back(tx, order, refund, cause).await?,
        State::Failed | State::Cancelled => stayed(tx, order, refund, told.failure, cause).await?,
        State::Requested | State::Submitting | State::Unknown | State::Pending => {}
    }
    Ok(true)
}

/// Locks what ends with orders that were never paid as they should be, for the whole slice: holds, stock, coupons.
pub(super) async fn lock_ends(
    tx: &mut Tx,
    orders: impl Iterator<Item = &Order> + Send,
) -> Result<(), Failure> {
    let unpaid: Vec<OrderId> = orders.filter(|order| order.awaits_money()).map(|order| order.id).collect();
    if unpaid.is_empty() {
        return Ok(());
    }
    reservations::lock(tx, &unpaid).await?;
    Ok(coupons::lock_used(tx, &unpaid).await?)
}

/// The money is with the customer: it is counted, they are told, and an order that gave back all of it is refunded.
async fn went_back(tx: &mut Tx, order: &Order, refund: &refunds::Refund, cause: &str) -> Result<(), Failure> {
    if is_counted(order, refund) {
        orders::refund(tx, order.id, refund.amount_minor, cause).await?;
        let refunded = order.refunded_minor.saturating_add(refund.amount_minor);
        if refunded == order.captured_minor && order.status.may_become(Status::Refunded) {
            let step = Move { id: order.id, from: order.status, to: Status::Refunded, resume_to: None };
            orders::advance(tx, &[step], cause).await?;
            close(tx, order, cause).await?;
        }
    }
    let currency: Currency =
        refund.currency.parse().map_err(|error| Failure::permanent("bad_currency", error))?;
    let facts = json!({ "refunded": Amount::new(refund.amount_minor, currency).to_string() });
    let notice = (Notice::RefundConfirmation, Once::Refund(refund.id.uuid()));
    telling::tell_with(tx, order.id, notice, facts, cause).await
}

/// An order that is over holds no pieces, and no payment of it stays open; its coupon too is another's, unless it was
/// bought with it.
async fn close(tx: &mut Tx, order: &Order, cause: &str) -> Result<(), Failure> {
    let open = payments::open_of(tx, &[order.id]).await?;
    let open: Vec<PaymentId> = open.into_iter().map(|(_, payment)| payment).collect();
    payment_cancel::let_go(tx, &open, cause).await?;
    reservations::end(tx, &[order.id], End::Released).await?;
    if order.awaits_money() {
        coupons::give_back(tx, order.id).await?;
    }
    Ok(())
}

/// It did not happen, or the bank sent it back: the money is ours again, and a person has to see that.
async fn stayed(
    tx: &mut Tx,
    order: &Order,
    refund: &refunds::Refund,
    failure: Option<&str>,
    cause: &str,
) -> Result<(), Failure> {
    if refund.state == State::Succeeded && is_counted(order, refund) {
        orders::refund(tx, order.id, -refund.amount_minor, cause).await?;
    }
    let code = failure.unwrap_or("no reason told");
    let detail = format!(
        "{} of {} {} (minor units) did not go back: {code}",
        refund.id, refund.amount_minor, refund.currency
    );
    exceptions::open(tx, order.id, "refund_failed", Severity::Critical, &detail).await?;
    Ok(())
}

/// An order counts money of its own currency only.
fn is_counted(order: &Order, refund: &refunds::Refund) -> bool {
    order.currency.eq_ignore_ascii_case(&refund.currency)
}
