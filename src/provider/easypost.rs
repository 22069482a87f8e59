//! EasyPost: rating a parcel, buying its label, looking at it and where it is, and asking for the money back.
//!
//! EasyPost knows no idempotency key. What keeps a label from being bought twice is the order of calls: a shipment is
//! created (free, harmless), its id is stored, and only that id is ever bought; whoever does not know whether it was,
//! looks. So a second purchase, one that still runs and a carrier that did not answer are all one cause here: look first.
//! Answers are read leniently, with one exception: half a label is not read as none, because none would be bought again.

use chrono::{DateTime, Utc};
use reqwest::{RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::{Answer, Http};
use super::{BadSettings, Call, CallError, Cause, Said, known_here};
use crate::config::EasyPostSettings;
use crate::domain::event::TrackerSeen;
use crate::domain::money::{Amount, Currency};
use crate::domain::shipment::Rate;
use crate::job::Dependency;

mod address;
mod request;

pub use request::{Address, CreateShipment, Customs, CustomsItem};

/// What EasyPost answers to a purchase that may have happened, and our word for it. Their HTTP status is not documented,
/// so the code alone is looked at.
const LOOK_FIRST: [(&str, &str); 4] = [
    ("SHIPMENT.POSTAGE.EXISTS", "postage_exists"),
    ("SHIPMENT.PURCHASE.IN_PROGRESS", "purchase_in_progress"),
    ("SHIPMENT.POSTAGE.NO_RESPONSE", "carrier_silent"),
    ("SHIPMENT.POSTAGE.TIMED_OUT", "carrier_silent"),
];
/// How the codes of a rate that is offered no more end, and our word for them.
const NO_SUCH_RATE: &str = "RATE.UNAVAILABLE";
pub(super) const RATE_GONE: &str = "rate_gone";
/// How an answer begins that knows no thing of this name.
const NO_SUCH_THING: &str = "404 ";
/// The code of an address that does not exist.
const NO_SUCH_ADDRESS: &str = "ADDRESS.VERIFY.FAILURE";

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
    /// Whether these are new rates instead of one that had expired: nothing was bought.
    #[serde(default)]
    pub is_rerated: bool,
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
    /// For how much it is insured, where it is.
    #[serde(default)]
    pub insured: Option<Amount>,
}

/// What EasyPost says of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSeen {
    /// `user_…`.
    pub id: String,
    /// What labels are paid from, in US dollars, as it is written; none where it is not told.
    pub balance: Option<String>,
    /// Its clock, to the second, where it told it.
    pub date: Option<DateTime<Utc>>,
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

    /// Asks for the rates of a shipment anew: old ones expire. Costs nothing.
    pub async fn rerate(&self, shipment_id: &str) -> Result<ShipmentSeen, CallError> {
        let asked = self.post(["shipments", shipment_id, "rerate"], &json!({}));
        self.ask_for(Call::Harmless, asked, |body| rerated(shipment_id, body)).await
    }

    /// What is wrong with an address, by EasyPost's codes and the fields concerned; nothing where it can be delivered to.
    pub async fn verify(&self, address: &Address) -> Result<Vec<Said>, CallError> {
        let asked = self.post(["addresses"], &json!({ "address": address, "verify": true }));
        match self.ask_for(Call::Harmless, asked, |body| address::faults(address, body)).await {
            Err(CallError { cause: Cause::Refused(about), .. }) if about.text.contains(NO_SUCH_ADDRESS) => {
                Ok(vec![about])
            }
            other => other,
        }
    }

    /// Buys the label of a shipment at one of its rates, insured for so many dollars where that is wanted.
    pub async fn buy(
        &self,
        shipment_id: &str,
        rate_id: &str,
        insurance: Option<Amount>,
    ) -> Result<ShipmentSeen, CallError> {
        let mut body = json!({ "rate": { "id": rate_id } });
        if let Some(insurance) = insurance {
            body["insurance"] = json!(insurance.decimal());
        }
        match self.ask(Call::Counts, self.post(["shipments", shipment_id, "buy"], &body)).await {
            // A rate of before a rerating, whose answer may have been lost: the shipment, if that is there, has others.
            Err(CallError { cause: Cause::Refused(about), to, call })
                if about.text.starts_with(NO_SUCH_THING) =>
            {
                Err(CallError { cause: Cause::LookFirst { code: RATE_GONE, about }, to, call })
            }
            other => other,
        }
    }

    /// Looks at a shipment.
    pub async fn retrieve(&self, shipment_id: &str) -> Result<ShipmentSeen, CallError> {
        self.ask(Call::Look, self.signed(self.http.client().get(self.url(["shipments", shipment_id])))).await
    }

    /// Looks at a parcel by its tracker.
    pub async fn tracker(&self, tracker_id: &str) -> Result<TrackerSeen, CallError> {
        let request = self.signed(self.http.client().get(self.url(["trackers", tracker_id])));
        self.ask_for(Call::Look, request, tracker).await
    }

    /// Has a parcel followed. One that is followed already keeps its tracker, which is the answer.
    pub async fn follow(&self, tracking_code: &str, carrier: &str) -> Result<TrackerSeen, CallError> {
        let body = json!({ "tracker": { "tracking_code": tracking_code, "carrier": carrier } });
        self.ask_for(Call::Harmless, self.post(["trackers"], &body), tracker).await
    }

    /// What `doctor` asks: whose key it is, and what their clock says. A test key may not ask that, and is good all the
    /// same.
    pub async fn account(&self) -> Result<AccountSeen, CallError> {
        let failed = |cause| CallError { to: Dependency::EasyPost, call: Call::Look, cause };
        let request = self.signed(self.http.client().get(self.url(["users"])));
        let answer = self.http.send(request).await.map_err(failed)?;
        if !answer.is_success() {
            return Err(failed(refusal(&answer)));
        }
        let user: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| failed(Cause::Unreadable("not JSON".to_owned())))?;
        Ok(AccountSeen {
            id: needed(&user, "/id").map_err(failed)?,
            balance: text(&user, "/balance").map(str::to_owned),
            date: answer.date,
        })
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
        self.ask_for(call, request, seen).await
    }

    async fn ask_for<T>(
        &self,
        call: Call,
        request: RequestBuilder,
        read: impl FnOnce(&[u8]) -> Result<T, Cause> + Send,
    ) -> Result<T, CallError> {
        let answer = self.http.send(request).await;
        answer
            .and_then(|answer| if answer.is_success() { read(&answer.body) } else { Err(refusal(&answer)) })
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
    let about = Said::coded(code, format!("{code} {}", fields.join(",")).trim());
    if code.ends_with(NO_SUCH_RATE) {
        return Cause::LookFirst { code: RATE_GONE, about };
    }
    let look_first = LOOK_FIRST.iter().find(|(theirs, _)| *theirs == code);
    look_first.map_or_else(
        || answer.cause(&about),
        |(_, ours)| Cause::LookFirst { code: ours, about: about.clone() },
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
        is_rerated: false,
    })
}

/// The answer to a request for new rates names neither the shipment nor a label: there is none.
fn rerated(shipment_id: &str, body: &[u8]) -> Result<ShipmentSeen, Cause> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| Cause::Unreadable("not JSON".to_owned()))?;
    let rates = answer.get("rates").and_then(Value::as_array).into_iter().flatten();
    Ok(ShipmentSeen {
        id: shipment_id.to_owned(),
        rates: rates.filter_map(rate).collect(),
        label: None,
        refund_status: None,
        messages: Vec::new(),
        is_rerated: true,
    })
}

fn tracker(body: &[u8]) -> Result<TrackerSeen, Cause> {
    TrackerSeen::read(body).map_err(|error| Cause::Unreadable(error.to_string()))
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
        insured: text(shipment, "/insurance").and_then(|sum| Amount::from_decimal(sum, Currency::USD).ok()),
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
