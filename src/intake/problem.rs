//! Every error of the intake as RFC 9457 `application/problem+json`, and the only place that makes one.
//!
//! Callers branch on `code`, which never changes; people read `detail`. Nothing here may repeat what a caller sent.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tracing::error;

use crate::domain::fault::Fault;
use crate::domain::key::BadKey;
use crate::queue::QueueError;

/// How long a caller waits before it asks a door again whose queue is away: a failover takes seconds.
const AWAY: Duration = Duration::from_secs(2);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident, $retryable:literal, $title:literal;)*) => {
        /// What went wrong. The stored names are part of the API and never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code, for the document of the API.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name, as callers read it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The status that it is answered with.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// Whether the same request, with the same key, may succeed later.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }

            /// The same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The body is not JSON.
    MalformedJson = "malformed_json", BAD_REQUEST, false, "The body is not JSON";
    /// The header is missing.
    KeyMissing = "idempotency_key_missing", BAD_REQUEST, false, "The Idempotency-Key is missing";
    /// The header is too long or has characters that it may not have.
    KeyInvalid = "idempotency_key_invalid", BAD_REQUEST, false, "The Idempotency-Key is not valid";
    /// A webhook that its provider did not sign, or not just now.
    BadSignature = "bad_signature", BAD_REQUEST, false, "The signature does not hold";
    /// A signed webhook that names no event.
    NoEvent = "no_event", BAD_REQUEST, false, "The body is no event";
    /// No credential, or none that is valid.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, false, "A valid credential is required";
    /// The credential does not carry the right.
    Forbidden = "forbidden", FORBIDDEN, false, "This credential may not do that";
    /// No such page.
    NotFound = "not_found", NOT_FOUND, false, "There is nothing here";
    /// No such intent, or none that the caller may see.
    UnknownIntent = "unknown_intent", NOT_FOUND, false, "This intent is not known";
    /// No such order, or none that the caller may see.
    UnknownOrder = "unknown_order", NOT_FOUND, false, "This order is not known";
    /// The page does not take this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, false, "This method is not allowed here";
    /// The order can't be called off any more, or not by this role; `reason` says where it stands.
    NotCancellable = "not_cancellable", CONFLICT, false, "The order can not be called off";
    /// More would go back than is left of what came in; `left` says how much that is.
    RefundExceedsCaptured = "refund_exceeds_captured", CONFLICT, false, "More would go back than came in";
    /// The order does not go there, or not by this role; `legal` names where it does.
    IllegalTransition = "illegal_transition", CONFLICT, false, "The order does not go there";
    /// The order was changed since it was read; `version` is its version now.
    VersionMismatch = "version_mismatch", PRECONDITION_FAILED, false, "The order was changed meanwhile";
    /// The header that names the version is missing or not readable.
    VersionMissing = "if_match_missing", PRECONDITION_REQUIRED, false, "If-Match is missing";
    /// The order awaits no money, or not any more; `reason` says why.
    NotPayable = "not_payable", CONFLICT, false, "The order can not be paid";
    /// The provider is being asked what became of the last payment.
    PaymentClosing = "payment_closing", CONFLICT, true, "The last payment is being closed";
    /// There is not enough of something; `details` names the lines.
    InsufficientStock = "insufficient_stock", CONFLICT, false, "There is not enough of it";
    /// Nothing is left of something; `details` names the articles.
    SoldOut = "sold_out", CONFLICT, true, "It is sold out";
    /// This customer, or this client address, tries too often; `reason` says which.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, true, "Too many tries";
    /// The body did not arrive in time.
    TooSlow = "request_timeout", REQUEST_TIMEOUT, true, "The body did not arrive in time";
    /// The body is too large.
    TooLarge = "body_too_large", PAYLOAD_TOO_LARGE, false, "The body is too large";
    /// The body is said to be something else than JSON.
    NotJson = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, false, "The body must be application/json";
    /// Faults of the body; `errors` names them all.
    InvalidBody = "invalid_body", UNPROCESSABLE_ENTITY, false, "The body has faults";
    /// The key already names another wish.
    KeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, false, "The Idempotency-Key was used with another body";
    /// More is waiting than can be done in time.
    OverCapacity = "over_capacity", SERVICE_UNAVAILABLE, true, "Too much is waiting";
    /// The queue could not be asked, or did not answer: what became of the request is unknown.
    QueueUnavailable = "queue_unavailable", SERVICE_UNAVAILABLE, true, "The queue is away";
    /// The process has not read the keys yet.
    KeysUnavailable = "keys_unavailable", SERVICE_UNAVAILABLE, true, "Credentials can not be checked yet";
    /// The answer is in the database, which is away.
    StateUnavailable = "state_unavailable", SERVICE_UNAVAILABLE, true, "The state can not be read now";
    /// A bug of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, true, "Something is wrong on our side";
}

/// An error, on its way to the caller.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    code: Code,
    detail: String,
    reason: Option<&'static str>,
    errors: Vec<Fault>,
    more: Option<Box<(&'static str, Value)>>,
    retry_after: Option<Duration>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), reason: None, errors: Vec::new(), more: None, retry_after: None }
    }

    /// Every fault of a body.
    pub(super) fn faults(errors: Vec<Fault>) -> Self {
        let detail = match errors.len() {
            1 => "one field is wrong; errors names it".to_owned(),
            many => format!("{many} things are wrong; errors names them all"),
        };
        Self { errors, ..Self::new(Code::InvalidBody, detail) }
    }

    /// When the caller may come again.
    pub(super) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// A finer code, for people who look for the cause.
    pub(super) fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// What the caller needs to go on.
    pub(super) fn with(mut self, field: &'static str, value: Value) -> Self {
        self.more = Some(Box::new((field, value)));
        self
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "type": format!("/docs#problem-{}", self.code.name()),
            "title": self.code.title(),
            "status": self.code.status().as_u16(),
            "code": self.code.name(),
            "detail": self.detail,
            "retryable": self.code.retryable(),
            "errors": self.errors,
        });
        if let Some(reason) = self.reason {
            body["reason"] = reason.into();
        }
        if let Some((field, value)) = self.more.as_deref() {
            body[*field] = value.clone();
        }
        body
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Full(_) => Self::new(
                Code::OverCapacity,
                "the queue's memory is full; nothing was taken in. Repeat with the same key",
            ),
            QueueError::Answer(_) | QueueError::Address(_) | QueueError::NotDurable(_) => {
                error!(%error, "the queue answered what it should not");
                Self::new(Code::QueueUnavailable, UNKNOWN)
            }
            QueueError::Unreachable(_)
            | QueueError::TimedOut
            | QueueError::NotReady(_)
            | QueueError::NotKept(_) => Self::new(Code::QueueUnavailable, UNKNOWN),
        }
        .retry_after(AWAY)
    }
}

/// A lost answer is not a refusal: the request may have been taken in.
const UNKNOWN: &str =
    "it is unknown whether the request was taken in, it was not refused: repeat it with the same key";

impl From<BadKey> for Problem {
    fn from(bad: BadKey) -> Self {
        let code = match bad {
            BadKey::Missing => Code::KeyMissing,
            BadKey::TooLong | BadKey::NotVisible => Code::KeyInvalid,
        };
        Self::new(code, bad.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.code.status(), self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"orderfleet\""));
        }
        if let Some(after) = self.retry_after {
            // Rounded up: who comes a fraction early is refused again.
            let seconds = after.as_millis().div_ceil(1000).max(1);
            headers.insert(RETRY_AFTER, seconds.to_string().parse().unwrap_or(HeaderValue::from_static("1")));
        }
        response
    }
}
