//! What providers tell us: the few fields of their events that decide something.
//!
//! An event is read after its signature was verified, and leniently: providers add fields, change types and send old
//! versions of their objects. What is there is taken, what has another type counts as absent, and only an event without
//! the ids by which it is found again is refused. Nothing here trusts an event: amounts are compared with the order.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::money::{Amount, Currency, MoneyError};

/// The longest id that is taken: longer ones are no ids but an attack on our indexes.
const LONGEST_ID: usize = 255;

/// Why an event can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// A field that nothing can be done without.
    #[error("no field {0:?}, or not one of visible text")]
    Missing(&'static str),
}

/// An event of Stripe: a snapshot event, or a thin one that only names its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripeEvent {
    /// `evt_…`: the same however often it is delivered.
    pub id: String,
    /// Such as `payment_intent.succeeded`; a thin event's `v1.` is taken off.
    pub kind: String,
    /// The object that it is about, such as `pi_…`.
    pub object_id: String,
    /// What the object was when the event was made. A thin event has none: ask the provider.
    pub object: Option<StripeObject>,
}

/// The deciding fields of a Stripe object in an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StripeObject {
    /// Its status, such as `succeeded`.
    pub status: Option<String>,
    /// Its amount, in Stripe's units.
    pub amount: Option<i64>,
    /// The part that was received, in Stripe's units.
    pub amount_received: Option<i64>,
    /// Its currency.
    pub currency: Option<Currency>,
    /// What we wrote on it: order, payment, tenant.
    pub metadata: BTreeMap<String, String>,
    /// Of a charge, refund or dispute: its payment intent.
    pub payment_intent: Option<String>,
    /// Why the last attempt failed: Stripe's code, the bank's where there is one.
    pub last_error: Option<String>,
    /// Of a dispute: the bank's reason, as a code.
    pub reason: Option<String>,
}

impl StripeObject {
    /// What it is about, in our units, where the event says so.
    pub fn asked(&self) -> Result<Option<Amount>, MoneyError> {
        self.amount.zip(self.currency).map(|(units, of)| Amount::from_stripe(units, of)).transpose()
    }

    /// The money that was received, in our units, where the event says so.
    pub fn received(&self) -> Result<Option<Amount>, MoneyError> {
        self.amount_received.zip(self.currency).map(|(units, of)| Amount::from_stripe(units, of)).transpose()
    }
}

impl StripeEvent {
    /// Reads the body of a webhook.
    pub fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let event = json(body)?;
        let kind = id(&event, "/type", "type")?;
        let thin = text(&event, "/object").is_some_and(|object| object.starts_with("v2."));
        let object_id = if thin {
            id(&event, "/related_object/id", "related_object.id")?
        } else {
            id(&event, "/data/object/id", "data.object.id")?
        };
        Ok(Self {
            id: id(&event, "/id", "id")?,
            kind: kind.strip_prefix("v1.").map_or(kind.clone(), str::to_owned),
            object_id,
            object: event.pointer("/data/object").filter(|_| !thin).map(stripe_object),
        })
    }
}

fn stripe_object(object: &Value) -> StripeObject {
    let metadata = object.get("metadata").and_then(Value::as_object);
    StripeObject {
        status: text(object, "/status").map(str::to_owned),
        amount: object.get("amount").and_then(Value::as_i64),
        amount_received: object.get("amount_received").and_then(Value::as_i64),
        currency: text(object, "/currency").and_then(|code| code.parse().ok()),
        metadata: metadata
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
        // An expanded object stands where its id would.
        payment_intent: text(object, "/payment_intent")
            .or_else(|| text(object, "/payment_intent/id"))
            .map(str::to_owned),
        last_error: text(object, "/last_payment_error/decline_code")
            .or_else(|| text(object, "/last_payment_error/code"))
            .map(str::to_owned),
        reason: text(object, "/reason").map(str::to_owned),
    }
}

/// An event of EasyPost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EasyPostEvent {
    /// `evt_…`: the same however often it is delivered.
    pub id: String,
    /// What happened, such as `tracker.updated`: EasyPost calls the type so.
    pub description: String,
    /// The tracker, where the event is about one.
    pub tracker: Option<TrackerSeen>,
}

/// Where a parcel is, as EasyPost tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerSeen {
    /// `trk_…`.
    pub id: String,
    /// The carrier's number.
    pub tracking_code: String,
    /// The carrier.
    pub carrier: Option<String>,
    /// `unknown`, `pre_transit`, … : see `domain::shipment::Tracking`.
    pub status: String,
    /// A finer word, such as `arrived_at_facility`.
    pub status_detail: Option<String>,
    /// When the latest scan was made.
    pub occurred: Option<DateTime<Utc>>,
    /// EasyPost's shipment, where the tracker belongs to one.
    pub shipment_id: Option<String>,
}

impl EasyPostEvent {
    /// Reads the body of a webhook.
    pub fn read(body: &[u8]) -> Result<Self, Unreadable> {
        let event = json(body)?;
        let description = id(&event, "/description", "description")?;
        let about_tracker = description.starts_with("tracker.");
        Ok(Self {
            id: id(&event, "/id", "id")?,
            tracker: event.get("result").filter(|_| about_tracker).map(tracker).transpose()?,
            description,
        })
    }
}

impl TrackerSeen {
    /// Reads a tracker that was asked for.
    pub fn read(body: &[u8]) -> Result<Self, Unreadable> {
        tracker(&json(body)?)
    }
}

fn tracker(result: &Value) -> Result<TrackerSeen, Unreadable> {
    let details = result.get("tracking_details").and_then(Value::as_array);
    let scans = details.into_iter().flatten().filter_map(|detail| text(detail, "/datetime")?.parse().ok());
    Ok(TrackerSeen {
        id: id(result, "/id", "result.id")?,
        tracking_code: id(result, "/tracking_code", "result.tracking_code")?,
        carrier: text(result, "/carrier").map(str::to_owned),
        status: id(result, "/status", "result.status")?,
        status_detail: text(result, "/status_detail").map(str::to_owned),
        occurred: scans.max(),
        shipment_id: text(result, "/shipment_id").map(str::to_owned),
    })
}

fn json(body: &[u8]) -> Result<Value, Unreadable> {
    serde_json::from_slice(body).map_err(|error| Unreadable::NotJson(format!("{:?}", error.classify())))
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn id(value: &Value, pointer: &str, name: &'static str) -> Result<String, Unreadable> {
    text(value, pointer)
        .filter(|id| {
            !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .map(str::to_owned)
        .ok_or(Unreadable::Missing(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stripe(event: &Value) -> Result<StripeEvent, Unreadable> {
        StripeEvent::read(event.to_string().as_bytes())
    }

    #[test]
    fn a_snapshot_event_tells_the_money_in_our_units() {
        let event = stripe(&json!({"id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "data": {
            "object": {"id": "pi_1", "status": "succeeded", "amount": 500, "amount_received": 500, "currency": "ugx",
                       "metadata": {"order_id": "ord_1", "odd": 7}, "unheard_of": {}}}}))
        .unwrap();
        let object = event.object.unwrap();
        assert_eq!(event.object_id, "pi_1");
        assert_eq!(object.received().unwrap().unwrap().to_string(), "UGX 5");
        assert_eq!(object.metadata, BTreeMap::from([("order_id".to_owned(), "ord_1".to_owned())]));
    }

    #[test]
    fn a_failed_attempt_tells_the_bank_s_reason() {
        let error = json!({"code": "card_declined", "decline_code": "insufficient_funds"});
        let event = stripe(&json!({"id": "evt_1", "type": "payment_intent.payment_failed",
            "data": {"object": {"id": "pi_1", "amount": "not a number", "last_payment_error": error}}}))
        .unwrap();
        let object = event.object.unwrap();
        assert_eq!(object.last_error.as_deref(), Some("insufficient_funds"));
        assert_eq!(object.amount, None, "a field of another type counts as absent");
    }

    #[test]
    fn a_thin_event_names_its_object() {
        let event =
            stripe(&json!({"id": "evt_2", "object": "v2.core.event", "type": "v1.payment_intent.succeeded",
            "related_object": {"id": "pi_2", "type": "payment_intent", "url": "/v1/payment_intents/pi_2"}}))
            .unwrap();
        assert_eq!((event.kind.as_str(), event.object_id.as_str()), ("payment_intent.succeeded", "pi_2"));
        assert_eq!(event.object, None);
    }

    #[test]
    fn an_event_without_its_ids_is_refused_by_name() {
        assert_eq!(stripe(&json!({"id": "evt_1"})), Err(Unreadable::Missing("type")));
        assert_eq!(stripe(&json!({"id": "evt_1", "type": "x"})), Err(Unreadable::Missing("data.object.id")));
        let event = json!({"id": "evt 1", "type": "x", "data": {"object": {"id": "pi_1"}}});
        assert_eq!(stripe(&event), Err(Unreadable::Missing("id")));
        assert!(matches!(StripeEvent::read(b"<html>"), Err(Unreadable::NotJson(_))));
    }

    #[test]
    fn a_tracker_s_latest_scan_is_its_time() {
        let scan = |at: &str| json!({"datetime": at});
        let event = json!({"id": "evt_1", "description": "tracker.updated", "result": {"id": "trk_1",
            "tracking_code": "9400", "status": "in_transit", "carrier": "USPS", "shipment_id": null,
            "tracking_details": [scan("2024-08-02T18:50:00Z"), scan("2024-07-31T15:00:00Z"), scan("later")]}});
        let tracker = EasyPostEvent::read(event.to_string().as_bytes()).unwrap().tracker.unwrap();
        assert_eq!(tracker.occurred.unwrap().to_rfc3339(), "2024-08-02T18:50:00+00:00");
        assert_eq!((tracker.status.as_str(), tracker.shipment_id), ("in_transit", None));
    }

    /// Some are spelt in two ways in their own documentation; `result` is left out where events are listed.
    #[test]
    fn of_all_that_easypost_tells_only_its_trackers_say_where_a_parcel_is() {
        let others = "batch.created batch.updated insurance.purchased insurance.cancelled payment.created \
                      payment.completed payment.failed refund.successful report.new report.available report.failed \
                      scan_form.created scan_form.updated claim.submitted claims.submitted claim.cancelled \
                      claims.cancelled claim.updated claims.updated claim.rejected claims.rejected claim.approved \
                      claims.approved shipment.invoice.created tracker_of_tomorrow";
        for kind in others.split(' ') {
            for result in [json!({"id": "any_1"}), Value::Null] {
                let event = json!({"id": "evt_1", "description": kind, "result": result});
                let read = EasyPostEvent::read(event.to_string().as_bytes()).unwrap();
                assert_eq!((read.description.as_str(), read.tracker), (kind, None), "{kind}");
            }
        }
        for kind in ["tracker.created", "tracker.updated"] {
            let tracker = json!({"id": "trk_1", "tracking_code": "9400", "status": "unknown"});
            let mut event = json!({"id": "evt_1", "description": kind, "result": tracker});
            let read = |event: &Value| EasyPostEvent::read(event.to_string().as_bytes()).unwrap();
            assert_eq!(read(&event).tracker.unwrap().status, "unknown", "{kind}");
            event.as_object_mut().unwrap().remove("result");
            assert_eq!(read(&event).tracker, None, "{kind} from a list");
        }
    }

    /// `data.object` is as the endpoint's own API version has it; what decides here has been there in all of them.
    #[test]
    fn an_event_of_an_older_api_version_is_read_all_the_same() {
        let dispute = json!({"id": "dp_1", "object": "dispute", "amount": 500, "balance_transactions": [], "charge": "ch_1",
            "created": 1_697_000_000, "currency": "usd", "evidence": {}, "evidence_details": {"has_evidence": false},
            "is_charge_refundable": true, "livemode": false, "metadata": {}, "payment_intent": "pi_1",
            "reason": "fraudulent", "status": "warning_needs_response"});
        let event = stripe(&json!({"id": "evt_1", "object": "event", "api_version": "2023-10-16",
            "type": "charge.dispute.created", "data": {"object": dispute}, "request": null}))
        .unwrap();
        let object = event.object.unwrap();
        assert_eq!((event.object_id.as_str(), object.payment_intent.as_deref()), ("dp_1", Some("pi_1")));
        assert_eq!(object.asked().unwrap().unwrap().to_string(), "USD 5.00");
        assert_eq!(object.status.as_deref(), Some("warning_needs_response"));
    }

    proptest::proptest! {
        #[test]
        fn no_body_is_too_odd(body: Vec<u8>) {
            let _ = StripeEvent::read(&body);
            let _ = EasyPostEvent::read(&body);
        }
    }
}
