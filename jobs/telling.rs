//! Deciding that a customer is told something: the notice's row and the job that sends it, in the commit of what caused it.
//!
//! A rollback takes both away. What was decided before under the same key is not decided again, so every caller may come
//! twice.

use std::time::Duration;

use serde_json::{Value, json};

use super::email::Email;
use crate::domain::notice::{Notice, Once};
use crate::ids::{CommunicationId, OrderId, PaymentId};
use crate::job::{Failure, NewJob};
use crate::store::communications::{self, Telling};
use crate::store::{Tx, jobs};

/// Attempts to pay that are told in one hour of an order: whoever tries five cards need not read five mails.
const FAILURES_TOLD: i64 = 2;

/// Decides that the customer is told something, and inserts the job that tells them.
pub(super) async fn tell(
    tx: &mut Tx,
    order: OrderId,
    notice: Notice,
    once: Once<'_>,
    cause: &str,
) -> Result<(), Failure> {
    tell_with(tx, order, (notice, once), json!({}), cause).await
}

/// The same, with facts that the order's row does not hold.
pub(super) async fn tell_with(
    tx: &mut Tx,
    order: OrderId,
    told: (Notice, Once<'_>),
    facts: Value,
    cause: &str,
) -> Result<(), Failure> {
    let new = decide(tx, order, told, facts).await?;
    let mails = new.into_iter().map(|communication| NewJob::of(&Email { communication }, cause));
    jobs::insert(tx, mails.collect()).await?;
    Ok(())
}

/// The same, told after a while.
pub(super) async fn tell_after(
    tx: &mut Tx,
    order: OrderId,
    told: (Notice, Once<'_>),
    wait: Duration,
    cause: &str,
) -> Result<(), Failure> {
    let new = decide(tx, order, told, json!({})).await?;
    let mails = new.into_iter().map(|communication| NewJob::of(&Email { communication }, cause).after(wait));
    jobs::insert(tx, mails.collect()).await?;
    Ok(())
}

/// Tells of an attempt to pay that did not go through, unless enough of them were told lately.
pub(super) async fn tell_failed_attempt(
    tx: &mut Tx,
    order: OrderId,
    (payment, attempt): (PaymentId, &str),
    cause: &str,
) -> Result<(), Failure> {
    if communications::told_lately(tx, order, Notice::PaymentFailed).await? >= FAILURES_TOLD {
        return Ok(());
    }
    tell(tx, order, Notice::PaymentFailed, Once::Attempt(payment.uuid(), attempt), cause).await
}

async fn decide(
    tx: &mut Tx,
    order: OrderId,
    (notice, once): (Notice, Once<'_>),
    facts: Value,
) -> Result<Vec<CommunicationId>, Failure> {
    let told = communications::notify(tx, vec![Telling { order, notice, key: once.key(), facts }]).await?;
    Ok(told.into_iter().map(|(_, communication)| communication).collect())
}
