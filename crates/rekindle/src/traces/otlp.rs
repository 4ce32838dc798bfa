//! Spans as the bytes of OpenTelemetry's protocol: `ExportTraceServiceRequest` of
//! `opentelemetry/proto/collector/trace/v1`, written by hand because five small messages need no
//! code generator. What metrics have in common with spans is here, too. Pure; `send` carries the bytes.

use std::collections::BTreeMap;

use trace::{Span, SpanKind, Value};

/// The instrumentation scope of all spans.
const SCOPE: &str = "rekindle";

/// Field numbers of the messages, by message and field.
mod field {
    pub(super) const REQUEST_RESOURCES: u32 = 1;
    pub(super) const OF_RESOURCE_RESOURCE: u32 = 1;
    pub(super) const OF_RESOURCE_SCOPES: u32 = 2;
    pub(super) const RESOURCE_ATTRIBUTES: u32 = 1;
    pub(super) const OF_SCOPE_SCOPE: u32 = 1;
    pub(super) const OF_SCOPE_THINGS: u32 = 2;
    pub(super) const SCOPE_NAME: u32 = 1;
    pub(super) const SCOPE_VERSION: u32 = 2;
    pub(super) const SPAN_TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const SPAN_STATE: u32 = 3;
    pub(super) const SPAN_PARENT: u32 = 4;
    pub(super) const SPAN_NAME: u32 = 5;
    pub(super) const SPAN_KIND: u32 = 6;
    pub(super) const SPAN_START: u32 = 7;
    pub(super) const SPAN_END: u32 = 8;
    pub(super) const SPAN_ATTRIBUTES: u32 = 9;
    pub(super) const SPAN_STATUS: u32 = 15;
    pub(super) const STATUS_CODE: u32 = 3;
    pub(super) const KEY_VALUE_KEY: u32 = 1;
    pub(super) const KEY_VALUE_VALUE: u32 = 2;
    pub(super) const ANY_STRING: u32 = 1;
    pub(super) const ANY_INT: u32 = 3;
}

/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: u64 = 2;

/// A message being written.
#[derive(Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    pub(crate) fn number(&mut self, field: u32, value: u64) {
        self.tag(field, 0);
        self.varint(value);
    }

    pub(crate) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    pub(crate) fn attribute(&mut self, field: u32, name: &str, value: &Value) {
        self.message(field, |pair| {
            pair.bytes(field::KEY_VALUE_KEY, name.as_bytes());
            pair.message(field::KEY_VALUE_VALUE, |any| match value {
                Value::Text(text) => any.bytes(field::ANY_STRING, text.as_bytes()),
                Value::Number(number) => any.number(field::ANY_INT, number.cast_unsigned()),
            });
        });
    }

    fn span(&mut self, span: &Span) {
        self.bytes(field::SPAN_TRACE_ID, &span.trace_id);
        self.bytes(field::SPAN_ID, &span.id);
        if !span.state.is_empty() {
            self.bytes(field::SPAN_STATE, span.state.as_bytes());
        }
        if let Some(parent) = &span.parent {
            self.bytes(field::SPAN_PARENT, parent);
        }
        self.bytes(field::SPAN_NAME, span.name.as_bytes());
        let kind = match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        };
        self.number(field::SPAN_KIND, kind);
        self.fixed64(field::SPAN_START, span.start_ns);
        self.fixed64(field::SPAN_END, span.end_ns);
        for (name, value) in &span.attributes {
            self.attribute(field::SPAN_ATTRIBUTES, name, value);
        }
        if span.failed {
            self.message(field::SPAN_STATUS, |status| {
                status.number(field::STATUS_CODE, STATUS_ERROR);
            });
        }
    }
}

/// The request that takes `spans` to a collector; each service is a resource of its own.
pub(super) fn request(spans: &[Span], version: &str) -> Vec<u8> {
    let mut by_service: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        by_service.entry(&span.service).or_default().push(span);
    }
    envelope(by_service, version, Message::span)
}

/// What the requests of all signals have in common: things by the services they are of, which are
/// resources.
pub(crate) fn envelope<T>(
    by_service: BTreeMap<&str, Vec<T>>,
    version: &str,
    write: impl Fn(&mut Message, T),
) -> Vec<u8> {
    let mut request = Message::default();
    for (service, things) in by_service {
        request.message(field::REQUEST_RESOURCES, |of_resource| {
            of_resource.message(field::OF_RESOURCE_RESOURCE, |resource| {
                for (name, value) in [("service.name", service), ("service.version", version)] {
                    let value = Value::Text(value.into());
                    resource.attribute(field::RESOURCE_ATTRIBUTES, name, &value);
                }
            });
            of_resource.message(field::OF_RESOURCE_SCOPES, |of_scope| {
                of_scope.message(field::OF_SCOPE_SCOPE, |scope| {
                    scope.bytes(field::SCOPE_NAME, SCOPE.as_bytes());
                    scope.bytes(field::SCOPE_VERSION, version.as_bytes());
                });
                for thing in things {
                    of_scope.message(field::OF_SCOPE_THINGS, |message| write(message, thing));
                }
            });
        });
    }
    request.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_its_fields_in_order() {
        let span = Span {
            service: "s".into(),
            name: "GET".into(),
            kind: SpanKind::Server,
            trace_id: [1; 16],
            id: [2; 8],
            parent: Some([3; 8]),
            state: "a=b".into(),
            start_ns: 1,
            end_ns: 258,
            attributes: vec![("m", Value::Text("GET".into())), ("c", Value::Number(503))],
            failed: true,
        };
        // Field by field, by the rules of the encoding.
        let span_bytes = [
            b"\x0a\x10".as_slice(),
            &[1; 16],
            b"\x12\x08",
            &[2; 8],
            b"\x1a\x03a=b",
            b"\x22\x08",
            &[3; 8],
            b"\x2a\x03GET",
            b"\x30\x02",
            b"\x39\x01\0\0\0\0\0\0\0",
            b"\x41\x02\x01\0\0\0\0\0\0",
            b"\x4a\x0a\x0a\x01m\x12\x05\x0a\x03GET",
            b"\x4a\x08\x0a\x01c\x12\x03\x18\xf7\x03",
            b"\x7a\x02\x18\x02",
        ]
        .concat();
        let head = [
            b"\x0a\x31".as_slice(),
            b"\x0a\x13\x0a\x0cservice.name\x12\x03\x0a\x01s",
            b"\x0a\x1a\x0a\x0fservice.version\x12\x07\x0a\x05v1.00",
        ]
        .concat();
        let scope = b"\x0a\x11\x0a\x08rekindle\x12\x05v1.00";
        let span_length = u8::try_from(span_bytes.len()).unwrap();
        let scope_spans = [scope.as_slice(), &[0x12, span_length], &span_bytes].concat();
        let scope_length = u8::try_from(scope_spans.len()).unwrap();
        let inner = [&head[..], &[0x12, scope_length], &scope_spans].concat();
        assert_eq!((span_length, scope_length, inner.len()), (94, 115, 168));
        let whole = [b"\x0a\xa8\x01".as_slice(), &inner].concat();
        assert_eq!(request(&[span], "v1.00"), whole);
    }

    #[test]
    fn services_are_resources_and_no_spans_are_no_bytes() {
        assert_eq!(request(&[], "1"), b"");
    }
}
