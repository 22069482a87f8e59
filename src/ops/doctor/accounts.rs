//! As whom do Stripe and EasyPost know us, do their clocks agree with ours, and do Stripe's events come here as we read them?
//!
//! What a key may not ask is skipped, not failed: restricted and test keys are good keys.

use std::future::Future;

use chrono::{DateTime, Utc};
use tokio::time::timeout;

use super::{Check, PATIENCE, Status, skew};
use crate::provider::easypost::EasyPost;
use crate::provider::stripe::{Endpoint, Stripe};
use crate::provider::{CallError, Cause};
use crate::time::Clock;

/// Where the intake takes Stripe's events in.
const STRIPE_PATH: &str = "/webhooks/stripe";
/// The events without which money would only be found by looking: of a payment, of a refund, of a dispute.
const NEEDED_EVENTS: [&str; 8] = [
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "charge.refunded",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.closed",
];
/// Milliseconds that a clock told to the second leaves out.
const UNTOLD_MS: i64 = 999;

/// Stripe's account, clock and endpoints, after what was found of its API.
pub(super) async fn stripe(reached: Check, stripe: &Stripe) -> Vec<Check> {
    let clock = Clock::real();
    let before = clock.now().timestamp_millis();
    let account = match asked(stripe.account()).await {
        Ok(account) => account,
        Err(error) => {
            return vec![reached, unasked("stripe account", &error, "Account: Read of a restricted key")];
        }
    };
    let after = clock.now().timestamp_millis();
    let wanted = Stripe::version();
    let told = Check::ok("stripe account", format!("{}, answers in {}", account.id, account.version))
        .but_if(!account.takes_money, Status::Fail, || {
            "Stripe lets this account take no money: finish its activation in Stripe's dashboard".to_owned()
        })
        .but_if(account.version != wanted, Status::Warn, || {
            format!("it was asked in {wanted}: something between rewrites the header Stripe-Version")
        });
    let endpoints = match asked(stripe.endpoints()).await {
        Ok(endpoints) => judged(&endpoints, &wanted),
        Err(error) => unasked("stripe webhooks", &error, "Webhook Endpoints: Read of a restricted key"),
    };
    [Some(reached), Some(told), clock_of("stripe clock", account.date, before, after), Some(endpoints)]
        .into_iter()
        .flatten()
        .collect()
}

/// EasyPost's account and clock, after what was found of its API.
pub(super) async fn easypost(reached: Check, easypost: &EasyPost) -> Vec<Check> {
    let clock = Clock::real();
    let before = clock.now().timestamp_millis();
    let account = match asked(easypost.account()).await {
        Ok(account) => account,
        Err(error) => return vec![reached, unasked("easypost account", &error, "a production key")],
    };
    let after = clock.now().timestamp_millis();
    let balance = account.balance.as_deref().unwrap_or("unknown");
    let is_empty = balance.trim_start_matches('-').bytes().all(|letter| b"0.".contains(&letter))
        || balance.starts_with('-');
    let told = Check::ok("easypost account", format!("{}, balance USD {balance}", account.id)).but_if(
        is_empty,
        Status::Warn,
        || "labels are paid from this balance, unless a carrier bills you itself: top it up".to_owned(),
    );
    [Some(reached), Some(told), clock_of("easypost clock", account.date, before, after)]
        .into_iter()
        .flatten()
        .collect()
}

async fn asked<T>(question: impl Future<Output = Result<T, CallError>>) -> Result<T, Cause> {
    match timeout(PATIENCE, question).await {
        Ok(answer) => answer.map_err(|error| error.cause),
        Err(_elapsed) => Err(Cause::NotReached(format!("no answer in {PATIENCE:?}"))),
    }
}

/// What this key may not ask, or what was not answered, says nothing of the rest.
fn unasked(name: &'static str, error: &Cause, right: &str) -> Check {
    if matches!(error, Cause::Credentials(_)) {
        return Check::skipped(name, format!("this key may not ask; it would need {right}"));
    }
    Check::ok(name, "could not be read").but(Status::Warn, format!("{error}. Ask again later"))
}

fn clock_of(name: &'static str, date: Option<DateTime<Utc>>, before: i64, after: i64) -> Option<Check> {
    let told = date?.timestamp_millis();
    // It was any moment of that second: the one nearest to ours is believed.
    let theirs = before.clamp(told, told + UNTOLD_MS);
    Some(skew(name, before, theirs, after))
}

/// Whether what Stripe sends comes here, and as we read it.
fn judged(endpoints: &[Endpoint], wanted: &str) -> Check {
    let name = "stripe webhooks";
    let ours = |endpoint: &&Endpoint| endpoint.url.trim_end_matches('/').ends_with(STRIPE_PATH);
    let mut ours = endpoints.iter().filter(ours).peekable();
    if ours.peek().is_none() {
        let found = format!("{} endpoints, none at {STRIPE_PATH}", endpoints.len());
        return Check::ok(name, found).but(
            Status::Warn,
            format!(
                "add an endpoint https://YOUR-INTAKE{STRIPE_PATH} in Stripe's dashboard, in API version {wanted}, and its \
                 secret to STRIPE_WEBHOOK_SECRET: without it payments are only found by looking, minutes later"
            ),
        );
    }
    let mut urls = Vec::new();
    let mut advice = Vec::new();
    for endpoint in ours {
        urls.push(endpoint.url.as_str());
        advice.extend(faults(endpoint, wanted));
    }
    let check = Check::ok(name, urls.join(", "));
    advice.into_iter().fold(check, |check, fault| check.but(Status::Warn, fault))
}

/// What to change about one endpoint.
fn faults(endpoint: &Endpoint, wanted: &str) -> Vec<String> {
    let Endpoint { url, api_version, status, enabled_events } = endpoint;
    let mut faults = Vec::new();
    if status != "enabled" {
        faults.push(format!(
            "{url} is {status}: enable it in Stripe's dashboard, and see why it was not answered"
        ));
    }
    if let Some(version) = api_version.as_ref().filter(|version| *version != wanted) {
        faults.push(format!(
            "{url} sends API version {version}, we read {wanted}: what we need of an event is looked up where it is \
             missing, which costs a call each; make a new endpoint in {wanted} and drop this one"
        ));
    }
    let gets = |event: &&&str| !enabled_events.iter().any(|enabled| enabled == "*" || enabled == **event);
    let missing: Vec<&str> = NEEDED_EVENTS.iter().filter(gets).copied().collect();
    if !missing.is_empty() {
        faults.push(format!("{url} does not get {}: add them", missing.join(", ")));
    }
    faults
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint {
            url: url.to_owned(),
            api_version: Some("2026-09-30.endive".to_owned()),
            status: "enabled".to_owned(),
            enabled_events: vec!["*".to_owned()],
        }
    }

    fn told(endpoint: Endpoint) -> Check {
        judged(&[endpoint], "2026-09-30.endive")
    }

    #[test]
    fn an_endpoint_is_judged_by_where_it_is_what_it_sends_and_in_which_version() {
        let good = || endpoint("https://shop.example.com/webhooks/stripe");
        assert_eq!(told(good()), Check::ok("stripe webhooks", good().url));
        let old = Endpoint { api_version: Some("2023-10-16".to_owned()), ..good() };
        assert!(told(old).advice[0].contains("2023-10-16, we read 2026-09-30.endive"));
        assert_eq!(told(Endpoint { api_version: None, ..good() }).status, Status::Ok, "the account's own");
        let dead = Endpoint { status: "disabled".to_owned(), ..good() };
        assert!(told(dead).advice[0].contains("is disabled"));
        let few = Endpoint { enabled_events: vec!["payment_intent.succeeded".to_owned()], ..good() };
        let few = told(few);
        assert!(
            few.advice[0].contains("charge.dispute.created") && !few.advice[0].contains("succeeded"),
            "{few:?}"
        );
        assert!(told(endpoint("https://elsewhere.example.com/hook")).advice[0].contains("add an endpoint"));
    }

    #[test]
    fn a_clock_told_to_the_second_is_not_blamed_for_the_rest_of_it() {
        let date = |ms: i64| Utc.timestamp_millis_opt(ms).single();
        let status = |told, ours| clock_of("clock", date(told), ours, ours + 50).unwrap().status;
        assert_eq!(status(10_000, 10_999), Status::Ok);
        assert_eq!(clock_of("clock", date(10_000), 10_500, 10_550).unwrap().found, "agrees with ours");
        assert_eq!(status(10_000, 13_000), Status::Warn);
        assert_eq!(status(10_000, 72_000), Status::Fail);
        assert_eq!(status(100_000, 10_000), Status::Fail);
        assert_eq!(clock_of("clock", None, 0, 0), None);
    }

    #[test]
    fn what_a_key_may_not_ask_is_no_fault() {
        let refused = unasked("stripe account", &Cause::Credentials("403".to_owned().into()), "more rights");
        assert_eq!(refused.status, Status::Skipped);
        assert_eq!(unasked("stripe account", &Cause::NoAnswer("silent".into()), "x").status, Status::Warn);
    }
}
