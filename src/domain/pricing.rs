//! What an order costs: computed from the catalogue alone, never from what the caller says.
//!
//! Integer minor units and checked arithmetic throughout; tax is rounded half up, for each line. An order that can not be
//! priced is rejected with every reason at once.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use serde::Serialize;

use super::coupon::Coupon;
use super::intent::{Line, OrderIntentBody};

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
    /// What a coupon takes off them.
    pub discount_minor: i64,
    /// Which coupon.
    pub coupon: Option<String>,
    /// Shipping.
    pub shipping_minor: i64,
    /// Tax on what is paid for the lines.
    pub tax_minor: i64,
    /// Everything.
    pub total_minor: i64,
    /// Pieces of each article: a hold is one for an order and an article.
    pub quantities: BTreeMap<String, i64>,
}

/// What is to be priced.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The wish.
    pub body: &'a OrderIntentBody,
    /// What of its lines is to be had.
    pub lines: &'a [Line],
    /// Shipping; none where the method does not go there in this currency.
    pub shipping_minor: Option<i64>,
    /// The coupon that it names, or why that one can not be used.
    pub coupon: Result<Option<&'a Coupon>, Reason>,
}

/// Prices a wish.
pub fn price<S: BuildHasher>(
    wanted: Wanted<'_>,
    articles: &HashMap<String, Article, S>,
) -> Result<Priced, Vec<Reason>> {
    let Wanted { body, lines, shipping_minor, coupon } = wanted;
    let mut reasons = Vec::new();
    let mut priced = Vec::with_capacity(lines.len());
    for line in lines {
        match priced_line(line, articles) {
            Ok(line) => priced.push(line),
            Err(reason) => reasons.push(reason),
        }
    }
    let is_whole = reasons.is_empty();
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
    let goods = priced.iter().try_fold(0_i64, |sum, line| sum.checked_add(line.total_minor));
    let off = match (coupon, goods) {
        (Ok(Some(coupon)), Some(goods)) if is_whole => discount(coupon, goods, &body.currency, &mut reasons),
        (Ok(_), _) => None,
        (Err(reason), _) => {
            reasons.push(reason);
            None
        }
    };
    let whole = goods.and_then(|goods| added_up(priced, goods, (shipping_minor.unwrap_or(0), off), articles));
    match whole {
        Some(whole) if reasons.is_empty() => Ok(whole),
        Some(_) => Err(reasons),
        None => {
            reasons.push(Reason::new("amount_too_large", None, "the total is more than can be counted"));
            Err(reasons)
        }
    }
}

/// What a coupon takes off the goods, with its code.
fn discount(
    coupon: &Coupon,
    goods_minor: i64,
    currency: &str,
    reasons: &mut Vec<Reason>,
) -> Option<(String, i64)> {
    match coupon.offer.discount(goods_minor, currency) {
        Ok(minor) => Some((coupon.code.clone(), minor)),
        Err(reason) => {
            reasons.push(reason);
            None
        }
    }
}

/// Whether the customer was shown this total.
pub fn as_shown(body: &OrderIntentBody, priced: &Priced) -> Result<(), Reason> {
    let total = priced.total_minor;
    if body.expected_total.is_none_or(|expected| expected == total) {
        return Ok(());
    }
    let detail = format!("the total is {total} now, in minor units of {}", body.currency);
    Err(Reason::new("total_changed", None, detail))
}

/// What a wish comes to; none where that can not be counted. Tax is due on what the customer pays for a line: each bears
/// its part of the discount, and the parts add up to all of it.
fn added_up<S: BuildHasher>(
    lines: Vec<PricedLine>,
    goods: i64,
    (shipping_minor, off): (i64, Option<(String, i64)>),
    articles: &HashMap<String, Article, S>,
) -> Option<Priced> {
    let discount_minor = off.as_ref().map_or(0, |(_, minor)| *minor);
    let mut tax_minor = 0_i64;
    let (mut seen, mut borne) = (0_i64, 0_i64);
    let mut quantities = BTreeMap::<String, i64>::new();
    for line in &lines {
        seen = seen.checked_add(line.total_minor)?;
        let so_far = i128::from(discount_minor) * i128::from(seen) / i128::from(goods.max(1));
        let so_far = i64::try_from(so_far).ok()?;
        let paid = line.total_minor.checked_sub(so_far.checked_sub(borne)?)?;
        borne = so_far;
        let points = articles.get(&line.sku).map_or(0, |article| article.tax_basis_points);
        let tax = paid.checked_mul(i64::from(points))?.checked_add(5_000)? / 10_000;
        tax_minor = tax_minor.checked_add(tax)?;
        let pieces = quantities.entry(line.sku.clone()).or_default();
        *pieces = pieces.saturating_add(line.quantity);
    }
    let total_minor =
        goods.checked_sub(discount_minor)?.checked_add(tax_minor)?.checked_add(shipping_minor)?;
    Some(Priced {
        lines,
        subtotal_minor: goods,
        discount_minor,
        coupon: off.map(|(code, _)| code),
        shipping_minor,
        tax_minor,
        total_minor,
        quantities,
    })
}

/// One line.
fn priced_line<S: BuildHasher>(
    line: &Line,
    articles: &HashMap<String, Article, S>,
) -> Result<PricedLine, Reason> {
    let sku = Some(line.sku.as_str());
    let article = articles
        .get(&line.sku)
        .ok_or_else(|| Reason::new("unknown_sku", sku, "the shop does not sell it"))?;
    let unit_minor = article
        .unit_minor
        .ok_or_else(|| Reason::new("no_price", sku, "it has no price in the order's currency"))?;
    let total_minor = unit_minor
        .checked_mul(line.quantity)
        .ok_or_else(|| Reason::new("amount_too_large", sku, "the line is more than can be counted"))?;
    Ok(PricedLine {
        sku: line.sku.clone(),
        name: article.name.clone(),
        quantity: line.quantity,
        unit_minor,
        total_minor,
        weight_g: article.weight_g,
        vendor: article.vendor.clone(),
        attributes: serde_json::to_value(&line.attributes).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::coupon::Offer;

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

    fn priced(body: &OrderIntentBody, shipping_minor: Option<i64>) -> Result<Priced, Vec<Reason>> {
        discounted(body, shipping_minor, Ok(None))
    }

    fn discounted(
        body: &OrderIntentBody,
        shipping_minor: Option<i64>,
        coupon: Result<Option<&Coupon>, Reason>,
    ) -> Result<Priced, Vec<Reason>> {
        price(Wanted { body, lines: &body.lines, shipping_minor, coupon }, &articles())
    }

    fn coupon(basis_points: i64) -> Coupon {
        let offer = Offer { basis_points: Some(basis_points), ..Offer::default() };
        Coupon { code: "OFF".into(), offer, is_valid: true, uses_left: None }
    }

    #[test]
    fn lines_tax_and_shipping_add_up() {
        let body = body(r#"[{"sku":"A","quantity":2},{"sku":"A","quantity":1}]"#, "null");
        let priced = priced(&body, Some(500)).unwrap();
        assert_eq!((priced.subtotal_minor, priced.tax_minor, priced.total_minor), (2997, 390, 3887));
        assert_eq!(priced.quantities["A"], 3);
    }

    #[test]
    fn every_reason_is_named_at_once() {
        let body = body(r#"[{"sku":"B","quantity":1},{"sku":"C","quantity":1}]"#, "null");
        let codes: Vec<_> = discounted(&body, None, Err(Reason::new("coupon_used_up", None, "")))
            .unwrap_err()
            .iter()
            .map(|reason| reason.code)
            .collect();
        assert_eq!(codes, ["no_price", "unknown_sku", "shipping_unavailable", "coupon_used_up"]);
    }

    #[test]
    fn another_total_than_was_shown_is_seen() {
        let shown = |total| {
            let body = body(r#"[{"sku":"A","quantity":1}]"#, total);
            as_shown(&body, &priced(&body, Some(500)).unwrap())
        };
        assert_eq!((shown("1629"), shown("null")), (Ok(()), Ok(())));
        assert_eq!(shown("1628").unwrap_err().code, "total_changed");
    }

    #[test]
    fn a_discount_is_taken_off_the_goods_before_their_tax() {
        let body = body(r#"[{"sku":"A","quantity":2},{"sku":"A","quantity":1}]"#, "null");
        let tenth = discounted(&body, Some(500), Ok(Some(&coupon(1_000)))).unwrap();
        // 300 off: 200 of the first line, 100 of the second; 13 % on 1,798 and on 899.
        assert_eq!((tenth.subtotal_minor, tenth.discount_minor, tenth.tax_minor), (2997, 300, 234 + 117));
        assert_eq!((tenth.total_minor, tenth.coupon.as_deref()), (2997 - 300 + 351 + 500, Some("OFF")));
        let whole = discounted(&body, Some(0), Ok(Some(&coupon(10_000)))).unwrap();
        assert_eq!((whole.discount_minor, whole.tax_minor, whole.total_minor), (2997, 0, 0));
    }

    #[test]
    fn nothing_overflows() {
        let body = body(r#"[{"sku":"A","quantity":9223372036854775807}]"#, "null");
        assert_eq!(priced(&body, Some(0)).unwrap_err()[0].code, "amount_too_large");
    }
}
