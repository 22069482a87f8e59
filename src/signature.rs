//! Proof that a webhook comes from the provider: over the raw bytes, before anything reads them.
//!
//! The libraries of both providers disagree among themselves on odd headers, and several of them accept an empty secret;
//! here what is odd is refused, and a blank secret stops the start. Every refusal has a cause, so that
//! a person can be told why. Nothing here knows the time: it is a parameter. Nothing here may parse a
//! body, compare digests in another way than in constant time, or show a secret.

mod configured;
mod easypost;
mod public_key;
mod template;

use ring::hmac;

pub use configured::{Configured, Letter};
pub use easypost::EasyPostSignature;
pub use template::Template;

/// Signatures in one header, at most: Stripe sends one for each living secret, and a secret lives 24 hours after its
/// successor was made. More are somebody's guesses.
const MOST_SIGNATURES: usize = 10;
/// Digits of a time stamp, at most: unix seconds have ten until the year 2286.
const MOST_DIGITS: usize = 12;
/// A SHA-256 in hex.
const HEX_DIGITS: usize = 64;

/// Why a webhook was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request has no signature header.
    #[error("there is no signature header")]
    Missing,
    /// A part of the header is not what the provider writes.
    #[error("the signature header is malformed: {0}")]
    Malformed(&'static str),
    /// The header has no signature of the scheme that we accept; others are ignored, lest they weaken it.
    #[error("the header has no signature of the scheme {0}")]
    NoScheme(&'static str),
    /// No secret of ours makes any of the signatures: another secret, or a changed body.
    #[error(
        "no secret of ours makes this signature: it was made with another, or the body was changed on its way"
    )]
    Mismatch,
    /// Authentic, but signed too long ago: a replay, or a slow clock over there.
    #[error("authentic, but signed {age_seconds} s ago; {tolerance_seconds} s are allowed")]
    TooOld {
        /// How long ago.
        age_seconds: i64,
        /// How long is allowed.
        tolerance_seconds: i64,
    },
    /// Authentic, but signed in the future: one of the clocks is wrong.
    #[error("authentic, but signed {ahead_seconds} s ahead of our clock; {tolerance_seconds} s are allowed")]
    TooNew {
        /// How far ahead.
        ahead_seconds: i64,
        /// How far is allowed.
        tolerance_seconds: i64,
    },
}

impl Refused {
    /// The reason in one word; stable, for metrics and scripts.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed(_) => "malformed",
            Self::NoScheme(_) => "no_scheme",
            Self::Mismatch => "mismatch",
            Self::TooOld { .. } => "too_old",
            Self::TooNew { .. } => "too_new",
        }
    }
}

/// Why nothing can be verified with these settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// There is none.
    #[error("there is no webhook secret")]
    None,
    /// One is blank: a signature made with an empty key is anybody's.
    #[error("webhook secret number {0} is blank")]
    Blank(usize),
    /// The tolerance is negative.
    #[error("the tolerance of {0} s is negative")]
    Tolerance(i64),
    /// One is no key that a signature can be verified with.
    #[error("public key number {0} is not an RSA key in PEM (-----BEGIN PUBLIC KEY-----)")]
    PublicKey(usize),
    /// A template has a place that there is not, or half a brace.
    #[error("{0:?} has a place that nobody fills")]
    Template(String),
}

/// Verifies Stripe's header `Stripe-Signature: t=<unix seconds>,v1=<hex>[,v1=<hex>…]`.
#[derive(Clone, Debug)]
pub struct StripeSignature {
    keys: Vec<hmac::Key>,
    tolerance_seconds: i64,
}

impl StripeSignature {
    /// Accepts any of these secrets (`whsec_…`, used literally); the time may differ by `tolerance_seconds` both ways.
    pub fn new<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        tolerance_seconds: i64,
    ) -> Result<Self, BadSecret> {
        if tolerance_seconds < 0 {
            return Err(BadSecret::Tolerance(tolerance_seconds));
        }
        Ok(Self { keys: keys(secrets, str::to_owned)?, tolerance_seconds })
    }

    /// Whether Stripe signed exactly these bytes not long before or after `now`, in unix seconds.
    pub fn verify(&self, header: Option<&[u8]>, body: &[u8], now: i64) -> Result<(), Refused> {
        let StripeHeader { time, digits, signatures } = StripeHeader::parse(header.ok_or(Refused::Missing)?)?;
        let signed = [digits, b".", body].concat();
        if !any_matches(&self.keys, &signed, &signatures) {
            return Err(Refused::Mismatch);
        }
        timely(time, now, self.tolerance_seconds)
    }
}

/// Whether something was signed not long before or after `now`.
fn timely(time: i64, now: i64, tolerance_seconds: i64) -> Result<(), Refused> {
    let age_seconds = now.saturating_sub(time);
    if age_seconds > tolerance_seconds {
        return Err(Refused::TooOld { age_seconds, tolerance_seconds });
    }
    let ahead_seconds = time.saturating_sub(now);
    if ahead_seconds > tolerance_seconds {
        return Err(Refused::TooNew { ahead_seconds, tolerance_seconds });
    }
    Ok(())
}

struct StripeHeader<'a> {
    time: i64,
    /// The time as it was written, because that is what was signed.
    digits: &'a [u8],
    signatures: Vec<[u8; 32]>,
}

impl<'a> StripeHeader<'a> {
    fn parse(header: &'a [u8]) -> Result<Self, Refused> {
        let mut digits = None;
        let mut signatures = Vec::new();
        for part in header.split(|byte| *byte == b',') {
            let mut halves = part.splitn(2, |byte| *byte == b'=');
            let (Some(name), Some(value)) = (halves.next(), halves.next()) else {
                return Err(Refused::Malformed("a part is not name=value"));
            };
            match name {
                b"t" if digits.replace(value).is_some() => return Err(Refused::Malformed("two times")),
                b"v1" if signatures.len() == MOST_SIGNATURES => {
                    return Err(Refused::Malformed("too many signatures"));
                }
                b"v1" => signatures.push(digest(value)?),
                // v0 is sent with test events as a decoy; whatever is not v1 proves nothing.
                _ => {}
            }
        }
        let digits = digits.ok_or(Refused::Malformed("no time"))?;
        if signatures.is_empty() {
            return Err(Refused::NoScheme("v1"));
        }
        Ok(Self { time: unix_seconds(digits)?, digits, signatures })
    }
}

fn unix_seconds(digits: &[u8]) -> Result<i64, Refused> {
    let plain = !digits.is_empty() && digits.len() <= MOST_DIGITS && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| plain);
    text.and_then(|text| text.parse().ok()).ok_or(Refused::Malformed("the time is not in unix seconds"))
}

fn keys<'a>(
    secrets: impl IntoIterator<Item = &'a str>,
    form: fn(&str) -> String,
) -> Result<Vec<hmac::Key>, BadSecret> {
    let mut keys = Vec::new();
    for (index, secret) in secrets.into_iter().enumerate() {
        if secret.trim().is_empty() {
            return Err(BadSecret::Blank(index + 1));
        }
        keys.push(hmac::Key::new(hmac::HMAC_SHA256, form(secret).as_bytes()));
    }
    if keys.is_empty() { Err(BadSecret::None) } else { Ok(keys) }
}

fn any_matches(keys: &[hmac::Key], signed: &[u8], signatures: &[[u8; 32]]) -> bool {
    keys.iter().any(|key| signatures.iter().any(|signature| hmac::verify(key, signed, signature).is_ok()))
}

/// Reads 64 small hex digits: what both providers write, and nothing else.
fn digest(hex: &[u8]) -> Result<[u8; 32], Refused> {
    let mut bytes = [0_u8; 32];
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(Refused::Malformed("the signature is not in small hex digits")),
    };
    if hex.len() != HEX_DIGITS {
        return Err(Refused::Malformed("the signature has not 64 digits"));
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
