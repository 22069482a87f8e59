//! A customer's token: a JWT that the shop's own log-in signed, so that a browser can see and cancel its customer's orders.
//!
//! What a token says of its own algorithm is never believed: a key is of one kind, and is only ever tried with that kind's
//! algorithm. So `none` opens nothing, and a public key never passes for a shared secret. Nothing here knows the time: it
//! is a parameter. Nothing here may say more of a refused token than its cause, or show a key.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::{hmac, signature};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{Principal, Role};

mod der;
#[cfg(test)]
mod tests;

/// The longest token that is looked at: log-ins that put whole profiles into theirs stay under it.
const LONGEST: usize = 8 * 1024;
/// The longest name of a customer or tenant: what the order's own field takes.
const LONGEST_NAME: usize = 255;
/// The shortest shared secret: as long as the digest, or it is the weaker of the two (RFC 7518, 3.2).
const SHORTEST_SECRET: usize = 32;
/// What a customer without an account is named by in our books; no log-in may name one so.
const GUEST: &str = "guest:";

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no JWT.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// No key of ours is of the kind that it claims to be signed with.
    #[error("the token is signed in a way that is not taken here")]
    Algorithm,
    /// No key of ours made the signature, or the token was changed.
    #[error("no key of ours made the token's signature")]
    Signature,
    /// Its time is over.
    #[error("the token has expired: log in again")]
    Expired,
    /// Its time has not begun.
    #[error("the token is not valid yet: one of the clocks is wrong")]
    TooEarly,
    /// It was made by or for somebody else.
    #[error("the token is not meant for this shop: its {0} is another")]
    Foreign(&'static str),
}

impl Refused {
    /// The cause, as a word for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(_) => "token_malformed",
            Self::Algorithm => "token_algorithm",
            Self::Signature => "token_signature",
            Self::Expired => "token_expired",
            Self::TooEarly => "token_not_yet",
            Self::Foreign(_) => "token_foreign",
        }
    }
}

/// Why tokens can't be verified with these settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The n-th shared secret is guessable.
    #[error("secret {0} has less than {SHORTEST_SECRET} letters: openssl rand -base64 48")]
    Short(usize),
    /// The n-th public key is none.
    #[error("public key {0} is no RSA public key of 2048 bits or more as PEM (-----BEGIN PUBLIC KEY-----)")]
    NotRsa(usize),
}

/// What customers' tokens are verified with.
pub struct Tokens {
    secrets: Vec<hmac::Key>,
    public_keys: Vec<Vec<u8>>,
    issuer: String,
    audience: String,
    tenant: String,
    leeway_seconds: i64,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("secrets", &self.secrets.len())
            .field("public_keys", &self.public_keys.len())
            .finish_non_exhaustive()
    }
}

/// What is told of the keys and of whom tokens must be by and for.
#[derive(Clone, Debug, Default)]
pub struct Trust<'a> {
    /// Shared secrets, for HS256; several while one is rotated.
    pub secrets: &'a [SecretString],
    /// RSA public keys as PEM, for RS256; several while one is rotated.
    pub public_keys: &'a [String],
    /// Whose tokens they have to be (`iss`); empty is anybody's who has a key.
    pub issuer: &'a str,
    /// For whom they have to be (`aud`); empty is for anybody.
    pub audience: &'a str,
    /// The only tenant that the keys sign for; empty is any, which is for one log-in that serves several shops.
    pub tenant: &'a str,
    /// How far clocks may be apart.
    pub leeway_seconds: i64,
}

impl Tokens {
    /// Takes the keys, or says which is none. Without any, every token is refused.
    pub fn new(trust: &Trust<'_>) -> Result<Self, BadKey> {
        let secret = |(n, secret): (usize, &SecretString)| {
            let bytes = secret.expose_secret().as_bytes();
            if bytes.len() < SHORTEST_SECRET || bytes.starts_with(b"-----BEGIN") {
                return Err(BadKey::Short(n + 1));
            }
            Ok(hmac::Key::new(hmac::HMAC_SHA256, bytes))
        };
        let public_key = |(n, pem): (usize, &String)| der::rsa_public_key(pem).ok_or(BadKey::NotRsa(n + 1));
        Ok(Self {
            secrets: trust.secrets.iter().enumerate().map(secret).collect::<Result<_, _>>()?,
            public_keys: trust.public_keys.iter().enumerate().map(public_key).collect::<Result<_, _>>()?,
            issuer: trust.issuer.to_owned(),
            audience: trust.audience.to_owned(),
            tenant: trust.tenant.to_owned(),
            leeway_seconds: trust.leeway_seconds,
        })
    }

    /// The customer whom a token names, at this time (unix seconds). The signature is judged before anything that it signs.
    pub fn verify(&self, token: &str, now: i64) -> Result<Principal, Refused> {
        if token.len() > LONGEST {
            return Err(Refused::Malformed("too long"));
        }
        let mut parts = token.split('.');
        let (Some(head), Some(body), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refused::Malformed("not three parts"));
        };
        let signed = token.get(..head.len() + 1 + body.len()).unwrap_or_default();
        let signature = decoded(signature)?;
        self.check(&json(head)?, signed.as_bytes(), &signature)?;
        self.customer(&json(body)?, now)
    }

    /// Compares the signature, with every key of the kind that the head names and with no other.
    fn check(&self, head: &Value, signed: &[u8], signature: &[u8]) -> Result<(), Refused> {
        if head.get("crit").is_some() {
            return Err(Refused::Malformed("it asks for what is not known here"));
        }
        let is_made_by_us = match head.get("alg").and_then(Value::as_str) {
            Some("HS256") if !self.secrets.is_empty() => {
                self.secrets.iter().any(|key| hmac::verify(key, signed, signature).is_ok())
            }
            Some("RS256") if !self.public_keys.is_empty() => self.public_keys.iter().any(|key| {
                let key = signature::UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, key);
                key.verify(signed, signature).is_ok()
            }),
            _ => return Err(Refused::Algorithm),
        };
        if is_made_by_us { Ok(()) } else { Err(Refused::Signature) }
    }

    /// Whom the claims name, if it is their time and our shop.
    fn customer(&self, claims: &Value, now: i64) -> Result<Principal, Refused> {
        let ends = seconds(claims, "exp")?.ok_or(Refused::Malformed("no exp"))?;
        if now >= ends.saturating_add(self.leeway_seconds) {
            return Err(Refused::Expired);
        }
        if seconds(claims, "nbf")?.is_some_and(|begins| now < begins.saturating_sub(self.leeway_seconds)) {
            return Err(Refused::TooEarly);
        }
        if !self.issuer.is_empty() && claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(Refused::Foreign("iss"));
        }
        if !self.audience.is_empty() && !is_for(claims.get("aud"), &self.audience) {
            return Err(Refused::Foreign("aud"));
        }
        let subject = name(claims, "sub").ok_or(Refused::Malformed("no sub"))?;
        if subject.starts_with(GUEST) {
            return Err(Refused::Malformed("its sub is no customer"));
        }
        let tenant = name(claims, "tenant").ok_or(Refused::Malformed("no tenant"))?;
        if !self.tenant.is_empty() && tenant != self.tenant {
            return Err(Refused::Foreign("tenant"));
        }
        Ok(Principal { tenant, role: Role::Customer, subject: Some(subject), key: None })
    }
}

/// Reads the value of an `Authorization` header as a token: three parts with dots between. A key of ours has no dot.
#[must_use]
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && token.contains('.')).then_some(token)
}

fn decoded(part: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed("not base64url"))
}

fn json(part: &str) -> Result<Value, Refused> {
    serde_json::from_slice(&decoded(part)?).map_err(|_| Refused::Malformed("not JSON"))
}

/// A time in whole seconds; log-ins that write fractions are taken at their whole part. Another type is no time.
fn seconds(claims: &Value, name: &str) -> Result<Option<i64>, Refused> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.to_string();
    let whole = whole.split('.').next().and_then(|whole| whole.parse().ok());
    whole.filter(|_| value.is_number()).map(Some).ok_or(Refused::Malformed("a time is no number"))
}

fn name(claims: &Value, claim: &str) -> Option<String> {
    let text = claims.get(claim)?.as_str()?;
    let is_name = (1..=LONGEST_NAME).contains(&text.len()) && !text.chars().any(char::is_control);
    is_name.then(|| text.to_owned())
}

/// `aud` is one name or a list of them.
fn is_for(audience: Option<&Value>, ours: &str) -> bool {
    match audience {
        Some(Value::String(one)) => one == ours,
        Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(ours)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    }
}

/// The body of a PEM block of this label.
fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let body = text.trim().strip_prefix(&begin)?.strip_suffix(&end)?;
    let letters: String = body.split_whitespace().collect();
    STANDARD.decode(letters).ok()
}
