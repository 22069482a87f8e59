//! How requests are read and answers are written: queries and bodies whole or refused, nothing kept by any cache.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{MatchedPath, Request};
use axum::http::header::CACHE_CONTROL;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tracing::{debug, info, warn};

use super::problem::{Code, Problem};
use crate::time::Stopwatch;

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
