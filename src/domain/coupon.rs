//! Coupons: what a code takes off the price of the goods, and the file that brings them in.
//!
//! A coupon takes off a part of the goods or an amount of the order's currency; never shipping, never more than the goods
//! cost. Whether it is in its time and how many uses are left is the database's to say: here is no clock.
//!
//! Columns of the file, by name and in any order: `code`, `percent` (such as 10 or 12.5), for each currency `CUR_minor`
//! (what it takes off instead of a part) and `CUR_minimum` (what the goods must cost), `max_uses`, `valid_from`,
//! `valid_until` (RFC 3339). Only `code` must be there; what is empty does not limit.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::pricing::Reason;
use super::table::{self, Cells};

/// The longest code: as long as an intent may name one.
const MAX_CODE: usize = 64;
/// All of the goods: a hundred per cent.
const WHOLE: i64 = 10_000;

/// What a coupon means for orders of one currency, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// What it takes off, where it takes off no part.
    pub amount_minor: Option<i64>,
    /// What the goods must cost.
    pub minimum_minor: i64,
}

/// What a coupon takes off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The part of the goods, in basis points; none where it takes off an amount.
    pub basis_points: Option<i64>,
    /// By ISO 4217 code.
    pub terms: BTreeMap<String, Terms>,
}

/// A coupon as it stands.
#[derive(Clone, Debug)]
pub struct Coupon {
    /// Its code.
    pub code: String,
    /// What it takes off.
    pub offer: Offer,
    /// Whether it is in its time.
    pub is_valid: bool,
    /// How often it can still be used; none where nothing limits it.
    pub uses_left: Option<i64>,
}

/// How a code is written: people type it in any letters.
#[must_use]
pub fn written(code: &str) -> String {
    code.trim().to_ascii_uppercase()
}

impl Coupon {
    /// Whether an order can use it now.
    pub fn usable(&self) -> Result<&Self, Reason> {
        let refused = |code, detail| Err(Reason::new(code, None, detail));
        if !self.is_valid {
            return refused("coupon_not_valid", "the coupon is not valid yet, or no longer");
        }
        if self.uses_left.is_some_and(|left| left <= 0) {
            return refused("coupon_used_up", "the coupon was used as often as it may be");
        }
        Ok(self)
    }
}

impl Offer {
    /// What it takes off goods of this price, in minor units; a part is rounded half up.
    pub fn discount(&self, goods_minor: i64, currency: &str) -> Result<i64, Reason> {
        let refused = |code, detail| Err(Reason::new(code, None, detail));
        let terms = self.terms.get(currency).copied().unwrap_or_default();
        if goods_minor < terms.minimum_minor {
            let least = terms.minimum_minor;
            let detail = format!("the goods must cost {least} at least, in minor units of {currency}");
            return refused("coupon_below_minimum", detail);
        }
        match (self.basis_points, terms.amount_minor) {
            (Some(points), _) => Ok(part(goods_minor, points)),
            (None, Some(amount)) => Ok(amount.clamp(0, goods_minor)),
            (None, None) => {
                refused("coupon_not_in_currency", format!("the coupon takes nothing off in {currency}"))
            }
        }
    }
}

/// A part of an amount, rounded half up; never more than the amount.
fn part(minor: i64, basis_points: i64) -> i64 {
    let half = i128::from(WHOLE / 2);
    let scaled = (i128::from(minor) * i128::from(basis_points.clamp(0, WHOLE)) + half) / i128::from(WHOLE);
    i64::try_from(scaled).unwrap_or(minor).min(minor)
}

/// One row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouponRow {
    /// Its code, in capitals.
    pub code: String,
    /// What it takes off.
    pub offer: Offer,
    /// How often it may be used; none is without end.
    pub max_uses: Option<i64>,
    /// From when on.
    pub valid_from: Option<DateTime<Utc>>,
    /// Until when.
    pub valid_until: Option<DateTime<Utc>>,
}

/// Whether a file holds coupons, and not articles.
#[must_use]
pub fn is_in(text: &str) -> bool {
    let header = text.lines().next().unwrap_or_default();
    header.split(',').any(|column| column.trim() == "code")
}

/// Reads a file of coupons, or names every fault in it.
pub fn read(text: &str) -> Result<Vec<CouponRow>, Vec<String>> {
    table::read(text, &["code"], row)
}

fn row(cells: &Cells<'_>) -> Result<CouponRow, Vec<String>> {
    let mut faults = Vec::new();
    let text = |name: &str| cells.get(name).copied().unwrap_or_default();
    let code = written(text("code"));
    if code.is_empty() || code.len() > MAX_CODE || !code.bytes().all(is_plain) {
        faults.push(format!("code is {code:?}: 1 to {MAX_CODE} letters, digits, '-', '_' or '.' are needed"));
    }
    let basis_points = percent(text("percent"), &mut faults);
    let mut terms: BTreeMap<String, Terms> = BTreeMap::new();
    for (column, cell) in cells.iter().filter(|(_, cell)| !cell.is_empty()) {
        if let Some(currency) = column.strip_suffix("_minor") {
            let amount = whole(column, cell, 1, &mut faults);
            terms.entry(currency.to_ascii_uppercase()).or_default().amount_minor = amount;
        }
        if let Some(currency) = column.strip_suffix("_minimum") {
            let least = whole(column, cell, 0, &mut faults);
            terms.entry(currency.to_ascii_uppercase()).or_default().minimum_minor = least.unwrap_or_default();
        }
    }
    if basis_points.is_some() == terms.values().any(|terms| terms.amount_minor.is_some()) && faults.is_empty()
    {
        faults.push("either percent or an amount in some currency is needed, and not both".to_owned());
    }
    let limit = text("max_uses");
    let max_uses = if limit.is_empty() { None } else { whole("max_uses", limit, 1, &mut faults) };
    let valid_from = moment("valid_from", text("valid_from"), &mut faults);
    let valid_until = moment("valid_until", text("valid_until"), &mut faults);
    if !faults.is_empty() {
        faults.sort();
        return Err(faults);
    }
    Ok(CouponRow { code, offer: Offer { basis_points, terms }, max_uses, valid_from, valid_until })
}

const fn is_plain(letter: u8) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_' | b'.')
}

fn whole(name: &str, cell: &str, least: i64, faults: &mut Vec<String>) -> Option<i64> {
    let number = cell.parse::<i64>().ok().filter(|number| *number >= least);
    if number.is_none() {
        faults.push(format!("{name} is {cell:?}: a whole number of {least} at least is needed"));
    }
    number
}

/// Per cent with at most two decimals, in basis points.
fn percent(cell: &str, faults: &mut Vec<String>) -> Option<i64> {
    if cell.is_empty() {
        return None;
    }
    let (whole, fraction) = cell.split_once('.').unwrap_or((cell, ""));
    let is_short = fraction.len() <= 2 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let points = format!("{whole}{fraction:0<2}")
        .parse::<i64>()
        .ok()
        .filter(|points| is_short && (1..=WHOLE).contains(points));
    if points.is_none() {
        faults.push(format!("percent is {cell:?}: 0.01 to 100 is needed, with two decimals at most"));
    }
    points
}

fn moment(name: &str, cell: &str, faults: &mut Vec<String>) -> Option<DateTime<Utc>> {
    if cell.is_empty() {
        return None;
    }
    let read = DateTime::parse_from_rfc3339(cell).ok().map(|at| at.to_utc());
    if read.is_none() {
        faults.push(format!("{name} is {cell:?}: a time such as 2026-12-01T00:00:00Z is needed"));
    }
    read
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amounts(amount_minor: i64, minimum_minor: i64) -> Offer {
        let terms = Terms { amount_minor: Some(amount_minor), minimum_minor };
        Offer { basis_points: None, terms: BTreeMap::from([("USD".to_owned(), terms)]) }
    }

    #[test]
    fn a_part_is_rounded_half_up_and_an_amount_is_at_most_the_goods() {
        let tenth = Offer { basis_points: Some(1_000), ..Offer::default() };
        assert_eq!(tenth.discount(995, "JPY"), Ok(100));
        assert_eq!(tenth.discount(994, "JPY"), Ok(99));
        assert_eq!(amounts(500, 0).discount(12_900, "USD"), Ok(500));
        assert_eq!(amounts(500, 0).discount(300, "USD"), Ok(300));
        let code = |refused: Result<i64, Reason>| refused.unwrap_err().code;
        assert_eq!(code(amounts(500, 0).discount(12_900, "EUR")), "coupon_not_in_currency");
        assert_eq!(code(amounts(500, 12_901).discount(12_900, "USD")), "coupon_below_minimum");
    }

    proptest! {
        #[test]
        fn no_coupon_takes_off_more_than_the_goods_cost(goods in 0..i64::MAX, points in 1..=WHOLE, amount in 1..i64::MAX) {
            let parts = Offer { basis_points: Some(points), ..Offer::default() };
            for offer in [parts, amounts(amount, 0)] {
                let off = offer.discount(goods, "USD").unwrap();
                prop_assert!((0..=goods).contains(&off));
            }
        }
    }

    #[test]
    fn what_is_not_usable_says_why() {
        let coupon =
            |is_valid, uses_left| Coupon { code: "A".into(), offer: Offer::default(), is_valid, uses_left };
        assert!(coupon(true, None).usable().is_ok() && coupon(true, Some(1)).usable().is_ok());
        assert_eq!(coupon(false, None).usable().unwrap_err().code, "coupon_not_valid");
        assert_eq!(coupon(true, Some(0)).usable().unwrap_err().code, "coupon_used_up");
    }

    #[test]
    fn a_row_is_read_or_every_fault_of_it_is_named() {
        let cells = Cells::from([
            ("code", "spring-10"),
            ("percent", "12.5"),
            ("usd_minimum", "5000"),
            ("usd_minor", ""),
            ("max_uses", "3"),
            ("valid_until", "2026-12-01T00:00:00Z"),
        ]);
        let read = row(&cells).unwrap();
        assert_eq!(
            (read.code.as_str(), read.offer.basis_points, read.max_uses),
            ("SPRING-10", Some(1_250), Some(3))
        );
        assert_eq!(read.offer.terms["USD"], Terms { amount_minor: None, minimum_minor: 5_000 });
        assert!(read.valid_from.is_none() && read.valid_until.is_some());

        let bad =
            Cells::from([("code", "a b"), ("percent", "101"), ("max_uses", "0"), ("valid_from", "soon")]);
        let faults = row(&bad).unwrap_err().join("; ");
        for part in ["code is", "percent is \"101\"", "max_uses is \"0\"", "valid_from is \"soon\""] {
            assert!(faults.contains(part), "{part}: {faults}");
        }
        let both = Cells::from([("code", "A"), ("percent", "1"), ("usd_minor", "1")]);
        assert!(row(&both).unwrap_err()[0].contains("not both"));
        assert!(row(&Cells::from([("code", "A")])).unwrap_err()[0].contains("is needed"));
    }
}
