//! One parcel's journey: what it is packed in, which rate is bought for it, and where a carrier says it is.
//!
//! A shipment's state ends with its label; where the parcel is afterwards is the tracking status, an axis of its own
//! that only moves forward, because carriers repeat themselves and tell things out of order. A parcel in trouble opens
//! an exception and never rewrites the order. Sizes are whole millimetres and grams; a carrier's units are the client's.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::money::Amount;

mod split;

pub use split::{MOST_PARCELS, Share, split};

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
            None if matches!(self, Self::ReturnToSender | Self::Failure) => News::Trouble,
            // A cancelled label is our own doing, and an error says nothing about the parcel.
            Some(_) | None => News::Stale,
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
    /// It would be too many parcels.
    #[error("it would be more than {MOST_PARCELS} parcels")]
    TooMany,
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
    // A line of which nothing is left asks for no room.
    let wanted = items.iter().filter(|item| item.quantity > 0).fold([0; 3], |most: [u32; 3], item| {
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

/// Which offers may be taken, and which of them is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RatePolicy {
    /// Services that may be bought, each as `Service` or `Carrier Service`; an empty list is every one.
    pub services: Vec<String>,
    /// The fastest of those that arrive in time, and not the cheapest.
    pub prefers_fast: bool,
}

impl RatePolicy {
    fn allows(&self, rate: &Rate) -> bool {
        let names = |wanted: &String| {
            wanted.eq_ignore_ascii_case(&rate.service)
                || wanted.eq_ignore_ascii_case(&format!("{} {}", rate.carrier, rate.service))
        };
        self.services.is_empty() || self.services.iter().any(names)
    }
}

/// The rate that is taken: of those that the policy allows and that arrive in time the cheapest, or the fastest; among equals
/// the better by the other, then the first by name, so that every worker chooses the same. Prices of two currencies
/// can't be compared: only rates in the most frequent one are looked at.
#[must_use]
pub fn choose_rate<'a>(rates: &'a [Rate], policy: &RatePolicy, max_days: Option<u32>) -> Option<&'a Rate> {
    let offers =
        |rate: &Rate| rates.iter().filter(|other| other.price.currency == rate.price.currency).count();
    let currency =
        rates.iter().max_by_key(|rate| (offers(rate), Reverse(rate.price.currency)))?.price.currency;
    rates
        .iter()
        .filter(|rate| rate.price.currency == currency)
        .filter(|rate| policy.allows(rate))
        .filter(|rate| max_days.is_none_or(|most| rate.delivery_days.is_some_and(|days| days <= most)))
        .min_by_key(|rate| {
            let (price, days) = (rate.price.minor, i64::from(rate.delivery_days.unwrap_or(u32::MAX)));
            let worth = if policy.prefers_fast { (days, price) } else { (price, days) };
            (worth, rate.carrier.as_str(), rate.service.as_str(), rate.id.as_str())
        })
}

#[cfg(test)]
mod tests;
