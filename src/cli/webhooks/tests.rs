//! Every verdict with its reason and its advice, by the intake's own code.

use ring::hmac;

use super::*;
use crate::domain::key::hex;
use crate::signature::{EasyPostSignature, StripeSignature};

const NOW: i64 = 1_790_000_000;
const BODY: &str =
    r#"{"id": "evt_1", "type": "payment_intent.succeeded", "data": {"object": {"id": "pi_1"}}}"#;
const MOST: usize = 1_048_576;

fn sign(secret: &str, text: &str) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text.as_bytes()).as_ref())
}

fn signed(secret: &str, body: &str) -> String {
    format!("Stripe-Signature: t={NOW},v1={}", sign(secret, &format!("{NOW}.{body}")))
}

/// Stripe's secret is `whsec_ours`.
fn stripe(headers: &[&str], body: &str, at: i64) -> Verdict {
    let signature = StripeSignature::new(["whsec_ours"], 300).unwrap();
    let headers: HeaderMap = headers.iter().map(|text| header(text).unwrap()).collect();
    let sent = Sent { headers: &headers, query: None, body: body.as_bytes() };
    judge(&Sender::Stripe(&signature), &sent, Utc.timestamp_opt(at, 0).unwrap(), MOST)
}

#[test]
fn an_authentic_one_is_accepted_and_named_as_its_job_is() {
    let verdict = stripe(&[&signed("whsec_ours", BODY)], BODY, NOW);
    assert_eq!((verdict.accepted, verdict.status, verdict.reason), (true, 200, "accepted"));
    let event = verdict.event.unwrap();
    assert_eq!((event.id.as_str(), event.kind.as_str()), ("evt_1", "payment_intent.succeeded"));
    assert_eq!(event.object_id, "pi_1");
    assert_eq!(event.job_id, WebhookPayload::stripe(serde_json::from_str(BODY).unwrap()).unwrap().job_id());
    assert!(verdict.advice[0].contains(&event.job_id.to_string()));
}

/// P10: a bad signature, an old one, a body altered by one byte; and what a person is told of each.
#[test]
fn p10_every_refusal_has_its_reason_and_says_what_to_do() {
    let good = signed("whsec_ours", BODY);
    let old = NOW + 301;
    let none = r#"{"type": "moon.risen"}"#;
    for (headers, body, at, reason, advice) in [
        (vec![], BODY, NOW, "missing", "Headers given: none"),
        (vec!["x-other: 1"], BODY, NOW, "missing", "Headers given: x-other"),
        (vec!["stripe-signature: nonsense"], BODY, NOW, "malformed", "copy the header whole"),
        (vec!["stripe-signature: t=1,v0=1"], BODY, NOW, "no_scheme", "copy the header whole"),
        (vec![&signed("whsec_theirs", BODY)], BODY, NOW, "mismatch", "STRIPE_WEBHOOK_SECRET"),
        (vec![&good], &BODY.replace("pi_1", "pi_2"), NOW, "mismatch", "STRIPE_WEBHOOK_SECRET"),
        (vec![&good], BODY, old, "too_old", "--at TIME"),
        (vec![&good], BODY, NOW - 301, "too_new", "NTP"),
        (vec![&signed("whsec_ours", none)], none, NOW, "no_event", "has the secret"),
        (vec![&signed("whsec_ours", "{")], "{", NOW, "malformed_json", "has the secret"),
    ] {
        let verdict = stripe(&headers, body, at);
        assert_eq!((verdict.accepted, verdict.status, verdict.reason), (false, 400, reason), "{verdict:?}");
        assert!(verdict.advice[0].contains(advice), "{verdict:?}");
        assert!(!format!("{verdict:?}").contains("whsec_ours"));
    }
}

#[test]
fn a_line_break_that_an_editor_added_is_found() {
    let verdict = stripe(&[&signed("whsec_ours", BODY)], &format!("{BODY}\n"), NOW);
    assert_eq!(verdict.reason, "mismatch");
    assert!(verdict.advice[0].contains("line break"), "{verdict:?}");
    let both = stripe(&[&signed("whsec_theirs", BODY)], &format!("{BODY}\n"), NOW);
    assert!(both.advice[0].contains("STRIPE_WEBHOOK_SECRET"), "a guess is no advice: {both:?}");
}

#[test]
fn what_the_intake_would_not_even_read_is_too_large() {
    let body = "x".repeat(MOST + 1);
    let verdict = stripe(&[&signed("whsec_ours", &body)], &body, NOW);
    assert_eq!((verdict.status, verdict.reason), (413, "too_large"));
}

#[test]
fn easypost_s_header_is_found_however_it_is_written() {
    let body = r#"{"id": "evt_1", "description": "tracker.updated", "result": {"id": "trk_1"}}"#;
    let text = format!("X-HMAC-Signature:hmac-sha256-hex={}", sign("ours", body));
    let signature = EasyPostSignature::new(["ours"], false).unwrap();
    let headers: HeaderMap = [header(&text).unwrap()].into_iter().collect();
    let sent = Sent { headers: &headers, query: None, body: body.as_bytes() };
    let at = Utc.timestamp_opt(NOW, 0).unwrap();
    assert!(judge(&Sender::EasyPost(&signature), &sent, at, MOST).accepted);
}

#[test]
fn a_time_is_rfc_3339_or_what_stands_in_the_header() {
    assert_eq!(moment("1790000000").unwrap().timestamp(), NOW);
    assert_eq!(moment("2026-11-21T02:14:00+05:45").unwrap().to_rfc3339(), "2026-11-20T20:29:00+00:00");
    assert!(moment("yesterday").is_err());
    assert!(header("no colon").is_err() && header("sp ace: x").is_err());
}
