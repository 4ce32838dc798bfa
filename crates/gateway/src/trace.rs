//! Traces: W3C trace context (<https://www.w3.org/TR/trace-context/>) in and out, and the spans of
//! what this process did for a request. The exporter is the binary's: spans leave by a channel.
//!
//! [`Tracer`] is shared by the gateway and all queue-proxies; off, it costs a request one load. A
//! request's `record` begins a [`Trace`] when its way is decided and ends it with its last byte.
//!
//! The spans of a request are nested as Knative's are: the gateway's (or the activator's, where it
//! is asked by itself), the activator's wait and its proxying where it is in the path, and the
//! queue-proxy's. What the application is told is the last of them.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use serving::route::Revision;
use tokio::sync::mpsc;

/// The bytes of a `traceparent` of version 00.
pub(crate) const TRACEPARENT_LEN: usize = 55;
/// The flag that says that a trace is recorded.
const SAMPLED: u8 = 1;

/// What a span is to its trace (OpenTelemetry's words).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpanKind {
    /// A part of what is done in one place.
    Internal,
    /// The answer to a request that came from outside.
    Server,
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

struct Active {
    rate: f64,
    sink: mpsc::Sender<Span>,
}

#[derive(Default)]
struct Shared {
    is_on: AtomicBool,
    active: ArcSwapOption<Active>,
}

/// Which requests are traced, and where their spans go; off at first. A cheap handle.
#[derive(Clone, Default)]
pub struct Tracer(Arc<Shared>);

impl Tracer {
    /// Traces the share `rate` (0 to 1) of requests that are in no trace yet from now on, and those
    /// whose trace is recorded; at 1 all. A full channel loses spans and holds nobody up.
    pub fn start(&self, rate: f64, sink: mpsc::Sender<Span>) {
        self.0.active.store(Some(Arc::new(Active { rate, sink })));
        self.0.is_on.store(true, Ordering::Relaxed);
    }

    /// Traces nothing from now on; `traceparent` is passed on as it comes. The channel closes when
    /// the requests under way have ended.
    pub fn stop(&self) {
        self.0.is_on.store(false, Ordering::Relaxed);
        self.0.active.store(None);
    }

    /// Whether anything is traced.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Relaxed)
    }
}

/// Where a request stands in its trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Parent {
    trace_id: [u8; 16],
    id: [u8; 8],
    is_sampled: bool,
}

impl Parent {
    /// Reads a `traceparent`; `None` for one that must be ignored.
    fn parse(text: &str) -> Option<Self> {
        let bytes = text.trim().as_bytes();
        let fields = bytes.get(..TRACEPARENT_LEN)?;
        // Later versions may say more, after another dash.
        let is_whole = match (&fields[..2], bytes.get(TRACEPARENT_LEN)) {
            (b"ff", _) => false,
            (_, None) => true,
            (version, Some(next)) => version != b"00" && *next == b'-',
        };
        let has_dashes = [2, 35, 52].iter().all(|&at| fields[at] == b'-');
        if !is_whole || !has_dashes {
            return None;
        }
        let _version: [u8; 1] = hex(&fields[..2])?;
        let [flags] = hex(&fields[53..])?;
        let (trace_id, id) = (hex(&fields[3..35])?, hex(&fields[36..52])?);
        let is_valid = trace_id != [0; 16] && id != [0; 8];
        is_valid.then_some(Self {
            trace_id,
            id,
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

/// Lower-case hexadecimal digits, as the recommendation wants them.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The `traceparent` of a child of `id`.
fn traceparent(trace_id: [u8; 16], id: [u8; 8], is_sampled: bool) -> String {
    let mut text = String::with_capacity(TRACEPARENT_LEN);
    text.push_str("00-");
    push_hex(&mut text, &trace_id);
    text.push('-');
    push_hex(&mut text, &id);
    text.push_str(if is_sampled { "-01" } else { "-00" });
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}

fn new_id() -> [u8; 8] {
    (rand::random::<u64>() | 1).to_be_bytes()
}

/// OpenTelemetry's ratio of trace ids: every sampler on a trace's way agrees.
fn is_in_ratio(trace_id: &[u8; 16], rate: f64) -> bool {
    let [.., a, b, c, d, e, f, g, h] = *trace_id;
    let drawn = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
    (drawn as f64) < rate * (1_u64 << 63) as f64
}

/// Who handles a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Party {
    /// The gateway, and which parts of Knative stand behind it in this process.
    Gateway { activator: bool, queue: bool },
    /// The activator by itself.
    Activator { queue: bool },
    /// A queue-proxy by itself.
    Queue,
}

/// What is told of a request.
#[derive(Clone, Default, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) host: String,
    pub(crate) is_https: bool,
    pub(crate) version: &'static str,
    pub(crate) user_agent: String,
    pub(crate) client: String,
    pub(crate) state: String,
}

/// A traced request on its way.
pub(crate) struct Trace {
    active: Arc<Active>,
    party: Party,
    request: Request,
    revision: Option<Arc<Revision>>,
    trace_id: [u8; 16],
    parent: Option<[u8; 8]>,
    /// Of the outermost span, of the activator's proxying, of the queue-proxy's.
    ids: [[u8; 8]; 3],
    started: Instant,
    /// When the request could go to a Pod, and to which.
    seated: Option<(Instant, Arc<str>)>,
}

/// What becomes of a request in its trace.
pub(crate) struct Begun {
    /// `traceparent` for the next hop; `None` leaves what came.
    pub(crate) traceparent: Option<String>,
    /// The spans to be recorded, if any.
    pub(crate) trace: Option<Box<Trace>>,
}

impl Begun {
    /// Nothing is traced here.
    pub(crate) const OFF: Self = Self {
        traceparent: None,
        trace: None,
    };
}

impl Tracer {
    /// Begins with a request that came with the `traceparent` given.
    pub(crate) fn begin(
        &self,
        party: Party,
        revision: Option<Arc<Revision>>,
        started: Instant,
        (came_with, request): (Option<&str>, impl FnOnce() -> Request),
    ) -> Begun {
        let Some(active) = self.0.active.load_full() else {
            return Begun::OFF;
        };
        let parent = came_with.and_then(Parent::parse);
        let trace_id = parent.map_or_else(
            || (rand::random::<u128>() | 1).to_be_bytes(),
            |parent| parent.trace_id,
        );
        let is_sampled = match parent {
            _ if active.rate >= 1.0 => true,
            _ if active.rate <= 0.0 => false,
            Some(parent) => parent.is_sampled,
            None => is_in_ratio(&trace_id, active.rate),
        };
        if !is_sampled {
            // Those behind us shall not draw again.
            let undecided = parent.is_none();
            let traceparent = undecided.then(|| traceparent(trace_id, new_id(), false));
            return Begun {
                traceparent,
                trace: None,
            };
        }
        let trace = Trace {
            active,
            party,
            request: request(),
            revision,
            trace_id,
            parent: parent.map(|parent| parent.id),
            ids: [new_id(), new_id(), new_id()],
            started,
            seated: None,
        };
        Begun {
            traceparent: Some(traceparent(trace_id, trace.innermost(), true)),
            trace: Some(Box::new(trace)),
        }
    }
}

impl Trace {
    /// The trace's id as people write it.
    pub(crate) fn id(&self) -> String {
        let mut text = String::with_capacity(32);
        push_hex(&mut text, &self.trace_id);
        text
    }

    /// The application's parent.
    const fn innermost(&self) -> [u8; 8] {
        let [outermost, activator, queue] = self.ids;
        match self.party {
            Party::Gateway { queue: true, .. } | Party::Activator { queue: true } => queue,
            Party::Gateway {
                activator: true, ..
            }
            | Party::Activator { .. } => activator,
            Party::Gateway { .. } | Party::Queue => outermost,
        }
    }

    /// A Pod can take the request.
    pub(crate) fn seat(&mut self, pod: Arc<str>) {
        self.seated.get_or_insert_with(|| (Instant::now(), pod));
    }

    /// The last byte is through; 0 is a request whose client left before an answer.
    pub(crate) fn end(self, status: u16) {
        let (ended, now) = (Instant::now(), SystemTime::now());
        let unix = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = |instant: Instant| {
            let ago = ended.saturating_duration_since(instant);
            nanoseconds(unix.saturating_sub(ago))
        };
        let (start, end) = (at(self.started), at(ended));
        let go = self.seated.as_ref().map(|(seated, _)| at(*seated));
        let [outermost, activator, queue] = self.ids;
        let of_revision = self.revision_name();
        let method: Cow<'static, str> = self.request.method.clone().into();
        let server = |service: Arc<str>, name: Cow<'static, str>, id, parent, start_ns| {
            let span = self.span(service, name, id, parent, (start_ns, end));
            self.described(span, status)
        };
        let (who, is_activated, has_queue) = match self.party {
            Party::Gateway { activator, queue } => ("gateway".into(), activator, queue),
            Party::Activator { queue } => ("activator".into(), true, queue),
            Party::Queue => (Arc::clone(&of_revision), false, false),
        };
        let mut spans = vec![server(who, method, outermost, self.parent, start)];
        let mut inner = outermost;
        if is_activated {
            let activated = |name: &'static str, id, times| {
                self.span("activator".into(), name.into(), id, Some(outermost), times)
            };
            let mut wait = activated("throttler_try", new_id(), (start, go.unwrap_or(end)));
            wait.failed = go.is_none();
            spans.push(wait);
            if let Some(go) = go {
                spans.push(activated("activator_proxy", activator, (go, end)));
                inner = activator;
            }
        }
        if let Some(go) = go.filter(|_| has_queue) {
            let name = "kn.queueproxy.proxy".into();
            spans.push(server(of_revision, name, queue, Some(inner), go));
        }
        for span in spans {
            // A full channel: the collector is slow or away, and its spans are the price.
            let _ = self.active.sink.try_send(span);
        }
    }

    /// The Service, or what stands for it (Knative's resource of a queue-proxy).
    fn revision_name(&self) -> Arc<str> {
        let Some(revision) = &self.revision else {
            return "queue-proxy".into();
        };
        let names = [&revision.service, &revision.configuration];
        let named = names.into_iter().find(|name| !name.is_empty());
        Arc::clone(named.unwrap_or(&revision.key.name))
    }

    fn span(
        &self,
        service: Arc<str>,
        name: Cow<'static, str>,
        id: [u8; 8],
        parent: Option<[u8; 8]>,
        (start_ns, end_ns): (u64, u64),
    ) -> Span {
        let mut attributes = Vec::new();
        if let Some(revision) = &self.revision {
            for (name, value) in [
                ("k8s.namespace.name", &revision.key.namespace),
                ("kn.service.name", &revision.service),
                ("kn.configuration.name", &revision.configuration),
                ("kn.revision.name", &revision.key.name),
            ] {
                attributes.push((name, Value::Text(Arc::clone(value))));
            }
        }
        Span {
            service,
            name,
            kind: SpanKind::Internal,
            trace_id: self.trace_id,
            id,
            parent,
            state: self.request.state.as_str().into(),
            start_ns,
            end_ns,
            attributes,
            failed: false,
        }
    }

    /// Adds what OpenTelemetry's conventions tell of a served request.
    fn described(&self, mut span: Span, status: u16) -> Span {
        let request = &self.request;
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        let scheme = if request.is_https { "https" } else { "http" };
        let pod = self.seated.as_ref().map(|(_, pod)| &**pod);
        for (name, value) in [
            ("http.request.method", request.method.as_str()),
            ("url.scheme", scheme),
            ("url.path", path),
            ("url.query", query),
            ("server.address", request.host.as_str()),
            ("network.protocol.version", request.version),
            ("user_agent.original", request.user_agent.as_str()),
            ("client.address", request.client.as_str()),
            ("k8s.pod.name", pod.unwrap_or_default()),
        ] {
            if !value.is_empty() {
                span.attributes.push((name, Value::Text(value.into())));
            }
        }
        if status > 0 {
            let status = Value::Number(status.into());
            span.attributes.push(("http.response.status_code", status));
        }
        span.kind = SpanKind::Server;
        span.failed = status >= 500;
        span
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_strictly() {
        const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = Parent::parse(GOOD).unwrap();
        assert!(parent.is_sampled);
        assert_eq!(traceparent(parent.trace_id, parent.id, true), GOOD);
        for (text, is_read) in [
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
                true,
            ),
            (
                "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
                true,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
                false,
            ),
            (
                "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                false,
            ),
            (
                "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                false,
            ),
            (
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                false,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                false,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
                false,
            ),
            ("00-ab", false),
            ("", false),
        ] {
            assert_eq!(Parent::parse(text).is_some(), is_read, "{text}");
        }
    }

    /// What is sent on and which spans come of a request that came with `came_with`.
    fn traced(rate: f64, party: Party, came_with: &str) -> (Option<String>, Vec<Span>) {
        let tracer = Tracer::default();
        let (sink, mut spans) = mpsc::channel(16);
        tracer.start(rate, sink);
        let came_with = Some(came_with).filter(|text| !text.is_empty());
        let request = (came_with, Request::default);
        let begun = tracer.begin(party, None, Instant::now(), request);
        if let Some(mut trace) = begun.trace {
            trace.seat("pod".into());
            trace.end(200);
        }
        let spans = std::iter::from_fn(|| spans.try_recv().ok()).collect();
        (begun.traceparent, spans)
    }

    const RECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const UNRECORDED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn who_is_traced() {
        let queue = Party::Queue;
        for (rate, came_with, is_traced, passed_on) in [
            (1.0, "", true, Some("-01")),
            (1.0, UNRECORDED, true, Some("-01")),
            (1e-12, RECORDED, true, Some("-01")),
            (1e-12, UNRECORDED, false, None),
            (1e-12, "", false, Some("-00")),
            (0.0, RECORDED, false, None),
        ] {
            let (traceparent, spans) = traced(rate, queue, came_with);
            assert_eq!(!spans.is_empty(), is_traced, "{rate} {came_with}");
            let flags = traceparent.as_deref().map(|text| &text[52..]);
            assert_eq!(flags, passed_on, "{rate} {came_with}");
        }
        let off = Tracer::default();
        let request = (Some(RECORDED), || panic!("nobody asks"));
        let begun = off.begin(queue, None, Instant::now(), request);
        assert!(begun.traceparent.is_none() && begun.trace.is_none());
    }

    #[test]
    fn spans_are_nested_from_the_client_to_the_application() {
        let gateway = |activator, queue| Party::Gateway { activator, queue };
        for (party, names) in [
            (Party::Queue, "queue-proxy:"),
            (gateway(false, false), "gateway:"),
            (
                gateway(false, true),
                "gateway: queue-proxy:kn.queueproxy.proxy",
            ),
            (
                gateway(true, true),
                "gateway: activator:activator_proxy queue-proxy:kn.queueproxy.proxy",
            ),
            (
                Party::Activator { queue: true },
                "activator: activator:activator_proxy queue-proxy:kn.queueproxy.proxy",
            ),
            (
                Party::Activator { queue: false },
                "activator: activator:activator_proxy",
            ),
        ] {
            let (traceparent, spans) = traced(1.0, party, RECORDED);
            let child = Parent::parse(&traceparent.unwrap()).unwrap();
            let mut parent = Parent::parse(RECORDED).unwrap();
            let mut seen = Vec::new();
            while parent.id != child.id {
                let span = spans
                    .iter()
                    .find(|span| span.parent == Some(parent.id) && span.name != "throttler_try");
                let span = span.unwrap_or_else(|| panic!("{party:?}: {spans:?}"));
                seen.push(format!("{}:{}", span.service, span.name));
                assert_eq!(span.trace_id, child.trace_id);
                parent.id = span.id;
            }
            assert_eq!(seen.join(" "), names, "{party:?}");
        }
    }

    #[test]
    fn a_share_of_traces_is_drawn_by_their_ids() {
        let id = |last: u64| {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&last.to_be_bytes());
            id
        };
        assert!(is_in_ratio(&id(u64::MAX / 4), 0.26));
        assert!(!is_in_ratio(&id(u64::MAX / 4), 0.24));
        assert!(!is_in_ratio(&id(u64::MAX), 0.99));
    }
}
