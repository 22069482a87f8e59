//! One parcel's journey: what it is packed in, which rate is bought for it, and where a carrier says it is.
//!
//! A shipment's state ends with its label; where the parcel is afterwards is the tracking status, an axis of its own
//! that only moves forward, because carriers repeat themselves and tell things out of order. A parcel in trouble opens
//! an exception and never rewrites the order. Sizes are whole millimetres and grams; a carrier's units are the client's.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::money::Amount;

/// How far the purchase of a label has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShipmentState {
    /// We know it; the provider does not.
    Draft,
    /// The provider knows it, and a rate is chosen.
    Rated,
    /// The label is being bought; whether it was is not known for sure until this state is left.
    Purchasing,
    /// The label is ours.
    LabelPurchased,
    /// The address can't be shipped to.
    AddressFailed,
    /// No carrier takes it.
    RateFailed,
    /// The provider refused the purchase.
    PurchaseFailed,
    /// It will not be shipped.
    Cancelled,
}

impl ShipmentState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Draft,
        Self::Rated,
        Self::Purchasing,
        Self::LabelPurchased,
        Self::AddressFailed,
        Self::RateFailed,
        Self::PurchaseFailed,
        Self::Cancelled,
    ];

    /// Its stored name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Rated => "rated",
            Self::Purchasing => "purchasing",
            Self::LabelPurchased => "label_purchased",
            Self::AddressFailed => "address_failed",
            Self::RateFailed => "rate_failed",
            Self::PurchaseFailed => "purchase_failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of a stored name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether a shipment in this state may go to `next`. A purchase that was begun ends with a label or a refusal,
    /// never with another rate: a second purchase would be paid too.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Draft => {
                matches!(next, Self::Rated | Self::AddressFailed | Self::RateFailed | Self::Cancelled)
            }
            Self::Rated => {
                matches!(next, Self::Rated | Self::Purchasing | Self::RateFailed | Self::Cancelled)
            }
            Self::Purchasing => matches!(next, Self::LabelPurchased | Self::PurchaseFailed),
            Self::LabelPurchased => matches!(next, Self::Cancelled),
            Self::AddressFailed | Self::RateFailed | Self::PurchaseFailed => {
                matches!(next, Self::Rated | Self::Cancelled)
            }
            Self::Cancelled => false,
        }
    }
}

/// Where a carrier says a parcel is: EasyPost's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tracking {
    /// Nothing is known yet.
    Unknown,
    /// The carrier knows of it but does not have it.
    PreTransit,
    /// On its way.
    InTransit,
    /// On the last van.
    OutForDelivery,
    /// Waiting to be fetched.
    AvailableForPickup,
    /// Handed over.
    Delivered,
    /// On its way back.
    ReturnToSender,
    /// It could not be delivered.
    Failure,
    /// The carrier was told not to.
    Cancelled,
    /// The carrier's answer made no sense.
    Error,
}

/// What a tracking status means for what we knew before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The parcel is further than we knew: store it, with this rank.
    Forward(i16),
    /// A person must look: opens an exception, moves nothing.
    Trouble,
    /// Old or nothing: a repetition, or a scan told too late.
    Stale,
}

impl Tracking {
    /// Every status.
    pub const ALL: [Self; 10] = [
        Self::Unknown,
        Self::PreTransit,
        Self::InTransit,
        Self::OutForDelivery,
        Self::AvailableForPickup,
        Self::Delivered,
        Self::ReturnToSender,
        Self::Failure,
        Self::Cancelled,
        Self::Error,
    ];

    /// Its stored name, which is EasyPost's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::PreTransit => "pre_transit",
            Self::InTransit => "in_transit",
            Self::OutForDelivery => "out_for_delivery",
            Self::AvailableForPickup => "available_for_pickup",
            Self::Delivered => "delivered",
            Self::ReturnToSender => "return_to_sender",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Error => "error",
        }
    }

    /// The status of a name. A word that EasyPost did not have when this was written is [`Tracking::Unknown`].
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|status| status.name() == name).unwrap_or(Self::Unknown)
    }

    /// How far along the way it is; none for what lies beside the way.
    #[must_use]
    pub const fn rank(self) -> Option<i16> {
        match self {
            Self::Unknown => Some(0),
            Self::PreTransit => Some(10),
            Self::InTransit => Some(20),
            Self::OutForDelivery => Some(30),
            Self::AvailableForPickup => Some(35),
            Self::Delivered => Some(40),
            Self::ReturnToSender | Self::Failure | Self::Cancelled | Self::Error => None,
        }
    }

    /// What it means for a parcel that was known to be at `rank`.
    #[must_use]
    pub const fn news(self, rank: i16) -> News {
        match self.rank() {
            Some(seen) if seen > rank => News::Forward(seen),
            Some(_) => News::Stale,
            // A cancelled label is our own doing, and an error says nothing about the parcel.
            None if matches!(self, Self::ReturnToSender | Self::Failure) => News::Trouble,
            None => News::Stale,
        }
    }
}

/// Something to be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// One piece, in grams.
    pub weight_g: u32,
    /// One piece, in millimetres, in any order.
    pub sides_mm: [u32; 3],
    /// How many pieces.
    pub quantity: u32,
}

/// A box that we have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its sides in millimetres: length, width, height.
    pub sides_mm: [u32; 3],
    /// Its own weight, in grams.
    pub tare_g: u32,
    /// The most that it may weigh when packed, in grams.
    pub max_weight_g: u32,
}

/// A packed box, as a carrier wants to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// Which box.
    pub package: String,
    /// Contents and box, in grams.
    pub weight_g: u32,
    /// Its sides in millimetres: length, width, height.
    pub sides_mm: [u32; 3],
}

/// Why something can't be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotPack {
    /// There is nothing in it.
    #[error("there is nothing to pack")]
    Nothing,
    /// No box carries its weight.
    #[error("{0} g are more than any box carries")]
    TooHeavy(u64),
    /// No box that carries it is large enough.
    #[error("no box that carries it is large enough")]
    TooLarge,
}

/// Puts everything into the smallest box that carries its weight, has its volume, and is as long as its longest piece.
/// Clothes can be folded and pressed, so that volume decides and not the puzzle of how boxes lie in a box.
pub fn pack(items: &[Item], packages: &[Package]) -> Result<Parcel, CannotPack> {
    let pieces = |item: &Item| u64::from(item.quantity);
    if items.iter().map(pieces).sum::<u64>() == 0 {
        return Err(CannotPack::Nothing);
    }
    let weight_g: u64 = items.iter().map(|item| pieces(item) * u64::from(item.weight_g)).sum();
    let volume: u128 = items.iter().map(|item| u128::from(pieces(item)) * volume(item.sides_mm)).sum();
    let wanted = items.iter().fold([0; 3], |most: [u32; 3], item| {
        let sides = sorted(item.sides_mm);
        [most[0].max(sides[0]), most[1].max(sides[1]), most[2].max(sides[2])]
    });
    let carries =
        |package: &&Package| weight_g + u64::from(package.tare_g) <= u64::from(package.max_weight_g);
    let holds = |package: &&Package| {
        let sides = sorted(package.sides_mm);
        self::volume(sides) >= volume && sides.iter().zip(wanted).all(|(side, needed)| *side >= needed)
    };
    if !packages.iter().any(|package| carries(&package)) {
        return Err(CannotPack::TooHeavy(weight_g));
    }
    let smallest = packages
        .iter()
        .filter(carries)
        .filter(holds)
        .min_by_key(|package| (self::volume(package.sides_mm), package.name.as_str()))
        .ok_or(CannotPack::TooLarge)?;
    let packed = weight_g + u64::from(smallest.tare_g);
    Ok(Parcel {
        package: smallest.name.clone(),
        weight_g: u32::try_from(packed).map_err(|_| CannotPack::TooHeavy(weight_g))?,
        sides_mm: smallest.sides_mm,
    })
}

fn volume(sides_mm: [u32; 3]) -> u128 {
    sides_mm.into_iter().map(u128::from).product()
}

fn sorted(mut sides: [u32; 3]) -> [u32; 3] {
    sides.sort_unstable_by_key(|side| Reverse(*side));
    sides
}

/// A carrier's offered price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// The provider's id of the offer.
    pub id: String,
    /// Who would carry it.
    pub carrier: String,
    /// How, in the carrier's word.
    pub service: String,
    /// For how much.
    pub price: Amount,
    /// In how many days, where the carrier says so.
    pub delivery_days: Option<u32>,
}

/// The cheapest rate of the wanted service (any, where none is wanted) that arrives in time; the faster, then the first by
/// name among equals, so that every worker chooses the same. Prices of two currencies can't be compared: only rates in
/// the most frequent one are looked at.
#[must_use]
pub fn choose_rate<'a>(rates: &'a [Rate], service: Option<&str>, max_days: Option<u32>) -> Option<&'a Rate> {
    let offers =
        |rate: &Rate| rates.iter().filter(|other| other.price.currency == rate.price.currency).count();
    let currency =
        rates.iter().max_by_key(|rate| (offers(rate), Reverse(rate.price.currency)))?.price.currency;
    rates
        .iter()
        .filter(|rate| rate.price.currency == currency)
        .filter(|rate| service.is_none_or(|wanted| rate.service.eq_ignore_ascii_case(wanted)))
        .filter(|rate| max_days.is_none_or(|most| rate.delivery_days.is_some_and(|days| days <= most)))
        .min_by_key(|rate| {
            let days = rate.delivery_days.unwrap_or(u32::MAX);
            (rate.price.minor, days, rate.carrier.as_str(), rate.service.as_str(), rate.id.as_str())
        })
}

#[cfg(test)]
mod tests {
    use super::super::money::Currency;
    use super::*;

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
        let id =
            |rates: &[Rate], service, days| choose_rate(rates, service, days).map(|rate| rate.id.clone());
        assert_eq!(id(&rates, None, Some(3)).as_deref(), Some("rate_3"));
        assert_eq!(id(&rates, None, Some(2)).as_deref(), Some("rate_2"));
        assert_eq!(id(&rates, None, None).as_deref(), Some("rate_4"));
        assert_eq!(id(&rates, Some("express"), None).as_deref(), Some("rate_1"));
        assert_eq!(id(&rates, None, Some(0)), None);
        assert_eq!(id(&[], None, None), None);
        let forwards = id(&rates, None, Some(5));
        rates.reverse();
        assert_eq!(id(&rates, None, Some(5)), forwards);
    }

    #[test]
    fn a_tie_goes_to_the_faster_and_then_to_the_first_by_name() {
        let rates = [
            rate("rate_b", "Priority", 700, Some(2)),
            rate("rate_a", "Priority", 700, Some(2)),
            rate("rate_0", "Slow", 700, Some(9)),
        ];
        assert_eq!(choose_rate(&rates, None, None).unwrap().id, "rate_a");
    }

    #[test]
    fn a_price_in_another_currency_is_not_cheaper_for_its_smaller_number() {
        let mut yen = rate("rate_y", "Cheap", 1, Some(1));
        yen.price.currency = "JPY".parse().unwrap();
        let rates = [yen, rate("rate_1", "A", 500, None), rate("rate_2", "B", 400, None)];
        assert_eq!(choose_rate(&rates, None, None).unwrap().id, "rate_2");
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
}
