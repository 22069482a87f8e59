//! Real idempotency keys: the first answer under a key is kept, byte for byte, and replayed.
//!
//! Kept is what began to execute, failures of the server included; refused parameters are not. The key is taken before
//! the work and given up after it, so that a second request in between is told to wait.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};

use super::error::{NotKept, StripeError};
use super::form::Form;
use crate::sandbox::gate::Call;
use crate::sandbox::truth::{Answer, Fact};
use crate::sandbox::world::{World, hex};

/// Far above any request or answer of this API.
const LARGEST: usize = 1 << 20;
/// Stripe's own limit.
const LONGEST_KEY: usize = 255;

enum Found {
    Nothing,
    Kept(Answer),
    Other,
    Running,
}

/// Runs a POST with a key once.
pub(super) async fn once(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let key = request.extensions().get::<Call>().and_then(|call| call.key.clone());
    let Some(key) = key.filter(|_| request.method() == Method::POST) else {
        return next.run(request).await;
    };
    if key.len() > LONGEST_KEY {
        return StripeError::invalid("Idempotency keys may be at most 255 characters long.").into_response();
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return StripeError::invalid("The request body could not be read.").into_response();
    };
    let fingerprint = fingerprint(parts.uri.path(), &body);
    match take(&world, &key, &fingerprint) {
        Found::Nothing => {}
        Found::Kept(answer) => return replay(answer),
        Found::Other => return StripeError::key_reused(&key).into_response(),
        Found::Running => return StripeError::key_in_use(&key).into_response(),
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    keep(&world, key, fingerprint, response).await
}

fn fingerprint(path: &str, body: &Bytes) -> String {
    let text = format!("{path}?{}", Form::parse(body).canonical());
    hex("", digest(&SHA256, text.as_bytes()).as_ref())
}

fn take(world: &Arc<World>, key: &str, fingerprint: &str) -> Found {
    let mut books = world.books();
    if let Some(answer) = books.state.answers.get(key) {
        let same = answer.fingerprint == fingerprint;
        return if same { Found::Kept(answer.clone()) } else { Found::Other };
    }
    match books.running.get(key) {
        Some(running) if running == fingerprint => Found::Running,
        Some(_) => Found::Other,
        None => {
            books.running.insert(key.to_owned(), fingerprint.to_owned());
            Found::Nothing
        }
    }
}

async fn keep(world: &Arc<World>, key: String, fingerprint: String, response: Response) -> Response {
    if response.extensions().get::<NotKept>().is_some() {
        world.books().running.remove(&key);
        return response;
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, LARGEST).await.unwrap_or_default();
    let answer = Answer {
        key: key.clone(),
        fingerprint,
        status: parts.status.as_u16(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    world.change(|books, now| {
        books.running.remove(&key);
        books.record(now, Fact::Answer(answer));
    });
    Response::from_parts(parts, Body::from(body))
}

fn replay(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}
