//! Giving money back, and looking at what was given back.
//!
//! Our own id travels with each refund, so that one whose answer was lost is found again among those of its payment,
//! also after Stripe has forgotten the key. What Stripe tells is read word by word: an amount is never assumed.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use stripe::{RequestStrategy, StripeRequest};
use stripe_core::Refund;
use stripe_core::refund::{CreateRefund as Create, ListRefund, RetrieveRefund};
use stripe_types::List;

use super::{CallError, Cause, PAGE, PAGES, Stripe, UNEXPECTED, impossible, not_lost, once};
use crate::domain::money::{Amount, Currency, MoneyError};
use crate::domain::refund::State;
use crate::ids::{OrderId, RefundId};
use crate::job::Dependency;
use crate::provider::Call;

/// A refund to be asked for: frozen in the effect's row, so that a second try says the same words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateRefund {
    /// `pi_…`.
    pub payment_intent: String,
    /// How much, in minor units of `currency` as we count them.
    pub amount_minor: i64,
    /// ISO 4217, as the payment's.
    pub currency: Currency,
    /// Our refund.
    pub refund_id: RefundId,
    /// The order.
    pub order_id: OrderId,
}

/// A refund as Stripe told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundSeen {
    /// `re_…`.
    pub id: String,
    /// Where it stands: pending, succeeded, cancelled or failed.
    pub state: State,
    /// How much, in minor units as we count them.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: Currency,
    /// `pi_…`, where it belongs to a payment.
    pub payment_intent: Option<String>,
    /// Our refund, where it is one of ours.
    pub refund_id: Option<RefundId>,
    /// Stripe's code of why it failed.
    pub failure: Option<String>,
}

impl Stripe {
    /// Gives money back. The same key with the same request gives it back once, for a day.
    pub async fn refund(&self, refund: &CreateRefund, key: &str) -> Result<RefundSeen, CallError> {
        let amount = Amount::new(refund.amount_minor, refund.currency);
        let units = amount.to_stripe_refund().map_err(|error| impossible(&error))?;
        let metadata = HashMap::from([
            ("refund_id".to_owned(), refund.refund_id.to_string()),
            ("order_id".to_owned(), refund.order_id.to_string()),
        ]);
        let request =
            Create::new().payment_intent(refund.payment_intent.as_str()).amount(units).metadata(metadata);
        self.look_or_refund(&request, Some(key)).await.map_err(final_word)
    }

    /// Looks at a refund.
    pub async fn retrieve_refund(&self, id: &str) -> Result<RefundSeen, CallError> {
        self.look_or_refund(&RetrieveRefund::new(id), None).await
    }

    /// Every refund of a payment, whoever made it. One of ours that is not among them was provably not made.
    pub async fn refunds_of(&self, payment_intent: &str) -> Result<Vec<RefundSeen>, CallError> {
        let mut page = ListRefund::new().payment_intent(payment_intent).limit(PAGE);
        let mut all = Vec::new();
        for _ in 0..PAGES {
            let ask = || page.customize().request_strategy(RequestStrategy::Once).send(&self.wire);
            let found: List<Refund> = not_lost(ask).await.map_err(failed)?;
            let last = found.data.last().map(|refund| refund.id.to_string());
            for refund in found.data {
                all.push(seen(refund).map_err(failed)?);
            }
            match last.filter(|_| found.has_more) {
                Some(last) => page = page.starting_after(last),
                None => return Ok(all),
            }
        }
        Err(failed(Cause::NotNow("too many refunds to look through".to_owned().into())))
    }

    async fn look_or_refund<R>(&self, request: &R, key: Option<&str>) -> Result<RefundSeen, CallError>
    where
        R: StripeRequest<Output = Refund>,
    {
        let (call, strategy) = once(key)?;
        let answer = request.customize().request_strategy(strategy).send(&self.wire).await;
        answer.and_then(seen).map_err(|cause| CallError { to: Dependency::Stripe, call, cause })
    }
}

/// A payment in another state than paid has nothing to give back: no look will change that.
fn final_word(error: CallError) -> CallError {
    match &error.cause {
        Cause::LookFirst { code, about } if *code == UNEXPECTED => {
            CallError { cause: Cause::Refused(about.clone()), ..error }
        }
        Cause::LookFirst { .. }
        | Cause::Impossible(_)
        | Cause::NotReached(_)
        | Cause::BrokeOff(_)
        | Cause::NoAnswer(_)
        | Cause::Unreadable(_)
        | Cause::Broken { .. }
        | Cause::Throttled { .. }
        | Cause::NotNow(_)
        | Cause::Credentials(_)
        | Cause::Refused(_) => error,
    }
}

fn failed(cause: Cause) -> CallError {
    CallError { to: Dependency::Stripe, call: Call::Look, cause }
}

fn seen(refund: Refund) -> Result<RefundSeen, Cause> {
    let unreadable = |error: MoneyError| Cause::Unreadable(error.to_string());
    let currency: Currency = refund.currency.to_string().parse().map_err(unreadable)?;
    let ours = refund.metadata.as_ref().and_then(|metadata| metadata.get("refund_id"));
    Ok(RefundSeen {
        id: refund.id.to_string(),
        state: state(refund.status.as_deref()),
        amount_minor: Amount::from_stripe(refund.amount, currency).map_err(unreadable)?.minor,
        currency,
        payment_intent: refund.payment_intent.map(|intent| intent.id().to_string()),
        refund_id: ours.and_then(|id| id.parse().ok()),
        failure: refund.failure_reason,
    })
}

/// Stripe's word in ours. One that is not known yet leaves it open.
fn state(word: Option<&str>) -> State {
    match word {
        Some("succeeded") => State::Succeeded,
        Some("failed") => State::Failed,
        Some("canceled") => State::Cancelled,
        _ => State::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_for_a_refund_is_known_and_one_of_tomorrow_leaves_it_open() {
        for (word, expected) in [
            ("pending", State::Pending),
            ("requires_action", State::Pending),
            ("succeeded", State::Succeeded),
            ("failed", State::Failed),
            ("canceled", State::Cancelled),
            ("a word of tomorrow", State::Pending),
        ] {
            assert_eq!(state(Some(word)), expected, "{word}");
        }
        assert_eq!(state(None), State::Pending);
    }
}
