//! Traces as values: W3C trace context ([`context`]), what a span says ([`span`]), and which requests
//! are traced ([`tracer`]). The gateway and the broker make spans; the binary exports them.

pub mod context;
pub mod span;
pub mod tracer;

pub use context::{Parent, traceparent};
pub use span::{Span, SpanKind, Value};
pub use tracer::{Active, Decided, Tracer};
