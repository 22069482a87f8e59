//! The end of holds: what goes back, who is told, and what is left to do.

use std::collections::HashMap;

use serde_json::json;

use crate::domain::notice::{Notice, Once};
use crate::domain::order::Status;
use crate::ids::{OrderId, PaymentId};
use crate::job::{Failure, NewJob};
use crate::jobs::email::Email;
use crate::jobs::order_lapse::OrderLapse;
use crate::jobs::payment_cancel;
use crate::store::communications::{self, Telling};
use crate::store::exceptions::{self, Severity};
use crate::store::orders::Order;
use crate::store::reservations::{self, End};
use crate::store::{Tx, jobs, orders, payments};

/// Why a hold ends though nobody knows what the provider says: a person is told, and the payment is cancelled as soon as
/// that can be. Money that was faster is late.
pub(super) struct Unasked {
    kind: &'static str,
    detail: String,
}

impl Unasked {
    /// The provider gave no answer for too long.
    pub(super) fn no_answer(epoch: i32, why: &str, cause: &str) -> Self {
        let detail = format!("{cause} released hold {epoch} without the provider's answer: {why}");
        Self { kind: "expired_unasked", detail }
    }
}

/// A hold that ends now.
pub(super) struct Over<'a> {
    pub(super) order: &'a Order,
    pub(super) epoch: i32,
    pub(super) cause: String,
    pub(super) unasked: Option<Unasked>,
}

/// The stock goes back, and the customers learn that their orders can still be paid: one statement a table, because after a
/// sale thousands of holds end in one second. The stock comes last: an article that all of them hold takes one commit at a
/// time, and everything else is written before the others have to wait. What has no hold any more is left as it is.
pub(super) async fn expire(tx: &mut Tx, over: &[Over<'_>]) -> Result<(), Failure> {
    let ids: Vec<OrderId> = over.iter().map(|over| over.order.id).collect();
    let ending = reservations::ending(tx, &ids).await?;
    let over: Vec<&Over<'_>> = over.iter().filter(|over| ending.is_of(over.order.id)).collect();
    if over.is_empty() {
        return Ok(());
    }
    let changes: Vec<(OrderId, String)> =
        over.iter().map(|over| (over.order.id, over.cause.clone())).collect();
    orders::changed_each(tx, &changes).await?;
    tell(tx, &over).await?;
    for over in &over {
        if let Some(why) = &over.unasked {
            exceptions::open(tx, over.order.id, why.kind, Severity::Warning, &why.detail).await?;
            cancel_open(tx, over.order.id, &over.cause).await?;
        }
    }
    ending.end(tx, End::Expired).await?;
    // A transaction that is repeated counts again: rare, and an alert looks at the rate.
    metrics::counter!("orderfleet_holds_expired_total")
        .increment(u64::try_from(over.len()).unwrap_or_default());
    Ok(())
}

/// Tells the customers of orders that wait for money, and leaves the job that calls each off in the end.
async fn tell(tx: &mut Tx, over: &[&Over<'_>]) -> Result<(), Failure> {
    let unpaid: Vec<&&Over<'_>> =
        over.iter().filter(|over| over.order.status == Status::PendingPayment).collect();
    let told = communications::notify(tx, unpaid.iter().map(|over| over.telling()).collect()).await?;
    let cause_of: HashMap<OrderId, &str> =
        unpaid.iter().map(|over| (over.order.id, over.cause.as_str())).collect();
    let mails = told.into_iter().map(|(order, communication)| {
        NewJob::of(&Email { communication }, cause_of.get(&order).copied().unwrap_or_default())
    });
    let lapses = unpaid.iter().map(|over| OrderLapse::of(over.order, &over.cause));
    jobs::insert(tx, mails.chain(lapses).collect()).await?;
    Ok(())
}

impl Over<'_> {
    fn telling(&self) -> Telling {
        let once = Once::Hold(self.order.id.uuid(), self.epoch);
        Telling {
            order: self.order.id,
            notice: Notice::ReservationExpired,
            key: once.key(),
            facts: json!({}),
        }
    }
}

/// Ends a hold though nobody asks the provider, as [`Unasked`] says.
pub(in crate::jobs) async fn end_unasked(
    tx: &mut Tx,
    (order, epoch): (&Order, i32),
    (kind, detail): (&'static str, String),
    cause: &str,
) -> Result<(), Failure> {
    let unasked = Some(Unasked { kind, detail });
    expire(tx, &[Over { order, epoch, cause: cause.to_owned(), unasked }]).await
}

/// Nobody may pay any more what is still open.
pub(super) async fn cancel_open(tx: &mut Tx, order: OrderId, cause: &str) -> Result<(), Failure> {
    let open: Vec<PaymentId> = payments::open_of(tx, &[order]).await?.into_iter().map(|(_, id)| id).collect();
    payment_cancel::let_go(tx, &open, cause).await
}
