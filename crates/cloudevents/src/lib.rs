//! CloudEvents 0.3 and 1.0: the event value, its HTTP binding, its form in the log, and the filters
//! that decide who gets it.
//!
//! In reading order: an event arrives as headers and a body (`http`; the JSON format is in `json`,
//! the rules for header values in `header`) and is an [`Event`] from then on, checked once
//! (`validate`). The broker appends [`Event::to_record`] to its log (`record`) and reads it back
//! without copying. A [`Filter`] says whether a subscriber wants it; an [`Index`] says so for a
//! thousand subscribers at the price of those that do. [`cesql`] is the expression language of one
//! of the filters. `display` prints an event as Knative's `event_display` does.
//!
//! Pure: no sockets, no clock. An event keeps its version: 0.3 is never made 1.0.

pub mod cesql;
mod display;
mod error;
mod event;
mod filter;
mod header;
mod http;
mod json;
mod record;
mod text;
mod validate;

pub use display::{Style, display};
pub use error::{Error, Fault};
pub use event::{Attribute, Event, Mode, SpecVersion, Value};
pub use filter::{Filter, FilterError, Index};
pub use http::{
    BATCH_CONTENT_TYPE, ContentMode, Headers, JSON_CONTENT_TYPE, Message, binary_headers,
    content_mode, decode, decode_one, encode, encode_batch,
};
pub use text::Text;

/// What a decoder accepts at most. Whoever listens decides; [`Limits::default`] is generous.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a body, of one event or of a whole batch.
    pub body_bytes_max: usize,
    /// Attributes of one event, extensions included.
    pub attributes_max: usize,
    /// Bytes of one attribute's value.
    pub attribute_bytes_max: usize,
    /// Events in one batch.
    pub batch_events_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 16 << 20,
            attributes_max: 256,
            attribute_bytes_max: 64 << 10,
            batch_events_max: 10_000,
        }
    }
}
