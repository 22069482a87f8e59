//! What the providers' own libraries disagree on, by name: here each has one verdict, the strict one.

use super::*;

fn easypost(secret: &str, header: &[u8], body: &[u8]) -> Result<(), &'static str> {
    let named = |name: &str| (name == "x-hmac-signature").then_some(header);
    EasyPostSignature::new([secret], false)
        .unwrap()
        .verify(named, body, NOW)
        .map_err(|refused| refused.code())
}

fn easypost_header(key: &str, body: &[u8]) -> Vec<u8> {
    format!("hmac-sha256-hex={}", hex(key, body)).into_bytes()
}

#[test]
fn each_quirk_of_stripe_s_header_has_one_verdict() {
    let (now, before) = (NOW.to_string(), (NOW - 1).to_string());
    let (ours, older) = (v1(SECRET, &now), v1("whsec_older", &now));
    let (first, other) = (v1("whsec_a", &now), v1("whsec_b", &now));
    let signed = |time: &[u8]| {
        let signature = hex(SECRET, &[time, b".", BODY].concat());
        [b"t=", time, b",v1=", signature.as_bytes()].concat()
    };
    let (malformed, mismatch) = (Err("malformed"), Err("mismatch"));
    for (quirk, header, verdict) in [
        ("as it is documented", signed(now.as_bytes()), Ok(())),
        ("two times, the first one signed", format!("t={now},t={before},v1={ours}").into(), malformed),
        ("two times, the last one signed", format!("t={before},t={now},v1={ours}").into(), malformed),
        ("letters after the time", signed(format!("{now}abc").as_bytes()), malformed),
        ("a time with underscores", signed(b"1_790_000_000"), malformed),
        ("no time", format!("t=,v1={ours}").into(), malformed),
        ("a byte order mark before all", format!("\u{feff}t={now},v1={ours}").into(), malformed),
        ("a byte order mark before the time", signed(format!("\u{feff}{now}").as_bytes()), malformed),
        ("a time that is no UTF-8", signed(b"1790000000\xff"), malformed),
        (
            "a signature that is no UTF-8",
            [format!("t={now},v1=").as_bytes(), &[0xff; 64]].concat(),
            malformed,
        ),
        ("v0 alone", format!("t={now},v0={ours}").into(), Err("no_scheme")),
        ("v0 beside a stranger's v1", format!("t={now},v1={first},v0={ours}").into(), mismatch),
        ("several v1, ours the first", format!("t={now},v1={ours},v1={first}").into(), Ok(())),
        ("several v1, ours the last", format!("t={now},v1={first},v1={other},v1={ours}").into(), Ok(())),
        ("a v1 of each living secret", format!("t={now},v1={older},v1={ours}").into(), Ok(())),
        ("several v1, none of them ours", format!("t={now},v1={first},v1={other}").into(), mismatch),
    ] {
        let ours = StripeSignature::new([SECRET, "whsec_older"], 300).unwrap();
        let found = ours.verify(Some(&header), BODY, NOW).map_err(|refused| refused.code());
        assert_eq!(found, verdict, "{quirk}: {}", String::from_utf8_lossy(&header));
    }
}

/// Some libraries take it for "do not look".
#[test]
fn a_tolerance_of_nothing_does_not_switch_the_look_at_the_time_off() {
    let ours = StripeSignature::new([SECRET], 0).unwrap();
    for (time, verdict) in [(NOW, Ok(())), (NOW - 1, Err("too_old")), (NOW + 1, Err("too_new"))] {
        let found = ours.verify(Some(header(SECRET, time).as_bytes()), BODY, NOW);
        assert_eq!(found.map_err(|refused| refused.code()), verdict, "{time}");
    }
}

/// The secret of Stripe is a text: its `whsec_` belongs to it, and nothing of it is base64.
#[test]
fn stripe_s_secret_is_used_as_it_is_written() {
    let key = "whsec_c2VjcmV0";
    let ours = StripeSignature::new([key], 300).unwrap();
    for (signed_with, verdict) in [(key, Ok(())), ("c2VjcmV0", Err("mismatch")), ("secret", Err("mismatch"))]
    {
        let found = ours.verify(Some(header(signed_with, NOW).as_bytes()), BODY, NOW);
        assert_eq!(found.map_err(|refused| refused.code()), verdict, "{signed_with}");
    }
}

#[test]
fn easypost_s_secret_is_used_in_its_form_of_compatibility_taken_apart() {
    for (secret, key) in
        [("s\u{e9}cret", "se\u{301}cret"), ("se\u{301}cret", "se\u{301}cret"), ("\u{fb01}x\u{b2}", "fix2")]
    {
        assert_eq!(easypost(secret, &easypost_header(key, BODY), BODY), Ok(()), "{secret} is {key}");
    }
    assert_eq!(easypost("s\u{e9}cret", &easypost_header("s\u{e9}cret", BODY), BODY), Err("mismatch"));
}

/// One official client writes `700` as `700.0` before it hashes.
#[test]
fn easypost_signs_the_bytes_and_not_what_their_numbers_are_worth() {
    let event = |weight: &str| format!(r#"{{"id":"evt_1","result":{{"weight":{weight}}}}}"#).into_bytes();
    for (signed, came, verdict) in [
        ("700", "700", Ok(())),
        ("700.0", "700.0", Ok(())),
        ("700", "700.0", Err("mismatch")),
        ("700.0", "700", Err("mismatch")),
        ("7e2", "700", Err("mismatch")),
    ] {
        let found = easypost("ours", &easypost_header("ours", &event(signed)), &event(came));
        assert_eq!(found, verdict, "signed as {signed}, came as {came}");
    }
}

#[test]
fn each_quirk_of_easypost_s_header_has_one_verdict() {
    let digits = hex("ours", BODY);
    for (quirk, header, verdict) in [
        ("as it is documented", format!("hmac-sha256-hex={digits}"), Ok(())),
        ("the digits alone", digits.clone(), Err("no_scheme")),
        ("another's scheme", format!("sha256={digits}"), Err("no_scheme")),
        ("nothing", String::new(), Err("no_scheme")),
        ("no digits", "hmac-sha256-hex=".to_owned(), Err("malformed")),
        ("capital digits", format!("hmac-sha256-hex={}", digits.to_uppercase()), Err("malformed")),
        ("a blank before the digits", format!("hmac-sha256-hex= {digits}"), Err("malformed")),
        ("one digit too many", format!("hmac-sha256-hex={digits}0"), Err("malformed")),
    ] {
        assert_eq!(easypost("ours", header.as_bytes(), BODY), verdict, "{quirk}");
    }
}

/// The libraries of both take one, and then anybody's signature.
#[test]
fn no_provider_is_believed_by_an_empty_secret() {
    for blank in ["", " ", "\t\n", "\u{a0}"] {
        assert_eq!(StripeSignature::new([blank], 300).unwrap_err(), BadSecret::Blank(1), "{blank:?}");
        assert_eq!(EasyPostSignature::new([blank], true).unwrap_err(), BadSecret::Blank(1), "{blank:?}");
        assert_eq!(
            EasyPostSignature::new(["ours", blank], false).unwrap_err(),
            BadSecret::Blank(2),
            "{blank:?}"
        );
    }
    let none: [&str; 0] = [];
    assert_eq!(EasyPostSignature::new(none, true).unwrap_err(), BadSecret::None);
}
