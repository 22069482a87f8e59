//! A configured payment provider, asked how a payment stands. Nothing else is asked of it: it opens and cancels nothing.

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::http::Http;
use super::{BadSettings, Call, CallError, Cause};
use crate::config::{PaymentProviderSettings, StatusSettings};
use crate::domain::money::Amount;
use crate::domain::told::{Reading, Told};
use crate::job::Dependency;
use crate::signature::Template;

/// What the settings are called in a fault.
const SETTING: &str = "payment_providers";

/// The status route of one provider.
#[derive(Clone, Debug)]
pub struct StatusRoute {
    dependency: Dependency,
    http: Http,
    url: Template<Place>,
    bearer: Option<HeaderValue>,
    answer: Reading,
}

/// Which payment is asked about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Whom.
    pub provider: String,
    /// What it knows the payment by.
    pub reference: String,
    /// What was asked for.
    pub amount: Amount,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Reference,
    Amount,
    Currency,
}

/// The routes of those that have one, by name.
pub(super) fn routes(
    settings: &BTreeMap<String, PaymentProviderSettings>,
) -> Result<BTreeMap<String, StatusRoute>, BadSettings> {
    let with_one = settings.iter().filter(|(_, provider)| provider.can_be_asked());
    with_one.map(|(name, provider)| Ok((name.clone(), StatusRoute::new(name, &provider.status)?))).collect()
}

impl StatusRoute {
    fn new(name: &str, settings: &StatusSettings) -> Result<Self, BadSettings> {
        let bad =
            |fault: &dyn std::fmt::Display| BadSettings::new(SETTING, format!("{name}.status: {fault}"));
        let url = Template::read(&settings.url, |place| match place {
            "reference" => Some(Place::Reference),
            "amount" => Some(Place::Amount),
            "currency" => Some(Place::Currency),
            _ => None,
        });
        let bearer = settings.bearer.expose_secret().trim();
        let bearer = (!bearer.is_empty()).then(|| HeaderValue::from_str(&format!("Bearer {bearer}")));
        let mut bearer = bearer.transpose().map_err(|_| bad(&"bearer can't stand in a header"))?;
        if let Some(bearer) = &mut bearer {
            bearer.set_sensitive(true);
        }
        Ok(Self {
            dependency: Dependency::configured(name),
            http: Http::new(SETTING, &settings.url, settings.timeout_ms)?,
            url: url.map_err(|error| bad(&error))?,
            bearer,
            answer: Reading::new(&settings.answer),
        })
    }

    /// Who it is, to the breaker and the limits.
    #[must_use]
    pub const fn dependency(&self) -> Dependency {
        self.dependency
    }

    /// How a payment stands; none where the provider does not know it.
    pub async fn look(&self, asked: &Asked) -> Result<Option<Told>, CallError> {
        let to = self.dependency;
        self.ask(asked).await.map_err(|cause| CallError { to, call: Call::Look, cause })
    }

    async fn ask(&self, asked: &Asked) -> Result<Option<Told>, Cause> {
        let encoded = |value: &str| {
            percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let url = self.url.text(|place| match place {
            Place::Reference => encoded(&asked.reference),
            Place::Amount => encoded(&asked.amount.decimal()),
            Place::Currency => asked.amount.currency.code().to_owned(),
        });
        let url = Url::parse(&url).map_err(|error| Cause::Impossible(error.to_string()))?;
        let mut request = self.http.client().get(url);
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        let answer = self.http.send(request).await?;
        if answer.is_not_found() {
            return Ok(None);
        }
        if !answer.is_success() {
            return Err(answer.cause(&asked.provider));
        }
        let said: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| Cause::Unreadable(format!("{} answers no JSON", asked.provider)))?;
        let told = self.answer.read(&said).map_err(|silent| Cause::Unreadable(silent.to_string()))?;
        if told.reference == asked.reference {
            Ok(Some(told))
        } else {
            Err(Cause::Unreadable(format!("{} answers of another payment", asked.provider)))
        }
    }
}
