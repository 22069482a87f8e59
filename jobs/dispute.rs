//! What follows when a bank wants a payment's money back: the one place where a dispute moves its order.
//!
//! While it lasts, nothing leaves the house and no money is sent beside it, or the customer has it twice: the order is on
//! hold, refunds that were not sent wait, and staff sees an exception. Won, the order goes on where it was. Lost, the money
//! is counted as gone, and a person decides what becomes of the order. What has left the house already stays where it is.

use std::collections::BTreeSet;

use super::commands::set_status;
use super::refund::Refund;
use crate::config::OrderSettings;
use crate::domain::dispute::{State, part};
use crate::domain::order::Status;
use crate::ids::{DisputeId, OrderId, PaymentId};
use crate::job::{Failure, NewJob};
use crate::store::disputes::{self, Dispute, Known};
use crate::store::exceptions::{self, Severity};
use crate::store::orders::{self, Move, Order};
use crate::store::payments::{self, Captured};
use crate::store::{Tx, jobs, refunds};

/// What a provider said of a dispute.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The provider's id of it.
    pub(super) provider_id: String,
    /// Where it stands.
    pub(super) state: State,
    /// How much the bank wants, in minor units.
    pub(super) amount_minor: i64,
    /// ISO 4217 code.
    pub(super) currency: String,
    /// The bank's reason, as a code.
    pub(super) reason: String,
}

/// Applies what was told of a dispute to it, its payment and its order, both locked by this transaction. False where the
/// payment has brought no money that we know of: whoever is told waits until it has. An older word changes nothing.
pub(super) async fn apply(
    tx: &mut Tx,
    settings: &OrderSettings,
    (order, payment): (&Order, PaymentId),
    told: &Told,
    cause: &str,
) -> Result<bool, Failure> {
    let captured = payments::captured_of(tx, order.id).await?;
    let Some(paid) = captured.iter().find(|captured| captured.id == payment) else { return Ok(false) };
    let all = disputes::of_order(tx, order.id).await?;
    let before = all.iter().find(|dispute| dispute.provider_id == told.provider_id);
    let state = before.map_or(told.state, |before| before.state.merged(told.state));
    let amount_minor = before.map_or(told.amount_minor, |before| before.amount_minor.max(told.amount_minor));
    if before.is_some_and(|before| (before.state, before.amount_minor) == (state, amount_minor)) {
        return Ok(true);
    }
    let known = Known {
        provider_id: &told.provider_id,
        state,
        amount: (amount_minor, &told.currency),
        part_minor: part((amount_minor, &told.currency), (paid.captured_minor, &paid.currency)),
        reason: &told.reason,
    };
    let id = disputes::write(tx, payment, &known).await?;
    let all = disputes::of_order(tx, order.id).await?;
    match state {
        State::Inquiry | State::Open | State::Lost => hold(tx, order, (id, &all), cause).await?,
        State::InquiryClosed | State::Won => release(tx, settings, order, (id, &all), cause).await?,
    }
    show(tx, order.id, &all, (&known, paid)).await?;
    if state != State::Open {
        send_what_waits(tx, order.id, payment, cause).await?;
    }
    orders::changed(tx, &[order.id], cause).await?;
    Ok(true)
}

/// The order waits for the dispute, if its goods are in the house and no person has set it aside.
async fn hold(
    tx: &mut Tx,
    order: &Order,
    (id, all): (DisputeId, &[Dispute]),
    cause: &str,
) -> Result<(), Failure> {
    if order.status.before_the_hand_over() {
        let step =
            Move { id: order.id, from: order.status, to: Status::OnHold, resume_to: Some(order.status) };
        orders::advance(tx, &[step], cause).await?;
        disputes::hold(tx, id, true).await?;
    } else if order.status == Status::OnHold && all.iter().any(|dispute| dispute.holds_order) {
        disputes::hold(tx, id, true).await?;
    }
    Ok(())
}

/// The order goes on where it was, if this dispute was the last that it waited for.
async fn release(
    tx: &mut Tx,
    settings: &OrderSettings,
    order: &Order,
    (id, all): (DisputeId, &[Dispute]),
    cause: &str,
) -> Result<(), Failure> {
    if !all.iter().any(|dispute| dispute.id == id && dispute.holds_order) {
        return Ok(());
    }
    disputes::hold(tx, id, false).await?;
    let others = all.iter().any(|dispute| dispute.id != id && dispute.holds_order);
    if let (false, Status::OnHold, Some(to)) = (others, order.status, order.resume_to) {
        let step = Move { id: order.id, from: Status::OnHold, to, resume_to: None };
        orders::advance(tx, &[step], cause).await?;
        set_status::follow(tx, settings, order, to, cause).await?;
    }
    Ok(())
}

/// What staff is shown of a dispute in this state.
const fn kind(state: State) -> Option<(&'static str, Severity)> {
    match state {
        State::Inquiry => Some(("dispute_inquiry", Severity::Warning)),
        State::Open => Some(("disputed", Severity::Critical)),
        State::Lost => Some(("dispute_lost", Severity::Critical)),
        State::InquiryClosed | State::Won => None,
    }
}

/// Opens the exception of where the dispute stands now, and resolves those that no dispute of the order needs any more.
async fn show(
    tx: &mut Tx,
    order: OrderId,
    all: &[Dispute],
    (known, paid): (&Known<'_>, &Captured),
) -> Result<(), Failure> {
    let needed: BTreeSet<&str> =
        all.iter().filter_map(|dispute| kind(dispute.state)).map(|(kind, _)| kind).collect();
    for state in State::ALL {
        if let Some((kind, _)) = kind(state).filter(|(kind, _)| !needed.contains(kind)) {
            exceptions::resolve_kind(tx, order, kind).await?;
        }
    }
    if let Some((kind, severity)) = kind(known.state) {
        let detail = format!(
            "{}: {} {} (minor units) of {} are {} ({}); {} of it were set aside to go back or went",
            known.provider_id,
            known.amount.0,
            known.amount.1.to_uppercase(),
            paid.id,
            known.state.name(),
            known.reason,
            paid.reserved_minor
        );
        exceptions::open(tx, order, kind, severity, &detail).await?;
    }
    Ok(())
}

/// Refunds that waited for the judgement are taken up: each is sent where its money is there, or called off.
async fn send_what_waits(
    tx: &mut Tx,
    order: OrderId,
    payment: PaymentId,
    cause: &str,
) -> Result<(), Failure> {
    let waiting = refunds::not_sent(tx, payment).await?;
    let sends = waiting.into_iter().map(|refund| {
        let job = Refund { order, refund };
        NewJob::of(&job, cause).once(job.key())
    });
    jobs::insert(tx, sends.collect()).await?;
    Ok(())
}
