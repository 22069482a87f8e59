//! The trace that a piece of work belongs to, as W3C Trace Context writes it: `00-{trace}-{span}-{flags}`.
//!
//! It comes in with a request or begins there, lies in envelopes and rows, and goes to whoever works on what came of it.
//! Twenty-five bytes that are copied, because the way in makes one for every request.

use std::fmt;
use std::str::FromStr;

use crate::ids::fresh_bytes;

/// A trace, and the span in it under which the next one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

/// Why a text is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no traceparent of version 00")]
pub struct NoTrace;

impl TraceContext {
    /// A new trace with its first span. `sampled`: whether its spans are exported.
    #[must_use]
    pub fn begin(sampled: bool) -> Self {
        Self { trace: fresh_bytes(), span: fresh_bytes(), sampled }
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: fresh_bytes(), ..self }
    }

    /// The same span in the trace of another.
    #[must_use]
    pub const fn in_trace_of(self, other: Self) -> Self {
        Self { span: self.span, ..other }
    }

    /// Trace and span as they lie in an envelope.
    #[must_use]
    pub fn ids(self) -> [u8; 24] {
        let mut ids = [0; 24];
        ids[..16].copy_from_slice(&self.trace);
        ids[16..].copy_from_slice(&self.span);
        ids
    }

    /// What [`TraceContext::ids`] gave.
    #[must_use]
    pub fn from_ids(ids: [u8; 24], sampled: bool) -> Self {
        let (mut trace, mut span) = ([0; 16], [0; 8]);
        trace.copy_from_slice(&ids[..16]);
        span.copy_from_slice(&ids[16..]);
        Self { trace, span, sampled }
    }

    /// Whether its spans are exported: whoever began the trace decided that.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.sampled
    }

    /// The trace's name, for logs and for whoever looks it up.
    #[must_use]
    pub const fn trace_id(self) -> TraceId {
        TraceId(self.trace)
    }

    /// The span's bytes.
    #[must_use]
    pub const fn span_id(self) -> [u8; 8] {
        self.span
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("00-")?;
        hex(&self.trace, f)?;
        f.write_str("-")?;
        hex(&self.span, f)?;
        f.write_str(if self.sampled { "-01" } else { "-00" })
    }
}

impl FromStr for TraceContext {
    type Err = NoTrace;

    /// Small letters alone, and nothing that is all zero, as the standard wants it.
    fn from_str(text: &str) -> Result<Self, NoTrace> {
        let [version, trace, span, flags] =
            text.split('-').collect::<Vec<_>>().try_into().map_err(|_| NoTrace)?;
        let (trace, span) = (unhex::<16>(trace)?, unhex::<8>(span)?);
        let [flags] = unhex::<1>(flags)?;
        if version != "00" || trace == [0; 16] || span == [0; 8] {
            return Err(NoTrace);
        }
        Ok(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// A trace's name: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// Its bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn unhex<const N: usize>(text: &str) -> Result<[u8; N], NoTrace> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(NoTrace);
    }
    let mut bytes = [0; N];
    for (byte, two) in bytes.iter_mut().zip(digits.chunks(2)) {
        let two = std::str::from_utf8(two).map_err(|_| NoTrace)?;
        *byte = u8::from_str_radix(two, 16).map_err(|_| NoTrace)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn written_and_read_again_is_the_same() {
        let read: TraceContext = GOOD.parse().unwrap();
        assert_eq!(read.to_string(), GOOD);
        assert_eq!(read.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(TraceContext::from_ids(read.ids(), true), read);
        let new = TraceContext::begin(false);
        assert_eq!(new.to_string().parse(), Ok(new));
    }

    #[test]
    fn what_the_standard_forbids_is_no_trace() {
        for bad in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            assert_eq!(bad.parse::<TraceContext>(), Err(NoTrace), "{bad}");
        }
    }

    #[test]
    fn a_child_is_another_span_of_the_same_trace() {
        let parent: TraceContext = GOOD.parse().unwrap();
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.span_id(), parent.span_id());
        assert!(child.is_sampled());
    }
}
