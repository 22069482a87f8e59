//! Money: whole minor units of one currency, and the two foreign ways of writing it.
//!
//! An amount is never a float and never divided by a hundred: yen have no cents and dinars have a thousand fils, so the
//! number of decimals comes from ISO 4217's table. Stripe counts a few currencies differently; that is translated here,
//! both ways and only here. Arithmetic is checked: an overflow is an error, never a smaller price.
#![deny(clippy::arithmetic_side_effects)]

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Currencies of ISO 4217 whose minor unit is not a hundredth, with their number of decimals.
const EXPONENTS: [(&str, u32); 28] = [
    ("BHD", 3),
    ("BIF", 0),
    ("CLF", 4),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("UYI", 0),
    ("UYW", 4),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
    ("XAU", 0),
    ("XDR", 0),
];

/// Where Stripe's number of decimals differs from ISO's: it takes ISK and UGX in hundredths, MGA in whole ariary.
const STRIPE_EXPONENTS: [(&str, u32); 3] = [("ISK", 2), ("UGX", 2), ("MGA", 0)];

/// The least that Stripe charges, in minor units. Currencies without a line have none of their own.
const STRIPE_MINIMUMS: [(&str, i64); 33] = [
    ("AED", 200),
    ("ARS", 50),
    ("AUD", 50),
    ("BRL", 50),
    ("CAD", 50),
    ("CHF", 50),
    ("COP", 50),
    ("CZK", 1500),
    ("DKK", 250),
    ("EUR", 50),
    ("GBP", 30),
    ("HKD", 400),
    ("HUF", 17_500),
    ("IDR", 50),
    ("ILS", 50),
    ("INR", 50),
    ("JPY", 50),
    ("KRW", 50),
    ("MXN", 1000),
    ("MYR", 200),
    ("NOK", 300),
    ("NZD", 50),
    ("PHP", 50),
    ("PLN", 200),
    ("RON", 200),
    ("RUB", 50),
    ("SEK", 300),
    ("SGD", 50),
    ("THB", 1000),
    ("USD", 50),
    ("ZAR", 50),
    // Sent in hundredths of a unit that has no hundredths: one unit is the least that can be said.
    ("ISK", 1),
    ("UGX", 1),
];

/// Stripe takes at most twelve digits.
const STRIPE_MAXIMUM: i64 = 999_999_999_999;

/// Decimals after the point that are read at most: EasyPost writes five.
const MOST_DECIMALS: usize = 12;

/// Why money could not be reckoned with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not three letters.
    #[error("not an ISO 4217 code of three letters: {0:?}")]
    BadCurrency(String),
    /// Two currencies met.
    #[error("{left} and {right} can't be added up")]
    Mixed {
        /// The currency on the left.
        left: Currency,
        /// The currency on the right.
        right: Currency,
    },
    /// The result does not fit.
    #[error("the amount is too large")]
    Overflow,
    /// Not a decimal number such as `6.07`.
    #[error("not a decimal number: {0:?}")]
    NotDecimal(String),
    /// Nothing can be charged that is not above zero.
    #[error("{0} is not above zero")]
    NotPositive(Amount),
    /// Stripe would refuse it as too small.
    #[error("{amount} is below the least that can be charged, {least} minor units")]
    BelowMinimum {
        /// What was to be charged.
        amount: Amount,
        /// The least, in minor units of the same currency.
        least: i64,
    },
    /// Stripe would refuse it as too large.
    #[error("{0} is above the most that can be charged")]
    AboveMaximum(Amount),
    /// Stripe counts this currency in coarser steps.
    #[error("{currency} {units} can't be said in the steps that the provider counts in")]
    BetweenSteps {
        /// The currency.
        currency: Currency,
        /// The amount, in the units of the side that it came from.
        units: i64,
    },
}

/// A currency: three capital letters of ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The US dollar.
    pub const USD: Self = Self(*b"USD");

    /// The code, in capitals.
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Decimals of its minor unit: 2 for most, 0 for yen, 3 for dinars.
    #[must_use]
    pub fn exponent(self) -> u32 {
        look_up(&EXPONENTS, self).unwrap_or(2)
    }

    fn stripe_exponent(self) -> u32 {
        look_up(&STRIPE_EXPONENTS, self).unwrap_or_else(|| self.exponent())
    }
}

fn look_up<T: Copy>(table: &[(&str, T)], currency: Currency) -> Option<T> {
    table.iter().find(|(code, _)| *code == currency.code()).map(|(_, value)| *value)
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        <[u8; 3]>::try_from(text.as_bytes())
            .ok()
            .filter(|code| code.iter().all(u8::is_ascii_alphabetic))
            .map(|code| Self(code.map(|letter| letter.to_ascii_uppercase())))
            .ok_or_else(|| MoneyError::BadCurrency(text.chars().take(16).collect()))
    }
}

impl TryFrom<String> for Currency {
    type Error = MoneyError;

    fn try_from(text: String) -> Result<Self, MoneyError> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Money: a whole number of minor units of one currency. It may be negative: a discount, a correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Amount {
    /// Cents, yen, fils: see [`Currency::exponent`].
    pub minor: i64,
    /// Of this currency.
    pub currency: Currency,
}

impl Amount {
    /// So many minor units.
    #[must_use]
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// The sum, if both are of one currency and it fits.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.with(other, i64::checked_add)
    }

    /// The difference, if both are of one currency and it fits.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.with(other, i64::checked_sub)
    }

    /// So many times as much, if it fits.
    pub fn times(self, count: i64) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_mul(count).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    fn with(self, other: Self, reckon: fn(i64, i64) -> Option<i64>) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed { left: self.currency, right: other.currency });
        }
        let minor = reckon(self.minor, other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// Reads a price as carriers write it: `6.07`, `6.07000`, `12`. What is finer than a minor unit is rounded up, so
    /// that a cost is never understated.
    pub fn from_decimal(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let refused = || MoneyError::NotDecimal(text.chars().take(32).collect());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > MOST_DECIMALS {
            return Err(refused());
        }
        let decimals = usize::try_from(currency.exponent()).map_err(|_| MoneyError::Overflow)?;
        let (kept, finer) = fraction.split_at(decimals.min(fraction.len()));
        let minor: i64 = format!("{whole}{kept:0<decimals$}").parse().map_err(|_| MoneyError::Overflow)?;
        let up = i64::from(finer.bytes().any(|digit| digit != b'0'));
        Ok(Self { minor: minor.checked_add(up).ok_or(MoneyError::Overflow)?, currency })
    }

    /// Reads an amount that was paid: as above, but what is finer than a minor unit is refused and not rounded.
    pub fn from_exact_decimal(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let read = Self::from_decimal(text, currency)?;
        let decimals = usize::try_from(currency.exponent()).map_err(|_| MoneyError::Overflow)?;
        let finer = text.split_once('.').and_then(|(_, fraction)| fraction.get(decimals..));
        let is_exact = finer.unwrap_or_default().bytes().all(|digit| digit == b'0');
        if is_exact { Ok(read) } else { Err(MoneyError::NotDecimal(text.chars().take(32).collect())) }
    }

    /// The number in the currency's units, as people and carriers write it: `129.00`, `500`, `5.120`.
    #[must_use]
    pub fn decimal(self) -> String {
        let decimals = usize::try_from(self.currency.exponent()).unwrap_or_default();
        let digits = format!("{:0>width$}", self.minor.unsigned_abs(), width = decimals.saturating_add(1));
        let (whole, fraction) = digits.split_at(digits.len().saturating_sub(decimals));
        let sign = if self.minor < 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }

    /// What Stripe calls this amount, if it can be charged there.
    pub fn to_stripe(self) -> Result<i64, MoneyError> {
        if let Some(least) =
            look_up(&STRIPE_MINIMUMS, self.currency).filter(|least| (1..*least).contains(&self.minor))
        {
            return Err(MoneyError::BelowMinimum { amount: self, least });
        }
        self.to_stripe_refund()
    }

    /// What Stripe calls this amount, if it can be given back there: a part of a charge has no minimum.
    pub fn to_stripe_refund(self) -> Result<i64, MoneyError> {
        if self.minor <= 0 {
            return Err(MoneyError::NotPositive(self));
        }
        let units =
            rescale(self.minor, self.currency.exponent(), self.currency.stripe_exponent(), self.currency)?;
        // Stripe takes three decimals, but the last of them has to be a zero.
        if self.currency.stripe_exponent() == 3 && units.checked_rem(10) != Some(0) {
            return Err(MoneyError::BetweenSteps { currency: self.currency, units: self.minor });
        }
        if units > STRIPE_MAXIMUM {
            return Err(MoneyError::AboveMaximum(self));
        }
        Ok(units)
    }

    /// The amount that Stripe calls so.
    pub fn from_stripe(units: i64, currency: Currency) -> Result<Self, MoneyError> {
        Ok(Self {
            minor: rescale(units, currency.stripe_exponent(), currency.exponent(), currency)?,
            currency,
        })
    }
}

/// Writes a number of one scale in another, if nothing is lost by it.
fn rescale(units: i64, from: u32, to: u32, currency: Currency) -> Result<i64, MoneyError> {
    let step = 10_i64.checked_pow(from.abs_diff(to)).ok_or(MoneyError::Overflow)?;
    if to >= from {
        return units.checked_mul(step).ok_or(MoneyError::Overflow);
    }
    if units.checked_rem(step) != Some(0) {
        return Err(MoneyError::BetweenSteps { currency, units });
    }
    units.checked_div(step).ok_or(MoneyError::Overflow)
}

impl fmt::Display for Amount {
    /// `USD 129.00`, `JPY 500`, `KWD 5.120`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.currency, self.decimal())
    }
}

#[cfg(test)]
mod tests;
