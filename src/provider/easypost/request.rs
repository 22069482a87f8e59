//! A shipment in our words, and the same in EasyPost's.
//!
//! Ours are whole grams, millimetres and minor units, frozen in the effect's row; theirs are decimal ounces, inches and
//! currency units. The numbers are turned into each other by integers and written as decimals, so that no float ever
//! decides what a parcel weighs. Addresses are personal data: they are written to the provider and nowhere else.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::AddressSettings;
use crate::domain::money::Amount;
use crate::domain::shipment::Parcel;

/// A tenth of an avoirdupois ounce, 2.8349523125 g exactly, in units of 0.1 ng.
const TENTH_OUNCE: u128 = 28_349_523_125;
/// A gram in the same unit.
const GRAM: u128 = 10_000_000_000;
/// Hundredths of a millimetre in a tenth of an inch: 2.54 mm, exactly.
const TENTH_INCH: u128 = 254;

/// A shipment to be created. This is what is frozen in the effect's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateShipment {
    /// Our name for it: the effect's key, by which it is found again.
    pub reference: String,
    /// Where it goes.
    pub to: Address,
    /// Where it comes from.
    pub from: Address,
    /// What it is packed in.
    pub parcel: Parcel,
    /// What the customs want to know, where it crosses a border.
    pub customs: Option<Customs>,
    /// What stands on the label for the packers: the order's number.
    pub invoice_number: String,
}

/// A postal address. Printed for debugging it shows no more than its country.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Who.
    pub name: String,
    /// Street and number.
    pub street1: String,
    /// Flat, floor.
    pub street2: Option<String>,
    /// City.
    pub city: String,
    /// State or region.
    pub state: Option<String>,
    /// Postal code.
    pub zip: Option<String>,
    /// ISO 3166 two-letter code.
    pub country: String,
    /// Phone, for customs and the driver.
    pub phone: Option<String>,
    /// E-mail, for the carrier's own notices.
    pub email: Option<String>,
}

/// A customs declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customs {
    /// Who certifies it.
    pub signer: String,
    /// The lines.
    pub items: Vec<CustomsItem>,
}

/// One line of a customs declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomsItem {
    /// What it is, in plain words.
    pub description: String,
    /// How many pieces.
    pub quantity: u32,
    /// All pieces together.
    pub value: Amount,
    /// All pieces together, in grams.
    pub weight_g: u32,
    /// Harmonised System code.
    pub hs_code: String,
    /// Where it was made: ISO 3166 two-letter code.
    pub origin: String,
    /// Our SKU.
    pub sku: String,
}

impl CreateShipment {
    /// The same in EasyPost's words.
    pub(super) fn in_their_words(&self) -> Value {
        let [length, width, height] = self.parcel.sides_mm.map(inches);
        json!({
            "reference": self.reference,
            "to_address": self.to,
            "from_address": self.from,
            "parcel": {
                "length": length, "width": width, "height": height,
                "weight": ounces(self.parcel.weight_g),
            },
            "customs_info": self.customs.as_ref().map(Customs::in_their_words),
            "options": { "label_format": "PDF", "invoice_number": self.invoice_number },
        })
    }
}

impl Customs {
    fn in_their_words(&self) -> Value {
        let items: Vec<Value> = self.items.iter().map(CustomsItem::in_their_words).collect();
        json!({
            "contents_type": "merchandise",
            "contents_explanation": "",
            "restriction_type": "none",
            "non_delivery_option": "return",
            // The exemption for shipments below 2,500 dollars per tariff number.
            "eel_pfc": "NOEEI 30.37(a)",
            "customs_certify": true,
            "customs_signer": self.signer,
            "customs_items": items,
        })
    }
}

impl CustomsItem {
    fn in_their_words(&self) -> Value {
        json!({
            "description": self.description,
            "quantity": self.quantity,
            "value": number(&self.value.decimal()),
            "currency": self.value.currency,
            "weight": ounces(self.weight_g),
            "hs_tariff_number": self.hs_code,
            "origin_country": self.origin,
            "code": self.sku,
        })
    }
}

/// Grams as ounces with one decimal, rounded up: a parcel declared too light is charged again by the carrier.
fn ounces(grams: u32) -> Value {
    tenths((u128::from(grams) * GRAM).div_ceil(TENTH_OUNCE))
}

/// Millimetres as inches with one decimal, rounded up for the same reason.
fn inches(millimetres: u32) -> Value {
    tenths((u128::from(millimetres) * 100).div_ceil(TENTH_INCH))
}

fn tenths(count: u128) -> Value {
    number(&format!("{}.{}", count / 10, count % 10))
}

/// A decimal as a JSON number, digit by digit.
fn number(decimal: &str) -> Value {
    decimal.parse().map_or(Value::Null, Value::Number)
}

impl From<&AddressSettings> for Address {
    fn from(ours: &AddressSettings) -> Self {
        Self {
            name: ours.name.clone(),
            street1: ours.street1.clone(),
            street2: None,
            city: ours.city.clone(),
            state: Some(ours.state.clone()),
            zip: Some(ours.zip.clone()),
            country: ours.country.clone(),
            phone: Some(ours.phone.clone()),
            email: None,
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("country", &self.country).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_sides_are_rounded_up_to_a_tenth() {
        // 1 oz = 28.349523125 g, 1 in = 25.4 mm
        for (grams, shown) in
            [(0, "0.0"), (1, "0.1"), (28, "1.0"), (29, "1.1"), (454, "16.1"), (1_000, "35.3")]
        {
            assert_eq!(ounces(grams).to_string(), shown, "{grams} g");
        }
        for (millimetres, shown) in [(0, "0.0"), (254, "10.0"), (255, "10.1"), (600, "23.7")] {
            assert_eq!(inches(millimetres).to_string(), shown, "{millimetres} mm");
        }
        assert!(ounces(u32::MAX).is_number());
    }

    #[test]
    fn an_address_is_not_printed() {
        let settings = AddressSettings {
            name: "A. Buyer".into(),
            street1: "1 Street".into(),
            city: "Kathmandu".into(),
            state: "Bagmati".into(),
            zip: "44600".into(),
            country: "NP".into(),
            phone: "+977".into(),
        };
        assert_eq!(format!("{:?}", Address::from(&settings)), r#"Address { country: "NP", .. }"#);
    }
}
