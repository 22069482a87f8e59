//! Payment providers that are known by their settings alone: how they sign, what their messages say, where they are asked.
//!
//! Words are read here into what they mean, so that nobody behind the settings compares texts; whether they fit together
//! is judged by the rules. Derived errors would quote what was given, which may be a secret on the wrong line.

use secrecy::SecretString;
use serde::Deserialize;

/// One provider.
#[derive(Clone, Debug, Deserialize)]
pub struct PaymentProviderSettings {
    /// The currencies that it takes, by their ISO 4217 codes; empty is every one.
    pub currencies: Vec<String>,
    /// What proves that money moved.
    pub confirm_by: ConfirmBy,
    /// Where the customer pays.
    pub page: PageSettings,
    /// How its webhooks prove themselves.
    pub signature: SignatureSettings,
    /// What its webhooks say.
    pub event: ReadingSettings,
    /// Where it is asked how a payment stands.
    pub status: StatusSettings,
}

impl PaymentProviderSettings {
    /// Whether it can be asked how a payment stands.
    #[must_use]
    pub const fn can_be_asked(&self) -> bool {
        !self.status.url.is_empty()
    }
}

/// Where the customer pays.
#[derive(Clone, Debug, Deserialize)]
pub struct PageSettings {
    /// A URL with places such as `{reference}`; empty where the shop knows by itself.
    pub url: String,
    /// `name=value` to be posted there, with the same places.
    pub form: Vec<String>,
    /// What the place `{signature}` is made of.
    pub signs: String,
}

/// How webhooks prove themselves.
#[derive(Clone, Debug, Deserialize)]
pub struct SignatureSettings {
    /// How it is made.
    pub algorithm: Algorithm,
    /// Shared secrets, for HMAC.
    pub secrets: Vec<SecretString>,
    /// PEM, for RSA.
    pub public_keys: Vec<String>,
    /// Where the message is.
    pub message: Message,
    /// Where the signature is.
    pub place: Place,
    /// What stands before it there.
    pub prefix: String,
    /// How its bytes are written.
    pub encoding: Encoding,
    /// What is signed, of `{body}`, `{timestamp}` and `{fields}`.
    pub signs: String,
    /// Where the time of signing is, in unix seconds; none where it is not told.
    #[serde(deserialize_with = "place_or_none")]
    pub timestamp: Option<Place>,
    /// How far that time may be from ours, both ways.
    pub tolerance_seconds: i64,
    /// The names of `{fields}`, in order; `*` is all of them, sorted.
    pub fields: Vec<String>,
    /// A JSON pointer to their names, with commas between; empty where they are fixed.
    pub fields_named_by: String,
    /// What `*` leaves out.
    pub fields_without: Vec<String>,
    /// Names that must be among them.
    pub fields_required: Vec<String>,
    /// One field, of `{name}` and `{value}`.
    pub pair: String,
    /// What stands between two.
    pub join: String,
}

/// What a message says, by JSON pointers.
#[derive(Clone, Debug, Deserialize)]
pub struct ReadingSettings {
    /// The event's id; empty where the message itself is its name. An answer has none.
    #[serde(default)]
    pub id: String,
    /// Our reference.
    pub reference: String,
    /// The word that tells how the payment stands.
    pub status: String,
    /// Words for: the money is ours.
    pub paid: Vec<String>,
    /// Words for: it will not be paid.
    pub failed: Vec<String>,
    /// What came in.
    pub amount: String,
    /// What it counts.
    pub unit: Unit,
    /// The amount's currency; empty where the provider does not say it.
    pub currency: String,
}

/// Where a provider is asked how a payment stands.
#[derive(Clone, Debug, Deserialize)]
pub struct StatusSettings {
    /// A URL with places; empty where there is none.
    pub url: String,
    /// Sent as `Authorization: Bearer`; blank sends nothing.
    pub bearer: SecretString,
    /// The longest call.
    pub timeout_ms: u64,
    /// What the answer says.
    #[serde(flatten)]
    pub answer: ReadingSettings,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $refusal:literal { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
        #[serde(try_from = "String")]
        pub enum $name { $($(#[$of])* $variant,)* }

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(word: String) -> Result<Self, Self::Error> {
                match word.as_str() {
                    $($word => Ok(Self::$variant),)*
                    _ => Err($refusal),
                }
            }
        }
    };
}

words! {
    /// What proves that money moved.
    ConfirmBy, "must be webhook or status" {
        /// A signed message.
        Webhook = "webhook",
        /// The answer of the status route.
        Status = "status",
    }
}

words! {
    /// How a signature is made.
    Algorithm, "must be hmac-sha256, rsa-sha256 or rsa-pss-sha256" {
        /// By a shared secret.
        HmacSha256 = "hmac-sha256",
        /// By a key pair of theirs, padded by PKCS #1 v1.5.
        RsaSha256 = "rsa-sha256",
        /// By a key pair of theirs, padded by PSS.
        RsaPssSha256 = "rsa-pss-sha256",
    }
}

words! {
    /// How the bytes of a signature are written.
    Encoding, "must be hex or base64" {
        /// Hexadecimal letters, small or capital.
        Hex = "hex",
        /// The usual alphabet, padded.
        Base64 = "base64",
    }
}

words! {
    /// What an amount counts.
    Unit, "must be major or minor" {
        /// The currency's units, with decimals: `129.00`.
        Major = "major",
        /// Its minor units: `12900`.
        Minor = "minor",
    }
}

/// Where the message is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Message {
    /// The body, as JSON.
    Body,
    /// This part of the query, as base64 of JSON.
    Query(String),
}

impl TryFrom<String> for Message {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.split_once(':') {
            None if text == "body" => Ok(Self::Body),
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            _ => Err("must be body or query:NAME"),
        }
    }
}

/// Where a part of the proof is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Place {
    /// A header, by its name in small letters.
    Header(String),
    /// A field of the message, by its JSON pointer.
    Field(String),
}

impl TryFrom<String> for Place {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.split_once(':') {
            Some(("header", name)) if is_token(name) => Ok(Self::Header(name.to_ascii_lowercase())),
            Some(("field", pointer)) if pointer.starts_with('/') => Ok(Self::Field(pointer.to_owned())),
            _ => Err("must be header:NAME or field:/POINTER"),
        }
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn place_or_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Place>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    Place::try_from(text).map(Some).map_err(serde::de::Error::custom)
}
