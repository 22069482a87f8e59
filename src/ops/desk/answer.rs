//! How requests are read and answers are written: queries and bodies whole or refused, nothing kept by any cache.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tracing::{debug, info, warn};

use super::Desk;
use super::problem::{Code, Problem};
use crate::time::Stopwatch;

/// What a browser may do with an answer that is no page of the console: show it, and nothing else.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
/// For a year this host is asked by TLS alone, once it was asked so.
const TLS_ALONE: &str = "max-age=31536000";

/// Writes on every answer what keeps a browser from taking it for something else.
pub(super) async fn hardened(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if desk.settings.ops.tls_in_front {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(TLS_ALONE));
    }
    // The console's pages have a policy of their own.
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    response
}

/// An answer that is true now and belongs to one operator.
pub(super) fn fresh(body: impl Serialize) -> Response {
    ([(CACHE_CONTROL, "private, no-store")], Json(body)).into_response()
}

/// Reads a query whose every parameter is a text, given once; an empty one is none, and one that nobody knows is refused:
/// a slip in a filter's name must not widen what is chosen.
pub(super) fn query<T: DeserializeOwned>(query: Option<&str>) -> Result<T, Problem> {
    let refused = |detail: String| Problem::new(Code::InvalidQuery, detail);
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if fields.contains_key(name.as_ref()) {
            return Err(refused(format!("{name} is given twice")));
        }
        if !value.is_empty() {
            fields.insert(name.into_owned(), Value::String(value.into_owned()));
        }
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| refused(error.to_string()))
}

/// Reads a body of JSON; an empty one is an empty object.
pub(super) fn body<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    let body = body?;
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    serde_json::from_slice(text).map_err(|error| Problem::new(Code::InvalidBody, error.to_string()))
}

/// Logs how each request ended. Ids and codes only: no body, no query, no header.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let watch = Stopwatch::start();
    let response = next.run(request).await;
    let (status, ms) = (response.status().as_u16(), watch.elapsed_ms());
    match status {
        500.. => warn!(%method, route, status, ms, "failed"),
        400..500 => info!(%method, route, status, ms, "refused"),
        _ => debug!(%method, route, status, ms, "answered"),
    }
    response
}
