//! Carries one event of one subscriber to whom the machine says: builds the request, sends it and
//! says what came back.

use std::sync::Arc;
use std::time::Duration;

use api::delivery::{Endpoint, Format, Subscriber};
use bytes::Bytes;
use cloudevents::{Event, Mode};
use eventing::delivery::{Answer as Told, Failure, Recipient};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use trace::SpanKind;
use tracing::debug;

use super::message;
use crate::answer::Answer;
use crate::client;
use crate::ingress::{self, TTL};
use crate::record::{Parcel, Record};
use crate::sender::{Address, Sender};
use crate::spans::{Begun, Spans, TRACEPARENT};
use crate::topic::Topic;

/// One attempt where the policy sets no `timeout`. Knative's dispatcher sets none.
const ATTEMPT_MAX: Duration = Duration::from_secs(600);
/// Bytes of an answer's body that are looked at when it is a refusal.
const REFUSAL_BYTES: usize = 1024;

/// The event of an answer, on its way to the reply address.
pub(crate) type Reply = Arc<Answered>;

/// See [`Reply`].
pub(crate) struct Answered {
    event: Event,
    /// The span of the delivery that was answered so, if it is traced.
    trace: Option<String>,
}

/// A subscriber's addresses, ready to be sent to.
pub(crate) struct Courier {
    sender: Sender,
    /// The ingress, where answers enter it again.
    again: Option<Arc<Topic>>,
    /// The ingress is a Broker: an answer must be an event or nothing.
    strict: bool,
    target: Option<Address>,
    reply: Option<Address>,
    dead_letter: Option<Address>,
    subscriber: Arc<Subscriber>,
    spans: Spans,
    /// What its requests have besides the event: where no reply is wanted, and where one is.
    lines: [Vec<u8>; 2],
}

impl Courier {
    pub(super) fn new(sender: &Sender, topic: &Arc<Topic>, subscriber: &Arc<Subscriber>) -> Self {
        let account = subscriber.service_account.as_deref();
        let address = |endpoint: Option<&Endpoint>| endpoint.map(|e| sender.address(e, account));
        Self {
            target: address(subscriber.target.as_ref()),
            reply: address(subscriber.reply.as_ref()),
            dead_letter: address(subscriber.policy.dead_letter.as_ref()),
            again: subscriber.replies_to_ingress.then(|| Arc::clone(topic)),
            strict: topic.is_broker(),
            sender: sender.clone(),
            spans: topic.spans().of(&subscriber.key),
            lines: [false, true].map(|reply| client::lines(&own_headers(subscriber, reply))),
            subscriber: Arc::clone(subscriber),
        }
    }

    /// Sends the event of `record`, or `reply`, as `to` says.
    pub(super) async fn carry(
        &self,
        record: &Record,
        to: &Recipient,
        reply: Option<Reply>,
    ) -> (Told, Option<Reply>) {
        match to {
            Recipient::Target => self.deliver(record).await,
            Recipient::Reply => (self.pass_on(record, reply).await, None),
            Recipient::DeadLetter(failure) => (self.bury(record, failure).await, None),
        }
    }

    async fn deliver(&self, record: &Record) -> (Told, Option<Reply>) {
        let Some(address) = &self.target else {
            return (Told::None, None);
        };
        let posted = self.post(address, record, (record.event(), None), true);
        let (answer, trace) = posted.await;
        let Some(answer) = answer else {
            return (Told::None, None);
        };
        if !answer.status.is_success() {
            return (told(&answer, false), None);
        }
        if self.again.is_none() && self.reply.is_none() {
            return (told(&answer, false), None);
        }
        match message::reply(&answer) {
            Some(Ok(event)) => {
                let reply = Answered { event, trace };
                (told(&answer, true), Some(Arc::new(reply)))
            }
            None if !answer.body.is_empty() && self.strict => {
                // As Knative's filter has it, which takes only an event or silence for an answer.
                let text = "the answer is neither empty nor a CloudEvent";
                (
                    told(&Answer::text(StatusCode::BAD_GATEWAY, text), false),
                    None,
                )
            }
            None => (told(&answer, false), None),
            Some(Err(error)) => {
                let text = format!("the answer is not a valid CloudEvent: {error}");
                (
                    told(&Answer::text(StatusCode::BAD_GATEWAY, text), false),
                    None,
                )
            }
        }
    }

    async fn pass_on(&self, record: &Record, reply: Option<Reply>) -> Told {
        let event = reply
            .as_ref()
            .map_or_else(|| record.event(), |reply| &reply.event);
        let trace = reply.as_ref().and_then(|reply| reply.trace.as_deref());
        if let Some(topic) = &self.again {
            let mut event = event.clone();
            let hops = record.meta().hops.to_string();
            if event.set(TTL, hops).is_err() {
                return Told::status(StatusCode::BAD_REQUEST.as_u16());
            }
            let mut headers = HeaderMap::new();
            message::forward(record, &mut headers);
            let trace = trace.and_then(|trace| HeaderValue::from_str(trace).ok());
            trace.map(|trace| headers.insert(TRACEPARENT, trace));
            let answer = ingress::keep(topic, vec![event], &headers).await;
            return told(&answer, false);
        }
        let Some(address) = &self.reply else {
            return Told::None;
        };
        let posted = self.post(address, record, (event, trace), false);
        let (answer, _) = posted.await;
        answer.map_or(Told::None, |answer| told(&answer, false))
    }

    async fn bury(&self, record: &Record, failure: &Failure) -> Told {
        let Some(address) = &self.dead_letter else {
            return Told::None;
        };
        let event = with_failure(record.event(), failure, &self.subscriber);
        let (answer, _) = self.post(address, record, (&event, None), false).await;
        answer.map_or(Told::None, |answer| told(&answer, false))
    }

    /// The answer, if there is one, and the `traceparent` that was sent, if it is one of this
    /// broker's. The event comes with what it is to be traced behind, where that is not what the
    /// record came with.
    async fn post(
        &self,
        address: &Address,
        record: &Record,
        (event, trace): (&Event, Option<&str>),
        wants_reply: bool,
    ) -> (Option<Answer>, Option<String>) {
        let format = self.subscriber.policy.format;
        let format = format.map(|format| match format {
            Format::Binary => Mode::Binary,
            Format::Json => Mode::Structured,
        });
        let timeout = self.subscriber.policy.timeout.unwrap_or(ATTEMPT_MAX);
        let header = |name: &str| match trace.filter(|_| name == TRACEPARENT) {
            Some(trace) => Some(trace.as_bytes()),
            None => record.header(name),
        };
        let Begun { traceparent, span } = self.spans.begin(SpanKind::Client, event, header);
        let is_shared = std::ptr::eq(event, record.event());
        let answer = if is_shared && self.sender.is_plain(address) {
            let parcel = record.parcel(format, || {
                let (mut headers, body) = packed(record, event, format);
                let trace = headers.remove(TRACEPARENT);
                let trace = trace.map_or_else(Vec::new, |value| {
                    [TRACEPARENT.as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
                });
                let lines = client::lines(&headers);
                Parcel { lines, trace, body }
            });
            let own = traceparent.as_ref();
            let own = own.map(|own| format!("{TRACEPARENT}: {own}\r\n"));
            let trace = own.as_ref().map_or(&*parcel.trace, String::as_bytes);
            let lines = [
                &*parcel.lines,
                &*self.lines[usize::from(wants_reply)],
                trace,
            ];
            let sent = self.sender.send(address, lines, &parcel.body, timeout);
            sent.await
        } else {
            let (mut headers, body) = packed(record, event, format);
            headers.extend(own_headers(&self.subscriber, wants_reply));
            let own = traceparent.as_deref().or(trace);
            let own = own.and_then(|own| HeaderValue::try_from(own).ok());
            own.map(|own| headers.insert(TRACEPARENT, own));
            self.sender.post(address, headers, body, timeout).await
        };
        if let Some(mut span) = span {
            span.to(address.url());
            span.end(answer.as_ref().ok().map(|answer| answer.status.as_u16()));
        }
        let answer = match answer {
            Ok(answer) => Some(answer),
            Err(failure) => {
                let subscriber = &self.subscriber.key;
                debug!(namespace = %subscriber.namespace, name = %subscriber.name, url = address.url(), %failure, "an event was not delivered");
                None
            }
        };
        (answer, traceparent)
    }
}

/// Headers and body of a request that brings `event`, which is that of `record` or made of it.
fn packed(record: &Record, event: &Event, mode: Option<Mode>) -> (HeaderMap, Bytes) {
    let (mut headers, body) = message::encode(event, mode);
    message::forward(record, &mut headers);
    message::trace(event, &mut headers);
    (headers, body)
}

/// What this subscriber's requests have besides the event.
fn own_headers(subscriber: &Subscriber, wants_reply: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if wants_reply {
        headers.insert("prefer", HeaderValue::from_static("reply"));
    }
    if let Ok(namespace) = HeaderValue::from_str(&subscriber.key.namespace) {
        headers.insert("kn-namespace", namespace);
    }
    headers
}

/// Brings the event of an answer to where `subscriber`'s answers go, once.
pub(crate) async fn hand_on(
    sender: &Sender,
    topic: &Arc<Topic>,
    subscriber: &Arc<Subscriber>,
    record: &Record,
    event: Event,
) -> Told {
    let courier = Courier::new(sender, topic, subscriber);
    let reply = Answered { event, trace: None };
    courier.pass_on(record, Some(Arc::new(reply))).await
}

/// The event as a dead letter.
pub(crate) fn with_failure(event: &Event, failure: &Failure, subscriber: &Subscriber) -> Event {
    let mut event = event.clone();
    for (name, value) in failure.extensions(subscriber) {
        // These names and values are valid by construction.
        let _ = event.set(name, value);
    }
    event
}

/// An answer in the machine's words.
fn told(answer: &Answer, has_event: bool) -> Told {
    let body = if answer.status.is_success() {
        Vec::new()
    } else {
        answer.body[..answer.body.len().min(REFUSAL_BYTES)].to_vec()
    };
    Told::Response {
        code: answer.status.as_u16(),
        has_event,
        retry_after: retry_after(&answer.headers),
        body,
    }
}

/// Seconds, or a date; what is neither counts for nothing.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    let wait = at.duration_since(jiff::Timestamp::now());
    Some(wait.try_into().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            retry_after(&headers)
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(of("soon"), None);
    }
}
