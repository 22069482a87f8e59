//! What an order costs: computed from the catalogue alone, never from what the caller says.
//!
//! Integer minor units and checked arithmetic throughout; tax is rounded half up, for each line. An order that can not be
//! priced is rejected with every reason at once.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::intent::OrderIntentBody;

/// An article as the catalogue knows it, with its price in the order's currency.
#[derive(Clone, Debug)]
pub struct Article {
    /// Its name on the bill.
    pub name: String,
    /// One piece, in minor units; none where it is not sold in this currency.
    pub unit_minor: Option<i64>,
    /// One piece, in grams.
    pub weight_g: i32,
    /// Tax on one piece, in basis points.
    pub tax_basis_points: i32,
    /// Who sells it.
    pub vendor: String,
}

/// Why an intent can not become an order: a stable code, and the line that it concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What is wrong.
    pub code: &'static str,
    /// The article concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// Pieces wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested: Option<i64>,
    /// Pieces that could be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available: Option<i64>,
    /// What it means.
    pub detail: String,
}

impl Reason {
    /// A reason without numbers.
    #[must_use]
    pub fn new(code: &'static str, sku: Option<&str>, detail: impl Into<String>) -> Self {
        Self { code, sku: sku.map(str::to_owned), requested: None, available: None, detail: detail.into() }
    }
}

/// One line of a priced order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PricedLine {
    /// The article.
    pub sku: String,
    /// Its name on the bill.
    pub name: String,
    /// Pieces.
    pub quantity: i64,
    /// One piece, in minor units.
    pub unit_minor: i64,
    /// The line, in minor units.
    pub total_minor: i64,
    /// One piece, in grams.
    pub weight_g: i32,
    /// Who sells it.
    pub vendor: String,
    /// Sizes, measurements.
    pub attributes: serde_json::Value,
}

/// What an order costs, in minor units of its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    /// Its lines, in the caller's order.
    pub lines: Vec<PricedLine>,
    /// All lines.
    pub subtotal_minor: i64,
    /// Shipping.
    pub shipping_minor: i64,
    /// Tax on the lines.
    pub tax_minor: i64,
    /// Everything.
    pub total_minor: i64,
    /// Pieces of each article: a hold is one for an order and an article.
    pub quantities: BTreeMap<String, i64>,
}

/// Prices an intent. `shipping_minor` is none where the method does not go there in this currency.
pub fn price<S: std::hash::BuildHasher>(
    body: &OrderIntentBody,
    articles: &HashMap<String, Article, S>,
    shipping_minor: Option<i64>,
) -> Result<Priced, Vec<Reason>> {
    let mut reasons = Vec::new();
    let mut lines = Vec::with_capacity(body.lines.len());
    let mut sums = Sums::default();
    for line in &body.lines {
        match priced_line(line, articles) {
            Ok((priced, tax)) => {
                sums.add(&priced, tax);
                lines.push(priced);
            }
            Err(reason) => reasons.push(reason),
        }
    }
    if shipping_minor.is_none() {
        reasons.push(Reason::new(
            "shipping_unavailable",
            None,
            format!(
                "no {} shipping to {} in {}",
                body.shipping_method, body.shipping_address.country, body.currency
            ),
        ));
    }
    let total = sums
        .subtotal
        .zip(sums.tax)
        .and_then(|(subtotal, tax)| subtotal.checked_add(tax)?.checked_add(shipping_minor.unwrap_or(0)));
    let (Some(subtotal_minor), Some(tax_minor), Some(total_minor)) = (sums.subtotal, sums.tax, total) else {
        reasons.push(Reason::new("amount_too_large", None, "the total is more than can be counted"));
        return Err(reasons);
    };
    if reasons.is_empty() && body.expected_total.is_some_and(|expected| expected != total_minor) {
        reasons.push(Reason::new(
            "total_changed",
            None,
            format!("the total is {total_minor} now, in minor units of {}", body.currency),
        ));
    }
    if !reasons.is_empty() {
        return Err(reasons);
    }
    Ok(Priced {
        lines,
        subtotal_minor,
        shipping_minor: shipping_minor.unwrap_or(0),
        tax_minor,
        total_minor,
        quantities: sums.quantities,
    })
}

/// Sums that are none once they overflowed.
struct Sums {
    subtotal: Option<i64>,
    tax: Option<i64>,
    quantities: BTreeMap<String, i64>,
}

impl Default for Sums {
    fn default() -> Self {
        Self { subtotal: Some(0), tax: Some(0), quantities: BTreeMap::new() }
    }
}

impl Sums {
    fn add(&mut self, line: &PricedLine, tax: i64) {
        self.subtotal = self.subtotal.and_then(|sum| sum.checked_add(line.total_minor));
        self.tax = self.tax.and_then(|sum| sum.checked_add(tax));
        let pieces = self.quantities.entry(line.sku.clone()).or_default();
        *pieces = pieces.saturating_add(line.quantity);
    }
}

/// One line and its tax.
fn priced_line(
    line: &super::intent::Line,
    articles: &HashMap<String, Article, impl std::hash::BuildHasher>,
) -> Result<(PricedLine, i64), Reason> {
    let sku = Some(line.sku.as_str());
    let article = articles
        .get(&line.sku)
        .ok_or_else(|| Reason::new("unknown_sku", sku, "the shop does not sell it"))?;
    let unit_minor = article
        .unit_minor
        .ok_or_else(|| Reason::new("no_price", sku, "it has no price in the order's currency"))?;
    let too_large = || Reason::new("amount_too_large", sku, "the line is more than can be counted");
    let total_minor = unit_minor.checked_mul(line.quantity).ok_or_else(too_large)?;
    let tax = total_minor
        .checked_mul(i64::from(article.tax_basis_points))
        .and_then(|scaled| scaled.checked_add(5_000))
        .ok_or_else(too_large)?
        / 10_000;
    let priced = PricedLine {
        sku: line.sku.clone(),
        name: article.name.clone(),
        quantity: line.quantity,
        unit_minor,
        total_minor,
        weight_g: article.weight_g,
        vendor: article.vendor.clone(),
        attributes: serde_json::to_value(&line.attributes).unwrap_or_default(),
    };
    Ok((priced, tax))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(lines: &str, expected: &str) -> OrderIntentBody {
        let text = format!(
            r#"{{"cart_id":"c","customer":{{"email":"a@b","name":"A"}},"currency":"USD","lines":{lines},
            "shipping_address":{{"name":"A","address_line1":"1","city":"K","country":"NP"}},"expected_total":{expected}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn articles() -> HashMap<String, Article> {
        let article = |unit_minor| Article {
            name: "Suit".into(),
            unit_minor,
            weight_g: 1500,
            tax_basis_points: 1300,
            vendor: String::new(),
        };
        HashMap::from([("A".to_owned(), article(Some(999))), ("B".to_owned(), article(None))])
    }

    #[test]
    fn lines_tax_and_shipping_add_up() {
        let body = body(r#"[{"sku":"A","quantity":2},{"sku":"A","quantity":1}]"#, "null");
        let priced = price(&body, &articles(), Some(500)).unwrap();
        assert_eq!((priced.subtotal_minor, priced.tax_minor, priced.total_minor), (2997, 390, 3887));
        assert_eq!(priced.quantities["A"], 3);
    }

    #[test]
    fn every_reason_is_named_at_once() {
        let body = body(r#"[{"sku":"B","quantity":1},{"sku":"C","quantity":1}]"#, "null");
        let codes: Vec<_> =
            price(&body, &articles(), None).unwrap_err().iter().map(|reason| reason.code).collect();
        assert_eq!(codes, ["no_price", "unknown_sku", "shipping_unavailable"]);
    }

    #[test]
    fn another_expected_total_is_rejected() {
        let lines = r#"[{"sku":"A","quantity":1}]"#;
        assert!(price(&body(lines, "1629"), &articles(), Some(500)).is_ok());
        assert_eq!(price(&body(lines, "1628"), &articles(), Some(500)).unwrap_err()[0].code, "total_changed");
    }

    #[test]
    fn nothing_overflows() {
        let body = body(r#"[{"sku":"A","quantity":9223372036854775807}]"#, "null");
        assert_eq!(price(&body, &articles(), Some(0)).unwrap_err()[0].code, "amount_too_large");
    }
}
