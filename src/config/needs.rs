//! What a role can't do without: asked when it starts, so that nothing is found missing at the first order.
//!
//! The defaults have no addresses and no secrets, on purpose: a fleet that starts with somebody else's is worse than one
//! that does not start.

use secrecy::{ExposeSecret, SecretString};

use super::Settings;
use super::environment::{name_of, usual_name};
use super::faults::{ConfigError, Fault};

/// One thing that has no default and that a role may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The database.
    Postgres,
    /// The queue.
    Redis,
    /// To ask Stripe.
    StripeApi,
    /// To believe Stripe.
    StripeWebhook,
    /// To ask EasyPost.
    EasyPostApi,
    /// To believe EasyPost.
    EasyPostWebhook,
    /// To send mail.
    Smtp,
    /// The secret of this installation.
    Secret,
}

impl Need {
    /// Everything: what `doctor` looks at unless it is told less.
    pub const ALL: &[Self] = &[
        Self::Postgres,
        Self::Redis,
        Self::StripeApi,
        Self::StripeWebhook,
        Self::EasyPostApi,
        Self::EasyPostWebhook,
        Self::Smtp,
        Self::Secret,
    ];
    /// The intake: it takes in, verifies and derives ids, and asks no provider.
    pub const INTAKE: &[Self] =
        &[Self::Postgres, Self::Redis, Self::StripeWebhook, Self::EasyPostWebhook, Self::Secret];
    /// A worker: it asks the providers, and verifies nothing.
    pub const WORKER: &[Self] =
        &[Self::Postgres, Self::Redis, Self::StripeApi, Self::EasyPostApi, Self::Smtp, Self::Secret];
    /// The operators' side: it looks, and rehearses what a worker would do, without asking a provider.
    pub const OPS: &[Self] = &[Self::Postgres, Self::Redis, Self::Secret];

    /// The setting, and what it looks like.
    const fn setting(self) -> (&'static str, &'static str) {
        match self {
            Self::Postgres => ("postgres.url", "postgres://user:password@host:5432/orderfleet"),
            Self::Redis => ("redis.url", "redis://:password@host:6379"),
            Self::StripeApi => ("stripe.secret_key", "sk_…"),
            Self::StripeWebhook => ("stripe.webhook_secrets", "whsec_…"),
            Self::EasyPostApi => ("easypost.api_key", "EZAK…"),
            Self::EasyPostWebhook => {
                ("easypost.webhook_secrets", "as it stands in EasyPost's webhook settings")
            }
            Self::Smtp => ("smtp.url", "smtp://user:password@host:587?tls=required"),
            Self::Secret => ("security.secret", "openssl rand -base64 48; the same in every process"),
        }
    }

    fn is_met(self, settings: &Settings) -> bool {
        let is_set = |secret: &SecretString| !secret.expose_secret().trim().is_empty();
        let are_set = |secrets: &[SecretString]| !secrets.is_empty() && secrets.iter().all(is_set);
        match self {
            Self::Postgres => is_set(&settings.postgres.url),
            Self::Redis => is_set(&settings.redis.url),
            Self::StripeApi => is_set(&settings.stripe.secret_key),
            Self::StripeWebhook => are_set(&settings.stripe.webhook_secrets),
            Self::EasyPostApi => is_set(&settings.easypost.api_key),
            Self::EasyPostWebhook => are_set(&settings.easypost.webhook_secrets),
            Self::Smtp => is_set(&settings.smtp.url),
            Self::Secret => is_set(&settings.security.secret),
        }
    }
}

impl Settings {
    /// An error that names everything that is needed and not set.
    pub fn require(&self, needs: &[Need]) -> Result<(), ConfigError> {
        let missing = missing(self, needs);
        if missing.is_empty() { Ok(()) } else { Err(ConfigError::of(missing)) }
    }
}

/// A fault for each need that is not met.
pub(super) fn missing(settings: &Settings, needs: &[Need]) -> Vec<Fault> {
    let unmet = needs.iter().filter(|need| !need.is_met(settings));
    let faults = unmet.map(|need| {
        let (setting, form) = need.setting();
        let name = usual_name(setting).map_or_else(|| name_of(setting), str::to_owned);
        let (section, key) = setting.split_once('.').unwrap_or((setting, ""));
        let what = format!("empty. Set {name} ({form}) or [{section}] {key} in your configuration file.");
        Fault::new(setting, what)
    });
    faults.collect()
}
