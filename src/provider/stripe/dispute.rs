//! Looking at a dispute: for events that only name it.

use stripe::{RequestStrategy, StripeRequest};
use stripe_core::dispute::RetrieveDispute;

use super::{CallError, Cause, Stripe};
use crate::domain::dispute::State;
use crate::domain::money::{Amount, Currency, MoneyError};
use crate::job::Dependency;
use crate::provider::Call;

/// A dispute as Stripe told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisputeSeen {
    /// `dp_…`.
    pub id: String,
    /// `pi_…`, where it is about a payment of that kind.
    pub payment_intent: Option<String>,
    /// Where it stands.
    pub state: State,
    /// How much the bank wants, in minor units as we count them.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: Currency,
    /// The bank's reason, as a code.
    pub reason: String,
}

impl Stripe {
    /// Looks at a dispute.
    pub async fn retrieve_dispute(&self, id: &str) -> Result<DisputeSeen, CallError> {
        let request = RetrieveDispute::new(id);
        let answer = request.customize().request_strategy(RequestStrategy::Once).send(&self.wire).await;
        answer.and_then(seen).map_err(|cause| CallError { to: Dependency::Stripe, call: Call::Look, cause })
    }
}

fn seen(dispute: stripe_core::Dispute) -> Result<DisputeSeen, Cause> {
    let unreadable = |error: MoneyError| Cause::Unreadable(error.to_string());
    let currency: Currency = dispute.currency.to_string().parse().map_err(unreadable)?;
    let status = dispute.status.as_str();
    let state =
        State::of_stripe(status).ok_or_else(|| Cause::Unreadable(format!("a dispute is {status:?}")))?;
    Ok(DisputeSeen {
        id: dispute.id.to_string(),
        payment_intent: dispute.payment_intent.map(|intent| intent.id().to_string()),
        state,
        amount_minor: Amount::from_stripe(dispute.amount, currency).map_err(unreadable)?.minor,
        currency,
        reason: dispute.reason,
    })
}
