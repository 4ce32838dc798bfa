//! The spans of what this process did for a request. A [`Tracer`] is shared by the gateway and all
//! queue-proxies. A request's `record` begins a [`Trace`] when its way is decided and ends it with
//! its last byte.
//!
//! The spans of a request are nested as Knative's are: the gateway's (or the activator's, where it
//! is asked by itself), the activator's wait and its proxying where it is in the path, and the
//! queue-proxy's. What the application is told is the last of them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serving::route::Revision;
use trace::context::push_hex;
pub(crate) use trace::{Active, Parent, Span, SpanKind, Tracer, Value, traceparent};

fn new_id() -> [u8; 8] {
    (rand::random::<u64>() | 1).to_be_bytes()
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

/// Begins with a request that came with the `traceparent` given.
pub(crate) fn begin(
    tracer: &Tracer,
    party: Party,
    revision: Option<Arc<Revision>>,
    started: Instant,
    (came_with, request): (Option<&str>, impl FnOnce() -> Request),
) -> Begun {
    let Some(active) = tracer.active() else {
        return Begun::OFF;
    };
    let parent = came_with.and_then(Parent::parse);
    let decided = active.decide(parent, rand::random());
    let trace_id = decided.trace_id;
    if !decided.is_sampled {
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
        parent: decided.parent,
        ids: [new_id(), new_id(), new_id()],
        started,
        seated: None,
    };
    Begun {
        traceparent: Some(traceparent(trace_id, trace.innermost(), true)),
        trace: Some(Box::new(trace)),
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
            self.active.record(span);
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
    use tokio::sync::mpsc;

    use super::*;

    /// What is sent on and which spans come of a request that came with `came_with`.
    fn traced(rate: f64, party: Party, came_with: &str) -> (Option<String>, Vec<Span>) {
        let tracer = Tracer::default();
        let (sink, mut spans) = mpsc::channel(16);
        tracer.start(rate, Box::new(move |span| drop(sink.try_send(span))));
        let came_with = Some(came_with).filter(|text| !text.is_empty());
        let request = (came_with, Request::default);
        let begun = begin(&tracer, party, None, Instant::now(), request);
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
        let begun = begin(&off, queue, None, Instant::now(), request);
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
}
