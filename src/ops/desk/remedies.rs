//! What staff do about one order at the operators' side: call it off, give its money back, label it anew. By the commands that
//! the intake serves, so that nothing is possible here that is not there; and first for trial, in a transaction that is taken
//! back.

use serde_json::json;

use super::Desk;
use super::guard::Operator;
use super::problem::{Code, Problem};
use crate::auth::Action;
use crate::domain::key::IdempotencyKey;
use crate::domain::money::{Amount, Currency};
use crate::domain::order::CancelReason;
use crate::ids::OrderId;
use crate::jobs::commands::{cancel, give_back, relabel};
use crate::store::{Tx, actions, orders};

/// What is done about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    Cancel,
    Refund,
    Relabel,
}

impl Remedy {
    /// What a form calls it.
    pub(super) fn read(name: &str) -> Option<Self> {
        [Self::Cancel, Self::Refund, Self::Relabel].into_iter().find(|remedy| remedy.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Refund => "refund",
            Self::Relabel => "relabel",
        }
    }

    /// The right that it needs, as at the intake.
    const fn needs(self) -> Action {
        match self {
            Self::Cancel => Action::CancelOrder,
            Self::Refund => Action::Refund,
            Self::Relabel => Action::MoveOrder,
        }
    }
}

/// A remedy that is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) order: OrderId,
    pub(super) remedy: Remedy,
    /// What a refund is known by: the same key twice is one refund.
    pub(super) key: &'a str,
    /// Whether it is done, or only tried.
    pub(super) is_sure: bool,
}

impl Desk {
    /// Does it, or tries it and takes it back. Says what follows.
    pub(super) async fn remedy(&self, operator: &Operator, wanted: Wanted<'_>) -> Result<String, Problem> {
        operator.require(wanted.remedy.needs())?;
        let mut tx = self.own(operator, wanted.order).await?;
        let actor = operator.actor();
        // Operators' requests carry no id of their own: what follows leads back to who asked.
        let cause = format!("ops:{}", operator.key);
        let follows = match wanted.remedy {
            Remedy::Cancel => call_off(&mut tx, operator, wanted.order, &cause).await?,
            Remedy::Refund => refund(&mut tx, &actor, &wanted, &cause).await?,
            Remedy::Relabel => label_anew(&mut tx, wanted.order, &cause).await?,
        };
        if wanted.is_sure {
            let what = format!("order.{}", wanted.remedy.name());
            actions::note(&mut tx, &actor, &what, &json!({ "order": wanted.order })).await?;
            tx.commit().await?;
        } else {
            tx.rollback().await?;
        }
        Ok(follows)
    }

    /// A transaction on an order of this shop.
    pub(super) async fn own(&self, operator: &Operator, order: OrderId) -> Result<Tx, Problem> {
        let mut tx = self.store.begin().await?;
        let owner = orders::owner(&mut tx, order).await?.filter(|owner| owner.tenant == operator.tenant);
        let unknown = || Problem::new(Code::UnknownOrder, "there is no such order, or none of this shop");
        owner.ok_or_else(unknown)?;
        Ok(tx)
    }
}

async fn call_off(tx: &mut Tx, operator: &Operator, order: OrderId, cause: &str) -> Result<String, Problem> {
    let reason = CancelReason::usual(operator.role);
    let wish = cancel::Wish { role: operator.role, actor: operator.actor(), reason };
    let became = cancel::cancel(tx, order, &wish, cause).await?.map_err(|stands| refused(&stands))?;
    Ok(match became {
        cancel::Became::Cancelled(_) => {
            "It is called off: what was paid goes back, its labels are given back, and its pieces are for sale again."
        }
        cancel::Became::Requested => {
            "Its open payment is cancelled at its provider first; that ends it. If the money is faster, it goes back."
        }
    }
    .to_owned())
}

async fn refund(tx: &mut Tx, actor: &str, wanted: &Wanted<'_>, cause: &str) -> Result<String, Problem> {
    let key = IdempotencyKey::read(Some(wanted.key.as_bytes()))
        .map_err(|error| Problem::new(Code::InvalidBody, format!("{error}. Nothing was changed")))?;
    let wish = give_back::Wish {
        key: key.text().to_owned(),
        amount_minor: None,
        reason: "by the operators".to_owned(),
        actor: actor.to_owned(),
    };
    let asked = give_back::give_back(tx, wanted.order, &wish, cause).await?.map_err(|why| refused(&why))?;
    let currency: Result<Currency, _> = asked.currency.parse();
    let told = match currency {
        Ok(currency) => Amount::new(asked.amount_minor, currency).to_string(),
        Err(_) => format!("{} {} (minor units)", asked.currency, asked.amount_minor),
    };
    Ok(format!(
        "{told} go back, which is all that is left of the payment; the provider does it, and the order's page tells when."
    ))
}

async fn label_anew(tx: &mut Tx, order: OrderId, cause: &str) -> Result<String, Problem> {
    let next = relabel::relabel(tx, order, cause).await?.map_err(|why| refused(&why))?;
    Ok(format!("Its labels are given back, and {} bought anew: parcels {}.", next.len(), parcels(&next)))
}

fn parcels(next: &[(i32, i32)]) -> String {
    next.iter().map(|(parcel, _)| parcel.to_string()).collect::<Vec<_>>().join(", ")
}

fn refused(why: &impl std::fmt::Display) -> Problem {
    Problem::new(Code::NotPossible, format!("{why}. Nothing was changed"))
}
