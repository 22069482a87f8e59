//! An order intent: the wish to buy, as the web tier sends it and as the order keeps it.
//!
//! Unknown fields are refused and everything that has a limit is checked by `read` at the door, all faults in one
//! answer. Prices are never taken from here: the worker computes them from the catalogue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::offer::STRIPE;
use crate::ids::IntentId;

mod check;

pub use check::{Known, MAX_LINES, MAX_METADATA, MAX_QUANTITY};

/// What can be done where a line is short.
pub const SHORTAGE_RULES: [&str; 2] = [REJECT_ALL, ACCEPT_AVAILABLE];

/// The body of `POST /v1/order-intents`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderIntentBody {
    /// The shop's name for the cart; a cart has one open order.
    pub cart_id: String,
    /// Who buys.
    pub customer: Customer,
    /// ISO 4217 code.
    pub currency: String,
    /// What is bought.
    pub lines: Vec<Line>,
    /// Where it goes.
    pub shipping_address: Address,
    /// Where the bill goes; the same as the parcel where absent.
    #[serde(default)]
    pub billing_address: Option<Address>,
    /// How it goes: a method of the shop's shipping rates.
    #[serde(default = "standard")]
    pub shipping_method: String,
    /// A coupon.
    #[serde(default)]
    pub discount_code: Option<String>,
    /// Who takes the money.
    #[serde(default = "stripe")]
    pub payment_provider: String,
    /// One of the eight priorities.
    #[serde(default = "normal")]
    pub priority: String,
    /// What to do when a line is short: `reject_all` or `accept_available`.
    #[serde(default = "reject_all")]
    pub on_shortage: String,
    /// What the customer was shown, in minor units; another total is rejected.
    #[serde(default)]
    pub expected_total: Option<i64>,
    /// The shop's own notes.
    #[serde(default)]
    pub metadata: BTreeMap<String, Value>,
}

const STANDARD: &str = "standard";
const NORMAL: &str = "normal";
const REJECT_ALL: &str = "reject_all";
const ACCEPT_AVAILABLE: &str = "accept_available";

fn standard() -> String {
    STANDARD.to_owned()
}

fn stripe() -> String {
    STRIPE.to_owned()
}

fn normal() -> String {
    NORMAL.to_owned()
}

fn reject_all() -> String {
    REJECT_ALL.to_owned()
}

/// Who buys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Customer {
    /// The shop's id of the customer; guests are scoped by their cart.
    #[serde(default)]
    pub id: Option<String>,
    /// Where mails go.
    pub email: String,
    /// How they are addressed.
    pub name: String,
    /// For the carrier.
    #[serde(default)]
    pub phone: Option<String>,
    /// Language of the mails.
    #[serde(default)]
    pub locale: Option<String>,
}

/// One line of the cart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The article.
    pub sku: String,
    /// How many.
    pub quantity: i64,
    /// Sizes, measurements, colours.
    #[serde(default)]
    pub attributes: BTreeMap<String, Value>,
}

/// A postal address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// Who receives it.
    pub name: String,
    /// For the carrier.
    #[serde(default)]
    pub phone: Option<String>,
    /// Street and number.
    pub address_line1: String,
    /// Flat, floor.
    #[serde(default)]
    pub address_line2: Option<String>,
    /// City.
    pub city: String,
    /// State, region or province.
    #[serde(default)]
    pub state: Option<String>,
    /// Postal code.
    #[serde(default)]
    pub postal_code: Option<String>,
    /// ISO 3166 two-letter code.
    pub country: String,
}

/// An accepted intent, as the queue carries it to the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptedIntent {
    /// Its id.
    pub intent_id: IntentId,
    /// Whose shop.
    pub tenant: String,
    /// SHA-256 of the body in canonical form, in hex.
    pub fingerprint: String,
    /// The wish itself.
    pub body: OrderIntentBody,
}

impl OrderIntentBody {
    /// Fields that have a text as default, and that text.
    pub const DEFAULTS: [(&str, &str); 4] = [
        ("shipping_method", STANDARD),
        ("payment_provider", STRIPE),
        ("priority", NORMAL),
        ("on_shortage", REJECT_ALL),
    ];

    /// Whether what is there is wanted, also where something else is short.
    #[must_use]
    pub fn takes_what_is_there(&self) -> bool {
        self.on_shortage == ACCEPT_AVAILABLE
    }

    /// The customer that keys and orders are scoped to: the shop's id, or the cart for guests.
    #[must_use]
    pub fn customer_scope(&self) -> String {
        match &self.customer.id {
            Some(id) => id.clone(),
            None => format!("{}{}", check::GUEST, self.cart_id),
        }
    }
}
