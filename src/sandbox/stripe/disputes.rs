//! Disputes: a customer's bank takes a payment's money back and judges later; how one looks, and how it goes on.
//!
//! Nobody asks for one through the API: the controls raise it and end it, as a bank does. What must hold here as at Stripe
//! is that a disputed or lost charge can not be refunded, and that the money's way is told by events of its own.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::StripeError;
use super::payments;
use crate::sandbox::books::Books;
use crate::sandbox::truth::Fact;
use crate::sandbox::webhooks::{About, Event};
use crate::sandbox::world::{World, fresh_id};

type Answer = Result<Json<Value>, StripeError>;

/// Time to answer the bank, in seconds: a week, as for most cards.
const DUE_AFTER: i64 = 7 * 24 * 60 * 60;

/// A bank that wants money back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Dispute {
    /// `dp_…`.
    pub(crate) id: String,
    /// The payment.
    pub(crate) intent: String,
    /// In the currency's smallest unit.
    pub(crate) amount: i64,
    /// As the payment's.
    pub(crate) currency: String,
    /// Unix seconds.
    pub(crate) created: i64,
    /// How far it is.
    pub(crate) status: Status,
    charge: Option<String>,
}

/// How far a dispute is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// The bank asks before it takes anything.
    WarningNeedsResponse,
    /// The question went away.
    WarningClosed,
    /// The bank has taken the money and waits for an answer.
    NeedsResponse,
    /// The bank judges.
    UnderReview,
    /// The money came back.
    Won,
    /// The money is gone.
    Lost,
}

/// What a control can make of a dispute.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// A question becomes a dispute, and its money is taken.
    Escalated,
    /// The shop has answered, and the bank judges.
    Reviewed,
    /// A question went away.
    Closed,
    /// The shop is right.
    Won,
    /// The customer is right.
    Lost,
}

impl Outcome {
    /// The outcome of a name in a path.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "escalated" => Some(Self::Escalated),
            "reviewed" => Some(Self::Reviewed),
            "closed" => Some(Self::Closed),
            "won" => Some(Self::Won),
            "lost" => Some(Self::Lost),
            _ => None,
        }
    }
}

impl Dispute {
    /// As Stripe shows it.
    pub(crate) fn body(&self) -> Value {
        json!({
            "id": self.id, "object": "dispute", "amount": self.amount, "currency": self.currency, "charge": self.charge,
            "payment_intent": self.intent, "created": self.created, "livemode": false, "metadata": {},
            "balance_transactions": [], "enhanced_eligibility_types": [], "evidence": {"enhanced_evidence": {}},
            "evidence_details": {"due_by": self.created + DUE_AFTER, "enhanced_eligibility": {}, "has_evidence": false,
                                 "past_due": false, "submission_count": 0},
            "is_charge_refundable": self.is_question(), "network_reason_code": "10.4", "reason": "fraudulent",
            "payment_method_details": null, "status": self.status,
        })
    }

    /// Whether nothing was taken: then a refund still ends it.
    fn is_question(&self) -> bool {
        matches!(self.status, Status::WarningNeedsResponse | Status::WarningClosed)
    }

    /// Whether the money may not be given back beside it.
    fn bars_refunds(&self) -> bool {
        matches!(self.status, Status::NeedsResponse | Status::UnderReview | Status::Lost)
    }

    /// Goes on; the events that it brings up.
    fn go_on(&mut self, outcome: Outcome) -> Result<&'static [&'static str], StripeError> {
        let (status, events): (Status, &[&str]) = match (self.status, outcome) {
            (Status::WarningNeedsResponse, Outcome::Escalated) => {
                (Status::NeedsResponse, &["charge.dispute.updated", "charge.dispute.funds_withdrawn"])
            }
            (Status::WarningNeedsResponse, Outcome::Closed) => {
                (Status::WarningClosed, &["charge.dispute.closed"])
            }
            (Status::NeedsResponse, Outcome::Reviewed) => (Status::UnderReview, &["charge.dispute.updated"]),
            // A later instance may still turn a loss.
            (Status::NeedsResponse | Status::UnderReview | Status::Lost, Outcome::Won) => {
                (Status::Won, &["charge.dispute.closed", "charge.dispute.funds_reinstated"])
            }
            (Status::NeedsResponse | Status::UnderReview, Outcome::Lost) => {
                (Status::Lost, &["charge.dispute.closed"])
            }
            (
                Status::WarningNeedsResponse
                | Status::WarningClosed
                | Status::NeedsResponse
                | Status::UnderReview
                | Status::Won
                | Status::Lost,
                _,
            ) => return Err(StripeError::invalid("This dispute can not go on so.")),
        };
        self.status = status;
        Ok(events)
    }
}

/// Whether a payment's money may not be given back, because a bank has taken it.
pub(super) fn bar(books: &Books, intent: &str) -> bool {
    books.state.disputes.iter().any(|dispute| dispute.intent == intent && dispute.bars_refunds())
}

/// A customer goes to their bank, on the control's word: about all that a payment brought, or `amount` of it. With
/// `asks` the bank only asks at first.
pub(crate) fn raise(world: &Arc<World>, intent: &str, amount: Option<i64>, asks: bool) -> Answer {
    world.change(|books, now| {
        let paid = books.state.intents.get(intent).ok_or_else(|| payments::missing(intent))?;
        if paid.received == 0 {
            return Err(StripeError::invalid("Nothing was paid that could be disputed."));
        }
        let dispute = Dispute {
            id: fresh_id("dp_"),
            intent: paid.id.clone(),
            amount: amount.unwrap_or(paid.received),
            currency: paid.currency.clone(),
            created: now.timestamp(),
            status: if asks { Status::WarningNeedsResponse } else { Status::NeedsResponse },
            charge: paid.charge.clone(),
        };
        books.record(now, Fact::Dispute(dispute.clone()));
        let taken: &[&str] = if asks { &[] } else { &["charge.dispute.funds_withdrawn"] };
        for kind in ["charge.dispute.created"].iter().chain(taken) {
            books.notify(now, Event::stripe(kind, now, None, About::Dispute(Box::new(dispute.clone()))));
        }
        Ok(Json(dispute.body()))
    })
}

/// A dispute goes on or ends, on the control's word.
pub(crate) fn settle(world: &Arc<World>, id: &str, outcome: Outcome) -> Answer {
    world.change(|books, now| {
        let mut dispute = books.state.disputes.get(id).ok_or_else(|| missing(id))?.clone();
        let events = dispute.go_on(outcome)?;
        books.record(now, Fact::Dispute(dispute.clone()));
        for kind in events {
            books.notify(now, Event::stripe(kind, now, None, About::Dispute(Box::new(dispute.clone()))));
        }
        Ok(Json(dispute.body()))
    })
}

/// `GET /v1/disputes/{id}`.
pub(super) async fn retrieve(State(world): State<Arc<World>>, Path(id): Path<String>) -> Answer {
    let books = world.books();
    books.state.disputes.get(&id).map(|dispute| Json(dispute.body())).ok_or_else(|| missing(&id))
}

fn missing(id: &str) -> StripeError {
    StripeError::missing("dispute", id)
}
