//! One request under observation: from its head to its last byte, then into the metrics and the
//! request log.

use std::sync::Arc;
use std::time::Instant;

use crate::config::Face;
use crate::front::{Forward, Front, Headers, Via};
use crate::h1::RequestHead;
use crate::metrics::Durations;
use crate::pod::PodState;
use crate::request_log::{Entry, RequestLog};
use crate::trace::{self, Party, Request, Trace};
use crate::worker::{Origin, Worker};

/// The observation. What is not finished when it is dropped counts as cut off with what it had.
pub(crate) struct Record {
    worker: Arc<Worker>,
    started: Instant,
    via: Option<Via>,
    durations: [Option<Arc<Durations>>; 2],
    entry: Option<Box<Entry>>,
    trace: Option<Box<Trace>>,
    /// The log of the Pod that serves the request, if the worker has none.
    pod_log: Option<Arc<RequestLog>>,
    is_probe: bool,
    is_https: bool,
    status: u16,
    bytes: u64,
}

impl Record {
    fn new(
        worker: &Arc<Worker>,
        started: Instant,
        (is_probe, is_https): (bool, bool),
        entry: impl FnOnce() -> Entry,
    ) -> Self {
        let entry = worker.may_log(is_probe).then(|| Box::new(entry()));
        Self {
            worker: Arc::clone(worker),
            started,
            via: None,
            durations: [None, None],
            entry,
            trace: None,
            pod_log: None,
            is_probe,
            is_https,
            status: 0,
            bytes: 0,
        }
    }

    /// Begins with a head of HTTP/1.1.
    pub(crate) fn of_head(
        worker: &Arc<Worker>,
        head: &RequestHead<'_, '_>,
        origin: &Origin,
        started: Instant,
    ) -> Self {
        let text = |name: &str| head.header(name).unwrap_or_default().to_owned();
        let is_probe = head.network_probe().is_some() || is_kubelet(head.user_agent());
        Self::new(worker, started, (is_probe, origin.https), || Entry {
            method: head.method.to_owned(),
            uri: head.target.to_owned(),
            host: head.host.to_owned(),
            proto: if head.http_1_0 {
                "HTTP/1.0"
            } else {
                "HTTP/1.1"
            },
            content_length: text("content-length"),
            user_agent: head.user_agent().to_owned(),
            remote: origin.peer.to_string(),
            referer: text("referer"),
            trace_id: trace_id(&text("traceparent")),
            ..Entry::default()
        })
    }

    /// Begins with a request that hyper has read.
    pub(crate) fn of_request<B>(
        worker: &Arc<Worker>,
        request: &http::Request<B>,
        origin: &Origin,
        started: Instant,
    ) -> Self {
        let header = |name: &str| {
            let value = request.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let text = |name: &str| header(name).to_owned();
        let is_probe =
            request.headers().contains_key("k-network-probe") || is_kubelet(header("user-agent"));
        Self::new(worker, started, (is_probe, origin.https), || Entry {
            method: request.method().to_string(),
            uri: request
                .uri()
                .path_and_query()
                .map(ToString::to_string)
                .unwrap_or_default(),
            host: request
                .uri()
                .host()
                .map_or_else(|| text("host"), str::to_owned),
            proto: if request.version() == http::Version::HTTP_2 {
                "HTTP/2.0"
            } else {
                "HTTP/1.1"
            },
            content_length: text("content-length"),
            user_agent: text("user-agent"),
            remote: origin.peer.to_string(),
            referer: text("referer"),
            trace_id: trace_id(&text("traceparent")),
            ..Entry::default()
        })
    }

    /// Says where the request goes, whose metrics it enters.
    pub(crate) fn attach(&mut self, via: &Via) {
        if let Via::Revision(revision) = via {
            self.durations[0] = Some(Arc::clone(&revision.durations));
        }
        if self.entry.is_some() {
            self.via = Some(via.clone());
        }
    }

    /// Begins a trace or goes on with one; gives the application's place in it. `line` is method,
    /// target and host.
    pub(crate) fn trace<'a>(
        &mut self,
        origin: &Origin,
        forward: &Forward,
        headers: &dyn Headers<'a>,
        (line, version): ([&str; 3], &'static str),
    ) -> Option<String> {
        if self.is_probe || !self.worker.tracer.is_on() {
            return None;
        }
        let (revision, queue) = match (&forward.via, &*origin.front) {
            (Via::Revision(revision), _) => (revision.facts.load_full(), !self.worker.mark_proxied),
            (_, Front::Queue(queue)) => (Some(Arc::clone(&queue.revision)), false),
            _ => (None, false),
        };
        let party = match &*origin.front {
            Front::Queue(_) => Party::Queue,
            Front::Gateway(ingress) if ingress.face == Face::Activator => {
                Party::Activator { queue }
            }
            Front::Gateway(_) => Party::Gateway {
                activator: forward.proxied,
                queue,
            },
        };
        let text = |name: &str| headers.get(name).unwrap_or_default().to_owned();
        let request = || {
            let [method, target, host] = line.map(str::to_owned);
            Request {
                method,
                target,
                host,
                is_https: origin.https,
                version,
                user_agent: text("user-agent"),
                client: origin.peer.ip().to_canonical().to_string(),
                state: text("tracestate"),
            }
        };
        let asked = (headers.get("traceparent"), request);
        let tracer = &self.worker.tracer;
        let begun = trace::begin(tracer, party, revision, self.started, asked);
        if let (Some(entry), Some(trace)) = (&mut self.entry, &begun.trace) {
            entry.trace_id = trace.id();
        }
        self.trace = begun.trace;
        begun.traceparent
    }

    /// Says that the request can go to a Pod now.
    pub(crate) fn seat(&mut self, pod: Option<&Arc<PodState>>) {
        if let Some(trace) = &mut self.trace {
            let name = pod.map(|pod| Arc::clone(&pod.facts.load().name));
            trace.seat(name.unwrap_or_default());
        }
    }

    /// Says which Pod serves the request, whose metrics it enters, too.
    pub(crate) fn serve_by(&mut self, pod: Option<&Arc<PodState>>) {
        let Some(pod) = pod else { return };
        self.durations[1] = Some(Arc::clone(&pod.durations));
        if let Some(entry) = &mut self.entry {
            let facts = pod.facts.load();
            (entry.pod_name, entry.pod_ip) = (Arc::clone(&facts.name), facts.ip.to_string());
            // The gateway asks by TLS where it can; others come to queue-proxy as they like.
            let by_tls = self.worker.peers.is_some() || self.is_https;
            entry.tls = facts.tls_name.clone().filter(|_| by_tls);
            if self.worker.log.is_none() {
                self.pod_log = pod.log();
            }
        }
    }

    /// The answer has begun.
    pub(crate) const fn begin(&mut self, status: u16) {
        self.status = status;
    }

    /// More of the answer's body.
    pub(crate) const fn add_bytes(&mut self, count: u64) {
        self.bytes += count;
    }

    /// The answer is through.
    pub(crate) fn finish(mut self, status: u16, bytes: u64) {
        self.status = status;
        self.bytes = bytes;
    }

    fn log(&mut self) {
        let log = self.worker.log.as_ref().or(self.pod_log.as_deref());
        let log = log.filter(|log| log.wants(self.is_probe));
        let (Some(mut entry), Some(log)) = (self.entry.take(), log) else {
            return;
        };
        entry.code = self.status;
        entry.size = self.bytes;
        entry.latency = self.started.elapsed();
        if let Some(Via::Revision(revision)) = &self.via
            && let Some(facts) = &*revision.facts.load()
        {
            entry.revision = revision_fields(facts);
        }
        if let Some(facts) = &self.worker.log_revision {
            entry.revision = revision_fields(facts);
        }
        log.write(&entry);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        for durations in self.durations.iter().flatten() {
            durations.observe(self.status, duration);
        }
        if let Some(trace) = self.trace.take() {
            trace.end(self.status);
        }
        self.log();
    }
}

pub(crate) fn revision_fields(facts: &serving::route::Revision) -> [Arc<str>; 4] {
    [
        &facts.key.name,
        &facts.key.namespace,
        &facts.service,
        &facts.configuration,
    ]
    .map(Arc::clone)
}

/// The kubelet's own probes say so in their user agent.
pub(crate) fn is_kubelet(user_agent: &str) -> bool {
    user_agent.starts_with("kube-probe/")
}

/// The trace's id in a `traceparent` field (W3C Trace Context).
fn trace_id(traceparent: &str) -> String {
    traceparent.split('-').nth(1).unwrap_or_default().to_owned()
}
