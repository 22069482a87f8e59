//! Stripe: opening, looking at and cancelling a payment; giving money back is in [`refund`], what banks want
//! back in [`dispute`], what happened in [`event`]. The only room that knows the Stripe crates.
//!
//! Requests and answers are the crates' own; the connection is ours. Their client opens a TCP and TLS connection for each
//! call, has no time-out by default, loses the HTTP status of an answer that is not JSON, and can't tell a call that
//! was never sent from one whose answer was lost; all four decide here. Each mutation is sent once, under the key of the
//! effect's row: their `Retry` strategies would send it several times, and without a key.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use reqwest::RequestBuilder;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use stripe::{CustomizedStripeRequest, IdempotencyKey, RequestStrategy, StripeRequest};
use stripe_client_core::{StripeClient, StripeClientErr, StripeMethod};
use stripe_core::payment_intent::{
    CancelPaymentIntent, CapturePaymentIntent, CreatePaymentIntent,
    CreatePaymentIntentAutomaticPaymentMethods, ListPaymentIntent, RetrievePaymentIntent,
};
use stripe_core::{PaymentIntent, PaymentIntentStatus};
use stripe_types::{List, RangeQueryTs};

use super::http::{Answer, Http};
use super::{BadSettings, Call, CallError, Cause, Said, known_here};
use crate::config::StripeSettings;
use crate::domain::money::{Amount, Currency, MoneyError};
use crate::ids::{OrderId, PaymentId};
use crate::job::Dependency;
use crate::time::Stopwatch;

mod account;
mod dispute;
mod event;
mod refund;

pub use account::{Account, Endpoint};
pub use dispute::DisputeSeen;
pub use event::{EventPage, EventSpan};
pub use refund::{CreateRefund, RefundSeen};

/// What Stripe calls a payment that is no longer in a state for the request.
const UNEXPECTED_STATE: &str = "payment_intent_unexpected_state";
/// The same in our word.
const UNEXPECTED: &str = "unexpected_state";
/// What Stripe calls a refund beside a dispute (<https://docs.stripe.com/disputes>): the bank has the money.
pub(super) const DISPUTED: &str = "charge_disputed";

/// What Stripe calls it where a key comes with other parameters than at first: a type, without a code.
const OTHER_PARAMETERS: &str = "idempotency_error";
/// The same in our word. Something was done under that key: perhaps just this, in the words of another version of ours.
pub(super) const KEY_REUSED: &str = "key_reused";

/// Payments on a page of a look: Stripe's largest.
const PAGE: i64 = 100;
/// Pages of one look: at a tenth of a second each they fit into the deadline of a job that also has to open a payment.
const PAGES: usize = 50;
/// Times that a page is asked for, until the look is given up. A look that began anew for each page that was lost would hardly
/// ever end where a tenth of all answers is: of twenty pages, one time in eight.
const TRIES: u32 = 3;
/// Only what was lost this soon: a kind's deadline has room for two calls that end by their time-outs, and for no third.
const SOON: Duration = Duration::from_secs(1);

/// Stripe's API, for payments.
#[derive(Clone, Debug)]
pub struct Stripe {
    wire: Wire,
}

/// A payment to be opened. This is what is frozen in the effect's row, so that a second try says the same words: Stripe
/// refuses a key that comes with another body. It holds nothing of the customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePayment {
    /// What is to be paid, in minor units of `currency` as we count them.
    pub amount_minor: i64,
    /// ISO 4217.
    pub currency: Currency,
    /// The order.
    pub order_id: OrderId,
    /// Our payment.
    pub payment_id: PaymentId,
    /// The order's number, as the customer knows it.
    pub order_number: String,
    /// The tenant.
    pub tenant: String,
    /// What stands on the receipt.
    pub description: String,
}

/// A payment as Stripe told it. Written as a receipt it has no client secret: that is stored encrypted, apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PaymentSeen {
    /// `pi_…`.
    pub id: String,
    /// Where it stands.
    pub status: SeenStatus,
    /// What was asked for, in minor units as we count them.
    pub amount_minor: i64,
    /// What came in, in minor units as we count them.
    pub received_minor: i64,
    /// ISO 4217.
    pub currency: Currency,
    /// What the customer's browser pays with.
    #[serde(skip)]
    pub client_secret: Option<SecretString>,
}

/// Where a payment stands at Stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeenStatus {
    /// Waits for the customer to choose how to pay; also after a declined attempt.
    RequiresPaymentMethod,
    /// Waits to be confirmed.
    RequiresConfirmation,
    /// Waits for the customer, such as at their bank's page.
    RequiresAction,
    /// On its way; some methods take days.
    Processing,
    /// Authorised, not yet taken.
    RequiresCapture,
    /// Paid.
    Succeeded,
    /// Over, unpaid.
    Canceled,
    /// A word that Stripe did not have when this was written.
    Other,
}

impl Stripe {
    /// A client with these settings. Connects to nobody yet.
    pub fn new(settings: &StripeSettings) -> Result<Self, BadSettings> {
        let http = Http::new("stripe.api_base", &settings.api_base, settings.timeout_ms)?;
        let bad_key = |fault: &str| BadSettings::new("stripe.secret_key", fault);
        if settings.secret_key.expose_secret().trim().is_empty() {
            return Err(bad_key("it is blank"));
        }
        let bearer = format!("Bearer {}", settings.secret_key.expose_secret());
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| bad_key("it can't stand in a header"))?;
        bearer.set_sensitive(true);
        let version = HeaderValue::from_str(stripe_client_core::VERSION.as_str())
            .map_err(|error| BadSettings::new("stripe", error.to_string()))?;
        Ok(Self { wire: Wire { http, bearer, version } })
    }

    /// Opens a payment. The same key with the same request opens it once, for a day.
    pub async fn create(&self, payment: &CreatePayment, key: &str) -> Result<PaymentSeen, CallError> {
        let amount = Amount::new(payment.amount_minor, payment.currency);
        let units = amount.to_stripe().map_err(|error| impossible(&error))?;
        // Their parser keeps codes that it does not know, so this can't fail.
        let Ok(currency) = stripe_types::Currency::from_str(&payment.currency.code().to_ascii_lowercase());
        let metadata = HashMap::from([
            ("order_id".to_owned(), payment.order_id.to_string()),
            ("payment_id".to_owned(), payment.payment_id.to_string()),
            ("order_number".to_owned(), payment.order_number.clone()),
            ("tenant".to_owned(), payment.tenant.clone()),
        ]);
        let request = CreatePaymentIntent::new(units, currency)
            .automatic_payment_methods(CreatePaymentIntentAutomaticPaymentMethods::new(true))
            .description(payment.description.as_str())
            .metadata(metadata);
        self.ask(&request, Some(key)).await
    }

    /// Looks at a payment.
    pub async fn retrieve(&self, id: &str) -> Result<PaymentSeen, CallError> {
        self.ask(&RetrievePaymentIntent::new(id), None).await
    }

    /// Looks for the payment that was opened for one of ours since then (unix seconds). None is proof that there is none.
    pub async fn find(&self, payment: PaymentId, since: i64) -> Result<Option<PaymentSeen>, CallError> {
        let payment = payment.to_string();
        let failed = |cause| CallError { to: Dependency::Stripe, call: Call::Look, cause };
        let mut page = ListPaymentIntent::new().created(RangeQueryTs::gte(since)).limit(PAGE);
        for _ in 0..PAGES {
            let ask = || page.customize().request_strategy(RequestStrategy::Once).send(&self.wire);
            let found: List<PaymentIntent> = not_lost(ask).await.map_err(failed)?;
            let last = found.data.last().map(|intent| intent.id.to_string());
            let ours = |intent: &PaymentIntent| intent.metadata.get("payment_id") == Some(&payment);
            if let Some(intent) = found.data.into_iter().find(ours) {
                return seen(intent).map(Some).map_err(failed);
            }
            match last.filter(|_| found.has_more) {
                Some(last) => page = page.starting_after(last),
                None => return Ok(None),
            }
        }
        Err(failed(Cause::NotNow("too many payments to look through".to_owned().into())))
    }

    /// Whether Stripe is there and knows our key.
    pub async fn check(&self) -> Result<(), CallError> {
        known_here(self.retrieve("pi_orderfleet_doctor").await, "resource_missing")
    }

    /// Cancels a payment. One that is already over, either way, is refused with `unexpected_state`: look at it then.
    pub async fn cancel(&self, id: &str, key: &str) -> Result<PaymentSeen, CallError> {
        self.ask(&CancelPaymentIntent::new(id), Some(key)).await
    }

    /// Takes all the money that a payment was authorised for. One that is over is refused with `unexpected_state`.
    pub async fn capture(&self, id: &str, key: &str) -> Result<PaymentSeen, CallError> {
        self.ask(&CapturePaymentIntent::new(id), Some(key)).await
    }

    async fn ask<R>(&self, request: &R, key: Option<&str>) -> Result<PaymentSeen, CallError>
    where
        R: StripeRequest<Output = PaymentIntent>,
    {
        let (call, strategy) = once(key)?;
        let answer = request.customize().request_strategy(strategy).send(&self.wire).await;
        answer.and_then(seen).map_err(|cause| CallError { to: Dependency::Stripe, call, cause })
    }
}

/// A page of a look, asked for again where its answer was lost soon.
async fn not_lost<T, F: Future<Output = Result<T, Cause>>>(ask: impl Fn() -> F) -> Result<T, Cause> {
    let (mut tries, since) = (1, Stopwatch::start());
    loop {
        match ask().await {
            Err(cause) if cause.is_loss() && tries < TRIES && since.elapsed() < SOON => tries += 1,
            answer => return answer,
        }
    }
}

/// Each request is sent once. One with a key is a mutation, one without is a look.
fn once(key: Option<&str>) -> Result<(Call, RequestStrategy), CallError> {
    let Some(key) = key else { return Ok((Call::Look, RequestStrategy::Once)) };
    let key = IdempotencyKey::new(key).map_err(|error| impossible(&error))?;
    Ok((Call::Counts, RequestStrategy::Idempotent(key)))
}

fn impossible(error: &dyn std::error::Error) -> CallError {
    let cause = Cause::Impossible(error.to_string());
    CallError { to: Dependency::Stripe, call: Call::Counts, cause }
}

fn seen(intent: PaymentIntent) -> Result<PaymentSeen, Cause> {
    let unreadable = |error: MoneyError| Cause::Unreadable(error.to_string());
    let currency: Currency = intent.currency.to_string().parse().map_err(unreadable)?;
    Ok(PaymentSeen {
        id: intent.id.to_string(),
        status: intent.status.into(),
        amount_minor: Amount::from_stripe(intent.amount, currency).map_err(unreadable)?.minor,
        received_minor: Amount::from_stripe(intent.amount_received, currency).map_err(unreadable)?.minor,
        currency,
        client_secret: intent.client_secret.map(SecretString::from),
    })
}

impl From<PaymentIntentStatus> for SeenStatus {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the crate's enum is open: Stripe adds words")]
    fn from(status: PaymentIntentStatus) -> Self {
        match status {
            PaymentIntentStatus::RequiresPaymentMethod => Self::RequiresPaymentMethod,
            PaymentIntentStatus::RequiresConfirmation => Self::RequiresConfirmation,
            PaymentIntentStatus::RequiresAction => Self::RequiresAction,
            PaymentIntentStatus::Processing => Self::Processing,
            PaymentIntentStatus::RequiresCapture => Self::RequiresCapture,
            PaymentIntentStatus::Succeeded => Self::Succeeded,
            PaymentIntentStatus::Canceled => Self::Canceled,
            _ => Self::Other,
        }
    }
}

/// Carries the crates' requests over our connection.
#[derive(Clone, Debug)]
struct Wire {
    http: Http,
    bearer: HeaderValue,
    version: HeaderValue,
}

impl Wire {
    /// A request in our name, for answers in the words of this version.
    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        request.header("authorization", &self.bearer).header("stripe-version", &self.version)
    }
}

impl StripeClient for Wire {
    type Err = Cause;

    async fn execute(&self, request: CustomizedStripeRequest) -> Result<Bytes, Cause> {
        let (request, config) = request.into_pieces();
        let mut url = self.http.below(["v1"].into_iter().chain(request.path.split('/').skip(1)));
        url.set_query(request.query.as_deref().filter(|query| !query.is_empty()));
        let client = self.http.client();
        let mut outgoing = match request.method {
            StripeMethod::Get => client.get(url),
            StripeMethod::Post => client.post(url),
            StripeMethod::Delete => client.delete(url),
        };
        outgoing = self.signed(outgoing);
        if let Some(key) = config.request_strategy.and_then(|strategy| strategy.get_key()) {
            outgoing = outgoing.header("idempotency-key", key.as_str());
        }
        if let Some(form) = request.body {
            outgoing = outgoing.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        }
        let answer = self.http.send(outgoing).await?;
        if answer.is_success() { Ok(answer.body) } else { Err(refusal(&answer)) }
    }
}

impl StripeClientErr for Cause {
    fn deserialize_err(fault: impl std::fmt::Display) -> Self {
        Self::Unreadable(fault.to_string())
    }
}

/// Stripe's words for a refusal. Its `message` is left out: it may quote what we sent.
#[derive(Deserialize)]
struct Refusal {
    error: RefusalCodes,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RefusalCodes {
    r#type: Option<String>,
    code: Option<String>,
    decline_code: Option<String>,
    param: Option<String>,
}

fn refusal(answer: &Answer) -> Cause {
    // A gateway answers in HTML: then the status alone speaks.
    let codes = serde_json::from_slice(&answer.body)
        .map_or_else(|_| RefusalCodes::default(), |Refusal { error }| error);
    let said: Vec<&str> = [&codes.r#type, &codes.code, &codes.decline_code, &codes.param, &answer.limit]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let code = [&codes.decline_code, &codes.code, &codes.r#type].into_iter().flatten().next();
    let about = Said::coded(code.map_or("", String::as_str), said.join(" "));
    if answer.status == 400 && codes.r#type.as_deref() == Some(OTHER_PARAMETERS) {
        return Cause::LookFirst { code: KEY_REUSED, about };
    }
    if codes.code.as_deref() == Some(UNEXPECTED_STATE) {
        return Cause::LookFirst { code: UNEXPECTED, about };
    }
    if codes.code.as_deref() == Some(DISPUTED) {
        return Cause::LookFirst { code: DISPUTED, about };
    }
    // The failure of an earlier call, kept under its key: the same key will never say anything else.
    if answer.is_kept_failure() {
        return Cause::LookFirst { code: "failed_before", about };
    }
    answer.cause(&about)
}

#[cfg(test)]
mod tests;
