//! Do Stripe, EasyPost and the mail server answer, and do they know us? Nothing is made, bought or sent.

use std::fmt::Display;
use std::future::Future;

use tokio::time::timeout;

use super::{Check, PATIENCE, Status};
use crate::config::{EasyPostSettings, Need, Settings, SmtpSettings, StripeSettings};
use crate::provider::easypost::EasyPost;
use crate::provider::smtp::Mailer;
use crate::provider::stripe::Stripe;
use crate::provider::{CallError, Cause};

pub(super) async fn examine(settings: &Settings, needs: &[Need]) -> Vec<Check> {
    let needed = |need: Need| needs.contains(&need);
    let (stripe, easypost, smtp) = tokio::join!(
        unless_skipped("stripe", needed(Need::StripeApi), stripe(&settings.stripe)),
        unless_skipped("easypost", needed(Need::EasyPostApi), easypost(&settings.easypost)),
        unless_skipped("smtp", needed(Need::Smtp), smtp(&settings.smtp)),
    );
    vec![stripe, easypost, smtp]
}

async fn unless_skipped(name: &'static str, is_needed: bool, check: impl Future<Output = Check>) -> Check {
    if is_needed { check.await } else { Check::skipped(name, "not needed") }
}

async fn stripe(settings: &StripeSettings) -> Check {
    let base = &settings.api_base;
    match Stripe::new(settings) {
        Ok(stripe) => judged("stripe", base, "STRIPE_SECRET_KEY", "STRIPE_API_BASE", stripe.check()).await,
        Err(error) => unusable("stripe", &error),
    }
}

async fn easypost(settings: &EasyPostSettings) -> Check {
    let base = &settings.api_base;
    match EasyPost::new(settings) {
        Ok(easypost) => {
            judged("easypost", base, "EASYPOST_API_KEY", "EASYPOST_API_BASE", easypost.check()).await
        }
        Err(error) => unusable("easypost", &error),
    }
}

async fn smtp(settings: &SmtpSettings) -> Check {
    match Mailer::new(settings) {
        Ok(mailer) => judged("smtp", &mailer.place(), "SMTP_URL", "SMTP_URL", mailer.check()).await,
        Err(error) => unusable("smtp", &error),
    }
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
