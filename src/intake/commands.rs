//! What people ask of an order that is there: to pay it again, to look at the provider. Each is one Postgres
//! transaction that decides and inserts the job; the provider's part is the workers'. Asked twice it is done once, so
//! that no key is needed.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tracing::{error, warn};

use super::outcome::Known;
use super::problem::{Code, Problem};
use super::{Door, orders, request};
use crate::auth::{Action, Principal};
use crate::ids::{IntentId, OrderId};
use crate::job::{Class, Failure};
use crate::jobs::commands::pay_again::{self, Refused};
use crate::jobs::commands::refresh;
use crate::store::{StoreError, Tx};

/// How long a caller waits for the provider's word on the last payment.
const CLOSING: Duration = Duration::from_secs(3);
/// How long a caller stays away from a database that is away or busy.
const AWAY: Duration = Duration::from_secs(2);

/// An intent that its caller may act on, and the order that it became.
struct Asked {
    caller: Principal,
    intent: IntentId,
    order: OrderId,
    cause: String,
}

impl Door {
    /// Who asks, and for which order. An intent that became none has nothing to act on.
    async fn asked(
        &self,
        id: Result<Path<String>, PathRejection>,
        headers: &HeaderMap,
        action: Action,
    ) -> Result<Asked, Problem> {
        let caller = self.authenticate(headers)?;
        super::require(&caller, action)?;
        let intent = orders::read_id(id)?;
        let known = self.find(intent, &caller).await?;
        let order = known.order().ok_or_else(|| {
            Problem::new(Code::NotPayable, "the wish did not become an order").because("no_order")
        })?;
        Ok(Asked { caller, intent, order, cause: request::id(headers) })
    }

    /// Commits a command, pushes its jobs and tells its news.
    pub(super) async fn commit(&self, tx: Tx) -> Result<(), Problem> {
        let committed = tx.commit().await?;
        if let Err(error) = self.relay.carry(committed).await {
            // The rows are committed: a sweep pushes them, and their jobs tell the news.
            warn!(%error, "a command is done, and Redis does not know it yet");
        }
        Ok(())
    }
}

/// `POST /v1/order-intents/{id}/payment`.
pub(super) async fn pay_again(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = door.asked(id, &headers, Action::PayAgain).await?;
    let wait = door.held(&headers, asked.intent);
    let mut tx = door.store.begin().await?;
    let became =
        pay_again::pay_again(&mut tx, (&door.orders, &door.offers), asked.order, &asked.cause).await?;
    if let Err(refused) = became {
        return Err(refusal(&refused));
    }
    door.commit(tx).await?;
    let mut known = door.find(asked.intent, &asked.caller).await?;
    if let Some(wait) = wait {
        known = door.outcome(known, wait).await;
    }
    Ok(shown(&door, &known, &asked))
}

/// `POST /v1/order-intents/{id}/refresh`.
pub(super) async fn refresh(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = door.asked(id, &headers, Action::PayAgain).await?;
    let mut tx = door.store.begin().await?;
    refresh::refresh(&mut tx, &door.offers, asked.order, &asked.cause).await?;
    door.commit(tx).await?;
    let known = door.find(asked.intent, &asked.caller).await?;
    Ok(shown(&door, &known, &asked))
}

fn shown(door: &Door, known: &Known, asked: &Asked) -> Response {
    let mut body = door.show(known, &asked.caller);
    body["status_url"] = format!("/v1/order-intents/{}", asked.intent).into();
    body["events_url"] = format!("/v1/order-intents/{}/events", asked.intent).into();
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

fn refusal(refused: &Refused) -> Problem {
    let detail = refused.to_string();
    match refused {
        Refused::Stands(status) => Problem::new(Code::NotPayable, detail).because(status.name()),
        Refused::TooLate => Problem::new(Code::NotPayable, detail).because("too_late"),
        Refused::Closing => Problem::new(Code::PaymentClosing, detail).retry_after(CLOSING),
        Refused::Short(short) => {
            let line = |short: &crate::store::reservations::Shortage| -> Value {
                json!({ "sku": short.sku, "requested": short.requested, "available": short.available })
            };
            Problem::new(Code::InsufficientStock, detail).with("details", short.iter().map(line).collect())
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for Problem {
    /// What stopped a command. Nothing was done: the transaction was given up.
    fn from(failure: Failure) -> Self {
        match failure.class {
            Class::Unavailable(_)
            | Class::Snooze(_)
            | Class::Retry
            | Class::RetryAfter(_)
            | Class::Unknown => {
                warn!(%failure, "a command could not be carried out");
                let detail = "the database is away or busy; nothing was done: ask again";
                Self::new(Code::StateUnavailable, detail).retry_after(AWAY)
            }
            Class::Permanent | Class::Data => {
                error!(%failure, "a command could not be carried out");
                Self::new(Code::Internal, "nothing was done; the log names the cause")
            }
        }
    }
}
