//! A tracker of EasyPost's: the steps of a parcel, and how it and its events look.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::stamp;
use crate::sandbox::webhooks::Event;
use crate::sandbox::world::fresh_id;

/// Every status that EasyPost documents, with the detail and the words that go with it here.
const STATUSES: &[(&str, &str, &str)] = &[
    ("unknown", "unknown", "No information yet"),
    ("pre_transit", "label_created", "Shipping Label Created"),
    ("in_transit", "arrived_at_facility", "Arrived at Facility"),
    ("out_for_delivery", "out_for_delivery", "Out for Delivery"),
    ("delivered", "arrived_at_destination", "Delivered"),
    ("available_for_pickup", "available_for_pickup", "Available for Pickup"),
    ("return_to_sender", "return", "Return to Sender"),
    ("failure", "unable_to_deliver", "Delivery Attempted, Unable to Deliver"),
    ("cancelled", "cancelled", "Cancelled"),
    ("error", "error", "The Carrier Reports an Error"),
];

/// A tracker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tracker {
    /// `trk_…`.
    pub(crate) id: String,
    /// The carrier's number.
    pub(crate) code: String,
    /// The carrier's name.
    pub(crate) carrier: String,
    /// The shipment whose label it follows.
    pub(crate) shipment: Option<String>,
    /// When it was created.
    pub(crate) created: DateTime<Utc>,
    /// What happened to the parcel, oldest first.
    pub(crate) steps: Vec<Step>,
}

/// One step of a parcel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    /// One of EasyPost's statuses.
    pub(crate) status: String,
    /// When.
    pub(crate) at: DateTime<Utc>,
}

impl Tracker {
    /// A tracker that knows nothing yet.
    pub(super) fn new(code: String, carrier: String, shipment: Option<String>, now: DateTime<Utc>) -> Self {
        Self { id: fresh_id("trk_"), code, carrier, shipment, created: now, steps: Vec::new() }
    }

    /// Where the parcel is.
    pub(crate) fn status(&self) -> &str {
        self.steps.last().map_or("unknown", |step| &step.status)
    }

    /// Whether EasyPost has such a status.
    pub(super) fn knows(status: &str) -> bool {
        STATUSES.iter().any(|(known, ..)| *known == status)
    }

    /// Adds a step.
    pub(super) fn step(&mut self, status: &str, at: DateTime<Utc>) {
        self.steps.push(Step { status: status.to_owned(), at });
    }

    /// As EasyPost shows it.
    pub(crate) fn body(&self) -> Value {
        let updated = self.steps.last().map_or(self.created, |step| step.at);
        let delivered = self.status() == "delivered";
        json!({
            "id": self.id, "object": "Tracker", "mode": "test", "tracking_code": self.code,
            "status": self.status(), "status_detail": detail(self.status()).0,
            "created_at": stamp(self.created), "updated_at": stamp(updated),
            "signed_by": delivered.then_some("John Tester"), "weight": null, "est_delivery_date": null,
            "shipment_id": self.shipment, "carrier": self.carrier,
            "tracking_details": self.steps.iter().map(|step| self.step_body(step)).collect::<Vec<_>>(),
            "carrier_detail": null, "fees": [], "finalized": delivered, "is_return": false,
            "public_url": format!("https://track.example.com/{}", self.id),
        })
    }

    fn step_body(&self, step: &Step) -> Value {
        let (status_detail, message) = detail(&step.status);
        json!({
            "object": "TrackingDetail", "message": message, "description": "", "status": step.status,
            "status_detail": status_detail, "datetime": stamp(step.at), "source": self.carrier, "carrier_code": "",
            "tracking_location": {
                "object": "TrackingLocation", "city": null, "state": null, "country": null, "zip": null,
            },
        })
    }
}

fn detail(status: &str) -> (&'static str, &'static str) {
    STATUSES
        .iter()
        .find(|(known, ..)| *known == status)
        .map_or(("unknown", ""), |(_, detail, words)| (*detail, *words))
}

/// The event as it is posted; `before` is the status that changed.
pub(crate) fn event_body(event: &Event, tracker: &Tracker, before: Option<&str>) -> Value {
    json!({
        "id": event.id, "object": "Event", "mode": "test", "description": event.kind,
        "created_at": stamp(event.at), "updated_at": stamp(event.at),
        "previous_attributes": before.map_or_else(|| json!({}), |status| json!({"status": status})),
        "pending_urls": [], "completed_urls": [], "status": "pending", "user_id": "user_sandbox",
        "result": tracker.body(),
    })
}
