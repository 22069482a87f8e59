//! `GET /v1/order-intents/{id}/events`: the intent's state as Server-Sent Events, until it is final.
//!
//! The id of each event is the state's version, so that `Last-Event-ID` resumes where a broken connection left off.
//! Subscribed first, read then: nothing is missed. A stream that outlives [`LIFETIME`] ends, and the client's own
//! reconnecting goes on; so does one whose process stops.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};

use super::outcome::Known;
use super::problem::{Code, Problem};
use super::watch::Follow;
use super::{Door, orders};
use crate::auth::{Action, Principal};
use crate::time::Stopwatch;

/// Shorter than the minute after which many proxies drop a silent connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// As long as a reservation is held by default; then the client connects again.
const LIFETIME: Duration = Duration::from_mins(15);
/// What a client waits before it connects again.
const RECONNECT: Duration = Duration::from_secs(1);

/// How long to stay away where too many streams are open.
const CROWDED: Duration = Duration::from_secs(10);

/// Where one stream stands.
struct Standing {
    door: Arc<Door>,
    caller: Principal,
    follow: Follow,
    /// To be sent next.
    next: Option<Known>,
    /// What the client has.
    sent: i64,
    since: Stopwatch,
}

pub(super) async fn events(
    State(door): State<Arc<Door>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let intent = orders::read_id(id);
    let caller = match &intent {
        Ok(intent) => door.follower(&headers, query.as_deref(), *intent)?,
        Err(_) => door.authenticate(&headers)?,
    };
    super::require(&caller, Action::ReadIntent)?;
    let intent = intent?;
    let follow = door.watch.follow(intent).ok_or_else(|| {
        Problem::new(Code::OverCapacity, "too many streams are open here; ask for the state instead")
            .retry_after(CROWDED)
    })?;
    let known = door.find(intent, &caller).await?;
    let sent = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok())
        // Nothing that the client can have is newer than what we have.
        .filter(|sent| *sent <= known.version)
        .unwrap_or(-1);
    // A final state is sent again: an ended stream without it would leave the client waiting.
    let next = (known.version > sent || known.is_final()).then_some(known);
    let standing = Standing { door, caller, follow, next, sent, since: Stopwatch::start() };
    let events = Sse::new(run(standing)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Proxies that buffer would hold events back.
    Ok(([(HeaderName::from_static("x-accel-buffering"), "no")], events).into_response())
}

fn run(standing: Standing) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(Some(standing), |standing| async {
        let mut standing = standing?;
        let known = if let Some(known) = standing.next.take() {
            known
        } else {
            let Standing { door, follow, sent, since, .. } = &mut standing;
            door.newer(follow, *sent, LIFETIME.saturating_sub(since.elapsed())).await?
        };
        standing.sent = known.version;
        let shown = standing.door.show(&known, &standing.caller);
        let event = Event::default()
            .event("state")
            .id(known.version.to_string())
            .retry(RECONNECT)
            .data(shown.to_string());
        Some((Ok(event), (!known.is_final()).then_some(standing)))
    })
}
