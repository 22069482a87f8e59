//! What is read of every request: its body within bounds, its headers, its name in the logs.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use serde_json::Value;
use tracing::{Instrument, debug, debug_span, info, warn};

use super::problem::{Code, Problem};
use crate::domain::key::hex;
use crate::ids::fresh_bytes;
use crate::queue::QueueError;
use crate::telemetry::spans::{Begun, Side, Span};
use crate::telemetry::{self, TraceContext};
use crate::time::Stopwatch;

/// A megabyte over a slow line takes this long; a body that trickles longer holds a connection for nothing.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// What is read of a body that is too large, and thrown away, so that its sender gets to read the answer.
const DRAINED: usize = 4 * 1024 * 1024;
/// The longest request id that is repeated.
const MAX_REQUEST_ID: usize = 128;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Reads a body of at most `max` bytes.
pub(super) async fn body(headers: &HeaderMap, body: Body, max: usize) -> Result<Bytes, Problem> {
    let told: Option<usize> = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if told.is_some_and(|length| length > max.saturating_add(DRAINED)) {
        return Err(too_large(max));
    }
    tokio::time::timeout(BODY_TIMEOUT, gather(body, max))
        .await
        .map_err(|_| Problem::new(Code::TooSlow, format!("{} s are allowed", BODY_TIMEOUT.as_secs())))?
}

async fn gather(body: Body, max: usize) -> Result<Bytes, Problem> {
    // Nearly always one, which is passed on as it came.
    let (mut gathered, mut length) = (Vec::<Bytes>::new(), 0_usize);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::new(Code::TooSlow, "the body broke off"))?;
        length = length.saturating_add(chunk.len());
        if length <= max {
            gathered.push(chunk);
        } else if length > max.saturating_add(DRAINED) {
            break;
        }
    }
    if length > max {
        return Err(too_large(max));
    }
    Ok(if gathered.len() == 1 { gathered.remove(0) } else { gathered.concat().into() })
}

fn too_large(max: usize) -> Problem {
    Problem::new(Code::TooLarge, format!("at most {max} bytes are taken"))
}

/// Reads JSON; a fault is told with its line and column.
pub(super) fn json(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::new(Code::MalformedJson, error.to_string()))
}

/// Refuses a body that is said to be something else than JSON. Nothing said is taken for JSON.
pub(super) fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(said) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = said.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(Code::NotJson, "send the body as application/json"))
}

/// What `Prefer` asks for (RFC 7240): to hold the answer, for how long and until what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// `wait=N`: at most so many seconds.
    pub(super) seconds: u64,
    /// `until=reserved`: the place is enough, the secret of its payment may follow.
    pub(super) until: Until,
}

/// What a held answer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// An end, for now or for ever, or a payment that the buyer can make.
    Outcome,
    /// The same, or a reservation whose payment is not open yet.
    Reserved,
}

/// The preference to wait, if there is one. What can not be read is no preference.
pub(super) fn wait(headers: &HeaderMap) -> Option<Wait> {
    let said = |wanted: &str| {
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split([',', ';'])).find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"'))
        })
    };
    let seconds = said("wait")?.parse().ok()?;
    let is_place = said("until").is_some_and(|until| until.eq_ignore_ascii_case("reserved"));
    Some(Wait { seconds, until: if is_place { Until::Reserved } else { Until::Outcome } })
}

/// The request's name, as [`observe`] gave it: what is written as the cause of what it changes.
pub(super) fn id(headers: &HeaderMap) -> String {
    let id = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    id.unwrap_or("request").to_owned()
}

/// The trace that a request came with, if it did.
fn given(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get("traceparent")?.to_str().ok()?.parse().ok()
}

/// The request's own span, as [`observe`] gave it: what comes of the request stands under it.
pub(super) fn trace(extensions: &Extensions) -> Option<TraceContext> {
    extensions.get().copied()
}

/// The span of a push into the queue, which is over.
pub(super) fn pushing(begun: Begun, kind: &'static str, error: Option<&QueueError>) -> Span {
    begun.end(format!("push {kind}"), Side::Producer).failed(error.map(|_| "not_pushed"))
}

/// Names each request, logs how it ended, and gives the name back. Ids and codes only: no body, no query, no header.
pub(super) async fn observe(mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .filter(|id| {
            (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
        })
        .cloned()
        .or_else(|| HeaderValue::try_from(format!("req_{}", hex(&fresh_bytes::<12>()))).ok());
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let shown = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
    // Written out for every request, a span costs more than most of what it would be around: only who asks for details
    // gets one, and how a request ended is told with its name either way.
    let parent = given(request.headers());
    let trace = parent.map_or_else(|| TraceContext::begin(telemetry::samples()), TraceContext::child);
    request.extensions_mut().insert(trace);
    // A poll that nobody traces is no part of any order's story.
    let is_told = parent.is_some() || !method.is_safe();
    let begun = Begun::named(trace, parent).filter(|_| is_told);
    let traced = trace.trace_id();
    let span = debug_span!("request", id = shown, trace = %traced, %method, route);
    if let Some(id) = &id {
        request.headers_mut().insert(&REQUEST_ID, id.clone());
    }
    let watch = Stopwatch::start();
    let mut response = next.run(request).instrument(span).await;
    let (status, ms) = (response.status().as_u16(), watch.elapsed_ms());
    match status {
        500.. => warn!(id = shown, trace = %traced, %method, route, status, ms, "failed"),
        400..500 => info!(id = shown, trace = %traced, %method, route, status, ms, "refused"),
        _ => debug!(id = shown, trace = %traced, %method, route, status, ms, "answered"),
    }
    if let Some(begun) = begun {
        let span = begun.end(format!("{method} {route}"), Side::Server);
        let span = span.with("http.request.method", method.to_string()).with("http.route", route.clone());
        let span = span.with("orderfleet.request", shown.to_owned());
        let code = (status >= 500).then(|| status.to_string());
        span.with("http.response.status_code", i64::from(status)).failed(code).record();
    }
    metrics::histogram!("orderfleet_http_request_seconds", "route" => route, "status" => code(status))
        .record(watch.elapsed().as_secs_f64());
    if let Some(id) = id {
        response.headers_mut().insert(&REQUEST_ID, id);
    }
    response
}

/// A status as a label; those of most answers without a new text for each.
fn code(status: u16) -> Cow<'static, str> {
    match status {
        200 => "200".into(),
        201 => "201".into(),
        202 => "202".into(),
        503 => "503".into(),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefer(value: &'static str) -> Option<(u64, Until)> {
        wait(&HeaderMap::from_iter([(HeaderName::from_static("prefer"), HeaderValue::from_static(value))]))
            .map(|wait| (wait.seconds, wait.until))
    }

    #[test]
    fn only_a_readable_wait_is_a_preference() {
        assert_eq!(prefer("wait=5"), Some((5, Until::Outcome)));
        assert_eq!(prefer("respond-async, Wait = \"10\""), Some((10, Until::Outcome)));
        assert_eq!(prefer("wait=5, until=reserved"), Some((5, Until::Reserved)));
        assert_eq!(prefer("until=paid; wait=5"), Some((5, Until::Outcome)));
        for none in ["wait", "wait=-1", "wait=soon", "return=minimal", "until=reserved"] {
            assert_eq!(prefer(none), None, "{none}");
        }
    }

    #[test]
    fn a_malformed_trace_is_none() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let with = |value: &'static str| {
            let header = (HeaderName::from_static("traceparent"), HeaderValue::from_static(value));
            given(&HeaderMap::from_iter([header]))
        };
        assert_eq!(with(good).map(|trace| trace.to_string()).as_deref(), Some(good));
        assert_eq!(with("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), None);
        assert_eq!(given(&HeaderMap::new()), None);
    }
}
