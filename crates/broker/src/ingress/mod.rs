//! What becomes of a request: method, address, rights, format, room; then the event is in the log
//! and the sender has its 202. [`server`] brings requests from the network, `sender` those of
//! this broker to itself.

mod access;
pub(crate) mod server;
pub(crate) mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use cloudevents::{Event, Limits};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use trace::SpanKind;

pub(crate) use access::{Guard, Sender};

use crate::answer::Answer;
use crate::backend::AppendError;
use crate::handlers::Handler;
use crate::record::{self, Meta};
use crate::routes::{Lost, Routes, Shared};
use crate::spans::{Spans, TRACEPARENT};
use crate::tokens::Tokens;
use crate::topic::Topic;

/// How often an event may enter brokers; each reply to a Trigger counts one down.
const HOPS: u8 = 255;
/// The extension that counts hops.
pub(crate) const TTL: &str = "knativebrokerttl";
/// The extension that says when a broker received the event.
const ARRIVAL_TIME: &str = "knativearrivaltime";
/// How long a sender should wait when the log is full.
const RETRY_AFTER_S: u64 = 5;
/// Headers that go with an event to its subscribers, besides those that start with
/// [`FORWARDED_PREFIXES`].
const FORWARDED: [&str; 4] = ["traceparent", "tracestate", "x-request-id", "baggage"];
const FORWARDED_PREFIXES: [&str; 2] = ["knative-", "x-b3-"];

/// Who answers at an address.
pub(crate) enum Entry {
    /// Keeps events.
    Topic(Arc<Topic>),
    /// Answers each event itself; the spans are those of the object.
    Handler(Arc<dyn Handler>, Spans),
}

impl Entry {
    /// Whether it is posted to from outside, by whoever knows nothing of this cluster.
    fn takes_strangers(&self) -> bool {
        matches!(self, Self::Handler(handler, _) if handler.takes_strangers())
    }

    fn guard(&self) -> Arc<Guard> {
        match self {
            Self::Topic(topic) => topic.guard(),
            Self::Handler(handler, _) => handler.guard(),
        }
    }
}

/// What is known of a request before its body.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// It came by TLS, or through no network at all.
    pub(crate) is_secure: bool,
}

/// A request that may bring its body.
pub(crate) struct Admitted {
    entry: Arc<Entry>,
    guard: Arc<Guard>,
    sender: Sender,
    method: Method,
    path: String,
}

/// The way in.
pub(crate) struct Door {
    pub(crate) routes: ArcSwap<Routes<Entry>>,
    tokens: Arc<dyn Tokens>,
    limits: Limits,
    /// Events are taken by TLS alone.
    is_strict: AtomicBool,
}

impl Door {
    pub(crate) fn new(
        routes: Routes<Entry>,
        tokens: Arc<dyn Tokens>,
        event_bytes_max: usize,
    ) -> Self {
        Self {
            routes: ArcSwap::from_pointee(routes),
            tokens,
            limits: Limits {
                body_bytes_max: event_bytes_max,
                ..Limits::default()
            },
            is_strict: AtomicBool::new(false),
        }
    }

    /// From now on events are taken by TLS alone, or not.
    pub(crate) fn set_strict(&self, is_strict: bool) {
        self.is_strict.store(is_strict, Ordering::Relaxed);
    }

    pub(crate) fn event_bytes_max(&self) -> usize {
        self.limits.body_bytes_max
    }

    pub(crate) fn too_large(&self) -> Answer {
        let text = format!(
            "the event is larger than {} bytes, the most this broker takes: send a reference to the data instead",
            self.event_bytes_max()
        );
        Answer::text(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// Says whether a request may bring its body, or answers it right away.
    pub(crate) async fn admit(&self, head: &Head<'_>) -> Result<Admitted, Answer> {
        if *head.method == Method::OPTIONS {
            return Err(Answer::handshake());
        }
        let found = self.routes.load().find(head.host, head.path).cloned();
        let gets =
            matches!(found.as_deref(), Ok(Entry::Handler(handler, _)) if handler.answers_get());
        if *head.method != Method::POST && !(gets && *head.method == Method::GET) {
            return Err(Answer::wrong_method(head.method));
        }
        let entry = found.map_err(|lost| lost_answer(lost, head.path))?;
        if !head.is_secure && !entry.takes_strangers() && self.is_strict.load(Ordering::Relaxed) {
            let text =
                "transport-encryption is strict: send to the https address of the object's status";
            return Err(Answer::text(StatusCode::UPGRADE_REQUIRED, text));
        }
        let guard = entry.guard();
        let sender = guard
            .authenticate(head.headers, self.tokens.as_ref())
            .await?;
        Ok(Admitted {
            guard,
            sender,
            method: head.method.clone(),
            path: head.path.to_owned(),
            entry,
        })
    }

    /// Takes the event or events of an admitted request.
    pub(crate) async fn take(
        &self,
        admitted: Admitted,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Answer {
        if let Entry::Handler(handler, _) = &*admitted.entry
            && admitted.method == Method::GET
        {
            return handler.get(&admitted.path).await;
        }
        if let Entry::Handler(handler, _) = &*admitted.entry
            && let Some(answer) = handler.raw(headers, &body)
        {
            return answer.await;
        }
        let events = match cloudevents::decode(headers, body.clone(), &self.limits) {
            Ok(events) => events,
            Err(error @ cloudevents::Error::NotAnEvent) => {
                return other(&admitted, headers, &body)
                    .await
                    .unwrap_or_else(|| refusal(&error));
            }
            Err(error) => return refusal(&error),
        };
        for event in &events {
            if let Err(refusal) = admitted.guard.authorize(&admitted.sender, event) {
                return *refusal;
            }
        }
        match &*admitted.entry {
            Entry::Topic(topic) => keep(topic, events, headers).await,
            Entry::Handler(handler, spans) => {
                let handler = handler.as_ref();
                handle(handler, spans, events, (headers, &admitted.path)).await
            }
        }
    }

    /// A request of this broker to one of its own addresses: what goes through no socket.
    pub(crate) fn post<'a>(
        &'a self,
        host: &'a str,
        path: &'a str,
        headers: &'a HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            let head = Head {
                method: &Method::POST,
                host,
                path,
                headers,
                is_secure: true,
            };
            match self.admit(&head).await {
                Ok(_) if body.len() > self.event_bytes_max() => self.too_large(),
                Ok(admitted) => self.take(admitted, headers, body).await,
                Err(answer) => answer,
            }
        })
    }

    /// Whether a request to `host` and `path` would be answered here.
    pub(crate) fn is_own(&self, host: &str, path: &str) -> bool {
        self.routes.load().is_own(host, path)
    }
}

/// The answer to what is no event, if that is taken. Rights depend on events: where not everyone may
/// post, it is not.
async fn other(admitted: &Admitted, headers: &HeaderMap, body: &Bytes) -> Option<Answer> {
    match &*admitted.entry {
        Entry::Handler(handler, _) if admitted.guard.is_open() => {
            Some(handler.other(headers, body)?.await)
        }
        _ => None,
    }
}

fn lost_answer(lost: Lost, path: &str) -> Answer {
    let hint = "send to /NAMESPACE/BROKER, or to the URL in the status of the Broker or Channel";
    match lost {
        Lost::Root => Answer::text(
            StatusCode::NOT_FOUND,
            format!("there is nothing at /: {hint}"),
        ),
        Lost::Path => Answer::text(
            StatusCode::BAD_REQUEST,
            format!("{path} does not name a broker: {hint}"),
        ),
        Lost::Unknown(shared) => {
            let what = match shared {
                Shared::Broker => "Broker",
                Shared::Channel => "Channel",
                Shared::JobSink => "JobSink",
                Shared::RequestReply => "RequestReply",
            };
            let text = format!(
                "{path}: there is no {what} of this namespace and name, or it is not ready: {hint}"
            );
            Answer::text(StatusCode::NOT_FOUND, text)
        }
    }
}

fn refusal(error: &cloudevents::Error) -> Answer {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    Answer::text(status, error.to_string())
}

/// Appends all events and answers when all are kept.
pub(crate) async fn keep(topic: &Topic, events: Vec<Event>, headers: &HeaderMap) -> Answer {
    let begun = Instant::now();
    let answer = append(topic, events, headers).await;
    topic.stats().received(answer.status, begun.elapsed());
    answer
}

async fn append(topic: &Topic, events: Vec<Event>, headers: &HeaderMap) -> Answer {
    if let Some(reason) = topic.full() {
        return Answer::text(StatusCode::TOO_MANY_REQUESTS, reason.as_str()).later(RETRY_AFTER_S);
    }
    let types = topic.types();
    let news = types.map(|types| types.news(&events)).unwrap_or_default();
    let mut records = Vec::with_capacity(events.len());
    let mut spans = Vec::new();
    for mut event in events {
        let hops = match enter(topic, &mut event) {
            Ok(hops) => hops,
            Err(refusal) => return *refusal,
        };
        let header = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
        let begun = topic.spans().begin(SpanKind::Server, &event, header);
        spans.extend(begun.span);
        let own = begun.traceparent.as_deref();
        let travelling = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .filter(|(name, _)| forwarded(name) && !(own.is_some() && *name == TRACEPARENT))
            .chain(own.map(|own| (TRACEPARENT, own.as_bytes())));
        let record = record::encode(Meta { hops }, &event, travelling);
        topic.appended(record.len());
        records.push(record);
    }
    if records.is_empty() {
        // An empty batch is a batch.
        return Answer::empty(StatusCode::ACCEPTED);
    }
    let answer = match topic.journal().append(records).await {
        Ok(_) => {
            types.inspect(|types| types.tell(news));
            Answer::empty(StatusCode::ACCEPTED)
        }
        Err(AppendError::Full(reason)) => {
            Answer::text(StatusCode::TOO_MANY_REQUESTS, reason).later(RETRY_AFTER_S)
        }
        Err(AppendError::Failed(reason)) => {
            let text = format!("the event cannot be kept: {reason}");
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, text).later(RETRY_AFTER_S)
        }
    };
    for span in spans {
        span.end(Some(answer.status.as_u16()));
    }
    answer
}

/// Counts hops and notes the arrival, where the ingress is a Broker.
fn enter(topic: &Topic, event: &mut Event) -> Result<u8, Box<Answer>> {
    if !topic.is_broker() {
        return Ok(HOPS);
    }
    let hops = match event.get(TTL) {
        None => HOPS,
        Some(ttl) => {
            let left = ttl.as_text().parse::<i64>().unwrap_or(0) - 1;
            u8::try_from(left.clamp(0, HOPS.into())).unwrap_or(HOPS)
        }
    };
    if hops == 0 {
        let text = format!(
            "{TTL} has come to its end: the event entered brokers {HOPS} times. Do Triggers answer each other?"
        );
        return Err(Box::new(Answer::text(StatusCode::BAD_REQUEST, text)));
    }
    event.remove(TTL);
    let set = event.set(ARRIVAL_TIME, Timestamp::now().to_string());
    set.map_err(|error| Box::new(refusal(&error)))?;
    Ok(hops)
}

/// Whether a header goes with the event to its subscribers.
pub(crate) fn forwarded(name: &str) -> bool {
    FORWARDED.contains(&name)
        || FORWARDED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

async fn handle(
    handler: &dyn Handler,
    spans: &Spans,
    events: Vec<Event>,
    (headers, path): (&HeaderMap, &str),
) -> Answer {
    let mut events = events.into_iter();
    let (Some(event), None) = (events.next(), events.next()) else {
        return Answer::text(
            StatusCode::BAD_REQUEST,
            "send one event at a time here: a batch has no one answer",
        );
    };
    let header = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let begun = spans.begin(SpanKind::Server, &event, header);
    // What it sends on is behind its own span.
    let own = begun.traceparent.map(HeaderValue::try_from);
    let answer = match own {
        Some(Ok(own)) => {
            let mut headers = headers.clone();
            headers.insert(TRACEPARENT, own);
            handler.handle(event, &headers, path).await
        }
        _ => handler.handle(event, headers, path).await,
    };
    if let Some(span) = begun.span {
        span.end(Some(answer.status.as_u16()));
    }
    answer
}
