//! Staff records money that it found: a bank transfer, or what a customer gave at the door.
//!
//! A person's word is taken like a provider's: it is an event with a name of its own, kept in the inbox with whoever
//! recorded it, and settled by the same job. So it moves an order exactly as a webhook would, in any order with
//! everything else, and recorded twice it counts once.

use serde_json::json;

use crate::domain::money::{Amount, Currency};
use crate::domain::offer;
use crate::domain::payment::State;
use crate::domain::told::Told;
use crate::domain::webhook::WebhookPayload;
use crate::ids::{OrderId, PaymentId};
use crate::job::{Failure, NewJob};
use crate::jobs::payment_confirmation::PaymentConfirmation;
use crate::store::inbox::{self, EventName};
use crate::store::{Tx, jobs, orders, payments};

/// What somebody found.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The caller's name for it.
    pub key: String,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// ISO 4217 code; none is the one that was asked for.
    pub currency: Option<Currency>,
    /// What tells it at the bank or in the till.
    pub note: String,
    /// Who records it.
    pub actor: String,
}

/// Money that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The payment that it is of.
    pub payment: PaymentId,
    /// Whether the key already named it.
    pub is_replay: bool,
}

/// Why money is not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A provider tells of this order's money.
    #[error("the order is paid by {0}, which tells of its money itself")]
    NotByHand(String),
    /// The order has no payment that money could be of: it costs nothing.
    #[error("the order has nothing to pay")]
    Nothing,
    /// Its money was recorded under another key.
    #[error("the money of this order was recorded before, under another key")]
    Before,
    /// The key already names another amount.
    #[error("this key already names {0} (minor units); other money needs a new key")]
    KeyReused(i64),
}

/// Takes a person's word for money, and inserts the job that settles it.
pub async fn record_payment(
    tx: &mut Tx,
    id: OrderId,
    wish: &Wish,
    cause: &str,
) -> Result<Result<Recorded, Refused>, Failure> {
    let order = orders::lock(tx, &[id]).await?.remove(&id);
    let provider = order.ok_or_else(|| Failure::permanent("no_order", id))?.payment_provider;
    if !offer::is_by_hand(&provider) {
        return Ok(Err(Refused::NotByHand(provider)));
    }
    let Some(payment) = payments::last_of(tx, id).await? else { return Ok(Err(Refused::Nothing)) };
    let name = EventName { provider, account: String::new(), event_id: format!("{id}:{}", wish.key) };
    let known = inbox::recorded(tx, &name).await?;
    let recorded = Recorded { payment: payment.id, is_replay: known.is_some() };
    match known {
        Some(minor) if minor != wish.amount_minor => return Ok(Err(Refused::KeyReused(minor))),
        Some(_) => return Ok(Ok(recorded)),
        None if payment.state == State::Captured => return Ok(Err(Refused::Before)),
        None => {}
    }
    let asked_in = payment.currency.parse().map_err(|error| Failure::permanent("bad_currency", error))?;
    let amount = Amount::new(wish.amount_minor, wish.currency.unwrap_or(asked_in));
    let reference = payment.provider_id.unwrap_or_else(|| offer::reference(payment.id));
    let mut event = serde_json::to_value(Told::recorded(&reference, amount)).unwrap_or_default();
    event["recorded"] = json!({ "by": wish.actor, "note": wish.note, "amount_minor": amount.minor });
    let webhook = WebhookPayload {
        provider: name.provider,
        account: name.account,
        event_id: name.event_id,
        event_type: "recorded".to_owned(),
        object_id: reference,
        event,
    };
    let once = format!("recorded:{}", webhook.event_id);
    jobs::insert(tx, vec![NewJob::of(&PaymentConfirmation(webhook), cause).once(once)]).await?;
    orders::changed(tx, &[id], cause).await?;
    Ok(Ok(recorded))
}
