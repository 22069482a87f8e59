//! Who can take the money of an order here: Stripe, the configured providers, and people where the shop wants that.
//!
//! Stripe is asked to open a payment. A configured provider is told nothing before: its customer is sent to its page with
//! a reference of ours, and by that reference it speaks to us. `manual` is money that staff finds (a bank transfer, a
//! shop's till), `cash_on_delivery` money that is promised and comes with the parcel. Nothing here may hand out a secret.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::money::{Amount, Currency};
use super::told::Reading;
use crate::config::{ConfirmBy, OrderSettings, PageSettings, PaymentProviderSettings};
use crate::ids::PaymentId;
use crate::signature::{BadSecret, Configured, Template};

/// The one with its own code, and its own way of opening a payment.
pub const STRIPE: &str = "stripe";
/// Staff finds the money and records it.
pub const MANUAL: &str = "manual";
/// The money comes with the parcel.
pub const CASH_ON_DELIVERY: &str = "cash_on_delivery";

/// Everybody who can take the money.
#[derive(Clone, Debug)]
pub struct Offers {
    by_hand: Vec<&'static str>,
    configured: BTreeMap<String, Provider>,
}

/// A configured provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Verifies its webhooks.
    pub signature: Configured,
    /// Reads them.
    pub event: Reading,
    /// What proves that money moved.
    pub confirm_by: ConfirmBy,
    /// Whether it can be asked how a payment stands.
    pub can_be_asked: bool,
    currencies: Vec<String>,
    page: Page,
}

#[derive(Clone, Debug)]
struct Page {
    url: Template<Place>,
    form: Vec<(String, Template<Place>)>,
    signs: Template<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Reference,
    Amount,
    Currency,
    Order,
    Signature,
}

/// What is to be paid.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    /// Our reference of the payment.
    pub reference: &'a str,
    /// The order's number, as the customer knows it.
    pub order: &'a str,
    /// How much.
    pub amount: Amount,
}

/// Why a configured provider can't be offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("payment_providers.{name}: {fault}")]
pub struct BadProvider {
    name: String,
    fault: BadSecret,
}

/// Whether people take the money, and record it.
#[must_use]
pub fn is_by_hand(provider: &str) -> bool {
    matches!(provider, MANUAL | CASH_ON_DELIVERY)
}

/// What a provider that is told nothing before knows a payment by: letters and digits alone, because that is what all of
/// them take.
#[must_use]
pub fn reference(payment: PaymentId) -> String {
    payment.to_string().replace('_', "")
}

/// The payment of such a reference.
#[must_use]
pub fn referred(reference: &str) -> Option<PaymentId> {
    let id = reference.strip_prefix(PaymentId::PREFIX)?;
    format!("{}_{id}", PaymentId::PREFIX).parse().ok()
}

impl Offers {
    /// Everybody whom these settings name.
    pub fn new(
        orders: &OrderSettings,
        configured: &BTreeMap<String, PaymentProviderSettings>,
    ) -> Result<Self, BadProvider> {
        let by_hand = [(orders.manual_payment, MANUAL), (orders.cash_on_delivery, CASH_ON_DELIVERY)];
        let configured = configured.iter().map(|(name, settings)| {
            let bad = |fault| BadProvider { name: name.clone(), fault };
            Ok((name.clone(), Provider::new(settings).map_err(bad)?))
        });
        Ok(Self {
            by_hand: by_hand
                .into_iter()
                .filter_map(|(is_offered, name)| is_offered.then_some(name))
                .collect(),
            configured: configured.collect::<Result<_, _>>()?,
        })
    }

    /// All of them, by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let by_hand = self.by_hand.iter().copied();
        [STRIPE].into_iter().chain(by_hand).chain(self.configured.keys().map(String::as_str))
    }

    /// A configured one.
    #[must_use]
    pub fn configured(&self, name: &str) -> Option<&Provider> {
        self.configured.get(name)
    }

    /// Whether this one can take this total: else the code and the reason.
    pub fn takes(&self, name: &str, total: (i64, &str)) -> Result<(), (&'static str, String)> {
        let unavailable = |detail: String| Err(("payment_provider_unavailable", detail));
        if !self.names().any(|known| known == name) {
            return unavailable(format!("{name} is not set up here"));
        }
        if total.0 == 0 {
            return Ok(());
        }
        let Ok(currency) = total.1.parse::<Currency>() else {
            return Err(("unknown_currency", "not a currency".to_owned()));
        };
        match self.configured(name) {
            None if name == STRIPE => {
                let said = Amount::new(total.0, currency).to_stripe();
                said.map(drop).map_err(|error| ("amount_not_payable", error.to_string()))
            }
            Some(provider) if !provider.takes(currency) => unavailable(format!("{name} takes no {currency}")),
            None | Some(_) => Ok(()),
        }
    }
}

impl Provider {
    fn new(settings: &PaymentProviderSettings) -> Result<Self, BadSecret> {
        Ok(Self {
            signature: Configured::new(&settings.signature)?,
            event: Reading::new(&settings.event),
            confirm_by: settings.confirm_by,
            can_be_asked: settings.can_be_asked(),
            currencies: settings.currencies.clone(),
            page: Page::new(&settings.page)?,
        })
    }

    fn takes(&self, currency: Currency) -> bool {
        self.currencies.is_empty() || self.currencies.iter().any(|code| code == currency.code())
    }

    /// Where the customer pays this: a URL, and the fields to post there, if any. None where the settings have no page.
    #[must_use]
    pub fn page(&self, due: Due<'_>) -> Option<Value> {
        let page = &self.page;
        if page.url.is_empty() {
            return None;
        }
        let signed = page.signs.text(|place| due.fill(place, ""));
        let signature = self.signature.sign(&signed).unwrap_or_default();
        let url = page.url.text(|place| encoded(&due.fill(place, &signature)));
        let fields: serde_json::Map<String, Value> = page
            .form
            .iter()
            .map(|(name, value)| (name.clone(), value.text(|place| due.fill(place, &signature)).into()))
            .collect();
        let method = if fields.is_empty() { "GET" } else { "POST" };
        Some(json!({ "method": method, "url": url, "fields": fields }))
    }
}

impl Page {
    fn new(settings: &PageSettings) -> Result<Self, BadSecret> {
        let form = settings.form.iter().map(|line| {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            Ok((name.to_owned(), Template::read(value, place)?))
        });
        Ok(Self {
            url: Template::read(&settings.url, place)?,
            form: form.collect::<Result<_, BadSecret>>()?,
            signs: Template::read(&settings.signs, place)?,
        })
    }
}

impl Due<'_> {
    fn fill(&self, place: Place, signature: &str) -> String {
        match place {
            Place::Reference => self.reference.to_owned(),
            Place::Amount => self.amount.decimal(),
            Place::Currency => self.amount.currency.code().to_owned(),
            Place::Order => self.order.to_owned(),
            Place::Signature => signature.to_owned(),
        }
    }
}

fn place(name: &str) -> Option<Place> {
    match name {
        "reference" => Some(Place::Reference),
        "amount" => Some(Place::Amount),
        "currency" => Some(Place::Currency),
        "order" => Some(Place::Order),
        "signature" => Some(Place::Signature),
        _ => None,
    }
}

fn encoded(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn offers(text: &str) -> Offers {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let settings = load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() }).unwrap();
        Offers::new(&settings.orders, &settings.payment_providers).unwrap()
    }

    #[test]
    fn nobody_takes_money_whom_the_shop_did_not_name() {
        let usual = offers("");
        assert_eq!(usual.names().collect::<Vec<_>>(), [STRIPE]);
        for name in [MANUAL, CASH_ON_DELIVERY, "esewa", ""] {
            assert_eq!(
                usual.takes(name, (100, "USD")).unwrap_err().0,
                "payment_provider_unavailable",
                "{name}"
            );
        }
        let more = "[orders]\nmanual_payment = true\ncash_on_delivery = true\n[payment_providers.esewa]\n\
                    currencies = [\"NPR\"]\nsignature.secrets = [\"x\"]";
        let more = offers(more);
        assert_eq!(more.names().collect::<Vec<_>>(), [STRIPE, MANUAL, CASH_ON_DELIVERY, "esewa"]);
        assert_eq!(more.takes(CASH_ON_DELIVERY, (1, "USD")), Ok(()));
        assert_eq!(more.takes("esewa", (1, "NPR")), Ok(()));
        assert_eq!(more.takes("esewa", (1, "USD")).unwrap_err().0, "payment_provider_unavailable");
        assert_eq!(more.takes(STRIPE, (1, "USD")).unwrap_err().0, "amount_not_payable");
    }

    #[test]
    fn a_page_is_filled_and_signed_and_names_no_secret() {
        let esewa = offers(
            "[payment_providers.esewa]\npage.url = \"https://pay.example.com/form\"\n\
             page.form = [\"total_amount={amount}\", \"transaction_uuid={reference}\", \"signature={signature}\"]\n\
             page.signs = \"total_amount={amount},transaction_uuid={reference},product_code=EPAYTEST\"\n\
             signature.secrets = [\"8gBm/:&EnhH.1/q\"]\nsignature.encoding = \"base64\"",
        );
        let amount = Amount::new(110, "JPY".parse().unwrap());
        let due = Due { reference: "241028", order: "OF-1", amount };
        let page = esewa.configured("esewa").unwrap().page(due).unwrap();
        assert_eq!(page["method"], "POST");
        assert_eq!(
            page["fields"]["signature"], "i94zsd3oXF6ZsSr/kGqT4sSzYQzjj1W/waxjWyRwaME=",
            "as published"
        );
        assert!(!page.to_string().contains("8gBm"));
    }

    #[test]
    fn a_reference_leads_back_to_its_payment() {
        let payment = PaymentId::new();
        let name = reference(payment);
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{name}");
        assert_eq!(referred(&name), Some(payment));
        assert_eq!(referred("pi_1"), None);
    }
}
