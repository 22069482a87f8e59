//! OTLP, as collectors take it: the few messages of a trace, in protocol buffers.
//!
//! Written by hand: six messages and three kinds of fields, in place of thirty crates. A test reads them by the generated
//! code of the standard's own definitions.

use super::spans::{Said, Side, Span};

/// A field's number and how it is written: a varint, eight bytes, or a length and so many bytes.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;

/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

/// What is true of all spans of this process.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    /// Which process it is.
    pub(super) instance: String,
}

/// An `ExportTraceServiceRequest` with these spans.
pub(super) fn request(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let mut request = Writer::default();
    request.message(1, |batch| {
        batch.message(1, |written| {
            written.attribute(1, "service.name", &Said::from("orderfleet"));
            written.attribute(1, "service.version", &Said::from(env!("CARGO_PKG_VERSION")));
            written.attribute(1, "service.instance.id", &Said::from(resource.instance.clone()));
        });
        batch.message(2, |scope| {
            scope.message(1, |named| named.bytes(1, b"orderfleet"));
            for one in spans {
                scope.message(2, |written| span(written, one));
            }
        });
    });
    request.0
}

fn span(written: &mut Writer, span: &Span) {
    written.bytes(1, &span.context.trace_id().bytes());
    written.bytes(2, &span.context.span_id());
    if let Some(parent) = span.parent {
        written.bytes(4, &parent);
    }
    written.bytes(5, span.name.as_bytes());
    written.varint(6, side(span.side));
    written.fixed64(7, span.from);
    written.fixed64(8, span.until);
    for (name, said) in &span.said {
        written.attribute(9, name, said);
    }
    if let Some(link) = span.link {
        written.message(13, |written| {
            written.bytes(1, &link.trace_id().bytes());
            written.bytes(2, &link.span_id());
        });
    }
    if let Some(code) = &span.failure {
        written.attribute(9, "error.type", &Said::Text(code.clone()));
        written.message(15, |status| {
            status.bytes(2, code.as_bytes());
            status.varint(3, ERROR);
        });
    }
}

/// The number of a `SpanKind`.
const fn side(side: Side) -> u64 {
    match side {
        Side::Inside => 1,
        Side::Server => 2,
        Side::Client => 3,
        Side::Producer => 4,
        Side::Consumer => 5,
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        loop {
            let [low, ..] = number.to_le_bytes();
            number >>= 7;
            if number == 0 {
                return self.0.push(low & 0x7f);
            }
            self.0.push(low | 0x80);
        }
    }

    fn varint(&mut self, field: u64, number: u64) {
        self.number(field << 3 | VARINT);
        self.number(number);
    }

    fn fixed64(&mut self, field: u64, number: u64) {
        self.number(field << 3 | FIXED64);
        self.0.extend(number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.number(field << 3 | BYTES);
        self.number(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.extend(bytes);
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn attribute(&mut self, field: u64, name: &str, said: &Said) {
        self.message(field, |pair| {
            pair.bytes(1, name.as_bytes());
            pair.message(2, |value| match said {
                Said::Text(text) => value.bytes(1, text.as_bytes()),
                // As every 64-bit integer of theirs: a negative one in ten bytes.
                Said::Number(number) => value.varint(3, u64::from_le_bytes(number.to_le_bytes())),
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use prost::Message;

    use super::*;
    use crate::telemetry::TraceContext;

    #[test]
    fn the_standard_s_own_code_reads_what_is_written() {
        let parent: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        let (context, other) = (parent.child(), TraceContext::begin(true));
        let span = Span {
            context,
            parent: Some(parent.span_id()),
            link: Some(other),
            name: "email".into(),
            side: Side::Consumer,
            from: 1_795_000_000_000_000_001,
            until: 1_795_000_000_000_000_300,
            failure: Some("throttled".into()),
            said: vec![
                ("orderfleet.job", Said::from("job_1".to_owned())),
                ("orderfleet.less", Said::from(-7)),
            ],
        };
        let resource = Resource { instance: "host-1".to_owned() };
        let root = Span { parent: None, link: None, failure: None, said: Vec::new(), ..span.clone() };
        let read = ExportTraceServiceRequest::decode(&request(&resource, &[span, root])[..]).unwrap();
        let batch = &read.resource_spans[0];
        let named = |of: &[opentelemetry_proto::tonic::common::v1::KeyValue]| -> Vec<(String, Value)> {
            let value = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| pair.value.clone()?.value;
            of.iter().map(|pair| (pair.key.clone(), value(pair).unwrap())).collect()
        };
        let text = |text: &str| Value::StringValue(text.to_owned());
        let about = named(&batch.resource.as_ref().unwrap().attributes);
        assert_eq!(about[0], ("service.name".to_owned(), text("orderfleet")));
        assert_eq!(about[2], ("service.instance.id".to_owned(), text("host-1")));
        let [first, second] = &batch.scope_spans[0].spans[..] else { panic!("two spans") };
        assert_eq!(first.trace_id, parent.trace_id().bytes());
        assert_eq!(
            (&first.span_id[..], &first.parent_span_id[..]),
            (&context.span_id()[..], &parent.span_id()[..])
        );
        assert_eq!((first.name.as_str(), first.kind), ("email", 5));
        assert_eq!(first.start_time_unix_nano, 1_795_000_000_000_000_001);
        assert_eq!(first.end_time_unix_nano - first.start_time_unix_nano, 299);
        let said = [
            ("orderfleet.job".to_owned(), text("job_1")),
            ("orderfleet.less".to_owned(), Value::IntValue(-7)),
            ("error.type".to_owned(), text("throttled")),
        ];
        assert_eq!(named(&first.attributes), said);
        assert_eq!(first.links[0].trace_id, other.trace_id().bytes());
        assert_eq!(
            first.status.as_ref().map(|status| (status.code, status.message.as_str())),
            Some((2, "throttled"))
        );
        assert!(second.parent_span_id.is_empty() && second.links.is_empty() && second.status.is_none());
    }
}
