//! An answer of failure, in the words of whoever gives it: the provider, its rate limiter, or the gateway before it.

use serde::{Deserialize, Serialize};

/// An answer of failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failing {
    /// The HTTP status, or the SMTP code.
    pub(crate) status: u16,
    /// The provider's error code. Stripe's `idempotency_error` is a type without a code, and is said as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// Why Stripe limits us, which it says in a header of a 429. Without it, a 429 tells of a lock on the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
    /// A gateway says it in the provider's stead: a page of HTML, of which the provider knows and keeps nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) html: bool,
    /// Do the work, and fail all the same.
    #[serde(default)]
    pub(crate) after: bool,
}

/// Which of Stripe's limits was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    /// Requests a second, of the account.
    GlobalRate,
    /// Requests a second, of one endpoint.
    EndpointRate,
    /// Requests at once, of the account.
    GlobalConcurrency,
    /// Requests at once, of one endpoint.
    EndpointConcurrency,
    /// Changes of one object.
    ResourceSpecific,
}

impl Reason {
    /// As the header says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GlobalRate => "global-rate",
            Self::EndpointRate => "endpoint-rate",
            Self::GlobalConcurrency => "global-concurrency",
            Self::EndpointConcurrency => "endpoint-concurrency",
            Self::ResourceSpecific => "resource-specific",
        }
    }
}

impl Failing {
    /// Whether this provider, or a gateway before it, has such words.
    pub(super) fn is_said_by(&self, provider: &str) -> bool {
        let is_page = provider != "smtp" && self.code.is_none() && self.reason.is_none();
        let is_limit = provider == "stripe" && self.status == 429;
        (!self.html || is_page) && (self.reason.is_none() || is_limit)
    }
}
