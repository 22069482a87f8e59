//! Staff gave money back that no provider could be asked for: the refund is done, and the books say so.

use crate::domain::offer::STRIPE;
use crate::domain::refund::State;
use crate::ids::{OrderId, RefundId};
use crate::job::Failure;
use crate::jobs::giveback;
use crate::jobs::refund::BY_HAND;
use crate::store::refunds::{self, News};
use crate::store::{Tx, exceptions, orders, payments};

/// Why a refund is not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The order has no such refund.
    #[error("the order has no such refund")]
    Unknown,
    /// The provider gives it back, and tells.
    #[error("the provider gives this money back by itself, and tells when it has")]
    NotByHand,
    /// It failed or was called off.
    #[error("the refund is {}: it can not be confirmed", .0.name())]
    Over(State),
}

/// Counts a refund that a person has carried out. Asked twice it is done once.
pub async fn confirm_refund(
    tx: &mut Tx,
    id: OrderId,
    refund: RefundId,
    cause: &str,
) -> Result<Result<(), Refused>, Failure> {
    let order = orders::lock(tx, &[id]).await?.remove(&id);
    let order = order.ok_or_else(|| Failure::permanent("no_order", id))?;
    let parts = refunds::payments_of(tx, &[refund]).await?;
    payments::lock(tx, &parts).await?;
    let Some(refund) = refunds::lock(tx, &[refund]).await?.remove(&refund).filter(|known| known.order == id)
    else {
        return Ok(Err(Refused::Unknown));
    };
    if refund.provider == STRIPE {
        return Ok(Err(Refused::NotByHand));
    }
    if refund.state == State::Succeeded {
        return Ok(Ok(()));
    }
    if !refund.state.may_become(State::Succeeded) && !refund.state.is_to_be_sent() {
        return Ok(Err(Refused::Over(refund.state)));
    }
    giveback::lock_ends(tx, std::iter::once(&order)).await?;
    let mut at = refund;
    if at.state == State::Requested {
        let begun = News { state: State::Submitting, provider_id: None, failure: None };
        refunds::advance(tx, &at, &begun).await?;
        at.state = State::Submitting;
    }
    // No provider has a name for it: ours is one.
    let name = at.id.to_string();
    let news = News { state: State::Succeeded, provider_id: Some(&name), failure: None };
    giveback::apply(tx, &order, &at, &news, cause).await?;
    if !refunds::awaits_a_hand(tx, id).await? {
        exceptions::resolve_kind(tx, id, BY_HAND).await?;
    }
    Ok(Ok(()))
}
