//! A configured payment provider, asked how a payment stands. Nothing else is asked of it: it opens and cancels nothing.

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::http::Http;
use super::{BadSettings, Call, CallError, Cause};
use crate::config::{PaymentProviderSettings, StatusSettings};
use crate::domain::money::{Amount, Currency};
use crate::domain::told::{Reading, Told};
use crate::job::Dependency;
use crate::signature::Template;

/// What the settings are called in a fault.
const SETTING: &str = "payment_providers";

/// No payment of ours has this reference.
const UNKNOWN: &str = "orderfleet-doctor";

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
    /// That of the provider of this name, which has one.
    pub fn of(name: &str, provider: &PaymentProviderSettings) -> Result<Self, BadSettings> {
        Self::new(name, &provider.status)
    }

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

    /// Whether it is there and takes what we prove ourselves by: it is asked about a payment that it can't know. Any word of
    /// its own will do, how it says that it knows none is not known.
    pub async fn check(&self) -> Result<(), CallError> {
        let asked = Asked {
            provider: self.dependency.name().to_owned(),
            reference: UNKNOWN.to_owned(),
            amount: Amount::new(100, Currency::USD),
        };
        match self.look(&asked).await {
            Err(CallError {
                cause: Cause::Refused(_) | Cause::NotNow(_) | Cause::Throttled { .. } | Cause::Unreadable(_),
                ..
            }) => Ok(()),
            other => other.map(drop),
        }
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
            return Err(answer.cause(&asked.provider.clone().into()));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Sources, load};
    use crate::domain::told::Outcome;
    use crate::job::{Class, Failure};
    use crate::provider::replay::{Prepared, Replay};

    /// The shipped profile of this name, with its status route at `replay`.
    fn route(name: &str, replay: &Replay) -> StatusRoute {
        let profiles = concat!(env!("CARGO_MANIFEST_DIR"), "/config/providers.example.toml");
        let sources = Sources { file: Some(profiles.into()), ..Sources::default() };
        let mut settings = load(&sources).unwrap().payment_providers.remove(name).unwrap();
        let path = Url::parse(&settings.status.url).unwrap().origin().ascii_serialization();
        settings.status.url = settings.status.url.replace(&path, &replay.base);
        settings.status.timeout_ms = 500;
        StatusRoute::new(name, &settings.status).unwrap()
    }

    fn asked(provider: &str, currency: &str) -> Asked {
        let amount = Amount::new(100_000, currency.parse().unwrap());
        Asked { provider: provider.to_owned(), reference: "pay01".to_owned(), amount }
    }

    fn esewa(word: &str, reference: &str) -> Prepared {
        let body = json!({"product_code": "EPAYTEST", "transaction_uuid": reference, "total_amount": 1000.0,
                          "status": word, "ref_id": null});
        (200, Vec::new(), body.to_string())
    }

    #[tokio::test]
    async fn each_word_of_esewa_s_status_route_is_paid_failed_or_open() {
        for (word, outcome) in [
            ("COMPLETE", Outcome::Paid),
            ("PENDING", Outcome::Open),
            ("AMBIGUOUS", Outcome::Open),
            ("FULL_REFUND", Outcome::Open),
            ("PARTIAL_REFUND", Outcome::Open),
            ("NOT_FOUND", Outcome::Open),
            ("CANCELED", Outcome::Failed),
        ] {
            let replay = Replay::of([esewa(word, "pay01")]).await;
            let told = route("esewa", &replay).look(&asked("esewa", "NPR")).await.unwrap().unwrap();
            assert_eq!((told.outcome, told.word.as_str()), (outcome, word));
            let received = told.received("NPR".parse().unwrap()).unwrap();
            assert_eq!(received, Some(Amount::new(100_000, "NPR".parse().unwrap())), "{word}");
            let line = "GET /api/epay/transaction/status/?product_code=EPAYTEST&total_amount=1000%2E00&transaction_uuid=pay01";
            assert_eq!(replay.asked()[0].line, line);
            assert!(!replay.asked()[0].headers.contains_key("authorization"), "it has no key of ours");
        }
    }

    #[tokio::test]
    async fn whoever_is_asked_with_a_key_gets_it_and_what_is_not_found_is_not_known() {
        let replay = Replay::of([(404, Vec::new(), "{}".to_owned())]).await;
        assert_eq!(route("chapa", &replay).look(&asked("chapa", "ETB")).await.unwrap(), None);
        let request = &replay.asked()[0];
        assert_eq!(request.line, "GET /v1/transaction/verify/pay01");
        assert_eq!(request.headers["authorization"], "Bearer your secret key");
    }

    #[tokio::test]
    async fn each_answer_that_tells_nothing_of_the_payment_has_its_class() {
        let away = Class::Unavailable(Dependency::configured("esewa"));
        let page = |status| (status, Vec::new(), "<html>sorry</html>".to_owned());
        for (answer, class, code) in [
            (page(200), Class::Retry, "unreadable_answer"),
            ((200, Vec::new(), "{}".to_owned()), Class::Retry, "unreadable_answer"),
            (esewa("COMPLETE", "pay02"), Class::Retry, "unreadable_answer"),
            (page(302), Class::Retry, "unreadable_answer"),
            (page(400), Class::Permanent, "refused"),
            (page(401), away, "credentials_refused"),
            (page(429), Class::Retry, "throttled"),
            (page(500), Class::Retry, "provider_broken"),
            (page(503), away, "provider_away"),
        ] {
            let replay = Replay::of([answer.clone()]).await;
            let failed = route("esewa", &replay).look(&asked("esewa", "NPR")).await.unwrap_err();
            let failure = Failure::from(failed);
            assert_eq!((failure.class, failure.code), (class, code), "{answer:?}: {failure}");
        }
    }
}
