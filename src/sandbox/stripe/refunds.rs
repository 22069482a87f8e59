//! Refunds: money given back, never more than was taken; how one looks, and its routes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, RawQuery, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::StripeError;
use super::form::Form;
use super::{Caller, disputes, payments};
use crate::sandbox::gate::Call;
use crate::sandbox::truth::Fact;
use crate::sandbox::webhooks::{About, Event};
use crate::sandbox::world::{World, fresh_id};

type Answer = Result<Json<Value>, StripeError>;

/// Money given back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refund {
    /// `re_…`.
    pub(crate) id: String,
    /// The payment.
    pub(crate) intent: String,
    /// In the currency's smallest unit.
    pub(crate) amount: i64,
    /// As the payment's.
    pub(crate) currency: String,
    /// Unix seconds.
    pub(crate) created: i64,
    /// The caller's own words.
    pub(crate) metadata: BTreeMap<String, String>,
    /// How far it is.
    #[serde(default)]
    pub(crate) status: Status,
    charge: Option<String>,
    reason: Option<String>,
}

/// How far a refund is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// The bank has not confirmed it.
    Pending,
    /// The customer has to say where it shall go.
    RequiresAction,
    /// The customer has it.
    #[default]
    Succeeded,
    /// The bank did not take it, or sent it back.
    Failed,
    /// It was called off before it went.
    Canceled,
}

impl Status {
    /// Every one, as Stripe writes it.
    const NAMES: [(&'static str, Self); 5] = [
        ("pending", Self::Pending),
        ("requires_action", Self::RequiresAction),
        ("succeeded", Self::Succeeded),
        ("failed", Self::Failed),
        ("canceled", Self::Canceled),
    ];

    /// The one that Stripe writes so.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, status)| *status)
    }

    /// Whether it may become that: a bank can send money back days after it went, and nothing else comes after an end.
    fn may_become(self, to: Self) -> bool {
        match self {
            Self::Pending | Self::RequiresAction => to != self,
            Self::Succeeded => to == Self::Failed,
            Self::Failed | Self::Canceled => false,
        }
    }
}

impl Refund {
    /// As Stripe shows it.
    pub(crate) fn body(&self) -> Value {
        json!({
            "id": self.id, "object": "refund", "amount": self.amount, "currency": self.currency,
            "payment_intent": self.intent, "charge": self.charge, "created": self.created, "reason": self.reason,
            "metadata": self.metadata, "status": self.status, "balance_transaction": null, "receipt_number": null,
            "source_transfer_reversal": null, "transfer_reversal": null,
            "failure_reason": (self.status == Status::Failed).then_some("declined"),
        })
    }

    /// Brings it where it goes next; the event that this brings up.
    fn settle(&mut self, to: Status) -> Result<&'static str, StripeError> {
        if !self.status.may_become(to) {
            return Err(StripeError::invalid("This refund can not be settled so."));
        }
        self.status = to;
        Ok(if to == Status::Failed { "refund.failed" } else { "refund.updated" })
    }
}

/// `POST /v1/refunds`: all that is left of a payment, or `amount` of it.
pub(super) async fn create(
    State(world): State<Arc<World>>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Answer {
    let form = Form::parse(&body);
    caller.must_be_shop()?;
    let id = form.required("payment_intent")?;
    let wanted = form.integer("amount")?;
    world.change(|books, now| {
        let mut intent = books.state.intents.get(id).ok_or_else(|| payments::missing(id))?.clone();
        if disputes::bar(books, &intent.id) {
            let message = "The charge has been charged back; cannot issue a refund.";
            return Err(StripeError::invalid(message).code("charge_disputed"));
        }
        let amount = intent.give_back(wanted)?;
        let refund = Refund {
            id: fresh_id("re_"),
            intent: intent.id.clone(),
            amount,
            currency: intent.currency.clone(),
            created: now.timestamp(),
            metadata: form.map("metadata"),
            status: intent.refund_status(),
            charge: intent.charge.clone(),
            reason: form.text("reason").map(str::to_owned),
        };
        books.record(now, Fact::Payment(intent.clone()));
        books.record(now, Fact::Refund(refund.clone()));
        let body = refund.body();
        books.notify(now, Event::stripe("refund.created", now, Some(&call), About::Refund(Box::new(refund))));
        books
            .notify(now, Event::stripe("charge.refunded", now, Some(&call), About::Charge(Box::new(intent))));
        Ok(Json(body))
    })
}

/// What becomes of a refund, on the control's word: one that comes to nothing is taken back into the payment.
pub(crate) fn settle(world: &Arc<World>, id: &str, to: Status) -> Answer {
    world.change(|books, now| {
        let mut refund =
            books.state.refunds.get(id).ok_or_else(|| StripeError::missing("refund", id))?.clone();
        let event = refund.settle(to)?;
        if matches!(to, Status::Failed | Status::Canceled)
            && let Some(intent) = books.state.intents.get(&refund.intent)
        {
            let mut intent = intent.clone();
            intent.refunded -= refund.amount;
            books.record(now, Fact::Payment(intent));
        }
        books.record(now, Fact::Refund(refund.clone()));
        let body = refund.body();
        books.notify(now, Event::stripe(event, now, None, About::Refund(Box::new(refund))));
        Ok(Json(body))
    })
}

/// `GET /v1/refunds/{id}`.
pub(super) async fn retrieve(State(world): State<Arc<World>>, Path(id): Path<String>) -> Answer {
    let books = world.books();
    let refund = books.state.refunds.get(&id).ok_or_else(|| StripeError::missing("refund", &id))?;
    Ok(Json(refund.body()))
}

/// `GET /v1/refunds`: newest first, those of `payment_intent` where it is given.
pub(super) async fn list(State(world): State<Arc<World>>, RawQuery(query): RawQuery) -> Answer {
    let form = Form::parse(query.unwrap_or_default().as_bytes());
    let limit = form.integer("limit")?.unwrap_or(payments::USUAL_PAGE).clamp(1, payments::LARGEST_PAGE);
    let limit = usize::try_from(limit).unwrap_or_default();
    let of = form.text("payment_intent");
    let books = world.books();
    let all = books.state.refunds.iter().rev();
    let mut found: Vec<Value> = all
        .filter(|refund| of.is_none_or(|of| refund.intent == of))
        .take(limit + 1)
        .map(Refund::body)
        .collect();
    let more = found.len() > limit;
    found.truncate(limit);
    Ok(Json(json!({"object": "list", "url": "/v1/refunds", "has_more": more, "data": found})))
}
