//! What the tasks of one worker share: how to reach Pods, limits, where to report.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serving::autoscale::Stat;
use serving::route::{Revision, RevisionKey};
use tokio::sync::mpsc;
use trace::Tracer;

use crate::config::Dial;
use crate::front::Front;
use crate::internal::Peers;
use crate::request_log::RequestLog;

/// The reporter's name in statistics of requests that the gateway buffers.
pub(crate) const ACTIVATOR: &str = "activator";

/// One worker: a thread of the gateway, or all tasks of one queue-proxy.
pub(crate) struct Worker {
    /// Which list of a Pod's idle connections is this worker's.
    pub(crate) lane: usize,
    pub(crate) dialer: Arc<dyn Dial>,
    pub(crate) stats: Option<mpsc::Sender<Stat>>,
    pub(crate) idle_timeout: Duration,
    pub(crate) head_timeout: Duration,
    pub(crate) draining: Arc<AtomicBool>,
    /// How queue-proxies are known that are asked by TLS; `None` for a queue-proxy.
    pub(crate) peers: Option<Peers>,
    /// Where requests are logged.
    pub(crate) log: Option<RequestLog>,
    /// Which requests are traced.
    pub(crate) tracer: Tracer,
    /// How many Pods have a request log, into which what is sent to them is written.
    pub(crate) pod_logs: Arc<AtomicUsize>,
    /// The revision named in the log of requests that know none.
    pub(crate) log_revision: Option<Arc<Revision>>,
    /// Tell the queue-proxy of another process which requests were counted here already.
    pub(crate) mark_proxied: bool,
    /// Connections open.
    pub(crate) connections: AtomicUsize,
    /// Requests in flight.
    pub(crate) requests: AtomicUsize,
}

impl Worker {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether a request may have to be logged. Which Pod takes it is not known yet.
    pub(crate) fn may_log(&self, is_probe: bool) -> bool {
        self.log.as_ref().is_some_and(|log| log.wants(is_probe))
            || self.pod_logs.load(Ordering::Relaxed) > 0
    }

    /// Tells the autoscaler at once that a revision without Pods is wanted: Knative's message for
    /// the first request, and how many wait for every further one. Should the channel be full, the
    /// next statistic says the same.
    pub(crate) fn poke(&self, revision: &RevisionKey, waiting: u32) {
        if let Some(stats) = &self.stats {
            let _ = stats.try_send(Stat {
                revision: revision.clone(),
                reporter: ACTIVATOR.into(),
                average_concurrent_requests: f64::from(waiting.max(1)),
                average_proxied_concurrent_requests: 0.0,
                request_count: 0.0,
                proxied_request_count: 0.0,
                so_far: waiting > 1,
            });
        }
    }
}

/// Where a connection came in and from whom.
pub(crate) struct Origin {
    pub(crate) front: Arc<Front>,
    pub(crate) peer: SocketAddr,
    pub(crate) https: bool,
}

/// One connection of a worker, counted while it lives.
pub(crate) struct Connection(pub(crate) Arc<Worker>);

impl Connection {
    pub(crate) fn new(worker: &Arc<Worker>) -> Self {
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(worker))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One request in flight, counted while it lives.
pub(crate) struct InFlight(Arc<Worker>);

impl InFlight {
    pub(crate) fn new(worker: &Arc<Worker>) -> Self {
        worker.requests.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(worker))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}
