//! One HTTP call to a provider: was it sent, was it answered, and with what.
//!
//! One pooled client for each provider, with explicit time-outs, no redirects (a redirected POST would carry our key to
//! whoever asked) and no retries of its own. What an answer means is decided here by its status alone; the providers'
//! files know their codes. Nothing here may log a header or a body.

use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Request, RequestBuilder, Url};

use super::{BadSettings, Cause, Said};
use crate::telemetry::spans::{Side, below_current};

/// How long to wait for a connection: a provider that is up answers in a fraction of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an unused connection stays open: shorter than the providers' load balancers keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer: a hundred times the largest that we know, and small enough to hold for every call at once.
const LARGEST_ANSWER: usize = 1024 * 1024;

/// A provider's front door.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    base: Url,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    retry_after: Option<Duration>,
    request_id: String,
    is_replayed: bool,
    may_be_retried: bool,
    /// Which of Stripe's limits was met, where it told.
    pub(super) limit: Option<String>,
    /// Their clock, to the second, where they told it.
    pub(super) date: Option<DateTime<Utc>>,
    /// The version in which they answered, where they told it.
    pub(super) version: Option<String>,
    pub(super) body: Bytes,
}

impl Http {
    /// A client for the API at `base`, whose calls take `timeout_ms` at most, connecting included.
    pub(super) fn new(setting: &'static str, base: &str, timeout_ms: u64) -> Result<Self, BadSettings> {
        let base = format!("{}/", base.trim_end_matches('/'));
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(Duration::from_millis(timeout_ms))
            .pool_idle_timeout(IDLE_TIMEOUT)
            // A proxy named in the environment would be a setting that our settings don't know.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .user_agent(concat!("orderfleet/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| BadSettings::new(setting, told(error)))?;
        let base = Url::parse(&base).map_err(|error| BadSettings::new(setting, error.to_string()))?;
        if base.has_host() {
            Ok(Self { client, base })
        } else {
            Err(BadSettings::new(setting, "it has no host"))
        }
    }

    /// The client, to begin a request with.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// A URL below the base; the segments are encoded.
    pub(super) fn below<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Sends a request, once, and reads its answer. The span of it has method, host and status: a path may hold what is
    /// nobody's business.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Answer, Cause> {
        let request = request.build().map_err(|error| Cause::Impossible(told(error)))?;
        let Some(begun) = below_current() else { return self.asked(request).await };
        let method = request.method().as_str().to_owned();
        let answer = self.asked(request).await;
        let host = self.base.host_str().unwrap_or_default();
        let span = begun.end(format!("{method} {host}"), Side::Client);
        let span = span.with("http.request.method", method).with("server.address", host.to_owned());
        match &answer {
            Ok(answer) => {
                let code = (!answer.is_success()).then(|| answer.status.to_string());
                span.with("http.response.status_code", i64::from(answer.status)).failed(code)
            }
            Err(cause) => span.failed(Some(cause.name())),
        }
        .record();
        answer
    }

    async fn asked(&self, request: Request) -> Result<Answer, Cause> {
        let mut response = self.client.execute(request).await.map_err(unanswered)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(Cause::Unreadable(format!("more than {LARGEST_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let headers = response.headers();
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after: header(headers, RETRY_AFTER.as_str())
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
            request_id: header(headers, "request-id")
                .or_else(|| header(headers, "x-ep-request-uuid"))
                .unwrap_or("unknown")
                .to_owned(),
            limit: header(headers, "stripe-rate-limited-reason").map(str::to_owned),
            is_replayed: header(headers, "idempotent-replayed") == Some("true"),
            may_be_retried: header(headers, "stripe-should-retry") == Some("true"),
            date: header(headers, DATE.as_str())
                .and_then(|date| DateTime::parse_from_rfc2822(date).ok())
                .map(|date| date.to_utc()),
            version: header(headers, "stripe-version").map(str::to_owned),
            body: body.freeze(),
        })
    }
}

impl Answer {
    /// Whether it is a success.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether there is no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == 404
    }

    /// Whether it is the failure of an earlier call that was kept under the same idempotency key.
    pub(super) fn is_kept_failure(&self) -> bool {
        self.is_replayed && self.status >= 500
    }

    /// What an answer that is no success means, by its status. `said` is the provider's code and the fields concerned.
    pub(super) fn cause(&self, said: &Said) -> Cause {
        let text = format!("{} {said} (request {})", self.status, self.request_id);
        let about = Said { text, ..said.clone() };
        match self.status {
            401 | 403 => Cause::Credentials(about),
            409 => Cause::NotNow(about),
            429 => Cause::Throttled { after: self.retry_after, about },
            // 408: their time-out. 424: what they depend on failed. Both after they began.
            408 | 424 | 500..=599 => Cause::Broken { status: self.status, about },
            // They know better than their status: it was not done, and may be asked for again.
            400..=499 if self.may_be_retried => Cause::NotNow(about),
            400..=499 => Cause::Refused(about),
            _ => Cause::Unreadable(about.text),
        }
    }
}

impl Cause {
    /// Its name, for traces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Impossible(_) => "impossible",
            Self::NotReached(_) => "not_reached",
            Self::BrokeOff(_) => "broke_off",
            Self::NoAnswer(_) => "no_answer",
            Self::Unreadable(_) => "unreadable_answer",
            Self::Broken { .. } => "broken",
            Self::Throttled { .. } => "throttled",
            Self::NotNow(_) => "not_now",
            Self::Credentials(_) => "credentials_refused",
            Self::Refused(_) => "refused",
            Self::LookFirst { code, .. } => code,
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn unanswered(error: reqwest::Error) -> Cause {
    if error.is_connect() { Cause::NotReached(told(error)) } else { Cause::NoAnswer(told(error)) }
}

/// An error and its reasons in one line, without the URL.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut told = error.to_string();
    let mut reason = error.source();
    while let Some(deeper) = reason {
        let _ = write!(told, ": {deeper}");
        reason = deeper.source();
    }
    told
}
