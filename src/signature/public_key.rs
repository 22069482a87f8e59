//! An RSA public key as providers hand it out: PEM of a `SubjectPublicKeyInfo` (RFC 5280), or its base64 alone.
//!
//! ring wants the `RSAPublicKey` inside. What is around it is always the same, so it is compared and not parsed; whether
//! what is inside is a key, ring judges at the first signature.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The algorithm's name in DER: rsaEncryption, without parameters.
const RSA: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// The `RSAPublicKey` of a key in PEM.
pub(super) fn rsa(pem: &str) -> Option<Vec<u8>> {
    let letters: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(letters).ok()?;
    let bits = inside(&der, SEQUENCE)?.strip_prefix(&RSA)?;
    // No bit of the last byte is unused.
    let key = inside(bits, BIT_STRING)?.strip_prefix(&[0])?;
    inside(key, SEQUENCE)?;
    Some(key.to_vec())
}

/// What is inside a DER value that fills `der` to its end.
fn inside(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (first, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, content) = match first {
        0x00..=0x7f => (usize::from(*first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(*rest.first()?) << 8 | usize::from(*rest.get(1)?), rest.get(2..)?),
        _ => return None,
    };
    (content.len() == length).then_some(content)
}
