//! One span, ended, in OpenTelemetry's words.

use std::borrow::Cow;
use std::sync::Arc;

/// What a span is to its trace (OpenTelemetry's words).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpanKind {
    /// A part of what is done in one place.
    Internal,
    /// The answer to a request that came from outside.
    Server,
    /// A request to another, and its answer.
    Client,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A text.
    Text(Arc<str>),
    /// A number.
    Number(i64),
}

/// One span, ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// Who did it: `service.name`.
    pub service: Arc<str>,
    /// What was done.
    pub name: Cow<'static, str>,
    /// What it is to its trace.
    pub kind: SpanKind,
    /// The trace.
    pub trace_id: [u8; 16],
    /// This span.
    pub id: [u8; 8],
    /// The span it is part of; `None` begins the trace.
    pub parent: Option<[u8; 8]>,
    /// `tracestate` as it came.
    pub state: Arc<str>,
    /// Nanoseconds since 1970.
    pub start_ns: u64,
    /// Nanoseconds since 1970.
    pub end_ns: u64,
    /// By OpenTelemetry's semantic conventions and Knative's.
    pub attributes: Vec<(&'static str, Value)>,
    /// The request was not served.
    pub failed: bool,
}
