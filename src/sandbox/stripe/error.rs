//! Stripe's errors: one shape, and whether the answer is kept under the idempotency key.

use axum::Json;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::sandbox::faults::Failing;

/// The type of every quarrel about a key, and all that Stripe says where a key came with other parameters: that has no code.
const IDEMPOTENCY: &str = "idempotency_error";
/// A request with the key is running.
const KEY_IN_USE: &str = "idempotency_key_in_use";

/// Marks an answer that is not kept: the request never began to execute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotKept;

/// An error answer.
#[derive(Debug)]
pub(crate) struct StripeError {
    status: StatusCode,
    body: Map<String, Value>,
    kept: bool,
}

impl StripeError {
    fn new(status: StatusCode, kind: &str, message: &str) -> Self {
        let mut body = Map::new();
        body.insert("type".to_owned(), json!(kind));
        body.insert("message".to_owned(), json!(message));
        Self { status, body, kept: false }
    }

    /// Parameters that can't be executed.
    pub(crate) fn invalid(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// A missing or wrong key.
    pub(crate) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message)
    }

    /// Nothing has this id.
    pub(crate) fn missing(what: &str, id: &str) -> Self {
        let mut error = Self::invalid(&format!("No such {what}: '{id}'"))
            .code("resource_missing")
            .param(if what == "payment_intent" { "intent" } else { "id" });
        error.status = StatusCode::NOT_FOUND;
        error
    }

    /// The key was used with other parameters.
    pub(crate) fn key_reused(key: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            IDEMPOTENCY,
            &format!(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. Try \
                 using a key other than '{key}' if you meant to execute a different request."
            ),
        )
    }

    /// A request with the key is running.
    pub(crate) fn key_in_use(key: &str) -> Self {
        let message =
            format!("There is currently another in-progress request using this Idempotent Key ({key}).");
        Self::new(StatusCode::CONFLICT, IDEMPOTENCY, &message).code(KEY_IN_USE)
    }

    /// The payment's state does not allow it.
    pub(crate) fn unexpected_state(message: &str) -> Self {
        Self::invalid(message).code("payment_intent_unexpected_state").executed()
    }

    /// The card was refused.
    pub(crate) fn card(code: &str, decline_code: &str, message: &str) -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, "card_error", message)
            .code(code)
            .with("decline_code", json!(decline_code))
            .executed()
    }

    /// Says the machine's word for it.
    pub(crate) fn code(self, code: &str) -> Self {
        let url = format!("https://stripe.com/docs/error-codes/{}", code.replace('_', "-"));
        self.with("code", json!(code)).with("doc_url", json!(url))
    }

    /// Names the parameter.
    pub(crate) fn param(self, param: &str) -> Self {
        self.with("param", json!(param))
    }

    /// Shows the payment as it now is.
    pub(crate) fn about(self, intent: Value) -> Self {
        self.with("payment_intent", intent)
    }

    /// It had begun to execute: the answer is kept under the key.
    fn executed(mut self) -> Self {
        self.kept = true;
        self
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.body.insert(name.to_owned(), value);
        self
    }
}

impl IntoResponse for StripeError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({"error": self.body}))).into_response();
        if !self.kept {
            response.extensions_mut().insert(NotKept);
        }
        response
    }
}

/// A failure that a fault rule asked for. Those of the server are kept, as Stripe keeps them; refusals are not.
pub(crate) fn planned(status: StatusCode, failing: &Failing) -> Response {
    let kind = match failing.code.as_deref() {
        Some(IDEMPOTENCY | KEY_IN_USE) => IDEMPOTENCY,
        _ if status.is_server_error() => "api_error",
        _ => "invalid_request_error",
    };
    let code = match (failing.code.as_deref(), failing.reason) {
        (Some(code), _) => Some(code).filter(|code| *code != IDEMPOTENCY),
        (None, Some(_)) => Some("rate_limit"),
        // A limit is always named: where it is not, somebody else has the object locked.
        (None, None) => (status == StatusCode::TOO_MANY_REQUESTS).then_some("lock_timeout"),
    };
    let error = StripeError::new(status, kind, "An error that the sandbox was told to make.");
    let error = code.into_iter().fold(error, StripeError::code);
    let mut response = if status.is_server_error() { error.executed() } else { error }.into_response();
    if let Some(reason) = failing.reason {
        let named = HeaderValue::from_static(reason.name());
        response.headers_mut().insert("stripe-rate-limited-reason", named);
    }
    response
}
