//! Events as requests and answers as events.

use bytes::Bytes;
use cloudevents::{Error, Event, Limits, Mode};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::answer::Answer;
use crate::ingress::forwarded;
use crate::record::Record;
use crate::spans::{TRACEPARENT, TRACESTATE};

/// Headers and body of `event` in the mode asked for, else in its own.
pub(crate) fn encode(event: &Event, mode: Option<Mode>) -> (HeaderMap, Bytes) {
    let message = cloudevents::encode(event, mode.unwrap_or_else(|| event.mode()));
    (message.headers, message.body)
}

/// Adds the headers that travel with an event.
pub(crate) fn forward(record: &Record, headers: &mut HeaderMap) {
    for (name, value) in record.headers() {
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_maybe_shared(value.clone());
        if let (Ok(name), Ok(value)) = (name, value)
            && forwarded(name.as_str())
        {
            headers.append(name, value);
        }
    }
}

/// Names the trace the event belongs to, where no header that travels with it has: by the
/// CloudEvents extension for distributed tracing, which says how it began.
pub(crate) fn trace(event: &Event, headers: &mut HeaderMap) {
    if headers.contains_key(TRACEPARENT) {
        return;
    }
    for name in [TRACEPARENT, TRACESTATE] {
        let value = event.get(name).map(|value| value.as_text().into_owned());
        let value = value.and_then(|value| HeaderValue::from_str(&value).ok());
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}

/// The event of an answer, if it is one.
pub(crate) fn reply(answer: &Answer) -> Option<Result<Event, Error>> {
    // The client has limited its size already.
    let limits = Limits {
        body_bytes_max: usize::MAX,
        ..Limits::default()
    };
    match cloudevents::decode_one(&answer.headers, answer.body.clone(), &limits) {
        Ok(event) => Some(Ok(event)),
        Err(Error::NotAnEvent) => None,
        Err(error) => Some(Err(error)),
    }
}
