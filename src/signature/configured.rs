//! A provider's webhooks that are proved as its settings say: where the signature is, how it is made and over what.
//!
//! Where the proof stands in headers, the bytes are verified before anything reads them. Where the provider puts it into
//! the message itself there is nothing to verify before that is read; then nothing of it is believed until it is. A
//! webhook without a time can be replayed by whoever has seen it: what is taken in has to be known by its event.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{hmac, signature};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::public_key::rsa;
use super::template::Template;
use super::{BadSecret, Refused, keys, timely, unix_seconds};
use crate::config::{Algorithm, Encoding, Message, Place, SignatureSettings};

/// Every field of the message, sorted by name.
const ALL: &str = "*";
/// The longest signature as it is written: RSA of 8192 bits in hex.
const LONGEST: usize = 2_048;

/// What came.
#[derive(Clone, Copy)]
pub struct Letter<'a> {
    /// The header of this name in small letters, where there is one.
    pub header: &'a dyn Fn(&str) -> Option<&'a [u8]>,
    /// The part of the query that holds the message, decoded from its percent signs.
    pub query: Option<&'a str>,
    /// The body, byte for byte.
    pub body: &'a [u8],
}

/// Verifies the webhooks of one configured provider.
#[derive(Clone, Debug)]
pub struct Configured {
    proof: Proof,
    message: Message,
    place: Place,
    prefix: String,
    encoding: Encoding,
    signs: Template<Signed>,
    timestamp: Option<Place>,
    tolerance_seconds: i64,
    fields: Fields,
}

#[derive(Clone, Debug)]
enum Proof {
    Secrets(Vec<hmac::Key>),
    PublicKeys(&'static signature::RsaParameters, Vec<Vec<u8>>),
}

/// What can be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signed {
    Body,
    Timestamp,
    Fields,
}

/// Which fields are signed, and how they are written.
#[derive(Clone, Debug)]
struct Fields {
    names: Vec<String>,
    named_by: String,
    without: BTreeSet<String>,
    required: Vec<String>,
    pair: Template<Half>,
    join: String,
}

#[derive(Clone, Copy, Debug)]
enum Half {
    Name,
    Value,
}

impl Configured {
    /// A verifier with these settings.
    pub fn new(settings: &SignatureSettings) -> Result<Self, BadSecret> {
        if settings.tolerance_seconds < 0 {
            return Err(BadSecret::Tolerance(settings.tolerance_seconds));
        }
        let signs = Template::read(&settings.signs, |name| match name {
            "body" => Some(Signed::Body),
            "timestamp" => Some(Signed::Timestamp),
            "fields" => Some(Signed::Fields),
            _ => None,
        })?;
        let pair = Template::read(&settings.pair, |name| match name {
            "name" => Some(Half::Name),
            "value" => Some(Half::Value),
            _ => None,
        })?;
        Ok(Self {
            proof: Proof::new(settings)?,
            message: settings.message.clone(),
            place: settings.place.clone(),
            prefix: settings.prefix.clone(),
            encoding: settings.encoding,
            signs,
            timestamp: settings.timestamp.clone(),
            tolerance_seconds: settings.tolerance_seconds,
            fields: Fields {
                names: settings.fields.clone(),
                named_by: settings.fields_named_by.clone(),
                without: settings.fields_without.iter().cloned().collect(),
                required: settings.fields_required.clone(),
                pair,
                join: settings.join.clone(),
            },
        })
    }

    /// The name of the part of the query that holds the message; none where the body is the message.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        match &self.message {
            Message::Body => None,
            Message::Query(name) => Some(name),
        }
    }

    /// The message, where the provider signed exactly this not long before or after `now`, in unix seconds.
    pub fn open(&self, letter: &Letter<'_>, now: i64) -> Result<Value, Refused> {
        let raw = self.raw(letter)?;
        let inside = if self.reads_first() { read(&raw)? } else { Value::Null };
        let written = text_at(&self.place, letter, &inside)?.ok_or(Refused::Missing)?;
        let signature = self.bytes(&written)?;
        let time = match &self.timestamp {
            Some(place) => text_at(place, letter, &inside)?.ok_or(Refused::Malformed("no time"))?,
            None => Vec::new(),
        };
        let fields = if self.signs.has(|part| part == Signed::Fields) {
            self.fields.written(&inside)?
        } else {
            String::new()
        };
        let signed = self.signs.bytes(|part| match part {
            Signed::Body => &raw,
            Signed::Timestamp => &time,
            Signed::Fields => fields.as_bytes(),
        });
        if !self.proof.holds(&signed, &signature) {
            return Err(Refused::Mismatch);
        }
        if self.timestamp.is_some() {
            timely(unix_seconds(&time)?, now, self.tolerance_seconds)?;
        }
        if self.reads_first() { Ok(inside) } else { read(&raw) }
    }

    /// What we hand the customer, signed as the provider asks for; none where only the provider can sign.
    #[must_use]
    pub fn sign(&self, text: &str) -> Option<String> {
        let Proof::Secrets(keys) = &self.proof else { return None };
        let tag = hmac::sign(keys.first()?, text.as_bytes());
        Some(match self.encoding {
            Encoding::Hex => tag.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")),
            Encoding::Base64 => STANDARD.encode(tag),
        })
    }

    /// Whether some of the proof is in the message.
    fn reads_first(&self) -> bool {
        let is_inside = |place: &Place| matches!(place, Place::Field(_));
        is_inside(&self.place)
            || self.timestamp.as_ref().is_some_and(is_inside)
            || self.signs.has(|part| part == Signed::Fields)
    }

    fn raw(&self, letter: &Letter<'_>) -> Result<Vec<u8>, Refused> {
        match &self.message {
            Message::Body => Ok(letter.body.to_vec()),
            Message::Query(_) => {
                // A plus that was not written as %2B has come as a space.
                let text =
                    letter.query.ok_or(Refused::Malformed("no message in the query"))?.replace(' ', "+");
                STANDARD.decode(text).map_err(|_| Refused::Malformed("the message is not base64"))
            }
        }
    }

    fn bytes(&self, written: &[u8]) -> Result<Vec<u8>, Refused> {
        let digits = written
            .strip_prefix(self.prefix.as_bytes())
            .ok_or(Refused::Malformed("the signature has another beginning"))?;
        if digits.len() > LONGEST {
            return Err(Refused::Malformed("the signature is too long"));
        }
        match self.encoding {
            Encoding::Hex => hex(digits).ok_or(Refused::Malformed("the signature is not in hex")),
            Encoding::Base64 => {
                STANDARD.decode(digits).map_err(|_| Refused::Malformed("the signature is not base64"))
            }
        }
    }
}

impl Proof {
    fn new(settings: &SignatureSettings) -> Result<Self, BadSecret> {
        let padding = match settings.algorithm {
            Algorithm::HmacSha256 => {
                let secrets = settings.secrets.iter().map(ExposeSecret::expose_secret);
                return Ok(Self::Secrets(keys(secrets, str::to_owned)?));
            }
            Algorithm::RsaSha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        };
        let numbered = settings.public_keys.iter().zip(1..);
        let keys: Result<Vec<_>, _> =
            numbered.map(|(pem, number)| rsa(pem).ok_or(BadSecret::PublicKey(number))).collect();
        let keys = keys?;
        if keys.is_empty() { Err(BadSecret::None) } else { Ok(Self::PublicKeys(padding, keys)) }
    }

    fn holds(&self, signed: &[u8], given: &[u8]) -> bool {
        match self {
            Self::Secrets(keys) => keys.iter().any(|key| hmac::verify(key, signed, given).is_ok()),
            Self::PublicKeys(padding, keys) => keys
                .iter()
                .any(|key| signature::UnparsedPublicKey::new(*padding, key).verify(signed, given).is_ok()),
        }
    }
}

impl Fields {
    /// The fields of a message, as they are signed.
    fn written(&self, message: &Value) -> Result<String, Refused> {
        let object = message.as_object().ok_or(Refused::Malformed("the message is not an object"))?;
        let names: Vec<&str> = if self.names.iter().any(|name| name == ALL) {
            let mut all: Vec<&str> = object.keys().map(String::as_str).collect();
            all.retain(|name| !self.without.contains(*name));
            all.sort_unstable();
            all
        } else if self.named_by.is_empty() {
            self.names.iter().map(String::as_str).collect()
        } else {
            let named = message.pointer(&self.named_by).and_then(Value::as_str);
            named
                .ok_or(Refused::Malformed("the message does not name its signed fields"))?
                .split(',')
                .collect()
        };
        if !self.required.iter().all(|name| names.contains(&name.as_str())) {
            return Err(Refused::Malformed("a field that has to be signed is not"));
        }
        let pairs: Result<Vec<String>, Refused> = names
            .into_iter()
            .map(|name| {
                let value = object.get(name).and_then(plain);
                let value = value.ok_or(Refused::Malformed("a signed field is missing or no plain value"))?;
                Ok(self.pair.text(|half| match half {
                    Half::Name => name.to_owned(),
                    Half::Value => value.clone(),
                }))
            })
            .collect();
        Ok(pairs?.join(&self.join))
    }
}

fn text_at(place: &Place, letter: &Letter<'_>, message: &Value) -> Result<Option<Vec<u8>>, Refused> {
    match place {
        Place::Header(name) => Ok((letter.header)(name).map(<[u8]>::to_vec)),
        Place::Field(pointer) => {
            let Some(value) = message.pointer(pointer) else { return Ok(None) };
            let text = plain(value).ok_or(Refused::Malformed("a part of the proof is no plain value"))?;
            Ok(Some(text.into_bytes()))
        }
    }
}

/// A plain value as it was written.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn read(raw: &[u8]) -> Result<Value, Refused> {
    serde_json::from_slice(raw).map_err(|_| Refused::Malformed("the message is not JSON"))
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(value(high)? << 4 | value(low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests;
