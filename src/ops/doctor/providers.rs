//! Do Stripe, EasyPost, the mail server and the configured payment providers answer, do they know us, and as whom? And does the
//! collector of traces? Nothing is made, bought or sent.

use std::fmt::Display;
use std::future::Future;

use futures::future::join_all;
use tokio::time::timeout;

use super::{Check, PATIENCE, Status, accounts};
use crate::config::{EasyPostSettings, Need, Settings, SmtpSettings, StripeSettings};
use crate::job::Dependency;
use crate::provider::configured::StatusRoute;
use crate::provider::easypost::EasyPost;
use crate::provider::smtp::{Mailer, Protection};
use crate::provider::stripe::Stripe;
use crate::provider::{CallError, Cause};
use crate::telemetry;

pub(super) async fn examine(settings: &Settings, needs: &[Need]) -> Vec<Check> {
    let needed = |need: Need| needs.contains(&need);
    let (stripe, easypost, smtp) = tokio::join!(
        unless_skipped("stripe", needed(Need::StripeApi), stripe(&settings.stripe)),
        unless_skipped("easypost", needed(Need::EasyPostApi), easypost(&settings.easypost)),
        unless_skipped("smtp", needed(Need::Smtp), smtp(&settings.smtp)),
    );
    let asks = if needed(Need::StripeApi) { configured(settings).await } else { Vec::new() };
    [stripe, easypost, smtp, asks, vec![collector(settings).await]].concat()
}

/// Those that are known by their settings alone, all at once. One without a status route is never asked.
async fn configured(settings: &Settings) -> Vec<Check> {
    let asked = settings.payment_providers.iter().filter(|(_, provider)| provider.can_be_asked());
    let checks = asked.map(|(name, provider)| async move {
        let name = Dependency::configured(name).name();
        let place = provider.status.url.split(['?', '{']).next().unwrap_or_default();
        let setting = format!("payment_providers.{name}.status");
        match StatusRoute::of(name, provider) {
            Ok(route) => {
                let (key, address) = (format!("{setting}.bearer"), format!("{setting}.url"));
                judged(name, place, &key, &address, route.check()).await
            }
            Err(error) => unusable(name, &error),
        }
    });
    join_all(checks).await
}

/// Traces that nobody takes are lost, and nothing else is.
async fn collector(settings: &Settings) -> Check {
    let (name, place) = ("otlp collector", &settings.telemetry.otlp_endpoint);
    let answer = match timeout(PATIENCE, telemetry::reach(&settings.telemetry)).await {
        Ok(answer) => answer,
        Err(_elapsed) => Some(Err(format!("no answer in {PATIENCE:?}"))),
    };
    match answer {
        None => Check::skipped(name, "telemetry.otlp_endpoint is empty: no traces are exported"),
        Some(Ok(())) => Check::ok(name, format!("takes traces at {place}")),
        Some(Err(error)) => Check::ok(name, format!("not usable at {place}")).but(
            Status::Warn,
            format!(
                "{error}. Start it, or correct OTEL_EXPORTER_OTLP_ENDPOINT: until then every trace is lost"
            ),
        ),
    }
}

async fn unless_skipped(
    name: &'static str,
    is_needed: bool,
    checks: impl Future<Output = Vec<Check>>,
) -> Vec<Check> {
    if is_needed { checks.await } else { vec![Check::skipped(name, "not needed")] }
}

async fn stripe(settings: &StripeSettings) -> Vec<Check> {
    let base = &settings.api_base;
    let stripe = match Stripe::new(settings) {
        Ok(stripe) => stripe,
        Err(error) => return vec![unusable("stripe", &error)],
    };
    let first = judged("stripe", base, "STRIPE_SECRET_KEY", "STRIPE_API_BASE", stripe.check()).await;
    if first.status == Status::Fail { vec![first] } else { accounts::stripe(first, &stripe).await }
}

async fn easypost(settings: &EasyPostSettings) -> Vec<Check> {
    let base = &settings.api_base;
    let easypost = match EasyPost::new(settings) {
        Ok(easypost) => easypost,
        Err(error) => return vec![unusable("easypost", &error)],
    };
    let first = judged("easypost", base, "EASYPOST_API_KEY", "EASYPOST_API_BASE", easypost.check()).await;
    if first.status == Status::Fail { vec![first] } else { accounts::easypost(first, &easypost).await }
}

async fn smtp(settings: &SmtpSettings) -> Vec<Check> {
    let mailer = match Mailer::new(settings) {
        Ok(mailer) => mailer,
        Err(error) => return vec![unusable("smtp", &error)],
    };
    let mut check = judged("smtp", &mailer.place(), "SMTP_URL", "SMTP_URL", mailer.check()).await;
    if check.status == Status::Fail {
        return vec![check];
    }
    let Protection { is_encrypted, has_login, is_local } = mailer.protection();
    let tls = if is_encrypted { "TLS" } else { "no TLS" };
    let login = if has_login { "our login is taken" } else { "without a login" };
    check.found = format!("reached at {}, {tls}, {login}", mailer.place());
    vec![check.but_if(!is_encrypted && !is_local, Status::Warn, || {
        "mails, and the password, cross the network in plain text: end SMTP_URL with ?tls=required (STARTTLS), or begin \
         it with smtps:// (TLS from the first byte)"
            .to_owned()
    })]
}

fn unusable(name: &'static str, error: &dyn Display) -> Check {
    Check::ok(name, "not configured").but(Status::Fail, error.to_string())
}

/// What came of a check, and which of two settings to change: the one with the key, or the one with the address.
async fn judged(
    name: &'static str,
    place: &str,
    key: &str,
    address: &str,
    check: impl Future<Output = Result<(), CallError>>,
) -> Check {
    let error = match timeout(PATIENCE, check).await {
        Ok(Ok(())) => return Check::ok(name, format!("reached at {place}, knows us")),
        Ok(Err(CallError { cause, .. })) => cause,
        Err(_elapsed) => Cause::NotReached(format!("no answer in {PATIENCE:?}")),
    };
    let advice = if matches!(error, Cause::Credentials(_)) {
        format!("{error}. Correct {key}")
    } else {
        format!("{error}. See whether this machine reaches it, or correct {address}")
    };
    Check::ok(name, format!("not usable at {place}")).but(Status::Fail, advice)
}
