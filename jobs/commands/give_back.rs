//! Staff gives money back: a part of what an order's payments brought, or all that is left of it.
//!
//! One key is one refund, however often it is sent; two keys are two refunds, also of the same amount. Of two that ask at
//! the same time the second sees what the first has set aside, because both lock the order first.

use crate::domain::money::{Amount, Currency};
use crate::domain::refund::{self, Origin, State};
use crate::ids::{OrderId, RefundId};
use crate::job::Failure;
use crate::jobs::giveback;
use crate::store::payments::Captured;
use crate::store::refunds::{self, NewRefund};
use crate::store::{Tx, orders, payments};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The caller's name for it.
    pub key: String,
    /// How much, in minor units; none is all that is left of the payment.
    pub amount_minor: Option<i64>,
    /// Why, in the caller's words.
    pub reason: String,
    /// Who asks.
    pub actor: String,
}

/// A refund that was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its id.
    pub refund: RefundId,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// What is known of it.
    pub state: State,
    /// Whether the key already named it.
    pub is_replay: bool,
}

/// Why money is not given back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much, too little, or nothing is left.
    #[error(transparent)]
    Amount(#[from] refund::Refused),
    /// The provider can't say this amount.
    #[error("the provider can not give back this amount: {0}")]
    BetweenSteps(String),
    /// A bank wants the money back already: beside that the customer would have it twice.
    #[error("a bank is taking this money back already: wait until the dispute is decided")]
    Disputed,
    /// The key already names another refund of this order.
    #[error("this key already names a refund of {0} (minor units); a new one needs a new key")]
    KeyReused(i64),
}

/// Sets money aside to go back and inserts the job that sends it.
pub async fn give_back(
    tx: &mut Tx,
    id: OrderId,
    wish: &Wish,
    cause: &str,
) -> Result<Result<Asked, Refused>, Failure> {
    let order = orders::lock(tx, &[id]).await?.remove(&id);
    order.ok_or_else(|| Failure::permanent("no_order", id))?;
    let captured = payments::captured_of(tx, id).await?;
    let key = format!("{}:{}", Origin::Api.name(), wish.key);
    if let Some(known) = refunds::by_key(tx, id, &key).await? {
        let is_another = wish.amount_minor.is_some_and(|minor| minor != known.amount_minor);
        return Ok(if is_another {
            Err(Refused::KeyReused(known.amount_minor))
        } else {
            Ok(told(&known, true))
        });
    }
    let (payment, amount_minor) = match choose(&captured, wish.amount_minor) {
        Ok(chosen) => chosen,
        Err(refused) => return Ok(Err(refused)),
    };
    let new = NewRefund {
        payment: payment.id,
        amount_minor,
        origin: Origin::Api,
        key: key.clone(),
        reason: wish.reason.clone(),
        actor: wish.actor.clone(),
    };
    giveback::begin(tx, &new, cause).await?;
    orders::changed(tx, &[id], cause).await?;
    let made = refunds::by_key(tx, id, &key).await?;
    let made = made.ok_or_else(|| Failure::retry("no_refund", "the refund's row is gone"))?;
    Ok(Ok(told(&made, false)))
}

fn told(refund: &refunds::Refund, is_replay: bool) -> Asked {
    Asked {
        refund: refund.id,
        amount_minor: refund.amount_minor,
        currency: refund.currency.clone(),
        state: refund.state,
        is_replay,
    }
}

/// The payment that pays the order comes first, then any other that has enough left. One refund is a part of one payment.
fn choose(captured: &[Captured], wanted: Option<i64>) -> Result<(&Captured, i64), Refused> {
    let mut refused = refund::Refused::NothingLeft;
    let free: Vec<&Captured> = captured.iter().filter(|payment| !payment.is_disputed).collect();
    if free.is_empty() && !captured.is_empty() {
        return Err(Refused::Disputed);
    }
    for payment in free {
        match refund::amount(wanted, payment.left_minor()) {
            Ok(minor) => {
                can_be_said(minor, &payment.currency)?;
                return Ok((payment, minor));
            }
            // The first one's word counts, unless it had nothing left.
            Err(why) if refused == refund::Refused::NothingLeft => refused = why,
            Err(_) => {}
        }
    }
    Err(Refused::Amount(refused))
}

fn can_be_said(minor: i64, currency: &str) -> Result<(), Refused> {
    let said =
        currency.parse::<Currency>().and_then(|currency| Amount::new(minor, currency).to_stripe_refund());
    said.map(drop).map_err(|error| Refused::BetweenSteps(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PaymentId;

    fn captured(minor: i64, reserved: i64, currency: &str) -> Captured {
        Captured {
            id: PaymentId::new(),
            captured_minor: minor,
            reserved_minor: reserved,
            lost_minor: 0,
            is_disputed: false,
            currency: currency.to_owned(),
        }
    }

    #[test]
    fn a_refund_is_a_part_of_the_first_payment_that_has_enough_left() {
        let payments = [captured(1000, 1000, "USD"), captured(1000, 300, "USD"), captured(2000, 0, "USD")];
        assert_eq!(choose(&payments, None).unwrap().1, 700);
        assert_eq!(choose(&payments, Some(900)).unwrap().0.id, payments[2].id);
        let too_much = Refused::Amount(refund::Refused::Exceeds { wanted: 2001, left: 700 });
        assert_eq!(choose(&payments, Some(2001)).unwrap_err(), too_much);
        assert_eq!(choose(&[], None).unwrap_err(), Refused::Amount(refund::Refused::NothingLeft));
    }

    #[test]
    fn what_is_disputed_or_lost_is_not_given_back_beside_it() {
        let mut payments = [captured(1000, 0, "USD")];
        payments[0].is_disputed = true;
        assert_eq!(choose(&payments, Some(1)).unwrap_err(), Refused::Disputed);
        payments[0] = Captured { lost_minor: 700, is_disputed: false, ..payments[0].clone() };
        assert_eq!(choose(&payments, None).unwrap().1, 300, "the rest may go back");
    }

    #[test]
    fn an_amount_that_the_provider_cannot_say_is_refused_at_once() {
        let dinars = [captured(5120, 0, "KWD")];
        assert!(matches!(choose(&dinars, Some(1234)), Err(Refused::BetweenSteps(_))));
        assert_eq!(choose(&dinars, Some(1230)).unwrap().1, 1230);
    }
}
