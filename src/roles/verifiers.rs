//! What webhooks are verified with, made of the settings: by the intake, and by `webhooks verify`, which explains it.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::CommandError;
use crate::config::Settings;
use crate::domain::mail_news::MailReading;
use crate::domain::offer::Offers;
use crate::intake::MailService;
use crate::signature::{BadSecret, Configured, EasyPostSignature, StripeSignature};

/// Stripe's.
pub fn stripe(settings: &Settings) -> Result<StripeSignature, CommandError> {
    let stripe = &settings.stripe;
    StripeSignature::new(plain(&stripe.webhook_secrets), stripe.tolerance_seconds)
        .map_err(|error| refused("stripe.webhook_secrets", &error))
}

/// EasyPost's.
pub fn easypost(settings: &Settings) -> Result<EasyPostSignature, CommandError> {
    let easypost = &settings.easypost;
    EasyPostSignature::new(plain(&easypost.webhook_secrets), easypost.webhook_v2)
        .map_err(|error| refused("easypost.webhook_secrets", &error))
}

/// Everybody's who can take the money.
pub fn offers(settings: &Settings) -> Result<Offers, CommandError> {
    Offers::new(&settings.orders, &settings.payment_providers)
        .map_err(|error| CommandError::Refused(error.to_string()))
}

/// The mail services' by name.
pub fn mail(settings: &Settings) -> Result<BTreeMap<String, MailService>, CommandError> {
    let services = settings.mail_providers.iter().map(|(name, service)| {
        let signature = Configured::new(&service.signature)
            .map_err(|error| refused(&format!("mail_providers.{name}.signature"), &error))?;
        Ok((name.clone(), MailService { signature, event: MailReading::new(&service.event) }))
    });
    services.collect()
}

fn plain(secrets: &[SecretString]) -> impl Iterator<Item = &str> {
    secrets.iter().map(ExposeSecret::expose_secret)
}

fn refused(setting: &str, error: &BadSecret) -> CommandError {
    CommandError::Refused(format!("{setting}: {error}"))
}
