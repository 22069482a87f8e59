//! Typed ids, and the only file that makes one.
//!
//! Every id is a UUID: version 7 where we choose it (they sort by time, so that indexes grow at one end), a keyed hash
//! where it must come out the same again. Outside the process it is written as a prefix and 26 Crockford base32 letters
//! (`ord_01JD3…`), so that a pasted id says what it names and an id of one thing never passes as another's.

use std::fmt;
use std::str::FromStr;

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 128 bits in groups of five: 26 letters, the first carries three bits.
const LETTERS: usize = 26;

/// An id that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_ and 26 letters or digits: {given:?}")]
pub struct BadId {
    /// The prefix that was expected.
    pub prefix: &'static str,
    /// What stood there instead, cut to a readable length.
    pub given: String,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What its written form begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, later than all that this process made before.
            #[must_use]
            pub fn new() -> Self {
                Self(next())
            }

            /// The UUID, as the database keeps it.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!($prefix, "_"))?;
                f.write_str(letters(&encode(self.0)))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(decode)
                    .map(Self)
                    .ok_or_else(|| BadId { prefix: $prefix, given: text.chars().take(64).collect() })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'de, str>::deserialize(from)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// An order intent: a wish to buy. A keyed hash of who asks and their idempotency key.
    IntentId = "int";
    /// An order.
    OrderId = "ord";
    /// A hold on stock.
    ReservationId = "res";
    /// One charge at one provider.
    PaymentId = "pay";
    /// Money on its way back: one refund at one provider.
    RefundId = "rfd";
    /// A bank that wants a payment back: one dispute at one provider.
    DisputeId = "dsp";
    /// One parcel's journey.
    ShipmentId = "shp";
    /// A bought right to ship.
    LabelId = "lbl";
    /// A notice to somebody: one e-mail.
    CommunicationId = "msg";
    /// A job, in Postgres and in Redis alike.
    JobId = "job";
    /// An outside mutation; what a provider gets as idempotency key is made of it.
    EffectId = "eff";
    /// A job that was given up.
    DeadLetterId = "dead";
    /// Something about an order that a person must see.
    ExceptionId = "exc";
    /// An API key (not its secret).
    ApiKeyId = "key";
}

#[expect(clippy::disallowed_methods, reason = "this file is where ids are made")]
fn next() -> Uuid {
    Uuid::now_v7()
}

/// Makes a UUID (version 8: ours) of the first 16 bytes of a hash, for ids that must come out the same again.
#[must_use]
pub fn from_hash(hash: &[u8; 32]) -> Uuid {
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Fills `N` bytes from the operating system's source of randomness: secrets and tokens.
///
/// # Panics
/// Never in practice: the kernel's source does not fail once a process runs.
#[must_use]
#[expect(clippy::expect_used, reason = "no secret may ever be made of anything else")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    // Safety: getrandom(2) fails only before the kernel's pool is seeded at boot; going on without randomness is worse.
    SystemRandom::new().fill(&mut bytes).expect("the kernel's random source");
    bytes
}

/// `N` random bytes as small hexadecimal letters: names and secrets.
#[must_use]
pub fn random_hex<const N: usize>() -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let nibbles = random_bytes::<N>().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| char::from(HEX[usize::from(nibble)])).collect()
}

/// `N` bytes that nobody had before: names of requests and traces. From the thread's own generator, which the kernel's
/// source seeds: unpredictable too, but no secret is made of it. Every request takes some, and this spares its calls.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this file is where randomness is taken")]
pub fn fresh_bytes<const N: usize>() -> [u8; N] {
    rand::random()
}

/// A number in `0.0..1.0` for jitter: spreads retries, decides nothing.
#[must_use]
pub fn jitter() -> f64 {
    f64::from(u32::from_le_bytes(fresh_bytes::<4>())) / (f64::from(u32::MAX) + 1.0)
}

/// Writes 128 bits as 26 Crockford base32 letters.
fn encode(uuid: Uuid) -> [u8; LETTERS] {
    let mut bits = uuid.as_u128();
    let mut letters = [b'0'; LETTERS];
    for letter in letters.iter_mut().rev() {
        *letter = ALPHABET[usize::try_from(bits & 31).unwrap_or_default()];
        bits >>= 5;
    }
    letters
}

fn letters(encoded: &[u8; LETTERS]) -> &str {
    // All of them are of the alphabet, which is ASCII.
    std::str::from_utf8(encoded).unwrap_or_default()
}

/// Reads what [`encode`] wrote; letters may be small.
fn decode(text: &str) -> Option<Uuid> {
    if text.len() != LETTERS || text.as_bytes()[0] > b'7' {
        return None;
    }
    let mut bits = 0_u128;
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter.to_ascii_uppercase())?;
        bits = (bits << 5) | u128::try_from(value).ok()?;
    }
    Some(Uuid::from_u128(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn written_and_read_again_is_the_same(bits: u128) {
            let id = OrderId::from(Uuid::from_u128(bits));
            proptest::prop_assert_eq!(id.to_string().parse::<OrderId>(), Ok(id));
        }
    }

    #[test]
    fn an_id_of_another_thing_is_refused() {
        let order = OrderId::new().to_string();
        assert!(order.parse::<PaymentId>().is_err());
        assert!("ord_".parse::<OrderId>().is_err());
        assert!("ord_ZZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<OrderId>().is_err());
    }

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let made: Vec<JobId> = (0..1000).map(|_| JobId::new()).collect();
        assert!(made.is_sorted());
    }
}
