//! The bytes on the wire around a job.
//!
//! ```text
//! 0      band, as a digit: scripts read it          3      kind: a code, or 0 and the name spelled out
//! 1      version (3 bits), origin, trace, sampled   4..8   pushed at, seconds since 1970
//! 2      attempts (255: or more): scripts write it  8..32  trace and span id, if there is one; then the payload
//! ```
//!
//! 32 bytes at most, trace included, so that a payload of 200 bytes stays under the step at which Redis takes the next
//! size of memory. Decoding never panics, whatever stands there: what cannot be read is buried, what is newer than this
//! worker is parked.

use crate::job::Band;
use crate::telemetry::TraceContext;

/// Written by this version; older ones stay readable for ever.
const VERSION: u8 = 1;
const VERSION_BITS: u8 = 0b0000_0111;
const FROM_INTAKE: u8 = 0b0000_1000;
const TRACED: u8 = 0b0001_0000;
const SAMPLED: u8 = 0b0010_0000;
/// Bits that this version gives no meaning: a newer worker wrote them.
const UNKNOWN_BITS: u8 = 0b1100_0000;

/// Bytes before the trace.
const HEAD: usize = 8;
/// Sixteen of the trace, eight of the span.
const TRACE: usize = 24;
/// The code of a kind that is spelled out.
const SPELLED: u8 = 0;

/// Short codes of the usual kinds, by place, from 1. Only ever append: they are in Redis. This compresses, it permits
/// nothing: a kind that is not here is spelled out.
const KINDS: [&str; 15] = [
    "order-intent",
    "payment-open",
    "payment-confirmation",
    "payment-sync",
    "reservation-expiry",
    "refund",
    "payment-cancel",
    "shipping-label",
    "label-void",
    "tracking",
    "email",
    "expiry",
    "reconcile",
    "trackers",
    "audit",
];

/// Where a job was born.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// In a transaction: its row in Postgres is the truth.
    Row,
    /// At the door: it becomes a row when it is loaded.
    Intake,
}

/// A job as it lies in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// How urgent.
    pub band: Band,
    /// Its stored kind: at most 255 bytes.
    pub kind: String,
    /// Where it was born.
    pub origin: Origin,
    /// Attempts that Postgres counted when it was pushed or delayed; 255 is "or more".
    pub attempts: u16,
    /// When it was pushed, in seconds since 1970.
    pub pushed_at: u32,
    /// The trace it belongs to.
    pub traceparent: Option<TraceContext>,
    /// The payload.
    pub body: Vec<u8>,
}

/// What decoding found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A job.
    Known(Envelope),
    /// Written by a newer version: a newer worker can read it.
    Newer,
    /// Nobody can read it, and why.
    Unreadable(&'static str),
}

impl Envelope {
    /// The bytes. A kind is cut at 255 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let trace = self.traceparent;
        let mut head = VERSION;
        if self.origin == Origin::Intake {
            head |= FROM_INTAKE;
        }
        if let Some(trace) = trace {
            head |= if trace.is_sampled() { TRACED | SAMPLED } else { TRACED };
        }
        let mut bytes = Vec::with_capacity(HEAD + TRACE + self.body.len());
        bytes.extend([b'0' + self.band.number(), head, attempts_byte(self.attempts)]);
        let code = KINDS.iter().position(|kind| *kind == self.kind).and_then(|at| u8::try_from(at + 1).ok());
        bytes.push(code.unwrap_or(SPELLED));
        bytes.extend(self.pushed_at.to_be_bytes());
        if let Some(trace) = trace {
            bytes.extend(trace.ids());
        }
        if code.is_none() {
            let spelled = &self.kind.as_bytes()[..self.kind.len().min(usize::from(u8::MAX))];
            bytes.push(u8::try_from(spelled.len()).unwrap_or(u8::MAX));
            bytes.extend(spelled);
        }
        bytes.extend(&self.body);
        bytes
    }

    /// Reads what [`Envelope::encode`] wrote, or says why not.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Decoded {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
            return Decoded::Unreadable("cut_short");
        };
        let [band, flags, attempts, code, time @ ..] = *head;
        if flags & VERSION_BITS > VERSION || flags & UNKNOWN_BITS != 0 {
            return Decoded::Newer;
        }
        if flags & VERSION_BITS == 0 {
            return Decoded::Unreadable("no_version");
        }
        let Some(band) = band.checked_sub(b'0').and_then(Band::numbered) else {
            return Decoded::Unreadable("no_band");
        };
        let (traceparent, rest) = match rest.split_first_chunk::<TRACE>() {
            Some((ids, rest)) if flags & TRACED != 0 => {
                (Some(TraceContext::from_ids(*ids, flags & SAMPLED != 0)), rest)
            }
            None if flags & TRACED != 0 => return Decoded::Unreadable("cut_short"),
            Some(_) | None => (None, rest),
        };
        let (kind, body) = match read_kind(code, rest) {
            Ok(found) => found,
            Err(why) => return why,
        };
        Decoded::Known(Self {
            band,
            kind,
            origin: if flags & FROM_INTAKE == 0 { Origin::Row } else { Origin::Intake },
            attempts: u16::from(attempts),
            pushed_at: u32::from_be_bytes(time),
            traceparent,
            body: body.to_vec(),
        })
    }
}

/// Attempts as the envelope keeps them.
pub(super) fn attempts_byte(attempts: u16) -> u8 {
    u8::try_from(attempts).unwrap_or(u8::MAX)
}

fn read_kind(code: u8, rest: &[u8]) -> Result<(String, &[u8]), Decoded> {
    if code != SPELLED {
        let kind = KINDS.get(usize::from(code) - 1).ok_or(Decoded::Newer)?;
        return Ok(((*kind).to_owned(), rest));
    }
    let (length, rest) = rest.split_first().ok_or(Decoded::Unreadable("cut_short"))?;
    let (kind, body) = rest.split_at_checked(usize::from(*length)).ok_or(Decoded::Unreadable("cut_short"))?;
    let kind = std::str::from_utf8(kind).map_err(|_| Decoded::Unreadable("kind_is_no_text"))?;
    Ok((kind.to_owned(), body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn envelope(kind: &str, traceparent: Option<&str>, body: &[u8]) -> Envelope {
        Envelope {
            band: Band::High,
            kind: kind.to_owned(),
            origin: Origin::Intake,
            attempts: 7,
            pushed_at: 1_790_000_000,
            traceparent: traceparent.and_then(|text| text.parse().ok()),
            body: body.to_vec(),
        }
    }

    /// Recorded once: whatever is deployed beside or after them has to read them.
    #[test]
    fn recorded_envelopes_of_version_1_are_read_as_they_were_meant() {
        let recorded = include_str!("../../tests/data/envelopes/version-1.txt");
        let mut seen = Vec::new();
        for line in recorded.lines().filter(|line| !line.starts_with('#')) {
            let [kind, band, hex] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
            let bytes: Vec<u8> = digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect();
            let Decoded::Known(read) = Envelope::decode(&bytes) else { panic!("{line}") };
            assert_eq!((read.kind.as_str(), read.band.number().to_string().as_str()), (kind, band));
            assert_eq!(read.body.first(), Some(&b'{'), "{line}");
            assert_eq!(read.encode(), bytes, "still the version that is written: {line}");
            seen.push((read.origin, read.attempts, read.traceparent.is_some(), read.pushed_at));
        }
        let (row, intake, at) = (Origin::Row, Origin::Intake, 1_795_000_000);
        let meant = [
            (row, 0, false, at),
            (row, 0, true, at),
            (row, 2, true, at),
            (intake, 0, false, at),
            (row, 255, false, at),
        ];
        assert_eq!(seen, meant);
    }

    proptest! {
        #[test]
        fn no_envelope_is_too_odd(bytes: Vec<u8>) {
            let _ = Envelope::decode(&bytes);
        }

        #[test]
        fn written_and_read_again_is_the_same(kind in "[a-z-]{1,40}", body: Vec<u8>, traced: bool, listed in 0..KINDS.len() * 2) {
            let kind = KINDS.get(listed).map_or(kind, |kind| (*kind).to_owned());
            let given = envelope(&kind, traced.then_some(PARENT), &body);
            prop_assert_eq!(Envelope::decode(&given.encode()), Decoded::Known(given));
        }

        #[test]
        fn a_cut_envelope_is_never_another_kind(cut in 0_usize..40) {
            let whole = envelope("a-kind-of-its-own", Some(PARENT), b"").encode();
            if cut < whole.len() {
                prop_assert_eq!(Envelope::decode(&whole[..cut]), Decoded::Unreadable("cut_short"));
            }
        }
    }

    #[test]
    fn the_envelope_of_a_usual_kind_takes_32_bytes() {
        for kind in KINDS {
            assert_eq!(envelope(kind, Some(PARENT), b"").encode().len(), 32);
        }
    }

    #[test]
    fn a_newer_version_and_an_unknown_code_are_parked_not_buried() {
        let mut newer = envelope("email", None, b"").encode();
        newer[1] = (newer[1] & !VERSION_BITS) | (VERSION + 1);
        assert_eq!(Envelope::decode(&newer), Decoded::Newer);
        let mut unknown = envelope("email", None, b"").encode();
        unknown[3] = 200;
        assert_eq!(Envelope::decode(&unknown), Decoded::Newer);
    }
}
