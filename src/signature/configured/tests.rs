//! Signatures by settings alone: vectors made with openssl and a provider's published one, every refusal, arbitrary bytes.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{Sources, load};
use crate::domain::told::{Outcome, Reading};

const NOW: i64 = 1_790_000_000;
const SECRET: &str = "of a provider";
/// The key that its documentation publishes for tests.
const ESEWA: &str = "8gBm/:&EnhH.1/q";
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA7CZPeustRPaJHzCy8MYA
N5CX4emOKClun0nfK/O8ABsb3SA5ptgbjoiLqfMvhTsGVn+X1u1W3TOSuDyfivVf
V/AnMHMAQ0ZIi5EJw9jm//5QNHbZZxiawlsUgAkg3akR4AlA5mWvMh5wwEeQ6fOo
xhSisD3bR0kPy02JCOqKmG2AoSa4VlC5UIbXjq98lvnhuiDFjzAzRqjYMbuAc2bL
fzXHOkNMZCx+UFxW+TEeWBhIBabONq81T5xuGJqKwUMYj+UfPkjjttQSxRqyFz14
TDy3CmGxg0jjo0w+W673ZaxG8bT4WbVsVsLSQ1nKqVwEdsRdGBuNMHsqUXkQIMma
hwIDAQAB
-----END PUBLIC KEY-----";
/// Of `SORTED`, by openssl with the private key that was thrown away.
const PKCS1: &str = "JXKy8CjzbtxPGwJaE0cny7HhXumOpFZM+DeZya9k4owT4DV9sjYCrYNwGI+jojFhUlzRIdiqm0KV5LswaSHbZk5bteelKjaNapCUUbOjsJx4rMhS6eAaYRewaZoqBqkMvcOZeu4WK2IGWkQHcFOMOuAPcIV1XLeZAVDZPfbg80PFYorOvWWwWknNRWCMDr3tHNmIi5Ex5nPu23HiU5NZ6/DRFUlu6LENgCAuAdNDMGySwMFKmu1BUUYMqeJoMhaSM0SjXRZs8Mn5wBvYCWAA9OMBxpcVOUGgLq5yaTMHp+Spon5yB8zIc5lpBGAt9Hf77SF2nOYzpNBxt8QU7bMWVA==";
const PSS: &str = "MS1uEUfS8/wPmtcBLYA5OWTpOynZH0fFF9jDIBcIjG3cXUD8GWMHrCmyRG1Ky6DtvibjgMjVkyXr1rJM0qKreHg9N6bfwobPWSGEiawAXx8+53YZ6DhgcWqf6KZHU2Mo+S7zEBzRpweE5i+fGedxSqSCAxCm6Rlo8vpN+j53v5a7+p1BY4/6l+5L2picVYMc2dQ6cTihDbLphQ/JifTOWNeyNwT9aocHDn2LzYt/J2zZU76yzA2gwDwauRzQNS6wiLglWvWaSbSjkGOQVEbxzc7SOi+4hUls9mySKoSTT9JGJe3IabT2bKNNnCsiiXHvvBdH48KRujkV2l9QEhTtzA==";
const SORTED: &str = "appid=7&merch_order_id=pay01&total_amount=129.50&trade_status=Completed";

/// The settings of a file's only provider, `wallet`.
fn settings(lines: &str) -> SignatureSettings {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "[payment_providers.wallet.signature]\nsecrets = [\"{SECRET}\", \"older\"]\n{lines}")
        .unwrap();
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    load(&sources).unwrap().payment_providers.remove("wallet").unwrap().signature
}

fn mac(secret: &str, text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text.as_bytes()).as_ref().to_vec()
}

fn in_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn open(lines: &str, headers: &[(&str, &str)], body: &str) -> Result<Value, Refused> {
    let of = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_bytes());
    let letter = Letter { header: &of, query: None, body: body.as_bytes() };
    Configured::new(&settings(lines)).unwrap().open(&letter, NOW)
}

#[test]
fn the_body_is_signed_by_any_living_secret() {
    let body = r#"{"status": "SUCCESS"}"#;
    for secret in [SECRET, "older"] {
        let signature = in_hex(&mac(secret, body));
        assert_eq!(open("", &[("x-signature", &signature)], body).unwrap()["status"], "SUCCESS");
        assert!(open("", &[("x-signature", &signature.to_uppercase())], body).is_ok());
        let changed = body.replace("SUCCESS", "FAILURE");
        assert_eq!(open("", &[("x-signature", &signature)], &changed), Err(Refused::Mismatch));
    }
    let stranger = in_hex(&mac("stranger", body));
    assert_eq!(open("", &[("x-signature", &stranger)], body), Err(Refused::Mismatch));
    assert_eq!(open("", &[], body), Err(Refused::Missing));
    for odd in ["", "zz", "abc", &stranger[2..], &stranger.repeat(100)] {
        assert!(open("", &[("x-signature", odd)], body).is_err(), "{odd}");
    }
}

#[test]
fn a_prefix_and_base64_are_read_where_the_settings_say_so() {
    let lines = "prefix = \"sha256=\"\nencoding = \"base64\"\nplace = \"header:X-Proof\"";
    let signature = STANDARD.encode(mac(SECRET, "{}"));
    assert!(open(lines, &[("x-proof", &format!("sha256={signature}"))], "{}").is_ok());
    let bare = open(lines, &[("x-proof", &signature)], "{}");
    assert_eq!(bare, Err(Refused::Malformed("the signature has another beginning")));
}

#[test]
fn a_time_is_signed_with_the_body_and_may_differ_by_the_tolerance_both_ways() {
    let lines = "signs = \"{timestamp}.{body}\"\ntimestamp = \"header:x-timestamp\"";
    let at = |time: &str| {
        let signature = in_hex(&mac(SECRET, &format!("{time}.{{}}")));
        open(lines, &[("x-signature", &signature), ("x-timestamp", time)], "{}").map(drop)
    };
    for (time, verdict) in [
        (NOW - 300, Ok(())),
        (NOW + 300, Ok(())),
        (NOW - 301, Err(Refused::TooOld { age_seconds: 301, tolerance_seconds: 300 })),
        (NOW + 301, Err(Refused::TooNew { ahead_seconds: 301, tolerance_seconds: 300 })),
    ] {
        assert_eq!(at(&time.to_string()), verdict);
    }
    assert!(matches!(at("yesterday"), Err(Refused::Malformed(_))));
    let signature = in_hex(&mac(SECRET, ".{}"));
    assert_eq!(open(lines, &[("x-signature", &signature)], "{}"), Err(Refused::Malformed("no time")));
}

/// The published example: 110 rupees, 241028, EPAYTEST.
#[test]
fn esewa_s_published_signature_is_made_and_a_redirect_is_opened() {
    let mut settings = settings(
        "message = \"query:data\"\nplace = \"field:/signature\"\nencoding = \"base64\"\nsigns = \"{fields}\"\n\
         fields_named_by = \"/signed_field_names\"\nfields_required = [\"status\", \"total_amount\"]",
    );
    settings.secrets = vec![ESEWA.into()];
    let esewa = Configured::new(&settings).unwrap();
    let request = "total_amount=110,transaction_uuid=241028,product_code=EPAYTEST";
    assert_eq!(esewa.sign(request).unwrap(), "i94zsd3oXF6ZsSr/kGqT4sSzYQzjj1W/waxjWyRwaME=");

    let redirect = |names: &str| {
        let mut message =
            json!({"status": "COMPLETE", "total_amount": "1,000.0", "signed_field_names": names});
        let values = json!({"status": "COMPLETE", "total_amount": "1,000.0", "signed_field_names": names});
        let signed: Vec<String> =
            names.split(',').map(|name| format!("{name}={}", values[name].as_str().unwrap())).collect();
        message["signature"] = esewa.sign(&signed.join(",")).unwrap().into();
        let data = STANDARD.encode(message.to_string());
        esewa.open(&Letter { header: &|_| None, query: Some(&data), body: b"" }, NOW)
    };
    assert_eq!(redirect("status,total_amount,signed_field_names").unwrap()["total_amount"], "1,000.0");
    let short = Err(Refused::Malformed("a field that has to be signed is not"));
    assert_eq!(redirect("total_amount"), short, "a short list would leave the status to anybody");
    let none = Letter { header: &|_| None, query: None, body: b"{}" };
    assert_eq!(esewa.open(&none, NOW), Err(Refused::Malformed("no message in the query")));
}

#[test]
fn every_field_sorted_is_signed_by_their_private_key() {
    for (algorithm, signature) in [("rsa-sha256", PKCS1), ("rsa-pss-sha256", PSS)] {
        let lines = format!(
            "algorithm = \"{algorithm}\"\npublic_keys = [\"\"\"{PUBLIC_KEY}\"\"\"]\nplace = \"field:/sign\"\n\
             encoding = \"base64\"\nsigns = \"{{fields}}\"\nfields = [\"*\"]\nfields_without = [\"sign\", \"sign_type\"]\n\
             join = \"&\""
        );
        let mut message = json!({"total_amount": "129.50", "appid": 7, "trade_status": "Completed",
                                 "merch_order_id": "pay01", "sign_type": "SHA256WithRSA", "sign": signature});
        assert!(open(&lines, &[], &message.to_string()).is_ok(), "{algorithm} over {SORTED}");
        message["total_amount"] = "1.00".into();
        assert_eq!(open(&lines, &[], &message.to_string()), Err(Refused::Mismatch));
        message["total_amount"] = json!(["129.50"]);
        assert!(matches!(open(&lines, &[], &message.to_string()), Err(Refused::Malformed(_))));
    }
}

/// What stands below signed by PKCS #1 is what its notification is, as far as it is documented.
#[test]
fn the_shipped_profile_of_telebirr_opens_what_their_key_has_signed_and_knows_one_word_for_paid() {
    let profiles = concat!(env!("CARGO_MANIFEST_DIR"), "/config/providers.example.toml");
    let sources = Sources { file: Some(profiles.into()), ..Sources::default() };
    let settings = load(&sources).unwrap().payment_providers.remove("telebirr").unwrap();
    let telebirr = Configured::new(&settings.signature).unwrap();
    let message = json!({"appid": 7, "merch_order_id": "pay01", "total_amount": "129.50", "trade_status": "Completed",
                         "sign_type": "SHA256WithRSA", "sign": PKCS1});
    let open = |message: &Value| {
        let body = message.to_string();
        telebirr.open(&Letter { header: &|_| None, query: None, body: body.as_bytes() }, NOW)
    };
    let mut opened = open(&message).unwrap();
    let reading = Reading::new(&settings.event);
    let told = reading.read(&opened).unwrap();
    assert_eq!((told.reference.as_str(), told.outcome), ("pay01", Outcome::Paid));
    assert_eq!(told.received("ETB".parse().unwrap()).unwrap().unwrap().to_string(), "ETB 129.50");
    for word in ["completed", "Pending", "Failure", "Cancelled"] {
        opened["trade_status"] = word.into();
        assert_eq!(reading.read(&opened).unwrap().outcome, Outcome::Open, "{word} is documented nowhere");
    }
    for (field, value) in [("total_amount", "1.00"), ("trade_status", "Pending"), ("another", "field")] {
        let mut changed = message.clone();
        changed[field] = value.into();
        assert_eq!(open(&changed), Err(Refused::Mismatch), "{field}");
    }
    let mut other = message;
    other["sign"] = PSS.into();
    assert_eq!(open(&other), Err(Refused::Mismatch), "another padding");
}

#[test]
fn nothing_is_verified_with_a_blank_secret_or_half_a_key() {
    let mut bad = settings("");
    bad.secrets = vec![SECRET.into(), " ".into()];
    assert_eq!(Configured::new(&bad).unwrap_err(), BadSecret::Blank(2));
    bad.secrets.clear();
    assert_eq!(Configured::new(&bad).unwrap_err(), BadSecret::None);
    bad.algorithm = Algorithm::RsaSha256;
    for half in ["", "not a key", &PUBLIC_KEY[..200], "AAAA"] {
        bad.public_keys = vec![PUBLIC_KEY.to_owned(), half.to_owned()];
        assert_eq!(Configured::new(&bad).unwrap_err(), BadSecret::PublicKey(2), "{half}");
    }
}

/// Read once, for whoever tries ten thousands.
static USUAL: LazyLock<SignatureSettings> = LazyLock::new(|| settings(""));

proptest! {
    #[test]
    fn no_bytes_are_too_odd(header: Vec<u8>, body: Vec<u8>, query: String, now: i64, inside: bool, all: bool) {
        let mut settings = USUAL.clone();
        if inside {
            settings.place = Place::Field("/sign".to_owned());
            settings.message = Message::Query("data".to_owned());
        }
        if all {
            settings.signs = "{timestamp}{fields}".to_owned();
            settings.fields = vec![ALL.to_owned()];
            settings.timestamp = Some(Place::Header("x-time".to_owned()));
        }
        let letter = Letter { header: &|_| Some(&header), query: Some(&query), body: &body };
        prop_assert!(Configured::new(&settings).unwrap().open(&letter, now).is_err());
    }

    #[test]
    fn no_message_is_too_odd(text in r#"[{}\[\]":,a-c0-9.e+-]{0,40}"#, signature in "[0-9a-f]{0,66}") {
        let mut settings = USUAL.clone();
        settings.signs = "{fields}".to_owned();
        settings.fields = vec![ALL.to_owned()];
        settings.place = Place::Field("/a".to_owned());
        let message = format!(r#"{{"a": "{signature}", "b": {text}}}"#);
        let letter = Letter { header: &|_| None, query: None, body: message.as_bytes() };
        prop_assert!(Configured::new(&settings).unwrap().open(&letter, NOW).is_err());
    }

    #[test]
    fn no_key_is_too_odd(der: Vec<u8>, text: String) {
        prop_assert!(rsa(&STANDARD.encode(&der)).is_none());
        prop_assert!(rsa(&text).is_none());
    }
}
