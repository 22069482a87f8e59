//! `GET /live`: the moving part of the overview as Server-Sent Events, rendered as the page itself renders it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderName;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use tokio::sync::watch::Receiver;

use super::fleet::live_facts;
use super::session::Visitor;
use crate::ops::desk::Desk;
use crate::ops::desk::watch::Seen;
use crate::time::Stopwatch;

/// After this a browser connects again, and its key is looked up again: a revoked one is told nothing for longer.
const LIFETIME: Duration = Duration::from_mins(1);
/// Shorter than the minute after which many proxies drop a silent connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What a browser waits before it connects again.
const RECONNECT: Duration = Duration::from_secs(1);

struct Standing {
    desk: Arc<Desk>,
    visitor: Visitor,
    looks: Receiver<Arc<Seen>>,
    since: Stopwatch,
}

pub(super) async fn stream(State(desk): State<Arc<Desk>>, visitor: Visitor) -> Response {
    let looks = desk.looks.subscribe();
    let standing = Standing { desk, visitor, looks, since: Stopwatch::start() };
    let events = Sse::new(run(standing)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Proxies that buffer would hold events back.
    ([(HeaderName::from_static("x-accel-buffering"), "no")], events).into_response()
}

fn run(standing: Standing) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(standing, |mut standing| async move {
        let left = LIFETIME.checked_sub(standing.since.elapsed())?;
        let next = tokio::time::timeout(left, standing.looks.changed());
        standing.desk.stop.run_until_cancelled(next).await?.ok()?.ok()?;
        let seen = standing.looks.borrow_and_update().clone();
        let (_, page) = standing.desk.page("live.html", &standing.visitor, live_facts(&seen));
        Some((Ok(Event::default().event("overview").retry(RECONNECT).data(page.0)), standing))
    })
}
