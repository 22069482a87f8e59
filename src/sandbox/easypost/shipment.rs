//! A shipment of EasyPost's: rated, bought once, refunded; and how it looks.
//!
//! Pure: it knows no books and no socket. A shipment is bought if and only if it has a purchase.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::EasypostError;
use super::rates::{Rate, money, offers};
use super::tracker::Tracker;

/// A shipment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shipment {
    /// `shp_…`.
    pub(crate) id: String,
    /// As EasyPost writes it.
    pub(crate) created_at: String,
    /// The caller's own word.
    pub(crate) reference: Option<String>,
    /// As EasyPost shows it.
    pub(crate) to: Value,
    /// As EasyPost shows it.
    pub(crate) from: Value,
    /// As EasyPost shows it.
    pub(crate) parcel: Value,
    /// As EasyPost shows it.
    pub(crate) customs: Value,
    /// As EasyPost shows them.
    pub(crate) options: Value,
    /// Offers.
    pub(crate) rates: Vec<Rate>,
    /// Why a carrier made none.
    pub(crate) messages: Value,
    /// The label, once bought.
    pub(crate) purchase: Option<Purchase>,
    /// `submitted`, once a refund was asked for; then the carrier's answer.
    pub(crate) refund: Option<String>,
}

/// A bought label.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Purchase {
    /// `pl_…`.
    pub(crate) label: String,
    /// The offer that was taken.
    pub(crate) rate: Rate,
    /// The carrier's number.
    pub(crate) tracking_code: String,
    /// When, as EasyPost writes it.
    pub(crate) at: String,
    /// For how many dollars it is insured, as it was asked for.
    #[serde(default)]
    pub(crate) insurance: Option<String>,
}

impl Shipment {
    /// Makes new offers, with new ids; one that was bought keeps what it has.
    pub(super) fn rate(&mut self, at: &str) {
        if self.purchase.is_some() {
            return;
        }
        let street = self.to["street1"].as_str().unwrap_or_default().to_uppercase();
        if street.contains("UNDELIVERABLE") || street.contains("NO RATES") {
            self.rates = Vec::new();
            self.messages = json!([{
                "carrier": "USPS", "carrier_account_id": "ca_sandbox_usps", "type": "rate_error",
                "message": "No rate for this destination.",
            }]);
        } else {
            let had = !self.rates.is_empty();
            self.rates = offers(self.ounces(), self.to["country"] != self.from["country"], at);
            // A carrier that gives its cheapest service up.
            if had && street.contains("SERVICE ENDS") {
                self.rates.remove(0);
            }
        }
    }

    /// Ounces, begun ones counted whole.
    fn ounces(&self) -> u64 {
        let weight = self.parcel["weight"].as_f64().unwrap_or_default();
        format!("{:.0}", weight.ceil()).parse().unwrap_or_default()
    }

    /// Buys the offer with this id.
    pub(super) fn buy(
        &mut self,
        rate: &str,
        purchase: (String, String),
        insurance: Option<&str>,
        at: &str,
    ) -> Result<(), EasypostError> {
        if self.purchase.is_some() {
            let message = "Postage already exists for this shipment.";
            return Err(EasypostError::unprocessable("SHIPMENT.POSTAGE.EXISTS", message));
        }
        let rate = self.rates.iter().find(|offer| offer.id == rate).ok_or_else(EasypostError::missing)?;
        let (label, tracking_code) = purchase;
        let insurance = insurance.map(str::to_owned);
        self.purchase =
            Some(Purchase { label, rate: rate.clone(), tracking_code, at: at.to_owned(), insurance });
        Ok(())
    }

    /// Asks for the money back; twice is the same as once.
    pub(super) fn ask_refund(&mut self) -> Result<(), EasypostError> {
        if self.purchase.is_none() {
            let message = "Refund request failed: no postage was bought for this shipment.";
            return Err(EasypostError::unprocessable("SHIPMENT.REFUND.UNAVAILABLE", message));
        }
        self.refund.get_or_insert_with(|| "submitted".to_owned());
        Ok(())
    }

    /// The carrier's answer to a refund that was asked for, weeks in one moment: a street with NO REFUND gets none, and one
    /// with PAID WHEN SCANNED has nothing to get back.
    /// Returns whether there was one to give.
    pub(super) fn answer_refund(&mut self) -> bool {
        if self.refund.as_deref() != Some("submitted") {
            return false;
        }
        let street = self.to["street1"].as_str().unwrap_or_default().to_uppercase();
        let word = match street {
            _ if street.contains("NO REFUND") => "rejected",
            _ if street.contains("PAID WHEN SCANNED") => "not_applicable",
            _ => "refunded",
        };
        self.refund = Some(word.to_owned());
        true
    }

    /// As EasyPost shows it; `tracker` is the one of the bought label.
    pub(super) fn body(&self, tracker: Option<&Tracker>) -> Value {
        let mut body = json!({
            "id": self.id, "object": "Shipment", "mode": "test", "status": "unknown", "is_return": false,
            "created_at": self.created_at, "updated_at": self.created_at, "reference": self.reference,
            "to_address": self.to, "from_address": self.from, "return_address": self.from, "buyer_address": self.to,
            "parcel": self.parcel, "customs_info": self.customs, "options": self.options,
            "rates": self.rate_bodies(), "messages": self.messages,
            "tracking_code": null, "tracker": null, "selected_rate": null, "postage_label": null, "fees": [],
            "forms": [], "insurance": null, "order_id": null, "scan_form": null, "refund_status": self.refund,
            "batch_id": null, "batch_status": null, "batch_message": null, "usps_zone": 4,
        });
        if let Some(purchase) = &self.purchase {
            body["tracking_code"] = json!(purchase.tracking_code);
            body["updated_at"] = json!(purchase.at);
            body["selected_rate"] = purchase.rate.body(&self.id);
            body["postage_label"] = purchase.body();
            body["fees"] = purchase.fees();
            body["insurance"] = json!(purchase.insurance);
            body["tracker"] = tracker.map_or(Value::Null, Tracker::body);
        }
        body
    }

    /// Its offers.
    pub(super) fn rate_bodies(&self) -> Vec<Value> {
        self.rates.iter().map(|rate| rate.body(&self.id)).collect()
    }
}

impl Purchase {
    fn body(&self) -> Value {
        json!({
            "object": "PostageLabel", "id": self.label, "created_at": self.at, "updated_at": self.at,
            "date_advance": 0, "integrated_form": "none", "label_date": self.at, "label_resolution": 300,
            "label_size": "4x6", "label_type": "default", "label_file_type": "image/png",
            "label_url": format!("https://labels.example.com/{}.png", self.label),
            "label_pdf_url": null, "label_zpl_url": null, "label_epl2_url": null, "label_file": null,
        })
    }

    fn fees(&self) -> Value {
        let fee = |kind: &str, cents: u64| {
            json!({"object": "Fee", "type": kind, "amount": format!("{}000", money(cents)), "charged": true,
                   "refunded": false})
        };
        json!([fee("LabelFee", 0), fee("PostageFee", self.rate.cents)])
    }
}
