//! Both signatures against published vectors, every refusal, and arbitrary bytes.

use proptest::prelude::*;

use super::*;

mod odd;

const SECRET: &str = "whsec_test";
const BODY: &[u8] = br#"{"id":"evt_1"}"#;
const NOW: i64 = 1_790_000_000;

fn hex(secret: &str, signed: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed);
    tag.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn v1(secret: &str, time: &str) -> String {
    hex(secret, &[time.as_bytes(), b".", BODY].concat())
}

fn header(secret: &str, time: i64) -> String {
    format!("t={time},v1={}", v1(secret, &time.to_string()))
}

fn verify(header: &str) -> Result<(), Refused> {
    let ours = StripeSignature::new([SECRET, "whsec_older"], 300).unwrap();
    ours.verify(Some(header.as_bytes()), BODY, NOW)
}

#[test]
fn stripe_s_documented_construction_is_accepted() {
    // Made with `printf '1790000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test`.
    let given = "e32657f3e678d33b41ec084c16ac0e125d25480a06cb3902286dc5942c6fd259";
    assert_eq!(verify(&format!("t=1790000000,v1={given}")), Ok(()));
}

#[test]
fn any_living_secret_and_any_v1_will_do() {
    assert_eq!(verify(&header("whsec_older", NOW)), Ok(()));
    let stranger = v1("whsec_stranger", &NOW.to_string());
    assert_eq!(verify(&format!("{},v1={stranger}", header(SECRET, NOW))), Ok(()));
    let ours = v1(SECRET, &NOW.to_string());
    assert_eq!(verify(&format!("t={NOW},v1={stranger},v1={ours},v0=decoy")), Ok(()));
}

#[test]
fn the_time_may_differ_by_the_tolerance_both_ways() {
    for (time, verdict) in [
        (NOW - 300, Ok(())),
        (NOW - 301, Err(Refused::TooOld { age_seconds: 301, tolerance_seconds: 300 })),
        (NOW + 300, Ok(())),
        (NOW + 301, Err(Refused::TooNew { ahead_seconds: 301, tolerance_seconds: 300 })),
    ] {
        assert_eq!(verify(&header(SECRET, time)), verdict);
    }
}

#[test]
fn a_stranger_s_signature_or_a_changed_body_is_a_mismatch() {
    assert_eq!(verify(&header("whsec_stranger", NOW)), Err(Refused::Mismatch));
    let ours = StripeSignature::new([SECRET], 300).unwrap();
    let header = header(SECRET, NOW);
    assert_eq!(ours.verify(Some(header.as_bytes()), br#"{"id": "evt_1"}"#, NOW), Err(Refused::Mismatch));
    assert_eq!(ours.verify(None, BODY, NOW), Err(Refused::Missing));
}

#[test]
fn odd_headers_are_refused_even_with_a_good_signature_in_them() {
    let good = v1(SECRET, &NOW.to_string());
    for odd in [
        String::new(),
        format!("v1={good}"),
        format!("t={NOW},t={NOW},v1={good}"),
        format!("t={NOW},v1={good},"),
        format!("t={NOW}, v1={good}"),
        format!("t={NOW},v1={}", good.to_uppercase().replace('0', "A")),
        format!("t={NOW},v1={}", &good[1..]),
        format!("t={NOW},{}", vec![format!("v1={good}"); 11].join(",")),
        "v1".to_owned(),
    ] {
        assert!(matches!(verify(&odd), Err(Refused::Malformed(_) | Refused::NoScheme(_))), "{odd}");
    }
    for time in
        ["1_790_000_000", "1790000000x", "+1790000000", " 1790000000", "-1", "1e9", "0001790000000000"]
    {
        let signed = format!("t={time},v1={}", v1(SECRET, time));
        assert!(matches!(verify(&signed), Err(Refused::Malformed(_))), "{time}");
    }
    assert_eq!(verify(&format!("t={NOW},v0={good}")), Err(Refused::NoScheme("v1")));
}

#[test]
fn nothing_is_verified_with_a_blank_secret() {
    let none: [&str; 0] = [];
    assert_eq!(StripeSignature::new(none, 300).unwrap_err(), BadSecret::None);
    assert_eq!(StripeSignature::new([SECRET, " \n"], 300).unwrap_err(), BadSecret::Blank(2));
    assert_eq!(StripeSignature::new([SECRET], -1).unwrap_err(), BadSecret::Tolerance(-1));
    assert_eq!(EasyPostSignature::new([""], true).unwrap_err(), BadSecret::Blank(1));
}

#[test]
fn easypost_s_published_vectors() {
    #[derive(serde::Deserialize)]
    struct Case {
        id: String,
        secret: String,
        headers: std::collections::BTreeMap<String, String>,
        body: String,
        expected: String,
    }
    #[derive(serde::Deserialize)]
    struct Vectors {
        cases: Vec<Case>,
    }
    let text = include_str!("../../tests/data/easypost/webhook.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    assert_eq!(vectors.cases.len(), 4);
    for case in vectors.cases {
        let header = case.headers["X-Hmac-Signature"].as_bytes();
        let ours = EasyPostSignature::new([case.secret.as_str()], false).unwrap();
        let verdict =
            ours.verify(|name| (name == "x-hmac-signature").then_some(header), case.body.as_bytes(), NOW);
        assert_eq!(verdict.is_ok(), case.expected == "valid", "{}: {verdict:?}", case.id);
        let event = crate::domain::event::EasyPostEvent::read(case.body.as_bytes());
        assert_eq!(event.unwrap().tracker.unwrap().status, "in_transit");
    }
}

/// The headers of a webhook with both proofs, as EasyPost sends them.
fn both(time: &str, path: &str) -> Vec<(&'static str, String)> {
    let signed = [time.as_bytes(), b"POST", path.as_bytes(), BODY].concat();
    vec![
        ("x-hmac-signature", format!("hmac-sha256-hex={}", hex(SECRET, BODY))),
        ("x-hmac-signature-v2", format!("hmac-sha256-hex={}", hex(SECRET, &signed))),
        ("x-timestamp", time.to_owned()),
        ("x-path", path.to_owned()),
    ]
}

fn easypost(timed: bool, headers: &[(&str, String)], now: i64) -> Result<(), Refused> {
    let named =
        |name: &str| headers.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_bytes());
    EasyPostSignature::new([SECRET], timed).unwrap().verify(named, BODY, now)
}

#[test]
fn easypost_s_second_proof_does_where_the_first_is_missing_and_it_is_switched_on() {
    let now = 1_755_635_829;
    let mut headers = both("Tue, 19 Aug 2025 20:37:09 -0000", "/webhooks/easypost");
    assert_eq!(easypost(true, &headers, now), Ok(()));
    headers.remove(0);
    assert_eq!(easypost(false, &headers, now), Err(Refused::Missing));
    for at in [now - 300, now, now + 300] {
        assert_eq!(easypost(true, &headers, at), Ok(()), "{at}");
    }
    assert_eq!(easypost(true, &headers, now + 301).unwrap_err().code(), "too_old");
    assert_eq!(easypost(true, &headers, now - 301).unwrap_err().code(), "too_new");
    for (place, value) in
        [(0, "hmac-sha256-hex=0"), (1, "Tue, 19 Aug 2025 20:37:10 -0000"), (2, "/elsewhere")]
    {
        let mut forged = headers.clone();
        value.clone_into(&mut forged[place].1);
        assert!(easypost(true, &forged, now).is_err(), "{value}");
    }
    for missing in [1, 2] {
        let mut short = headers.clone();
        short.remove(missing);
        assert_eq!(easypost(true, &short, now).unwrap_err().code(), "malformed");
    }
    assert_eq!(easypost(true, &both("1755635829", "/")[1..], now).unwrap_err().code(), "malformed");
}

#[test]
fn easypost_s_second_proof_is_no_gate() {
    let mut headers = both("Tue, 19 Aug 2025 20:37:09 -0000", "/webhooks/easypost");
    assert_eq!(easypost(true, &headers, NOW), Ok(()), "authentic by the first, whatever the second's age");
    "hmac-sha256-hex=".clone_into(&mut headers[0].1);
    assert_eq!(easypost(true, &headers, 1_755_635_829), Ok(()), "authentic by the second");
    assert_eq!(
        easypost(true, &headers, NOW).unwrap_err().code(),
        "malformed",
        "by neither: the first is told"
    );
}

proptest! {
    #[test]
    fn no_bytes_are_too_odd(header: Vec<u8>, body: Vec<u8>, now: i64) {
        let stripe = StripeSignature::new([SECRET], 300).unwrap();
        prop_assert!(stripe.verify(Some(&header), &body, now).is_err());
        let easypost = EasyPostSignature::new([SECRET], true).unwrap();
        prop_assert!(easypost.verify(|_| Some(header.as_slice()), &body, now).is_err());
    }

    #[test]
    fn no_header_of_the_right_letters_is_too_odd(header in "(t=|v1=|v0=|[0-9a-f]{1,64}|,|-|\\+){0,8}", now: i64) {
        let stripe = StripeSignature::new([SECRET], 300).unwrap();
        prop_assert!(stripe.verify(Some(header.as_bytes()), BODY, now).is_err());
    }

    #[test]
    fn what_was_signed_is_accepted_whatever_it_says(body: Vec<u8>, time in 0..NOW, tolerance in 0..1_000_i64) {
        let stripe = StripeSignature::new([SECRET], tolerance).unwrap();
        let signed = [time.to_string().as_bytes(), b".", &body].concat();
        let header = format!("t={time},v1={}", hex(SECRET, &signed));
        prop_assert_eq!(stripe.verify(Some(header.as_bytes()), &body, time + tolerance), Ok(()));
    }
}
