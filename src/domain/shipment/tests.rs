//! Packing, rates, tracking and states.

use super::*;
use crate::domain::money::Currency;

fn rate(id: &str, service: &str, minor: i64, delivery_days: Option<u32>) -> Rate {
    let price = Amount::new(minor, Currency::USD);
    Rate { id: id.into(), carrier: "USPS".into(), service: service.into(), price, delivery_days }
}

fn boxes() -> Vec<Package> {
    let package = |name: &str, sides_mm, tare_g, max_weight_g| Package {
        name: name.into(),
        sides_mm,
        tare_g,
        max_weight_g,
    };
    vec![
        package("box-l", [700, 500, 350], 900, 30_000),
        package("mailer", [350, 250, 40], 60, 1_000),
        package("box-m", [600, 450, 150], 450, 10_000),
    ]
}

#[test]
fn the_cheapest_rate_in_time_is_chosen_whatever_the_order() {
    let mut rates = vec![
        rate("rate_1", "Express", 3_415, Some(1)),
        rate("rate_2", "Priority", 742, Some(2)),
        rate("rate_3", "GroundAdvantage", 607, Some(3)),
        rate("rate_4", "Parcel", 100, None),
    ];
    let (any, express) = (RatePolicy::default(), only(&["express"]));
    let id = |rates: &[Rate], policy: &RatePolicy, days| {
        choose_rate(rates, policy, days).map(|rate| rate.id.clone())
    };
    assert_eq!(id(&rates, &any, Some(3)).as_deref(), Some("rate_3"));
    assert_eq!(id(&rates, &any, Some(2)).as_deref(), Some("rate_2"));
    assert_eq!(id(&rates, &any, None).as_deref(), Some("rate_4"));
    assert_eq!(id(&rates, &express, None).as_deref(), Some("rate_1"));
    assert_eq!(id(&rates, &any, Some(0)), None);
    assert_eq!(id(&[], &any, None), None);
    let forwards = id(&rates, &any, Some(5));
    rates.reverse();
    assert_eq!(id(&rates, &any, Some(5)), forwards);
}

/// A policy that allows these services only.
fn only(services: &[&str]) -> RatePolicy {
    RatePolicy { services: services.iter().map(|name| (*name).to_owned()).collect(), prefers_fast: false }
}

#[test]
fn a_policy_takes_what_it_names_and_the_fastest_where_it_says_so() {
    let rates = [
        rate("rate_1", "Express", 3_415, Some(1)),
        rate("rate_2", "Priority", 742, Some(2)),
        rate("rate_3", "GroundAdvantage", 607, Some(3)),
        rate("rate_4", "Parcel", 100, None),
    ];
    let id = |policy: &RatePolicy, days| choose_rate(&rates, policy, days).map(|rate| rate.id.as_str());
    assert_eq!(id(&only(&["USPS Priority", "express"]), None), Some("rate_2"));
    assert_eq!(id(&only(&["UPS Priority"]), None), None, "another carrier's");
    let fast = RatePolicy { prefers_fast: true, ..RatePolicy::default() };
    assert_eq!(id(&fast, None), Some("rate_1"));
    assert_eq!(
        id(&RatePolicy { prefers_fast: true, ..only(&["GroundAdvantage", "Parcel"]) }, None),
        Some("rate_3")
    );
}

#[test]
fn a_tie_goes_to_the_faster_and_then_to_the_first_by_name() {
    let rates = [
        rate("rate_b", "Priority", 700, Some(2)),
        rate("rate_a", "Priority", 700, Some(2)),
        rate("rate_0", "Slow", 700, Some(9)),
    ];
    assert_eq!(choose_rate(&rates, &RatePolicy::default(), None).unwrap().id, "rate_a");
}

#[test]
fn a_price_in_another_currency_is_not_cheaper_for_its_smaller_number() {
    let mut yen = rate("rate_y", "Cheap", 1, Some(1));
    yen.price.currency = "JPY".parse().unwrap();
    let rates = [yen, rate("rate_1", "A", 500, None), rate("rate_2", "B", 400, None)];
    assert_eq!(choose_rate(&rates, &RatePolicy::default(), None).unwrap().id, "rate_2");
}

#[test]
fn the_smallest_box_that_carries_and_holds_it_is_taken() {
    let tie = Item { weight_g: 80, sides_mm: [30, 300, 80], quantity: 1 };
    let suit = Item { weight_g: 1_600, sides_mm: [550, 420, 90], quantity: 1 };
    let parcel = pack(&[tie], &boxes()).unwrap();
    assert_eq!((parcel.package.as_str(), parcel.weight_g), ("mailer", 140));
    assert_eq!(pack(&[tie, suit], &boxes()).unwrap().package, "box-m");
    assert_eq!(pack(&[Item { quantity: 4, ..suit }], &boxes()).unwrap().package, "box-l");
    assert_eq!(pack(&[Item { quantity: 10, ..suit }], &boxes()), Err(CannotPack::TooLarge));
    assert_eq!(pack(&[Item { quantity: 99, ..suit }], &boxes()), Err(CannotPack::TooHeavy(158_400)));
    assert_eq!(pack(&[Item { quantity: 0, ..suit }], &boxes()), Err(CannotPack::Nothing));
    let cancelled = Item { quantity: 0, ..suit };
    assert_eq!(pack(&[tie, cancelled], &boxes()), Ok(parcel), "a line of which nothing is left needs no box");
    let most = Item { weight_g: u32::MAX, sides_mm: [u32::MAX; 3], quantity: u32::MAX };
    assert!(pack(&[most], &boxes()).is_err(), "no number overflows");
}

#[test]
fn tracking_only_moves_forward() {
    assert_eq!(Tracking::InTransit.news(10), News::Forward(20));
    assert_eq!(Tracking::InTransit.news(20), News::Stale);
    assert_eq!(Tracking::PreTransit.news(40), News::Stale);
    assert_eq!(Tracking::Failure.news(40), News::Trouble);
    assert_eq!(Tracking::Cancelled.news(0), News::Stale);
    assert_eq!(Tracking::named("beamed_up"), Tracking::Unknown);
    for status in Tracking::ALL {
        assert_eq!(Tracking::named(status.name()), status);
    }
}

/// Of a parcel that is on its way. A cancelled label is our own doing, and an error says nothing about the parcel.
#[test]
fn each_word_of_a_carrier_moves_a_parcel_alarms_somebody_or_says_nothing() {
    let words = [
        ("unknown", News::Stale),
        ("pre_transit", News::Stale),
        ("in_transit", News::Stale),
        ("out_for_delivery", News::Forward(30)),
        ("available_for_pickup", News::Forward(35)),
        ("delivered", News::Forward(40)),
        ("return_to_sender", News::Trouble),
        ("failure", News::Trouble),
        ("cancelled", News::Stale),
        ("error", News::Stale),
    ];
    for (word, news) in words {
        assert_eq!(Tracking::named(word).news(20), news, "{word}");
    }
    let known: Vec<&str> = Tracking::ALL.into_iter().map(Tracking::name).collect();
    assert!(words.iter().all(|(word, _)| known.contains(word)) && known.len() == words.len(), "{known:?}");
    assert_eq!(Tracking::named("a_word_of_tomorrow").news(20), News::Stale);
}

#[test]
fn a_begun_purchase_is_never_begun_again() {
    assert!(!ShipmentState::Purchasing.may_become(ShipmentState::Rated));
    assert!(!ShipmentState::Purchasing.may_become(ShipmentState::Cancelled));
    assert!(ShipmentState::Purchasing.may_become(ShipmentState::LabelPurchased));
    for state in ShipmentState::ALL {
        assert_eq!(ShipmentState::named(state.name()), Some(state));
        assert!(!ShipmentState::Cancelled.may_become(state));
    }
}
