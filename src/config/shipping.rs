//! How parcels are sent and from where: which offers may be taken, which addresses are looked at first, what is insured.

use serde::Deserialize;

/// How parcels are sent.
#[derive(Clone, Debug, Deserialize)]
pub struct ShippingSettings {
    /// Services that may be bought, as `Service` or `Carrier Service`; empty is every one.
    pub services: Vec<String>,
    /// Which of them is.
    pub choose: Choose,
    /// Whose addresses are verified before a label is bought.
    pub verify_addresses: Verify,
    /// The total, in US cents, from which on an order is insured; 0 insures none.
    pub insure_from_cents: i64,
}

/// Which of the offers that arrive in time is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Choose {
    /// The cheapest.
    Cheapest,
    /// The fastest.
    Fastest,
}

impl TryFrom<String> for Choose {
    type Error = &'static str;

    /// Derived, the error would quote what was given, which may have been meant for another setting.
    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "cheapest" => Ok(Self::Cheapest),
            "fastest" => Ok(Self::Fastest),
            _ => Err("must be cheapest or fastest"),
        }
    }
}

/// Whose addresses are verified before a label is bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Verify {
    /// Those in the country that parcels leave from: of others a carrier knows less than the customer.
    Home,
    /// All.
    All,
    /// None.
    None,
}

impl TryFrom<String> for Verify {
    type Error = &'static str;

    /// Derived, the error would quote what was given, which may have been meant for another setting.
    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "home" => Ok(Self::Home),
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => Err("must be home, all or none"),
        }
    }
}

/// A postal address of ours.
#[derive(Clone, Debug, Deserialize)]
pub struct AddressSettings {
    /// The sender.
    pub name: String,
    /// Street and number.
    pub street1: String,
    /// City.
    pub city: String,
    /// State or region.
    pub state: String,
    /// Postal code.
    pub zip: String,
    /// ISO 3166 two-letter code.
    pub country: String,
    /// Phone, for customs.
    pub phone: String,
}
