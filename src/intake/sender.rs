//! Who sends webhooks, how each proves itself, and what it says: from bytes to an event, without a queue or a database.
//!
//! The routes and `orderfleet webhooks verify` both judge by this, so that what one refuses the other explains. Nothing
//! here reads the clock, counts or logs.

use axum::http::{HeaderMap, HeaderValue};
use serde_json::Value;

use crate::domain::mail_news::MailReading;
use crate::domain::offer::Provider;
use crate::domain::told::Silent;
use crate::domain::webhook::{NoEvent, WebhookPayload};
use crate::signature::{Configured, EasyPostSignature, Letter, Refused, StripeSignature};

/// Where Stripe's signature is.
const STRIPE_HEADER: &str = "stripe-signature";

/// One who sends webhooks.
#[derive(Clone, Copy, Debug)]
pub enum Sender<'a> {
    /// Stripe.
    Stripe(&'a StripeSignature),
    /// EasyPost.
    EasyPost(&'a EasyPostSignature),
    /// A payment provider that is known by its settings alone, by name.
    Payments(&'a str, &'a Provider),
    /// A mail service that is known by its settings alone, by name.
    Mail(&'a str, &'a MailService),
}

/// A mail service that tells what became of mails.
#[derive(Clone, Debug)]
pub struct MailService {
    /// Verifies its webhooks.
    pub signature: Configured,
    /// Reads them.
    pub event: MailReading,
}

/// What came.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// What stands behind the question mark, still encoded.
    pub query: Option<&'a str>,
    /// The body, byte for byte.
    pub body: &'a [u8],
}

/// Why a webhook is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Nothing proves who sent it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Authentic, but no JSON.
    #[error("authentic, but the body is no JSON: {0}")]
    NotJson(String),
    /// Authentic, but it names no event.
    #[error("authentic, but {0}")]
    NoEvent(String),
}

impl NotTaken {
    /// The reason in one word; stable, for metrics and scripts.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.code(),
            Self::NotJson(_) => "malformed_json",
            Self::NoEvent(_) => "no_event",
        }
    }
}

impl From<NoEvent> for NotTaken {
    fn from(none: NoEvent) -> Self {
        Self::NoEvent(none.to_string())
    }
}

impl From<Silent> for NotTaken {
    fn from(silent: Silent) -> Self {
        Self::NoEvent(silent.to_string())
    }
}

impl Sender<'_> {
    /// Its name, as the routes and metrics have it.
    #[must_use]
    pub const fn name(&self) -> &str {
        match self {
            Self::Stripe(_) => "stripe",
            Self::EasyPost(_) => "easypost",
            Self::Payments(name, _) | Self::Mail(name, _) => name,
        }
    }

    /// The event, where this sender signed exactly these bytes not long before or after `now`, in unix seconds.
    pub fn event(&self, sent: &Sent<'_>, now: i64) -> Result<WebhookPayload, NotTaken> {
        let header = |name: &str| sent.headers.get(name).map(HeaderValue::as_bytes);
        match self {
            Self::Stripe(signature) => {
                signature.verify(header(STRIPE_HEADER), sent.body, now)?;
                Ok(WebhookPayload::stripe(json(sent.body)?)?)
            }
            Self::EasyPost(signature) => {
                signature.verify(header, sent.body, now)?;
                Ok(WebhookPayload::easypost(json(sent.body)?)?)
            }
            Self::Payments(name, provider) => {
                let message = open(&provider.signature, sent, now)?;
                Ok(WebhookPayload::configured(name, &message, &provider.event)?)
            }
            Self::Mail(name, service) => {
                let message = open(&service.signature, sent, now)?;
                Ok(WebhookPayload::mail(name, &message, &service.event)?)
            }
        }
    }
}

/// The message that one who is known by settings alone has signed.
fn open(signature: &Configured, sent: &Sent<'_>, now: i64) -> Result<Value, Refused> {
    let mut parts = form_urlencoded::parse(sent.query.unwrap_or_default().as_bytes());
    let wanted = signature.query();
    let query = wanted.and_then(|wanted| parts.find(|(name, _)| name == wanted));
    let letter = Letter {
        header: &|name| sent.headers.get(name).map(HeaderValue::as_bytes),
        query: query.as_ref().map(|(_, message)| message.as_ref()),
        body: sent.body,
    };
    signature.open(&letter, now)
}

/// A fault is told with its line and column.
fn json(bytes: &[u8]) -> Result<Value, NotTaken> {
    serde_json::from_slice(bytes).map_err(|error| NotTaken::NotJson(error.to_string()))
}

#[cfg(test)]
mod tests;
