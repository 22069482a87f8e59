//! `POST /v1/order-intents/{id}/stream-token`: a ticket to one intent's event stream, for a browser's `EventSource`, which
//! can send no header.
//!
//! A ticket stands in an address, and addresses end in logs: it opens nothing but the stream of its intent, only as its
//! caller would see it, only for a minute, and nobody can read from it whose it is. It is kept nowhere. A stream that is
//! open goes on when the minute is over; who connects again needs another ticket.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::problem::{Code, Problem};
use super::{Door, order_views, orders};
use crate::auth::{Action, Principal, Role};
use crate::ids::IntentId;

/// How long a ticket opens: a browser connects within seconds.
const LIFETIME: TimeDelta = TimeDelta::minutes(1);
/// What it is called in an address.
const PARAMETER: &str = "token";

/// Who may follow what until when.
#[derive(Serialize, Deserialize)]
struct Ticket {
    intent: IntentId,
    until: DateTime<Utc>,
    tenant: String,
    role: String,
    subject: Option<String>,
}

pub(super) async fn issue(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = door.authenticate(&headers)?;
    super::require(&caller, Action::ReadIntent)?;
    let intent = orders::read_id(id)?;
    door.find(intent, &caller).await?;
    let until = door.clock.now() + LIFETIME;
    let role = caller.role.name().to_owned();
    let ticket = Ticket { intent, until, tenant: caller.tenant, role, subject: caller.subject };
    let token = URL_SAFE_NO_PAD.encode(door.tickets.seal(json!(ticket).to_string().as_bytes()));
    let events_url = format!("/v1/order-intents/{intent}/events?{PARAMETER}={token}");
    let body = json!({ "token": token, "expires_at": until, "events_url": events_url });
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

impl Door {
    /// Who wants to follow an intent: by a credential, or by a ticket in the address.
    pub(super) fn follower(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        intent: IntentId,
    ) -> Result<Principal, Problem> {
        let pairs = order_views::pairs(query);
        match pairs.iter().find(|(name, _)| name == PARAMETER) {
            Some((_, token)) => self.admitted(token, intent).ok_or_else(|| {
                Problem::new(
                    Code::Unauthenticated,
                    "this token is over, or not for this stream: ask for another",
                )
            }),
            None => self.authenticate(headers),
        }
    }

    fn admitted(&self, token: &str, intent: IntentId) -> Option<Principal> {
        let opened = self.tickets.open(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let ticket: Ticket = serde_json::from_slice(&opened).ok()?;
        let holds = ticket.intent == intent && self.clock.now() < ticket.until;
        let role = Role::named(&ticket.role).filter(|_| holds)?;
        Some(Principal { tenant: ticket.tenant, role, subject: ticket.subject, key: None })
    }
}
