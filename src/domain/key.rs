//! An intent's name and its fingerprint: what makes the same request the same intent, for ever.
//!
//! The id is a keyed hash of who asks and their idempotency key, so that it comes out the same after Redis has forgotten
//! the key, and nobody can guess another customer's. The fingerprint tells whether a repeated key carries the same wish.

mod canonical;

use ring::digest::{SHA256, digest};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::intent::OrderIntentBody;
use crate::ids::{self, IntentId};
use canonical::canonical;

/// What the HTTP draft and most providers allow: longer ones are a mistake.
pub const MAX_KEY: usize = 255;
/// Raised when the canonical form changes: fingerprints of two versions never agree by chance.
const VERSION: u8 = 1;
/// Names the key among all that are derived from the installation's secret.
const KEY_NAME: &[u8] = b"intent-id";

/// Why a text is no idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// None was given.
    #[error(
        "an Idempotency-Key header is required: 1 to 255 visible ASCII characters, new for each new wish"
    )]
    Missing,
    /// It is too long.
    #[error("the Idempotency-Key is longer than 255 characters")]
    TooLong,
    /// It has a space, a control character or something beyond ASCII.
    #[error("the Idempotency-Key may have visible ASCII characters only")]
    NotVisible,
}

/// The caller's name for one intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads a header's value.
    pub fn read(value: Option<&[u8]>) -> Result<Self, BadKey> {
        let value = value.unwrap_or_default();
        if value.is_empty() {
            return Err(BadKey::Missing);
        }
        if value.len() > MAX_KEY {
            return Err(BadKey::TooLong);
        }
        if !value.iter().all(u8::is_ascii_graphic) {
            return Err(BadKey::NotVisible);
        }
        String::from_utf8(value.to_vec()).map(Self).map_err(|_| BadKey::NotVisible)
    }

    /// The key itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Makes intent ids.
#[derive(Clone)]
pub struct IntentNames(hmac::Key);

impl std::fmt::Debug for IntentNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IntentNames(…)")
    }
}

impl IntentNames {
    /// Derives its key from the installation's secret.
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, KEY_NAME).as_ref()))
    }

    /// The intent that this key of this customer names.
    #[must_use]
    pub fn name(&self, tenant: &str, customer_scope: &str, key: &IdempotencyKey) -> IntentId {
        let mut hash = hmac::Context::with_key(&self.0);
        for part in [tenant, customer_scope, &key.0] {
            // The length first: ("ab", "c") and ("a", "bc") are two names.
            hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut bytes = [0_u8; 32];
        bytes.copy_from_slice(hash.sign().as_ref());
        ids::from_hash(&bytes).into()
    }
}

/// SHA-256 of the wish in canonical form: keys sorted, no spaces, nothing that has its default value. So a field that is
/// left out and the same field sent with its default are one wish, and a key that was used before a release with a new
/// field still names the same wish after it.
#[must_use]
pub fn fingerprint(body: &OrderIntentBody) -> [u8; 32] {
    let mut bytes = [0_u8; 32];
    bytes.copy_from_slice(digest(&SHA256, &canonical(VERSION, body)).as_ref());
    bytes
}

/// The bytes of a text in hex; none where it is no such text.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

/// Bytes in hex, as an accepted intent carries its fingerprint.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey::read(Some(text.as_bytes())).unwrap()
    }

    fn body(extra: &Value) -> OrderIntentBody {
        let mut body = json!({
            "cart_id": "cart_42",
            "customer": {"id": "cus_7", "email": "a@example.com", "name": "A. Buyer"},
            "currency": "USD",
            "lines": [{"sku": "SUIT-42R", "quantity": 1}],
            "shipping_address": {"name": "A. Buyer", "address_line1": "123 Main St", "city": "Kathmandu", "country": "NP"},
        });
        for (field, value) in extra.as_object().unwrap() {
            body[field] = value.clone();
        }
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn keys_are_visible_ascii_up_to_255() {
        assert_eq!(IdempotencyKey::read(None), Err(BadKey::Missing));
        assert_eq!(IdempotencyKey::read(Some(b"")), Err(BadKey::Missing));
        assert!(IdempotencyKey::read(Some(&[b'~'; 255])).is_ok());
        assert_eq!(IdempotencyKey::read(Some(&[b'~'; 256])), Err(BadKey::TooLong));
        for bad in ["a b", "a\tb", "\u{7f}", "schlüssel"] {
            assert_eq!(IdempotencyKey::read(Some(bad.as_bytes())), Err(BadKey::NotVisible), "{bad:?}");
        }
    }

    #[test]
    fn the_name_depends_on_every_part_and_on_nothing_else() {
        let names = IntentNames::new(&"a secret of at least thirty-two characters".to_owned().into());
        let name = names.name("shop", "cus_7", &key("k1"));
        assert_eq!(names.name("shop", "cus_7", &key("k1")), name);
        for (tenant, customer, k) in [
            ("shop2", "cus_7", "k1"),
            ("shop", "cus_8", "k1"),
            ("shop", "cus_7", "k2"),
            ("shopc", "us_7", "k1"),
        ] {
            assert_ne!(names.name(tenant, customer, &key(k)), name);
        }
        let other = IntentNames::new(&"another secret of thirty-two characters".to_owned().into());
        assert_ne!(other.name("shop", "cus_7", &key("k1")), name);
    }

    #[test]
    fn defaults_and_order_of_fields_make_no_difference() {
        let plain = fingerprint(&body(&json!({})));
        let explicit = fingerprint(&body(&json!({
            "metadata": {}, "on_shortage": "reject_all", "priority": "normal", "payment_provider": "stripe",
            "shipping_method": "standard", "discount_code": null, "billing_address": null, "expected_total": null,
            "lines": [{"attributes": {}, "quantity": 1, "sku": "SUIT-42R"}],
        })));
        assert_eq!(plain, explicit);
    }

    /// Another form here is another fingerprint for every key in use: raise [`VERSION`] only knowing that.
    #[test]
    fn the_canonical_form_is_this_for_ever() {
        let form = concat!(
            "\u{1}",
            r#"{"cart_id":"cart_42","currency":"USD","#,
            r#""customer":{"email":"a@example.com","id":"cus_7","name":"A. Buyer",},"#,
            r#""lines":[{"quantity":1,"sku":"SUIT-42R",},],"#,
            r#""shipping_address":{"address_line1":"123 Main St","city":"Kathmandu","country":"NP","name":"A. Buyer",},}"#,
        );
        assert_eq!(String::from_utf8(canonical(VERSION, &body(&json!({})))).unwrap(), form);
    }

    #[test]
    fn every_change_of_the_wish_makes_a_difference() {
        let plain = fingerprint(&body(&json!({})));
        for change in [
            json!({"priority": "rush"}),
            json!({"expected_total": 0}),
            json!({"metadata": {"gift": null}}),
            json!({"lines": [{"sku": "SUIT-42R", "quantity": 2}]}),
            json!({"cart_id": "cart_43"}),
        ] {
            assert_ne!(fingerprint(&body(&change)), plain, "{change}");
        }
    }

    #[test]
    fn hex_is_lower_case_and_complete() {
        assert_eq!(hex(&[0, 0x0f, 0xff]), "000fff");
    }
}
