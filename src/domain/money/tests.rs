//! Money: shown, reckoned, and told to Stripe and back.

use proptest::prelude::*;

use super::*;

fn of(minor: i64, code: &str) -> Amount {
    Amount::new(minor, code.parse().unwrap())
}

#[test]
fn shown_with_the_decimals_of_its_currency() {
    for (minor, code, shown) in [
        (12_900, "USD", "USD 129.00"),
        (5, "usd", "USD 0.05"),
        (-5, "USD", "USD -0.05"),
        (500, "JPY", "JPY 500"),
        (5_120, "KWD", "KWD 5.120"),
        (i64::MIN, "JPY", "JPY -9223372036854775808"),
    ] {
        assert_eq!(of(minor, code).to_string(), shown);
    }
}

#[test]
fn stripe_counts_some_currencies_in_its_own_way() {
    for (minor, code, units) in [
        (12_900, "USD", 12_900),
        (500, "JPY", 500),
        (5, "UGX", 500),
        (5, "ISK", 500),
        (300, "MGA", 3),
        (5_120, "KWD", 5_120),
        (150_000, "NPR", 150_000),
        (150_000, "ETB", 150_000),
        // Without decimals in payouts only.
        (17_500, "HUF", 17_500),
        (5_001, "TWD", 5_001),
    ] {
        let amount = of(minor, code);
        assert_eq!(amount.to_stripe(), Ok(units), "{code}");
        assert_eq!(Amount::from_stripe(units, amount.currency), Ok(amount), "{code}");
    }
}

/// <https://docs.stripe.com/currencies>, each by name: one that is missing would be charged a hundredfold, or a hundredth.
#[test]
fn every_currency_without_two_decimals_is_told_to_stripe_as_it_counts_it() {
    let none = "BIF CLP DJF GNF JPY KMF KRW PYG RWF VND VUV XAF XOF XPF".split(' ').map(|code| (code, 1));
    let hundreds = "ISK UGX".split(' ').map(|code| (code, 100));
    let three = "BHD JOD KWD OMR TND".split(' ').map(|code| (code, 1));
    for (code, times) in none.chain(hundreds).chain(three) {
        let amount = of(5_000, code);
        assert_eq!(amount.to_stripe(), Ok(5_000 * times), "{code}");
        assert_eq!(Amount::from_stripe(5_000 * times, amount.currency), Ok(amount), "{code}");
        let decimals = if "BHD JOD KWD OMR TND".contains(code) { 3 } else { 0 };
        assert_eq!(amount.currency.exponent(), decimals, "{code}");
    }
}

/// <https://docs.stripe.com/currencies>, in the smallest unit as we count it.
#[test]
fn less_than_stripe_s_least_is_refused_in_each_currency_that_has_one() {
    let least = [
        (50, "USD EUR AUD BRL CAD CHF INR NZD SGD ZAR ILS PHP ARS COP IDR RUB JPY KRW"),
        (30, "GBP"),
        (200, "AED MYR PLN RON"),
        (250, "DKK"),
        (300, "NOK SEK"),
        (400, "HKD"),
        (1_000, "MXN THB"),
        (1_500, "CZK"),
        (17_500, "HUF"),
    ];
    for (least, codes) in least {
        for code in codes.split(' ') {
            let below = of(least - 1, code).to_stripe();
            assert!(matches!(below, Err(MoneyError::BelowMinimum { .. })), "{code}: {below:?}");
            assert!(of(least, code).to_stripe().is_ok(), "{code}");
        }
    }
}

#[test]
fn what_stripe_would_refuse_is_refused_here() {
    assert!(matches!(of(0, "USD").to_stripe(), Err(MoneyError::NotPositive(_))));
    assert!(matches!(of(49, "USD").to_stripe(), Err(MoneyError::BelowMinimum { least: 50, .. })));
    assert!(matches!(of(5_124, "KWD").to_stripe(), Err(MoneyError::BetweenSteps { .. })));
    assert!(matches!(of(150, "MGA").to_stripe(), Err(MoneyError::BetweenSteps { .. })));
    assert!(matches!(of(i64::MAX, "UGX").to_stripe(), Err(MoneyError::Overflow)));
    assert!(matches!(of(i64::MAX, "USD").to_stripe(), Err(MoneyError::AboveMaximum(_))));
    // Twelve digits, as they are told and not as we count them.
    for (most, code) in [(999_999_999_999, "USD"), (999_999_999_999, "JPY"), (9_999_999_999, "UGX")] {
        assert!(of(most, code).to_stripe().is_ok(), "{code}");
        let above = of(most + 1, code).to_stripe();
        assert!(matches!(above, Err(MoneyError::AboveMaximum(_))), "{code}: {above:?}");
    }
    assert!(Amount::from_stripe(501, "UGX".parse().unwrap()).is_err());
}

#[test]
fn a_written_price_is_read_exactly() {
    for (text, code, minor) in [
        ("6.07", "USD", 607),
        ("6.07000", "USD", 607),
        ("6.07001", "USD", 608),
        ("6", "USD", 600),
        ("6.1", "USD", 610),
        ("500", "JPY", 500),
        ("500.00", "JPY", 500),
        ("0.29", "USD", 29),
    ] {
        assert_eq!(Amount::from_decimal(text, code.parse().unwrap()), Ok(of(minor, code)), "{text}");
    }
    for text in
        ["", ".", "6.", ".5", "-1", "+1", "1e3", "1,00", " 1", "99999999999999999999", "1.0000000000000"]
    {
        assert!(Amount::from_decimal(text, Currency::USD).is_err(), "{text}");
    }
}

#[test]
fn currencies_do_not_mix_and_sums_do_not_wrap() {
    assert!(matches!(of(1, "USD").plus(of(1, "EUR")), Err(MoneyError::Mixed { .. })));
    assert_eq!(of(i64::MAX, "USD").plus(of(1, "USD")), Err(MoneyError::Overflow));
    assert_eq!(of(i64::MIN, "USD").minus(of(1, "USD")), Err(MoneyError::Overflow));
    assert_eq!(of(i64::MAX, "USD").times(2), Err(MoneyError::Overflow));
    for bad in ["", "US", "USDX", "U1D", "ÜS"] {
        assert!(bad.parse::<Currency>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn what_stripe_is_told_means_the_same_when_it_comes_back(minor: i64, code in "[A-Z]{3}") {
        let amount = of(minor, &code);
        if let Ok(units) = amount.to_stripe() {
            prop_assert_eq!(Amount::from_stripe(units, amount.currency), Ok(amount));
        }
    }

    #[test]
    fn what_is_shown_is_read_again_as_the_same(minor in 0..i64::MAX, code in "[A-Z]{3}") {
        let amount = of(minor, &code);
        prop_assert_eq!(Amount::from_decimal(&amount.decimal(), amount.currency), Ok(amount));
    }

    #[test]
    fn taking_away_what_was_added_leaves_the_same(a: i64, b: i64) {
        if let Ok(sum) = of(a, "USD").plus(of(b, "USD")) {
            prop_assert_eq!(sum.minus(of(b, "USD")), Ok(of(a, "USD")));
        }
    }

    #[test]
    fn no_text_is_too_odd_to_be_refused(text: String) {
        let _ = Amount::from_decimal(&text, Currency::USD);
        let _ = text.parse::<Currency>();
    }
}
