//! Reads an intent's body at the door: the body, or every fault of it.
//!
//! Every limit stands here, named. The worker judges once more what may have changed since (prices, stock, whether an
//! article is still sold); what is checked here alone is form.

use std::collections::HashSet;

use serde_json::Value;

use super::{OrderIntentBody, SHORTAGE_RULES};
use crate::domain::country;
use crate::domain::fault::{Fault, FaultCode, Faults, Fields};
use crate::domain::priority::PRIORITIES;

/// Lines of one order: more is a wholesale list, not a cart.
pub const MAX_LINES: usize = 100;
/// Pieces of one line.
pub const MAX_QUANTITY: i64 = 10_000;
/// The shop's notes: they travel with every read of the order.
pub const MAX_METADATA: usize = 16 * 1024;
/// Attributes of one line: sizes and measurements.
const MAX_ATTRIBUTES: usize = 4 * 1024;
/// Ids of the shop's.
const MAX_ID: usize = 128;
/// As the catalogue keeps it.
const MAX_SKU: usize = 64;
/// RFC 5321: the longest address that can be mailed to.
const MAX_EMAIL: usize = 254;
/// Names of people and streets: carriers print far less.
const MAX_NAME: usize = 200;
/// Cities and states.
const MAX_PLACE: usize = 100;
/// Postal codes, with room for every country's.
const MAX_POSTAL_CODE: usize = 20;
/// E.164 has 15 digits; the rest is punctuation.
const MAX_PHONE: usize = 32;
/// RFC 5646 asks for no more.
const MAX_LOCALE: usize = 35;
/// Names of methods, coupons and the like.
const MAX_CODE: usize = 64;
/// An amount that no sum of a hundred lines overflows.
const MAX_TOTAL: i64 = 1_000_000_000_000;
/// Orders of guests are scoped by this and their cart: no customer may be called so.
pub(super) const GUEST: &str = "guest:";

/// What the door knows of the catalogue. Where a part is missing, the worker judges.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Articles that are sold.
    pub skus: Option<&'a HashSet<String>>,
    /// Currencies that the shop sells in.
    pub currencies: Option<&'a HashSet<String>>,
    /// Ways to ship.
    pub shipping_methods: Option<&'a HashSet<String>>,
    /// Who can take the money.
    pub payment_providers: Option<&'a HashSet<String>>,
}

impl OrderIntentBody {
    /// Reads a body, or names every fault of it.
    pub fn read(value: Value, known: Known<'_>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        check_body(&value, known, &mut faults);
        let faults = faults.list();
        if !faults.is_empty() {
            return Err(faults);
        }
        // What passed the checks above is readable; should a new field be forgotten there, serde still refuses it.
        serde_json::from_value(value).map_err(|_| {
            let detail = "is not an order intent".to_owned();
            vec![Fault { field: String::new(), code: FaultCode::WrongType, detail }]
        })
    }
}

fn check_body(value: &Value, known: Known<'_>, faults: &mut Faults) {
    let Some(mut body) = Fields::open(value, "", faults) else { return };
    required_text(&mut body, "cart_id", MAX_ID, faults);
    if let Some(customer) = body.required("customer", faults) {
        check_customer(customer, faults);
    }
    if let Some(currency) = body.required("currency", faults) {
        let rule = Rule { known: known.currencies, code: FaultCode::UnknownCurrency, max: MAX_CODE };
        check_known(currency, "currency", rule, "the shop does not sell in this currency", faults);
    }
    if let Some(lines) = body.required("lines", faults) {
        check_lines(lines, known, faults);
    }
    if let Some(address) = body.required("shipping_address", faults) {
        check_address(address, "shipping_address", faults);
    }
    if let Some(address) = body.nullable("billing_address") {
        check_address(address, "billing_address", faults);
    }
    if let Some(method) = body.defaulted("shipping_method") {
        let rule = Rule { known: known.shipping_methods, code: FaultCode::UnknownValue, max: MAX_CODE };
        check_known(method, "shipping_method", rule, "the shop does not ship this way", faults);
    }
    optional_text(&mut body, "discount_code", MAX_CODE, faults);
    if let Some(provider) = body.defaulted("payment_provider") {
        let rule = Rule { known: known.payment_providers, code: FaultCode::UnknownValue, max: MAX_CODE };
        check_known(provider, "payment_provider", rule, "nobody of this name takes money here", faults);
    }
    one_of(&mut body, "priority", PRIORITIES.iter().map(|priority| priority.name), faults);
    one_of(&mut body, "on_shortage", SHORTAGE_RULES.iter().copied(), faults);
    if let Some(total) = body.nullable("expected_total") {
        faults.whole(total, "expected_total", &(0..=MAX_TOTAL));
    }
    if let Some(metadata) = body.defaulted("metadata") {
        faults.free_form(metadata, "metadata", MAX_METADATA);
    }
    body.close(faults);
}

fn check_customer(value: &Value, faults: &mut Faults) {
    let Some(mut customer) = Fields::open(value, "customer", faults) else { return };
    if let Some(id) = optional_text(&mut customer, "id", MAX_ID, faults)
        && id.starts_with(GUEST)
    {
        faults.note("customer.id", FaultCode::Reserved, format!("must not begin with {GUEST:?}"));
    }
    if let Some(email) = required_text(&mut customer, "email", MAX_EMAIL, faults)
        && !is_email(email)
    {
        faults.note("customer.email", FaultCode::BadEmail, "must be an e-mail address");
    }
    required_text(&mut customer, "name", MAX_NAME, faults);
    optional_text(&mut customer, "phone", MAX_PHONE, faults);
    if let Some(locale) = optional_text(&mut customer, "locale", MAX_LOCALE, faults)
        && !is_locale(locale)
    {
        faults.note("customer.locale", FaultCode::BadLocale, "must be a language tag such as en or ne-NP");
    }
    customer.close(faults);
}

fn check_lines(value: &Value, known: Known<'_>, faults: &mut Faults) {
    let Some(lines) = value.as_array() else {
        faults.note("lines", FaultCode::WrongType, "must be a list");
        return;
    };
    if lines.is_empty() {
        faults.note("lines", FaultCode::Empty, format!("must have 1 to {MAX_LINES} lines"));
    }
    if lines.len() > MAX_LINES {
        faults.note("lines", FaultCode::TooMany, format!("must have at most {MAX_LINES} lines"));
    }
    for (at, line) in lines.iter().enumerate() {
        let Some(mut line) = Fields::open(line, &format!("lines[{at}]"), faults) else { continue };
        if let Some(sku) = line.required("sku", faults) {
            let rule = Rule { known: known.skus, code: FaultCode::UnknownSku, max: MAX_SKU };
            check_known(sku, &line.at("sku"), rule, "there is no such article, or it is not sold", faults);
        }
        if let Some(quantity) = line.required("quantity", faults) {
            faults.whole(quantity, &line.at("quantity"), &(1..=MAX_QUANTITY));
        }
        if let Some(attributes) = line.defaulted("attributes") {
            faults.free_form(attributes, &line.at("attributes"), MAX_ATTRIBUTES);
        }
        line.close(faults);
    }
}

fn check_address(value: &Value, path: &str, faults: &mut Faults) {
    let Some(mut address) = Fields::open(value, path, faults) else { return };
    required_text(&mut address, "name", MAX_NAME, faults);
    optional_text(&mut address, "phone", MAX_PHONE, faults);
    required_text(&mut address, "address_line1", MAX_NAME, faults);
    optional_text(&mut address, "address_line2", MAX_NAME, faults);
    required_text(&mut address, "city", MAX_PLACE, faults);
    optional_text(&mut address, "state", MAX_PLACE, faults);
    optional_text(&mut address, "postal_code", MAX_POSTAL_CODE, faults);
    if let Some(country) = required_text(&mut address, "country", MAX_CODE, faults)
        && !country::exists(country)
    {
        let detail = "must be an ISO 3166 two-letter code in capitals";
        faults.note(address.at("country"), FaultCode::UnknownCountry, detail);
    }
    address.close(faults);
}

fn required_text<'v>(
    of: &mut Fields<'v>,
    name: &'static str,
    max: usize,
    faults: &mut Faults,
) -> Option<&'v str> {
    let value = of.required(name, faults)?;
    faults.text(value, &of.at(name), max)
}

fn optional_text<'v>(
    of: &mut Fields<'v>,
    name: &'static str,
    max: usize,
    faults: &mut Faults,
) -> Option<&'v str> {
    let value = of.nullable(name)?;
    faults.text(value, &of.at(name), max)
}

fn one_of(
    of: &mut Fields<'_>,
    name: &'static str,
    names: impl Iterator<Item = &'static str>,
    faults: &mut Faults,
) {
    let names: Vec<_> = names.collect();
    if let Some(value) = of.defaulted(name)
        && let Some(text) = faults.text(value, &of.at(name), MAX_CODE)
        && !names.contains(&text)
    {
        faults.note(of.at(name), FaultCode::UnknownValue, format!("must be one of {}", names.join(", ")));
    }
}

/// A text that must be among what is known, where that is known.
#[derive(Clone, Copy)]
struct Rule<'a> {
    known: Option<&'a HashSet<String>>,
    code: FaultCode,
    max: usize,
}

fn check_known(value: &Value, field: &str, rule: Rule<'_>, detail: &str, faults: &mut Faults) {
    if let Some(text) = faults.text(value, field, rule.max)
        && rule.known.is_some_and(|known| !known.contains(text))
    {
        faults.note(field, rule.code, detail);
    }
}

/// Whether mail can be addressed to it. Only a mail tells whether it arrives; this keeps out what is plainly something
/// else, and what would break a mail's header.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let clean = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || "@<>(),;:\\\"[]".contains(c))
    };
    clean(local) && clean(domain) && !domain.starts_with('.') && !domain.ends_with('.')
}

fn is_locale(text: &str) -> bool {
    let mut parts = text.split(['-', '_']);
    let language = parts.next().unwrap_or_default();
    (2..=8).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests;
