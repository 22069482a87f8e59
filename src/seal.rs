//! Encrypts what must not lie readable in a database or an address: the secrets that browsers pay with, the tickets
//! that they follow an intent with, and the sessions of operators.
//!
//! AES-256-GCM under a key derived from the installation's secret. The output is `nonce ‖ ciphertext ‖ tag`. Nonces are
//! random: at 2^32 sealed values the chance of a repeated one passes 2^-32, and no shop seals that many.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use crate::ids;

/// Names of the keys among all that are derived from the installation's secret: what one seals, no other opens.
const CLIENT_SECRETS: &[u8] = b"client-secret";
const TICKETS: &[u8] = b"stream-token";
const SESSIONS: &[u8] = b"ops-session";

/// A value that did not open: another secret, another context, or changed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value does not open: the installation's secret differs, or the value was changed")]
pub struct Unsealable;

/// Seals and opens.
#[derive(Clone)]
pub struct Seal(LessSafeKey);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    /// For the secrets of payments, under a key that is derived from the installation's secret.
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        Self::derived(secret, CLIENT_SECRETS)
    }

    /// For tickets to event streams, under a key of their own.
    #[must_use]
    pub fn of_tickets(secret: &SecretString) -> Self {
        Self::derived(secret, TICKETS)
    }

    /// For the sessions of operators, under a key of their own.
    #[must_use]
    pub fn of_sessions(secret: &SecretString) -> Self {
        Self::derived(secret, SESSIONS)
    }

    #[expect(clippy::expect_used, reason = "the lengths are constants of the two algorithms")]
    fn derived(secret: &SecretString, name: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        let derived = hmac::sign(&root, name);
        // Safety: HMAC-SHA256 gives 32 bytes, which is the key length of AES-256-GCM.
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, derived.as_ref()).expect("32 bytes")))
    }

    /// Encrypts.
    ///
    /// # Panics
    /// Never: only a plaintext of more than 64 GiB is refused.
    #[must_use]
    #[expect(clippy::expect_used, reason = "only more than 64 GiB are refused")]
    pub fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let nonce = ids::random_bytes::<NONCE_LEN>();
        let mut sealed = plain.to_vec();
        // Safety: AES-GCM refuses nothing below 64 GiB.
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .expect("short enough");
        [nonce.as_slice(), &sealed].concat()
    }

    /// Decrypts what [`Seal::seal`] made.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or(Unsealable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
        let mut opened = rest.to_vec();
        let plain = self.0.open_in_place(nonce, Aad::empty(), &mut opened).map_err(|_| Unsealable)?;
        Ok(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> Seal {
        Seal::new(&"a secret of at least thirty-two characters".to_owned().into())
    }

    #[test]
    fn what_was_sealed_opens() {
        let sealed = seal().seal(b"pi_1_secret_2");
        assert_eq!(seal().open(&sealed), Ok(b"pi_1_secret_2".to_vec()));
        assert_ne!(seal().seal(b"pi_1_secret_2"), sealed, "a nonce was used twice");
    }

    #[test]
    fn a_payments_secret_is_no_ticket() {
        let tickets = Seal::of_tickets(&"a secret of at least thirty-two characters".to_owned().into());
        assert_eq!(tickets.open(&seal().seal(b"pi_1_secret_2")), Err(Unsealable));
    }

    #[test]
    fn another_secret_or_a_changed_byte_does_not_open() {
        let sealed = seal().seal(b"pi_1_secret_2");
        let other = Seal::new(&"another secret of thirty-two characters".to_owned().into());
        assert_eq!(other.open(&sealed), Err(Unsealable));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(seal().open(&changed), Err(Unsealable), "byte {at}");
        }
        assert_eq!(seal().open(&sealed[..11]), Err(Unsealable));
    }
}
