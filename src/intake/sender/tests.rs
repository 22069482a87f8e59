//! Whatever a provider signs is read or refused, and nothing of it ends the process: real events of which a field says
//! something else, or that break off.
//!
//! How many are tried is `PROPTEST_CASES`; all tests of this sort end with `too_odd`.

use axum::http::HeaderMap;
use proptest::prelude::*;
use proptest::sample::Index;
use ring::hmac;
use serde_json::{Map, json};

use super::*;
use crate::domain::event::{EasyPostEvent, StripeEvent};

mod profiles;

const SECRET: &str = "whsec_odd";
const NOW: i64 = 1_790_000_000;

/// Events as they really come, of each sort that is read in a way of its own.
fn real() -> Vec<Value> {
    let object = json!({"id": "pi_1", "object": "payment_intent", "status": "succeeded", "amount": 500, "amount_received": 500,
        "currency": "ugx", "metadata": {"order_id": "ord_1"}, "last_payment_error": {"code": "card_declined"},
        "payment_intent": "pi_1", "reason": "fraudulent"});
    vec![
        json!({"id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "account": "acct_1", "created": NOW,
               "data": {"object": object, "previous_attributes": {"status": "processing"}}}),
        json!({"id": "evt_2", "object": "v2.core.event", "type": "v1.payment_intent.succeeded", "context": "acct_1",
               "related_object": {"id": "pi_1", "type": "payment_intent", "url": "/v1/payment_intents/pi_1"}}),
        json!({"id": "evt_3", "object": "Event", "description": "tracker.updated", "result": {"id": "trk_1",
               "tracking_code": "9400", "status": "in_transit", "status_detail": "arrived", "carrier": "USPS",
               "shipment_id": null, "weight": 614.0, "tracking_details": [{"datetime": "2026-08-02T18:50:00Z"}]}}),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9]{4,40}-[0-9]{2}-[0-9]{2}T[0-9:Z.+]{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{0,12}", inside, 0..4)
                .prop_map(|fields| Value::from(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Every place in an event, as its pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), found));
        }
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(n, value)| places(value, &format!("{at}/{n}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn hex(signed: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed);
    tag.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Signs and sends it as both would; what is taken in is read as its job reads it.
fn send(body: &[u8]) -> [Result<WebhookPayload, NotTaken>; 2] {
    let signed = [NOW.to_string().as_bytes(), b".", body].concat();
    let mut headers = HeaderMap::new();
    headers.insert(STRIPE_HEADER, format!("t={NOW},v1={}", hex(&signed)).parse().unwrap());
    headers.insert("x-hmac-signature", format!("hmac-sha256-hex={}", hex(body)).parse().unwrap());
    let stripe = StripeSignature::new([SECRET], 300).unwrap();
    let easypost = EasyPostSignature::new([SECRET], false).unwrap();
    let sent = Sent { headers: &headers, query: None, body };
    [Sender::Stripe(&stripe), Sender::EasyPost(&easypost)].map(|sender| {
        let taken = sender.event(&sent, NOW);
        if let Ok(event) = &taken {
            let kept = event.event.to_string();
            let _ = StripeEvent::read(kept.as_bytes());
            let _ = EasyPostEvent::read(kept.as_bytes());
            let (_, _) = (event.job_id(), event.subject());
        }
        taken
    })
}

#[test]
fn real_events_are_taken_in() {
    let taken: Vec<bool> =
        real().iter().map(|event| send(event.to_string().as_bytes()).iter().any(Result::is_ok)).collect();
    assert_eq!(taken, [true; 3]);
}

/// The providers' libraries disagree on these; a parser that made something else of the bytes would not read what was signed.
#[test]
fn a_signed_body_that_is_marked_or_no_utf8_is_no_json() {
    let event = real()[0].to_string().into_bytes();
    let marked = [b"\xef\xbb\xbf", event.as_slice()].concat();
    let mut spoilt = event.clone();
    let inside = event.windows(5).position(|bytes| bytes == b"evt_1").unwrap();
    spoilt[inside] = 0xff;
    let wide: Vec<u8> = real()[0].to_string().encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (what, body) in [("a byte order mark", marked), ("a byte of no UTF-8", spoilt), ("UTF-16", wide)] {
        for taken in send(&body) {
            assert!(matches!(taken, Err(NotTaken::NotJson(_))), "{what}: {taken:?}");
        }
    }
}

proptest! {
    #[test]
    fn no_field_of_a_signed_event_is_too_odd(which: Index, at: Index, value in anything()) {
        let mut event = which.get(&real()).clone();
        let mut found = Vec::new();
        places(&event, "", &mut found);
        *event.pointer_mut(&found[at.index(found.len())]).unwrap() = value;
        for taken in send(event.to_string().as_bytes()) {
            prop_assert!(!matches!(taken, Err(NotTaken::Refused(_))), "signed: {taken:?}");
        }
    }

    #[test]
    fn no_spoilt_bytes_of_a_signed_event_are_too_odd(which: Index, at: Index, end: Index, byte: u8) {
        let mut body = which.get(&real()).to_string().into_bytes();
        let place = at.index(body.len());
        body[place] = byte;
        body.truncate(end.index(body.len()) + 1);
        for taken in send(&body) {
            prop_assert!(!matches!(taken, Err(NotTaken::Refused(_))), "signed: {taken:?}");
        }
    }

    #[test]
    fn no_signed_bytes_are_too_odd(body: Vec<u8>) {
        for taken in send(&body) {
            prop_assert!(!matches!(taken, Err(NotTaken::Refused(_))), "signed: {taken:?}");
        }
    }
}
