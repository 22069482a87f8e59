//! Payments that begin without a word to anybody: the customer is sent to a configured provider's page with a reference of
//! ours, or people take the money.
//!
//! There is nothing to ask and so nothing to wait for: the payment's row stands in the commit that holds the pieces, and
//! the order can be paid at once. Money on delivery is a promise: the order goes on, and its money is recorded when it comes.

use super::payment_status::PaymentStatus;
use crate::config::OrderSettings;
use crate::domain::offer::{self, CASH_ON_DELIVERY, Offers, STRIPE};
use crate::domain::payment::State;
use crate::ids::{OrderId, PaymentId};
use crate::job::Failure;
use crate::store::payments::{self, Begun};
use crate::store::{Tx, jobs};

/// A payment that is to begin.
pub(super) struct Handed<'a> {
    /// What it pays.
    pub(super) order: OrderId,
    /// Its first payment is 1.
    pub(super) attempt: i32,
    /// Who takes the money.
    pub(super) provider: &'a str,
    /// How much, in minor units, and of which currency.
    pub(super) amount: (i64, &'a str),
}

/// Whether a payment of this provider begins here, and not with a call.
pub(super) fn begins_here(provider: &str) -> bool {
    provider != STRIPE
}

/// Writes the payments, and the first look at each whose provider can be asked.
pub(super) async fn begin(
    tx: &mut Tx,
    (settings, offers): (&OrderSettings, &Offers),
    wanted: &[Handed<'_>],
    cause: &str,
) -> Result<(), Failure> {
    let begun: Vec<Begun> = wanted.iter().map(begun).collect();
    if begun.is_empty() {
        return Ok(());
    }
    payments::begin(tx, &begun).await?;
    let can_be_asked = |name: &str| offers.configured(name).is_some_and(|provider| provider.can_be_asked);
    let asked = begun.iter().filter(|payment| can_be_asked(&payment.provider));
    let looks =
        asked.filter_map(|payment| PaymentStatus::scheduled((payment.order, payment.id), 0, settings, cause));
    jobs::insert(tx, looks.collect()).await?;
    Ok(())
}

fn begun(wanted: &Handed<'_>) -> Begun {
    let id = PaymentId::new();
    let is_promised = wanted.provider == CASH_ON_DELIVERY;
    Begun {
        id,
        order: wanted.order,
        attempt: wanted.attempt,
        provider: wanted.provider.to_owned(),
        reference: offer::reference(id),
        state: if is_promised { State::Authorized } else { State::Pending },
        amount_minor: wanted.amount.0,
        currency: wanted.amount.1.to_owned(),
    }
}
