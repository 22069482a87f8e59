//! What a configured payment provider said of a payment, in its webhook or asked for it: found by JSON pointers.
//!
//! Leniently, like every event: what is not there counts as not said, and only a message that names no payment of ours is
//! refused. An amount is taken as it is written and never as a float; what it is worth is said once the payment is known
//! that it is about, because many providers leave the currency out.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::money::{Amount, Currency, MoneyError};
use crate::config::{ReadingSettings, Unit};

/// The longest reference, word or id that is believed; the inbox keeps no longer ones.
const LONGEST: usize = 255;

/// Where a provider's messages say what.
#[derive(Clone, Debug)]
pub struct Reading(ReadingSettings);

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Our reference of the payment.
    pub reference: String,
    /// How it stands, in the provider's word.
    pub word: String,
    /// What that means.
    pub outcome: Outcome,
    /// The amount as it is written, without its thousands' commas.
    amount: Option<String>,
    is_minor: bool,
    currency: Option<String>,
}

/// How a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The money is ours.
    Paid,
    /// It will not be paid.
    Failed,
    /// It may still be paid.
    Open,
}

/// A message that tells nothing: the first thing that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message has no {0} where the settings say")]
pub struct Silent(pub &'static str);

impl Reading {
    /// Reads as these settings say.
    #[must_use]
    pub fn new(settings: &ReadingSettings) -> Self {
        Self(settings.clone())
    }

    /// The event's own id, where the provider gives it one.
    #[must_use]
    pub fn event_id(&self, message: &Value) -> Option<String> {
        said(message, &self.0.id)
    }

    /// What a message says.
    pub fn read(&self, message: &Value) -> Result<Told, Silent> {
        let settings = &self.0;
        let reference = said(message, &settings.reference).ok_or(Silent("reference"))?;
        let word = said(message, &settings.status).ok_or(Silent("status"))?;
        let outcome = if settings.paid.contains(&word) {
            Outcome::Paid
        } else if settings.failed.contains(&word) {
            Outcome::Failed
        } else {
            Outcome::Open
        };
        let amount = said(message, &settings.amount).map(|amount| ungrouped(&amount));
        let currency = said(message, &settings.currency);
        Ok(Told { reference, word, outcome, amount, is_minor: settings.unit == Unit::Minor, currency })
    }
}

impl Told {
    /// What a person says who found this money.
    #[must_use]
    pub fn recorded(reference: &str, amount: Amount) -> Self {
        Self {
            reference: reference.to_owned(),
            word: "recorded".to_owned(),
            outcome: Outcome::Paid,
            amount: Some(amount.minor.to_string()),
            is_minor: true,
            currency: Some(amount.currency.to_string()),
        }
    }

    /// What came in for a payment that was asked for in this currency; none where no amount was said.
    pub fn received(&self, asked_in: Currency) -> Result<Option<Amount>, MoneyError> {
        let Some(text) = &self.amount else { return Ok(None) };
        let currency = self.currency.as_deref().map_or(Ok(asked_in), str::parse)?;
        if !self.is_minor {
            return Amount::from_exact_decimal(text, currency).map(Some);
        }
        let is_whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let minor = text.parse().ok().filter(|_| is_whole);
        minor
            .map(|minor| Some(Amount::new(minor, currency)))
            .ok_or_else(|| MoneyError::NotDecimal(text.clone()))
    }
}

/// A plain value of visible letters, as it is written.
fn said(message: &Value, pointer: &str) -> Option<String> {
    let text = match message.pointer(pointer).filter(|_| !pointer.is_empty())? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let is_plain = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then_some(text)
}

/// `1,000.0` as `1000.0`; commas that stand elsewhere stay, and are refused with the amount.
fn ungrouped(amount: &str) -> String {
    let whole = amount.split('.').next().unwrap_or_default();
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let are_groups = (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3);
    if are_groups { amount.replacen(whole, &whole.replace(',', ""), 1) } else { amount.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::config::{Sources, load};

    fn reading(change: impl FnOnce(&mut ReadingSettings)) -> Reading {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "[payment_providers.wallet.signature]\nsecrets = [\"one\"]").unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
        let mut settings = load(&sources).unwrap().payment_providers.remove("wallet").unwrap().event;
        settings.failed = vec!["CANCELED".to_owned()];
        change(&mut settings);
        Reading(settings)
    }

    fn received(
        message: &Value,
        change: impl FnOnce(&mut ReadingSettings),
    ) -> Result<Option<Amount>, MoneyError> {
        reading(change).read(message).unwrap().received("NPR".parse().unwrap())
    }

    fn npr(minor: i64) -> Amount {
        Amount::new(minor, "NPR".parse().unwrap())
    }

    #[test]
    fn words_mean_what_the_settings_say_and_any_other_is_open() {
        let outcome = |word: &str| {
            let message = json!({"reference": "pay1", "status": word});
            reading(|_| {}).read(&message).unwrap().outcome
        };
        assert_eq!(outcome("SUCCESS"), Outcome::Paid);
        assert_eq!(outcome("CANCELED"), Outcome::Failed);
        for other in ["success", "PENDING", "AMBIGUOUS", "SUCCESS1"] {
            assert_eq!(outcome(other), Outcome::Open, "{other}");
        }
    }

    #[test]
    fn amounts_are_read_as_written_and_never_rounded() {
        let said =
            |amount: Value| received(&json!({"reference": "pay1", "status": "x", "amount": amount}), |_| {});
        for (amount, minor) in [
            (json!("129.50"), 12_950),
            (json!(129.5), 12_950),
            (json!(129), 12_900),
            (json!("1,000.0"), 100_000),
            (json!("12,345,678.90"), 1_234_567_890),
            (json!("0.29"), 29),
            (json!("1000.0000"), 100_000),
        ] {
            assert_eq!(said(amount.clone()), Ok(Some(npr(minor))), "{amount}");
        }
        for odd in ["1.005", "-1", "1e3", "1,00.00", ",100", "1,0000", "NPR 10", "10.", ".5", "١٢"] {
            let told = said(json!(odd));
            assert!(told.is_err() || told == Ok(None), "{odd}: {told:?}");
        }
        assert_eq!(said(json!(null)), Ok(None));
    }

    #[test]
    fn minor_units_and_another_currency_are_read_where_they_are_said() {
        let message = json!({"reference": "pay1", "status": "x", "amount": 5120, "currency": "KWD"});
        let told = received(&message, |settings| {
            settings.unit = Unit::Minor;
            settings.currency = "/currency".to_owned();
        });
        assert_eq!(told, Ok(Some(Amount::new(5120, "KWD".parse().unwrap()))));
        let message = json!({"reference": "pay1", "status": "x", "amount": "51.20"});
        assert!(received(&message, |settings| settings.unit = Unit::Minor).is_err());
    }

    #[test]
    fn a_message_that_names_no_payment_tells_nothing() {
        assert_eq!(reading(|_| {}).read(&json!({"status": "SUCCESS"})), Err(Silent("reference")));
        assert_eq!(
            reading(|_| {}).read(&json!({"reference": "a b", "status": "x"})),
            Err(Silent("reference"))
        );
        assert_eq!(
            reading(|_| {}).read(&json!({"reference": "pay1", "status": true})),
            Err(Silent("status"))
        );
    }

    /// Read once, for whoever tries ten thousands.
    static USUAL: LazyLock<Reading> = LazyLock::new(|| reading(|_| {}));

    proptest! {
        #[test]
        fn no_message_is_too_odd(bytes in r#"[\[\]{}":,a-z0-9.]{0,60}"#, amount: String) {
            let inside: Value = serde_json::from_str(&bytes).unwrap_or_default();
            let message = json!({"reference": "pay1", "status": inside, "amount": amount});
            if let Ok(told) = USUAL.read(&message) {
                let _ = told.received("NPR".parse().unwrap());
            }
            let _ = USUAL.read(&inside);
        }
    }
}
