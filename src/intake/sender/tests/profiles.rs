//! The profiles that are shipped, with messages as their providers document them: each is believed by its signature alone,
//! and each word means what the profile says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::config::{Settings, Sources, load};
use crate::domain::offer::Offers;
use crate::domain::told::{Outcome, Reading, Told};

/// The key that eSewa publishes for tests.
const ESEWA_KEY: &str = "8gBm/:&EnhH.1/q";
/// What stands in Chapa's profile until somebody fills it in.
const CHAPA_KEY: &str = "the secret hash of your dashboard";

fn shipped() -> Settings {
    let profiles = concat!(env!("CARGO_MANIFEST_DIR"), "/config/providers.example.toml");
    load(&Sources { file: Some(profiles.into()), ..Sources::default() }).unwrap()
}

fn mac(key: &str, text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes())
}

/// What a profile makes of what came.
fn taken(name: &str, headers: &HeaderMap, query: Option<&str>, body: &str) -> Result<Told, NotTaken> {
    let settings = shipped();
    let offers = Offers::new(&settings.orders, &settings.payment_providers).unwrap();
    let sender = Sender::Payments(name, offers.configured(name).unwrap());
    let event = sender.event(&Sent { headers, query, body: body.as_bytes() }, NOW)?;
    Ok(serde_json::from_value(event.event).unwrap())
}

/// What a profile makes of an answer to the question how a payment stands.
fn answered(name: &str, answer: &Value) -> Told {
    Reading::new(&shipped().payment_providers[name].status.answer).read(answer).unwrap()
}

/// The browser's way back from eSewa: base64 of JSON that names the fields that it signs.
fn redirect(message: &Value, signed: &str) -> Result<Told, NotTaken> {
    let mut message = message.clone();
    message["signed_field_names"] = json!(signed);
    let pair = |name: &str| format!("{name}={}", message[name].as_str().unwrap());
    let text: Vec<String> = signed.split(',').map(pair).collect();
    message["signature"] = json!(STANDARD.encode(mac(ESEWA_KEY, &text.join(","))));
    let data = STANDARD.encode(message.to_string());
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("data", &data).finish();
    taken("esewa", &HeaderMap::new(), Some(&query), "")
}

#[test]
fn each_word_of_esewa_s_means_the_same_in_its_redirect_and_in_its_status() {
    let signed = "transaction_code,status,total_amount,transaction_uuid,product_code,signed_field_names";
    for (word, outcome) in [
        ("COMPLETE", Outcome::Paid),
        ("PENDING", Outcome::Open),
        ("AMBIGUOUS", Outcome::Open),
        // Money that went back was here: whether nothing more comes is for a person to say.
        ("FULL_REFUND", Outcome::Open),
        ("PARTIAL_REFUND", Outcome::Open),
        // A customer who has not begun to pay may still do so.
        ("NOT_FOUND", Outcome::Open),
        ("CANCELED", Outcome::Failed),
        ("complete", Outcome::Open),
        ("a word of tomorrow", Outcome::Open),
    ] {
        let word = word.replace(' ', "_");
        let message = json!({"transaction_code": "000AWEO", "status": word, "total_amount": "1,000.0",
                             "transaction_uuid": "pay01", "product_code": "EPAYTEST"});
        let told = redirect(&message, signed).unwrap();
        assert_eq!((told.outcome, told.word.as_str()), (outcome, word.as_str()));
        let answer = json!({"product_code": "EPAYTEST", "transaction_uuid": "pay01", "total_amount": "1,000.0",
                            "status": word, "ref_id": "0007G36"});
        let seen = answered("esewa", &answer);
        assert_eq!((seen.outcome, seen.reference.as_str()), (outcome, "pay01"), "{word}");
        for told in [told, seen] {
            let received = told.received("NPR".parse().unwrap()).unwrap().unwrap();
            assert_eq!(received.to_string(), "NPR 1000.00", "{word}");
        }
    }
}

/// Whoever may choose the list could leave out what matters.
#[test]
fn a_redirect_of_esewa_s_is_believed_only_where_it_signs_what_matters() {
    let message = json!({"status": "COMPLETE", "total_amount": "10", "transaction_uuid": "pay01"});
    assert!(redirect(&message, "status,total_amount,transaction_uuid").is_ok());
    for short in ["total_amount,transaction_uuid", "status,transaction_uuid", "status,total_amount"] {
        let refused = redirect(&message, short);
        assert!(matches!(refused, Err(NotTaken::Refused(Refused::Malformed(_)))), "{short}: {refused:?}");
    }
}

#[test]
fn each_word_of_chapa_s_means_what_its_profile_says_and_its_body_is_what_is_signed() {
    for (word, outcome) in
        [("success", Outcome::Paid), ("failed", Outcome::Failed), ("pending", Outcome::Open)]
    {
        let body = json!({"event": "charge", "tx_ref": "pay01", "status": word, "amount": "129.50", "currency": "ETB"});
        let sent = |header: &'static str, signed: &str| {
            let tag = mac(CHAPA_KEY, signed);
            let digits = tag.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            let headers = HeaderMap::from_iter([(
                axum::http::HeaderName::from_static(header),
                digits.parse().unwrap(),
            )]);
            taken("chapa", &headers, None, &body.to_string())
        };
        assert_eq!(sent("x-chapa-signature", &body.to_string()).unwrap().outcome, outcome, "{word}");
        // A header that signs the secret itself says nothing of the body.
        for (header, signed) in [("x-chapa-signature", CHAPA_KEY), ("chapa-signature", &body.to_string())] {
            assert!(matches!(sent(header, signed), Err(NotTaken::Refused(_))), "{header}");
        }
        let answer = json!({"status": "success", "data": {"tx_ref": "pay01", "status": word, "amount": 129.5,
                                                          "currency": "ETB"}});
        let seen = answered("chapa", &answer);
        assert_eq!(seen.outcome, outcome, "the call's own success is no word on the payment: {word}");
        assert_eq!(
            seen.received("ETB".parse().unwrap()).unwrap().unwrap().to_string(),
            "ETB 129.50",
            "{word}"
        );
    }
}
