//! The key inside a PEM file: what `ring` verifies with is the innermost part, and nobody ships it bare.
//!
//! Only the shapes that `openssl` writes are read: a `SubjectPublicKeyInfo` of an RSA key, or the `RSAPublicKey` itself.

use super::pem;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
/// `AlgorithmIdentifier` of `rsaEncryption`, with its NULL parameters.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// Bytes of the smallest modulus that is trusted: 2048 bits.
const SMALLEST: usize = 256;
/// And of the largest that is verified with.
const LARGEST: usize = 1024;

/// An RSA public key as PEM, as the `RSAPublicKey` that it holds. None where it is anything else, or too small to trust.
pub(super) fn rsa_public_key(text: &str) -> Option<Vec<u8>> {
    let key = match pem(text, "PUBLIC KEY") {
        Some(whole) => unwrapped(&whole)?.to_vec(),
        None => pem(text, "RSA PUBLIC KEY")?,
    };
    let (parts, []) = take(&key, SEQUENCE)? else { return None };
    let (modulus, rest) = take(parts, INTEGER)?;
    let (_exponent, []) = take(rest, INTEGER)? else { return None };
    // A leading zero keeps the number from being read as negative.
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    (SMALLEST..=LARGEST).contains(&modulus.len()).then_some(key)
}

/// `SubjectPublicKeyInfo`: which algorithm, then the key as a string of whole bytes.
fn unwrapped(whole: &[u8]) -> Option<&[u8]> {
    let (info, []) = take(whole, SEQUENCE)? else { return None };
    let (algorithm, rest) = take(info, SEQUENCE)?;
    let (bits, []) = take(rest, BIT_STRING)? else { return None };
    bits.strip_prefix(&[0]).filter(|_| algorithm == RSA)
}

/// The content of the value of this kind that stands first, and what follows it.
fn take(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = bytes else { return None };
    let (length, rest) = match *length {
        short @ ..=0x7f => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
        _ => return None,
    };
    (*first == kind && rest.len() >= length).then(|| rest.split_at(length))
}
