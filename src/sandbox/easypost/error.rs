//! EasyPost's errors: `{"error": {code, message, errors}}`, the codes from its published list.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error answer.
#[derive(Debug)]
pub(crate) struct EasypostError {
    status: StatusCode,
    code: String,
    message: String,
    errors: Value,
}

impl EasypostError {
    fn new(status: StatusCode, code: &str, message: &str) -> Self {
        Self { status, code: code.to_owned(), message: message.to_owned(), errors: json!([]) }
    }

    /// No key at all.
    pub(crate) fn no_key() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "APIKEY.MISSING", "Authentication required.")
    }

    /// A key that is not ours.
    pub(crate) fn wrong_key() -> Self {
        let message =
            "This api key is no longer active. Please use a different api key or reactivate this key.";
        Self::new(StatusCode::FORBIDDEN, "APIKEY.INACTIVE", message)
    }

    /// The body can't be read.
    pub(crate) fn not_json() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "JSON.PARSE", "The request body is not JSON.")
    }

    /// Nothing has this id.
    pub(crate) fn missing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "The requested resource could not be found.")
    }

    /// A parameter that must be there.
    pub(crate) fn required(field: &str) -> Self {
        let mut error = Self::unprocessable("PARAMETER.REQUIRED", "Missing required parameter.");
        error.errors = json!([{"field": field, "message": "cannot be blank"}]);
        error
    }

    /// An address that nobody can deliver to.
    pub(crate) fn undeliverable(errors: Value) -> Self {
        let mut error = Self::unprocessable("ADDRESS.VERIFY.FAILURE", "Unable to verify address.");
        error.errors = errors;
        error
    }

    /// Understood, and refused.
    pub(crate) fn unprocessable(code: &str, message: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }
}

impl IntoResponse for EasypostError {
    fn into_response(self) -> Response {
        let error = json!({"code": self.code, "message": self.message, "errors": self.errors});
        (self.status, Json(json!({"error": error}))).into_response()
    }
}

/// A failure that a fault rule asked for.
pub(crate) fn planned(status: StatusCode, code: Option<&str>) -> EasypostError {
    let usual =
        if status == StatusCode::TOO_MANY_REQUESTS { "RATE_LIMITED" } else { "INTERNAL_SERVER_ERROR" };
    EasypostError::new(status, code.unwrap_or(usual), "An error that the sandbox was told to make.")
}
