//! Every error of the operators' JSON as RFC 9457 `application/problem+json`, in the form of the intake's, and the only
//! place that makes one. Programs branch on `code`, which never changes; people read `detail`.

use std::time::Duration;

use axum::extract::rejection::BytesRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::job::{Class, Dependency, Failure};
use crate::ops::controls::ControlRefused;
use crate::ops::dead_letters::EditRefused;
use crate::ops::workers::DrainError;
use crate::queue::QueueError;
use crate::store::StoreError;

/// How long to wait before a server that is away is asked again: a failover takes seconds.
const AWAY: Duration = Duration::from_secs(2);

/// What went wrong. The names are part of the API and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Unauthenticated,
    TooManyTries,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    UnknownLane,
    UnknownWorker,
    UnknownDeadLetter,
    UnknownOrder,
    NotOpen,
    NotPossible,
    TooLarge,
    InvalidQuery,
    InvalidBody,
    NothingChosen,
    StateUnavailable,
    QueueUnavailable,
    Internal,
}

impl Code {
    /// All of them, as the document lists them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 18] = [
        Self::Unauthenticated,
        Self::TooManyTries,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnknownLane,
        Self::UnknownWorker,
        Self::UnknownDeadLetter,
        Self::UnknownOrder,
        Self::NotOpen,
        Self::NotPossible,
        Self::TooLarge,
        Self::InvalidQuery,
        Self::InvalidBody,
        Self::NothingChosen,
        Self::StateUnavailable,
        Self::QueueUnavailable,
        Self::Internal,
    ];

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        self.facts().0
    }

    /// Its name, its status, and the same few words for every occurrence.
    const fn facts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::Unauthenticated => {
                ("unauthenticated", StatusCode::UNAUTHORIZED, "A valid credential is required")
            }
            Self::TooManyTries => {
                ("too_many_tries", StatusCode::TOO_MANY_REQUESTS, "Too many credentials were refused")
            }
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "This credential may not do that"),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, "There is nothing here"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed here")
            }
            Self::UnknownLane => ("unknown_lane", StatusCode::NOT_FOUND, "There is no such lane"),
            Self::UnknownWorker => ("unknown_worker", StatusCode::NOT_FOUND, "There is no such live worker"),
            Self::UnknownDeadLetter => {
                ("unknown_dead_letter", StatusCode::NOT_FOUND, "There is no such dead letter")
            }
            Self::UnknownOrder => ("unknown_order", StatusCode::NOT_FOUND, "This order is not known"),
            Self::NotOpen => ("not_open", StatusCode::CONFLICT, "The dead letter has had its end"),
            Self::NotPossible => ("not_possible", StatusCode::CONFLICT, "The order does not allow this now"),
            Self::TooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::InvalidQuery => {
                ("invalid_query", StatusCode::UNPROCESSABLE_ENTITY, "The query has a fault")
            }
            Self::InvalidBody => ("invalid_body", StatusCode::UNPROCESSABLE_ENTITY, "The body has a fault"),
            Self::NothingChosen => {
                ("nothing_chosen", StatusCode::UNPROCESSABLE_ENTITY, "It does not say which")
            }
            Self::StateUnavailable => {
                ("state_unavailable", StatusCode::SERVICE_UNAVAILABLE, "The state can not be read now")
            }
            Self::QueueUnavailable => {
                ("queue_unavailable", StatusCode::SERVICE_UNAVAILABLE, "The queue is away")
            }
            Self::Internal => {
                ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something is wrong on our side")
            }
        }
    }
}

/// An error, on its way to the operator.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) detail: String,
    /// How long to wait before it is asked again, where that helps.
    wait: Option<Duration>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        let wait = (code.facts().1 == StatusCode::SERVICE_UNAVAILABLE).then_some(AWAY);
        Self { code, detail: detail.into(), wait }
    }

    /// Nobody is known by this credential.
    pub(super) fn no_key() -> Self {
        Self::new(Code::Unauthenticated, "this key is not known, has expired or was revoked")
    }

    /// Too many were refused that came from the same address.
    pub(super) fn too_many(wait: Duration) -> Self {
        let seconds = wait.as_secs().saturating_add(1);
        let detail =
            format!("too many credentials from this address were refused: come again in {seconds} s");
        Self { wait: Some(Duration::from_secs(seconds)), ..Self::new(Code::TooManyTries, detail) }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.code.facts().1
    }

    pub(super) fn title(&self) -> &'static str {
        self.code.facts().2
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (code, status, title) = self.code.facts();
        let told = self.clone();
        let body = json!({
            "type": format!("about:blank#{code}"), "title": title, "status": status.as_u16(), "code": code,
            "detail": self.detail, "retryable": self.wait.is_some(), "errors": [],
        });
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.code == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"orderfleet-ops\""));
        }
        if let Some(wait) = self.wait {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        // The console makes a page of it.
        response.extensions_mut().insert(told);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let Failure { class, code, detail, .. } = failure;
        if class == Class::Unavailable(Dependency::Postgres) {
            let told = "Postgres is away or busy. What is done in batches is done up to the last one: the same request goes on \
                        from there";
            return Self::new(Code::StateUnavailable, told);
        }
        tracing::error!(code, detail, "an operator's request failed");
        Self::new(Code::Internal, format!("{code}: the log of this process tells more"))
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        tracing::warn!(%error, "the queue could not be asked for an operator");
        Self::new(Code::QueueUnavailable, format!("{error}. `orderfleet doctor` says what to change"))
    }
}

impl From<ControlRefused> for Problem {
    fn from(refused: ControlRefused) -> Self {
        let code = match refused {
            ControlRefused::Queue(error) => return error.into(),
            ControlRefused::UnknownLane(_) => Code::UnknownLane,
            ControlRefused::TooFew(..) => Code::InvalidBody,
        };
        Self::new(code, refused.to_string())
    }
}

impl From<DrainError> for Problem {
    fn from(refused: DrainError) -> Self {
        match refused {
            DrainError::Queue(error) => error.into(),
            DrainError::Unknown(..) => Self::new(Code::UnknownWorker, refused.to_string()),
        }
    }
}

impl From<EditRefused> for Problem {
    fn from(refused: EditRefused) -> Self {
        let code = match refused {
            EditRefused::Store(error) => return error.into(),
            EditRefused::NotOpen(_) => Code::NotOpen,
            EditRefused::UnknownKind(..) | EditRefused::NoPayload(..) => Code::InvalidBody,
        };
        Self::new(code, refused.to_string())
    }
}

impl From<BytesRejection> for Problem {
    fn from(refused: BytesRejection) -> Self {
        let code = if refused.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Code::TooLarge
        } else {
            Code::InvalidBody
        };
        Self::new(code, "the body could not be read: at most a megabyte of JSON is taken")
    }
}
