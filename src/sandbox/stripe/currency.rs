//! What Stripe asks of an amount: a known currency, its minimum, its maximum.

use super::error::StripeError;

/// 999,999.99: what cards of every brand may carry.
const LARGEST: i64 = 99_999_999;
/// The minimum of a currency that is not listed: that of the dollar.
const USUAL_MINIMUM: i64 = 50;

/// Minimums in minor units, as documented for settlement in the same currency.
const MINIMUMS: &[(&str, i64)] = &[
    ("gbp", 30),
    ("aed", 200),
    ("myr", 200),
    ("pln", 200),
    ("ron", 200),
    ("dkk", 250),
    ("nok", 300),
    ("sek", 300),
    ("hkd", 400),
    ("mxn", 1000),
    ("thb", 1000),
    ("czk", 1500),
    ("huf", 17_500),
    ("jpy", 50),
    ("krw", 50),
];

/// Refuses an amount that Stripe would refuse.
pub(super) fn check(amount: i64, currency: &str) -> Result<(), StripeError> {
    if currency.len() != 3 || !currency.bytes().all(|letter| letter.is_ascii_lowercase()) {
        return Err(StripeError::invalid(&format!("Invalid currency: {currency}.")).param("currency"));
    }
    if amount < 1 {
        return Err(StripeError::invalid("This value must be greater than or equal to 1.")
            .code("parameter_invalid_integer")
            .param("amount"));
    }
    let minimum = MINIMUMS.iter().find(|(code, _)| *code == currency).map_or(USUAL_MINIMUM, |(_, min)| *min);
    if amount < minimum {
        let message = format!("Amount must be at least {minimum} {currency} in its smallest unit.");
        return Err(StripeError::invalid(&message).code("amount_too_small").param("amount"));
    }
    if amount > LARGEST {
        let message = format!("Amount must be no more than {LARGEST} {currency} in its smallest unit.");
        return Err(StripeError::invalid(&message).code("amount_too_large").param("amount"));
    }
    Ok(())
}
