//! Moving an order on by hand: along the legal moves, by those who may make them, from the version that they saw.
//!
//! An order that waits aside goes on where it would have gone on, and nowhere else. Calling an order off and giving its
//! money back undo more than a status: they are commands of their own.

use std::fmt;

use serde_json::json;

use crate::auth::Role;
use crate::config::OrderSettings;
use crate::domain::notice::{Notice, Once};
use crate::domain::order::Status;
use crate::ids::OrderId;
use crate::job::Failure;
use crate::jobs::order_lapse::OrderLapse;
use crate::jobs::{order_completion, settlement, shipping_label, telling};
use crate::store::exceptions::{self, Severity};
use crate::store::orders::{self, Move, Order};
use crate::store::reservations::{self, HoldFor};
use crate::store::{Tx, disputes, jobs, shipments};

/// Where somebody wants an order to go.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The part that they play.
    pub role: Role,
    /// Who they are, for the order's history.
    pub actor: String,
    /// Where to.
    pub to: Status,
    /// The version that they saw; none is whatever there is.
    pub version: Option<i64>,
}

/// Where the order stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its status.
    pub status: Status,
    /// Where it goes on, while it waits aside.
    pub resumes: Option<Status>,
    /// Its version.
    pub version: i64,
}

/// Why an order is not moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was changed since: its version now.
    Changed(i64),
    /// The move is not legal from where it stands, or not for this role: these are.
    Illegal(Status, Vec<Status>),
    /// It would await money while other money of it is here.
    Unsettled,
    /// It would leave without a label.
    NoLabel,
    /// It would go on while a bank wants its money back.
    Disputed,
    /// It would be done with while its money is still owed.
    Unpaid,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(version) => write!(f, "the order was changed meanwhile: its version is {version}"),
            Self::Illegal(from, _) => write!(f, "an order that is {from} does not go there by this role"),
            Self::Unsettled => f.write_str("money came that does not pay the order: give it back first"),
            Self::NoLabel => f.write_str("the parcel has no label"),
            Self::Disputed => {
                f.write_str("a bank wants the money of this order back: it waits until that is decided")
            }
            Self::Unpaid => f.write_str("its money has not come: record it first"),
        }
    }
}

/// Moves an order.
pub async fn set_status(
    tx: &mut Tx,
    settings: &OrderSettings,
    id: OrderId,
    wish: &Wish,
    cause: &str,
) -> Result<Result<Moved, Refused>, Failure> {
    let order = orders::lock(tx, &[id]).await?.remove(&id);
    let order = order.ok_or_else(|| Failure::permanent("no_order", id))?;
    if wish.version.is_some_and(|version| version != order.version) {
        return Ok(Err(Refused::Changed(order.version)));
    }
    let legal = legal(&order, wish.role);
    if !legal.contains(&wish.to) {
        return Ok(Err(Refused::Illegal(order.status, legal)));
    }
    if let Some(refused) = missing(tx, &order, wish.to).await? {
        return Ok(Err(refused));
    }
    // Whoever moves an order by hand decides from now on when it goes on.
    disputes::let_go(tx, id).await?;
    let by = (wish.actor.as_str(), cause);
    if wish.to.is_aside() {
        set_aside(tx, settings, &order, wish.to, by).await?;
    } else {
        orders::move_by_hand(tx, &Move { id, from: order.status, to: wish.to, resume_to: None }, by).await?;
        if order.status.is_aside() {
            exceptions::resolve(tx, id).await?;
        }
        follow(tx, settings, &order, wish.to, cause).await?;
        tell_of_work(tx, settings, &order, wish.to, cause).await?;
    }
    let now = orders::lock(tx, &[id]).await?.remove(&id);
    let moved =
        now.map(|order| Moved { status: order.status, resumes: order.resume_to, version: order.version });
    Ok(moved.ok_or(Refused::Changed(0)))
}

/// Where this role may move the order by hand.
fn legal(order: &Order, role: Role) -> Vec<Status> {
    let goes_on = order.resume_to.unwrap_or(order.status);
    let by_hand = |to: &Status| {
        let is_own_command = matches!(to, Status::Cancelled | Status::Refunded);
        // What has left the house can not be held back.
        let can_wait = *to == Status::Exception || goes_on.before_the_hand_over();
        let goes_there = !order.status.is_aside() || order.resume_to == Some(*to);
        !is_own_command && if to.is_aside() { can_wait } else { goes_there }
    };
    order.status.offers(role).into_iter().filter(by_hand).collect()
}

/// What has to be there before an order goes there.
async fn missing(tx: &mut Tx, order: &Order, to: Status) -> Result<Option<Refused>, Failure> {
    if to == Status::PendingPayment && order.captured_minor > order.refunded_minor {
        return Ok(Some(Refused::Unsettled));
    }
    let stays = order.resume_to.unwrap_or(order.status).before_the_hand_over();
    if stays
        && !to.is_aside()
        && disputes::of_order(tx, order.id).await?.iter().any(|dispute| dispute.state.is_live())
    {
        return Ok(Some(Refused::Disputed));
    }
    if to == Status::Completed && order.total_minor > 0 && order.captured_minor == 0 {
        return Ok(Some(Refused::Unpaid));
    }
    let is_here = matches!(order.status, Status::Packaging | Status::Fulfilled);
    let leaves = is_here && matches!(to, Status::Fulfilled | Status::Shipped);
    if leaves && !shipments::all_labelled(tx, order.id).await? {
        return Ok(Some(Refused::NoLabel));
    }
    Ok(None)
}

/// The order waits, and remembers where it goes on. One that awaits its money keeps its pieces a while longer, once.
async fn set_aside(
    tx: &mut Tx,
    settings: &OrderSettings,
    order: &Order,
    to: Status,
    by: (&str, &str),
) -> Result<(), Failure> {
    let resume_to = order.resume_to.or(Some(order.status));
    orders::move_by_hand(tx, &Move { id: order.id, from: order.status, to, resume_to }, by).await?;
    if to == Status::Exception {
        let detail = format!("set aside by {}", by.0);
        exceptions::open(tx, order.id, "set_aside", Severity::Warning, &detail).await?;
    }
    let held = reservations::active(tx, &[order.id]).await?;
    let is_first = order.status == Status::PendingPayment;
    if is_first && held.first().is_some_and(|held| held.extensions_left > 0 && !held.is_closing()) {
        reservations::extend(tx, order.id, HoldFor::from(settings).first, true).await?;
    }
    Ok(())
}

/// Shops that want it tell their customers that somebody is at work on the order.
async fn tell_of_work(
    tx: &mut Tx,
    settings: &OrderSettings,
    order: &Order,
    to: Status,
    cause: &str,
) -> Result<(), Failure> {
    let is_work = matches!(to, Status::Processing | Status::InProduction | Status::QualityCheck);
    if !is_work || !settings.also_mails(Notice::ProcessingUpdate.name()) {
        return Ok(());
    }
    let told = (Notice::ProcessingUpdate, Once::Move(order.id.uuid(), order.version));
    telling::tell_with(tx, order.id, told, json!({ "stage": to.to_string() }), cause).await
}

/// What an order that arrives there has to be followed by.
pub(in crate::jobs) async fn follow(
    tx: &mut Tx,
    settings: &OrderSettings,
    order: &Order,
    to: Status,
    cause: &str,
) -> Result<(), Failure> {
    match to {
        Status::PendingPayment => {
            jobs::insert(tx, vec![OrderLapse::of(order, cause)]).await?;
            Ok(())
        }
        Status::PaymentConfirmed => settlement::go_on(tx, settings, order.id, cause).await,
        Status::Delivered => order_completion::after_delivery(tx, settings, order.id, cause).await,
        Status::Packaging if settings.auto_fulfil => shipping_label::want_again(tx, order.id, cause).await,
        Status::Confirmed
        | Status::Processing
        | Status::InProduction
        | Status::QualityCheck
        | Status::Packaging
        | Status::Fulfilled
        | Status::Shipped
        | Status::OutForDelivery
        | Status::Completed
        | Status::OnHold
        | Status::Exception
        | Status::Cancelled
        | Status::Refunded => Ok(()),
    }
}
