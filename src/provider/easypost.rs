//! EasyPost: rating a parcel, buying its label, looking at it, and asking for the money back.
//!
//! EasyPost knows no idempotency key. What keeps a label from being bought twice is the order of calls: a shipment is
//! created (free, harmless), its id is stored, and only that id is ever bought; whoever does not know whether it was,
//! looks. So a second purchase, one that still runs and a carrier that did not answer are all one cause here: look first.
//! Answers are read leniently, with one exception: half a label is not read as none, because none would be bought again.

use reqwest::{RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::{Answer, Http};
use super::{BadSettings, Call, CallError, Cause, known_here};
use crate::config::EasyPostSettings;
use crate::domain::money::{Amount, Currency};
use crate::domain::shipment::Rate;
use crate::job::Dependency;

mod request;

pub use request::{Address, CreateShipment, Customs, CustomsItem};

/// What EasyPost answers to a purchase that may have happened, and our word for it. Their HTTP status is not documented,
/// so the code alone is looked at.
const LOOK_FIRST: [(&str, &str); 3] = [
    ("SHIPMENT.POSTAGE.EXISTS", "postage_exists"),
    ("SHIPMENT.PURCHASE.IN_PROGRESS", "purchase_in_progress"),
    ("SHIPMENT.POSTAGE.NO_RESPONSE", "carrier_silent"),
];

/// EasyPost's API, for shipments.
#[derive(Clone, Debug)]
pub struct EasyPost {
    http: Http,
    api_key: SecretString,
}

/// A shipment as EasyPost told it; the receipt of every call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentSeen {
    /// `shp_…` of EasyPost.
    pub id: String,
    /// What carriers ask for it.
    pub rates: Vec<Rate>,
    /// Its label, once it is bought.
    pub label: Option<LabelSeen>,
    /// `submitted`, `refunded`, `rejected` or `not_applicable`, once a refund was asked for.
    pub refund_status: Option<String>,
    /// Why some carriers made no offer.
    pub messages: Vec<CarrierMessage>,
}

/// A bought label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelSeen {
    /// The carrier's number.
    pub tracking_code: String,
    /// Where it can be printed from.
    pub label_url: String,
    /// Who carries it.
    pub carrier: String,
    /// How.
    pub service: String,
    /// What it cost, where that can be read.
    pub cost: Option<Amount>,
    /// `trk_…`, once EasyPost follows it.
    pub tracker_id: Option<String>,
}

/// What a carrier had to say instead of a rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierMessage {
    /// Who.
    pub carrier: String,
    /// Such as `rate_error`.
    pub kind: String,
    /// In words, which may quote the address: for the order's own page, not for logs.
    pub text: String,
}

impl EasyPost {
    /// A client with these settings. Connects to nobody yet.
    pub fn new(settings: &EasyPostSettings) -> Result<Self, BadSettings> {
        if settings.api_key.expose_secret().trim().is_empty() {
            return Err(BadSettings::new("easypost.api_key", "it is blank"));
        }
        let http = Http::new("easypost.api_base", &settings.api_base, settings.timeout_ms)?;
        Ok(Self { http, api_key: settings.api_key.clone() })
    }

    /// Makes a shipment known and asks for its rates. Not bought, it costs nothing.
    pub async fn create(&self, shipment: &CreateShipment) -> Result<ShipmentSeen, CallError> {
        let body = json!({ "shipment": shipment.in_their_words() });
        self.ask(Call::Harmless, self.post(["shipments"], &body)).await
    }

    /// Buys the label of a shipment at one of its rates.
    pub async fn buy(&self, shipment_id: &str, rate_id: &str) -> Result<ShipmentSeen, CallError> {
        let body = json!({ "rate": { "id": rate_id } });
        self.ask(Call::Counts, self.post(["shipments", shipment_id, "buy"], &body)).await
    }

    /// Looks at a shipment.
    pub async fn retrieve(&self, shipment_id: &str) -> Result<ShipmentSeen, CallError> {
        self.ask(Call::Look, self.signed(self.http.client().get(self.url(["shipments", shipment_id])))).await
    }

    /// Whether EasyPost is there and knows our key.
    pub async fn check(&self) -> Result<(), CallError> {
        known_here(self.retrieve("shp_orderfleet_doctor").await, "NOT_FOUND")
    }

    /// Asks for the money of a label back. The answer is that it was asked for; the money comes, or not, days later.
    pub async fn refund(&self, shipment_id: &str) -> Result<ShipmentSeen, CallError> {
        self.ask(Call::Counts, self.post(["shipments", shipment_id, "refund"], &json!({}))).await
    }

    fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        self.http.below(segments)
    }

    fn post<'a>(&self, segments: impl IntoIterator<Item = &'a str>, body: &Value) -> RequestBuilder {
        self.signed(self.http.client().post(self.url(segments)).json(body))
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        request.basic_auth(self.api_key.expose_secret(), None::<&str>)
    }

    async fn ask(&self, call: Call, request: RequestBuilder) -> Result<ShipmentSeen, CallError> {
        let answer = self.http.send(request).await;
        answer
            .and_then(|answer| if answer.is_success() { seen(&answer.body) } else { Err(refusal(&answer)) })
            .map_err(|cause| CallError { to: Dependency::EasyPost, call, cause })
    }
}

/// Their words for a refusal: the code and the fields concerned. Sentences are left out: they may quote an address.
fn refusal(answer: &Answer) -> Cause {
    // A gateway answers in HTML: then the status alone speaks.
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = text(&body, "/error/code").unwrap_or_default();
    // The list holds objects, or plain sentences.
    let faults = body.pointer("/error/errors").and_then(Value::as_array).into_iter().flatten();
    let fields: Vec<&str> = faults.filter_map(|fault| text(fault, "/field")).collect();
    let about = format!("{code} {}", fields.join(","));
    let look_first = LOOK_FIRST.iter().find(|(theirs, _)| *theirs == code);
    look_first.map_or_else(
        || answer.cause(about.trim()),
        |(_, ours)| Cause::LookFirst { code: ours, about: about.trim().to_owned() },
    )
}

fn seen(body: &[u8]) -> Result<ShipmentSeen, Cause> {
    let shipment: Value =
        serde_json::from_slice(body).map_err(|_| Cause::Unreadable("not JSON".to_owned()))?;
    let list = |name: &str| shipment.get(name).and_then(Value::as_array).into_iter().flatten();
    Ok(ShipmentSeen {
        id: needed(&shipment, "/id")?,
        rates: list("rates").filter_map(rate).collect(),
        label: label(&shipment)?,
        refund_status: text(&shipment, "/refund_status").map(str::to_owned),
        messages: list("messages").map(message).collect(),
    })
}

/// An offer; one that can't be read is none.
fn rate(offer: &Value) -> Option<Rate> {
    Some(Rate {
        id: needed(offer, "/id").ok()?,
        carrier: needed(offer, "/carrier").ok()?,
        service: needed(offer, "/service").ok()?,
        price: price(offer)?,
        delivery_days: offer
            .get("delivery_days")
            .and_then(Value::as_u64)
            .and_then(|days| days.try_into().ok()),
    })
}

fn price(offer: &Value) -> Option<Amount> {
    let currency: Currency = text(offer, "/currency")?.parse().ok()?;
    Amount::from_decimal(text(offer, "/rate")?, currency).ok()
}

/// A shipment is bought once either part of a label is there; then the rest has to be there too.
fn label(shipment: &Value) -> Result<Option<LabelSeen>, Cause> {
    let there = |name: &str| shipment.get(name).is_some_and(|part| !part.is_null());
    if !there("postage_label") && !there("selected_rate") {
        return Ok(None);
    }
    Ok(Some(LabelSeen {
        tracking_code: needed(shipment, "/tracking_code")?,
        label_url: needed(shipment, "/postage_label/label_url")?,
        carrier: needed(shipment, "/selected_rate/carrier")?,
        service: needed(shipment, "/selected_rate/service")?,
        cost: shipment.get("selected_rate").and_then(price),
        tracker_id: text(shipment, "/tracker/id").map(str::to_owned),
    }))
}

fn message(from: &Value) -> CarrierMessage {
    let part = |pointer| text(from, pointer).unwrap_or_default().to_owned();
    CarrierMessage { carrier: part("/carrier"), kind: part("/type"), text: part("/message") }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn needed(value: &Value, pointer: &str) -> Result<String, Cause> {
    text(value, pointer)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| Cause::Unreadable(format!("no {pointer}")))
}

#[cfg(test)]
mod tests;
