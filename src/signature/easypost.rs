//! EasyPost's proofs: the first signs the body alone, the second its time, method and path, too.
//!
//! The first is what EasyPost documents and its official clients verify. The second is named in its support article "Webhook
//! HMAC Validation"; what is signed, `<X-Timestamp><METHOD><X-Path><body>`, is told by independent receivers only, and no
//! official client verifies it. So it stands behind a switch and is no gate: it may prove what the first does not, and
//! never refuses what the first proves.

use ring::hmac;
use unicode_normalization::UnicodeNormalization;

use super::{BadSecret, Refused, any_matches, digest, keys, timely};

/// What EasyPost writes before either digest.
const SCHEME: &[u8] = b"hmac-sha256-hex=";
/// Where the first proof is: over the body.
const BODY_PROOF: &str = "x-hmac-signature";
/// Where the second is.
const TIMED_PROOF: &str = "x-hmac-signature-v2";
/// When the second was made, as in mails (RFC 2822).
const TIME: &str = "x-timestamp";
/// The path that it was sent to.
const PATH: &str = "x-path";
/// How webhooks are sent.
const METHOD: &[u8] = b"POST";
/// How far the second's time may be from ours, in seconds and both ways: EasyPost names no window; this is Stripe's.
const TOLERANCE_SECONDS: i64 = 300;

/// Verifies EasyPost's header `X-Hmac-Signature: hmac-sha256-hex=<hex>`, and, where it is switched on, `X-Hmac-Signature-V2`.
///
/// The first carries no time: a recorded request stays valid for ever, so whoever takes one in must know it by its event id.
#[derive(Clone, Debug)]
pub struct EasyPostSignature {
    keys: Vec<hmac::Key>,
    timed: bool,
}

impl EasyPostSignature {
    /// Accepts any of these secrets; EasyPost signs with their decomposed form (NFKD). `timed` lets the second proof do where
    /// the first does not hold.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>, timed: bool) -> Result<Self, BadSecret> {
        Ok(Self { keys: keys(secrets, |secret| secret.nfkd().collect())?, timed })
    }

    /// Whether EasyPost signed exactly these bytes; `now` is in unix seconds, headers are asked for in small letters.
    pub fn verify<'a>(
        &self,
        header: impl Fn(&str) -> Option<&'a [u8]>,
        body: &[u8],
        now: i64,
    ) -> Result<(), Refused> {
        let first = self.holds(header(BODY_PROOF), body);
        match (first, header(TIMED_PROOF)) {
            (Err(Refused::Missing), Some(second)) if self.timed => self.timed(second, header, body, now),
            (Err(refused), Some(second)) if self.timed => {
                self.timed(second, header, body, now).or(Err(refused))
            }
            (first, _) => first,
        }
    }

    fn timed<'a>(
        &self,
        proof: &[u8],
        header: impl Fn(&str) -> Option<&'a [u8]>,
        body: &[u8],
        now: i64,
    ) -> Result<(), Refused> {
        let (Some(time), Some(path)) = (header(TIME), header(PATH)) else {
            return Err(Refused::Malformed("X-Timestamp or X-Path is missing"));
        };
        self.holds(Some(proof), &[time, METHOD, path, body].concat())?;
        timely(seconds(time)?, now, TOLERANCE_SECONDS)
    }

    fn holds(&self, proof: Option<&[u8]>, signed: &[u8]) -> Result<(), Refused> {
        let proof = proof.ok_or(Refused::Missing)?;
        let hex = proof.strip_prefix(SCHEME).ok_or(Refused::NoScheme("hmac-sha256-hex"))?;
        if any_matches(&self.keys, signed, &[digest(hex)?]) { Ok(()) } else { Err(Refused::Mismatch) }
    }
}

fn seconds(time: &[u8]) -> Result<i64, Refused> {
    let time =
        std::str::from_utf8(time).ok().and_then(|time| chrono::DateTime::parse_from_rfc2822(time).ok());
    time.map(|time| time.timestamp())
        .ok_or(Refused::Malformed("X-Timestamp is no time as in mails (RFC 2822)"))
}
