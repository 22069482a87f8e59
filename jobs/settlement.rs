//! What follows from what a provider says of a payment: the one place where money moves an order.
//!
//! Used by every kind that hears of money (a webhook, an expiry, a cancellation), so that all of them come to the same
//! end in any order. Late money confirms where all pieces can be held once more. Money that does not fit (the pieces are
//! gone, surplus, another amount) never confirms anything: it is captured in our books, and goes back or opens an
//! exception, so that it is never kept in silence.

use serde_json::{Value, json};

use super::Rules;
use super::cancellation::{self, By};
use super::giveback;
use super::order_lapse::OrderLapse;
use super::payment_cancel;
use super::payment_sync::PaymentSync;
use super::reservation_expiry::ReservationExpiry;
use super::shipping_label;
use super::telling;
use crate::config::{LatePayment, Mismatch, OrderSettings};
use crate::domain::money::Amount;
use crate::domain::notice::{Notice, Once};
use crate::domain::offer::CASH_ON_DELIVERY;
use crate::domain::order::{CancelReason, Status};
use crate::domain::payment::{Match, State, compare};
use crate::domain::refund::Origin;
use crate::ids::OrderId;
use crate::job::Failure;
use crate::store::exceptions::{self, Severity};
use crate::store::orders::{self, Move, Order};
use crate::store::payments::{self, Payment, Role};
use crate::store::reservations::{self, Again, End, HoldFor};
use crate::store::{Tx, jobs};

mod books;

pub(super) use books::Books;

/// What a provider said of a payment, in our words.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// Where it stands.
    pub(super) state: State,
    /// What came in, in minor units.
    pub(super) received_minor: i64,
    /// ISO 4217 code.
    pub(super) currency: String,
}

impl Heard {
    /// Where it stands, where no money came in.
    pub(super) const fn without_money(state: State) -> Self {
        Self { state, received_minor: 0, currency: String::new() }
    }
}

/// Applies what was heard to a payment and its order, both locked by this transaction.
async fn apply(
    tx: &mut Tx,
    rules: &Rules,
    on: (&Order, &Payment),
    heard: &Heard,
    cause: &str,
) -> Result<(), Failure> {
    let (order, payment) = on;
    match heard.state {
        State::Captured => captured(tx, rules, on, heard, cause).await,
        State::Cancelled => cancelled(tx, order, payment, cause).await,
        State::Authorized => {
            if payments::advance(tx, payment.id, State::Authorized).await? {
                // Promised money is taken at once: a promise lapses.
                let of = (order.id, payment.id);
                jobs::insert(tx, vec![PaymentSync::now(of, "capture", cause)]).await?;
            }
            Ok(())
        }
        State::Created | State::Pending | State::RequiresAction | State::Processing => {
            payments::advance(tx, payment.id, heard.state).await?;
            Ok(())
        }
    }
}

async fn captured(
    tx: &mut Tx,
    rules: &Rules,
    (order, payment): (&Order, &Payment),
    heard: &Heard,
    cause: &str,
) -> Result<(), Failure> {
    if payment.state == State::Captured {
        return Ok(());
    }
    if is_promised(order, payment) {
        return collected(tx, (order, payment), heard, cause).await;
    }
    let fits = compare((heard.received_minor, &heard.currency), (order.total_minor, &order.currency));
    let verdict = match (order.awaits_money(), fits) {
        (true, _) if order.cancel_requested => Misfit::CalledOff,
        (true, Match::Mismatch) => mismatch(rules, payment, heard),
        (true, Match::Exact) => {
            if let Some(epoch) = held(tx, rules, order).await? {
                confirm(tx, rules, (order, payment), heard, cause).await?;
                tell_of_payment(tx, rules, (order, payment), heard, cause).await?;
                // Nothing is left to expire, and nothing to look at.
                let looks = PaymentSync::keys(payment.id);
                let done: Vec<String> = looks.chain([ReservationExpiry::key(order.id, epoch)]).collect();
                return Ok(jobs::forget(tx, &done).await?);
            }
            Misfit::StockLost
        }
        (false, _) if matches!(order.status, Status::Cancelled | Status::Refunded) => Misfit::AfterTheEnd,
        (false, _) => Misfit::Surplus,
    };
    misfit(tx, rules, (order, payment), (heard, verdict), cause).await
}

/// Whether the order went on without its money, which this payment promised to bring with the parcel.
fn is_promised(order: &Order, payment: &Payment) -> bool {
    payment.provider == CASH_ON_DELIVERY
        && payment.state == State::Authorized
        && order.captured_minor == 0
        && !order.awaits_money()
        && !matches!(order.status, Status::Cancelled | Status::Refunded)
}

/// Money that was promised has come. The order is on its way or there: nothing moves but the books. Another amount is
/// for a person: what is owed at a door does not go back by itself.
async fn collected(
    tx: &mut Tx,
    (order, payment): (&Order, &Payment),
    heard: &Heard,
    cause: &str,
) -> Result<(), Failure> {
    match compare((heard.received_minor, &heard.currency), (order.total_minor, &order.currency)) {
        Match::Exact => payments::captured(tx, payment.id, heard.received_minor, Role::Primary).await?,
        Match::Mismatch => {
            set_aside(tx, (order, payment), heard, "amount_mismatch", cause).await?;
            payments::captured(tx, payment.id, heard.received_minor, Role::Candidate).await?
        }
    };
    if heard.currency.eq_ignore_ascii_case(&order.currency) {
        orders::capture(tx, order.id, heard.received_minor, cause).await?;
    }
    Ok(())
}

/// The hold that the money pays for, by its epoch: the active one, or, where the money is late, all of it held once more.
/// None where others have the pieces by now.
async fn held(tx: &mut Tx, rules: &Rules, order: &Order) -> Result<Option<i32>, Failure> {
    if let Some(held) = reservations::active(tx, &[order.id]).await?.first() {
        return Ok(Some(held.epoch));
    }
    match reservations::again(tx, order.id, HoldFor::from(&rules.orders)).await? {
        Again::Held(epoch) => Ok(Some(epoch)),
        Again::Short(_) => Ok(None),
    }
}

/// Money that does not fit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Misfit {
    /// Another amount.
    Amount,
    /// Another amount or another currency, and a person decides what becomes of it.
    Undecided,
    /// The hold was over, and others have the pieces.
    StockLost,
    /// The order was over.
    AfterTheEnd,
    /// The order is called off as soon as its payment has ended, and the money was faster.
    CalledOff,
    /// The order was paid already.
    Surplus,
}

impl Misfit {
    /// The exception that shows it to a person; none where giving the money back is all that there is to do.
    const fn exception(self) -> Option<&'static str> {
        match self {
            Self::Amount | Self::Undecided => Some("amount_mismatch"),
            Self::StockLost => Some("stock_lost_after_payment"),
            Self::AfterTheEnd | Self::CalledOff | Self::Surplus => None,
        }
    }

    /// Why the money goes back; none where a person decides that, or the cancellation sees to it.
    const fn origin(self, late: LatePayment) -> Option<Origin> {
        match (self, late) {
            (Self::Undecided | Self::CalledOff, _) | (Self::StockLost, LatePayment::HoldForOps) => None,
            (Self::Amount, _) => Some(Origin::Mismatch),
            (Self::StockLost, LatePayment::ReserveOrRefund) | (Self::AfterTheEnd, _) => {
                Some(Origin::LatePayment)
            }
            (Self::Surplus, _) => Some(Origin::Surplus),
        }
    }
}

/// Money of another amount goes back, where the shop wants that. Of another currency than was asked for nobody can say
/// how much that is: a person decides.
fn mismatch(rules: &Rules, payment: &Payment, heard: &Heard) -> Misfit {
    let is_same_currency = payment.currency.eq_ignore_ascii_case(&heard.currency);
    match rules.orders.mismatch {
        Mismatch::Refund if is_same_currency => Misfit::Amount,
        Mismatch::Refund | Mismatch::Hold => Misfit::Undecided,
    }
}

/// Counts the money, shows to a person what is left to decide, and gives back what pays nothing.
async fn misfit(
    tx: &mut Tx,
    rules: &Rules,
    (order, payment): (&Order, &Payment),
    (heard, misfit): (&Heard, Misfit),
    cause: &str,
) -> Result<(), Failure> {
    let role = if misfit == Misfit::Surplus { Role::Surplus } else { Role::Candidate };
    payments::captured(tx, payment.id, heard.received_minor, role).await?;
    if heard.currency.eq_ignore_ascii_case(&order.currency) {
        orders::capture(tx, order.id, heard.received_minor, cause).await?;
    }
    if let Some(kind) = misfit.exception() {
        set_aside(tx, (order, payment), heard, kind, cause).await?;
    }
    if misfit == Misfit::CalledOff {
        call_off(tx, order, cause).await?;
    }
    if let Some(origin) = misfit.origin(rules.orders.late_payment) {
        giveback::open(tx, payment.id, heard.received_minor, origin, cause).await?;
    }
    Ok(())
}

/// Somebody wanted the order called off, and its payment has ended: now it is.
async fn call_off(tx: &mut Tx, order: &Order, cause: &str) -> Result<(), Failure> {
    let reason = order.cancel_reason.unwrap_or(CancelReason::Admin);
    cancellation::cancel(tx, order, By { reason, actor: "system", cause }).await
}

/// The order waits for a person, who is shown what came and what was due.
async fn set_aside(
    tx: &mut Tx,
    (order, payment): (&Order, &Payment),
    heard: &Heard,
    kind: &str,
    cause: &str,
) -> Result<(), Failure> {
    if order.status == Status::PendingPayment {
        let step = Move {
            id: order.id,
            from: order.status,
            to: Status::Exception,
            resume_to: Some(Status::PendingPayment),
        };
        orders::advance(tx, &[step], cause).await?;
    }
    let detail = format!(
        "{} came in by {}, {} were due, the order was {}",
        amount(heard.received_minor, &heard.currency),
        payment.id,
        amount(order.total_minor, &order.currency),
        order.status
    );
    exceptions::open(tx, order.id, kind, Severity::Critical, &detail).await?;
    Ok(())
}

/// An amount as operators read it: minor units, so that nothing is rounded.
fn amount(minor: i64, currency: &str) -> String {
    format!("{minor} {} (minor units)", currency.to_uppercase())
}

/// The money is right and the stock is held: the order is paid.
async fn confirm(
    tx: &mut Tx,
    rules: &Rules,
    (order, payment): (&Order, &Payment),
    heard: &Heard,
    cause: &str,
) -> Result<(), Failure> {
    payments::captured(tx, payment.id, heard.received_minor, Role::Primary).await?;
    orders::capture(tx, order.id, heard.received_minor, cause).await?;
    reservations::end(tx, &[order.id], End::Committed).await?;
    cancel_others(tx, order, payment, cause).await?;
    paid(tx, rules, order, cause).await
}

/// Shops that want it tell their customers of the payment, beside the order's confirmation.
async fn tell_of_payment(
    tx: &mut Tx,
    rules: &Rules,
    (order, payment): (&Order, &Payment),
    heard: &Heard,
    cause: &str,
) -> Result<(), Failure> {
    if !rules.orders.also_mails(Notice::PaymentConfirmation.name()) {
        return Ok(());
    }
    let currency = heard.currency.parse().map_err(|error| Failure::permanent("bad_currency", error))?;
    let facts = json!({ "paid": Amount::new(heard.received_minor, currency).to_string() });
    let told = (Notice::PaymentConfirmation, Once::Payment(payment.id.uuid()));
    telling::tell_with(tx, order.id, told, facts, cause).await
}

/// What follows when an order is paid: its status moves, the customer is told, the pipeline begins.
pub(super) async fn paid(tx: &mut Tx, rules: &Rules, order: &Order, cause: &str) -> Result<(), Failure> {
    if order.status.is_aside() {
        orders::resume_elsewhere(tx, order.id, Status::PaymentConfirmed, cause).await?;
    } else {
        walk(tx, order.id, Status::PendingPayment, &[Status::PaymentConfirmed], cause).await?;
        go_on(tx, &rules.orders, order.id, cause).await?;
    }
    let notice = (Notice::OrderConfirmation, Once::Order(order.id.uuid()));
    telling::tell_with(tx, order.id, notice, owed(order)?, cause).await
}

/// What is to be paid at the door, for the mail that must not say that it has come.
fn owed(order: &Order) -> Result<Value, Failure> {
    if order.payment_provider != CASH_ON_DELIVERY || order.total_minor == 0 {
        return Ok(json!({}));
    }
    let currency = order.currency.parse().map_err(|error| Failure::permanent("bad_currency", error))?;
    Ok(json!({ "due": Amount::new(order.total_minor, currency).to_string() }))
}

/// By policy, a paid order goes on to the packers and its label by itself.
pub(super) async fn go_on(
    tx: &mut Tx,
    settings: &OrderSettings,
    id: OrderId,
    cause: &str,
) -> Result<(), Failure> {
    if !settings.auto_fulfil {
        return Ok(());
    }
    walk(tx, id, Status::PaymentConfirmed, &[Status::Processing, Status::Packaging], cause).await?;
    shipping_label::want(tx, id, cause).await
}

/// Moves an order step by step.
pub(super) async fn walk(
    tx: &mut Tx,
    id: OrderId,
    mut from: Status,
    way: &[Status],
    cause: &str,
) -> Result<(), Failure> {
    for to in way.iter().copied() {
        orders::advance(tx, &[Move { id, from, to, resume_to: None }], cause).await?;
        from = to;
    }
    Ok(())
}

/// Every other payment of the order that may still bring money is cancelled.
async fn cancel_others(tx: &mut Tx, order: &Order, but: &Payment, cause: &str) -> Result<(), Failure> {
    let open = payments::open_of(tx, &[order.id]).await?;
    let others = open.into_iter().map(|(_, payment)| payment).filter(|payment| *payment != but.id);
    payment_cancel::let_go(tx, &others.collect::<Vec<_>>(), cause).await
}

/// The charge will not happen. The hold goes back at once, unless our own expiry asked for it and is about to do that.
async fn cancelled(tx: &mut Tx, order: &Order, payment: &Payment, cause: &str) -> Result<(), Failure> {
    if !payments::advance(tx, payment.id, State::Cancelled).await? {
        return Ok(());
    }
    jobs::forget(tx, &PaymentSync::keys(payment.id).collect::<Vec<_>>()).await?;
    if order.cancel_requested && payments::open_of(tx, &[order.id]).await?.is_empty() {
        return call_off(tx, order, cause).await;
    }
    let closing = reservations::active(tx, &[order.id]).await?.iter().any(reservations::Held::is_closing);
    let others = payments::open_of(tx, &[order.id]).await?;
    if order.status == Status::PendingPayment && !closing && others.is_empty() {
        reservations::end(tx, &[order.id], End::Released).await?;
        jobs::insert(tx, vec![OrderLapse::of(order, cause)]).await?;
    }
    orders::changed(tx, &[order.id], cause).await?;
    Ok(())
}
