//! Knative's queue-proxy as a task of this process: the same ports, the same answers, one per Pod.
//!
//! Its listeners are opened by others (inside the Pod's network namespace) and handed over. The
//! Pod's limit and counters are those of [`crate::Pods`], so that requests which the gateway of the
//! same process sends straight to the application count here, too.

mod admin;
mod listen;
mod probe;
mod secure;

use std::io;
use std::net::TcpListener as StdListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serving::route::{Pod, Revision};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use trace::Tracer;

use crate::config::Dial;
use crate::front::{Decision, Forward, Limits, Query, Via, answer_ingress_probe};
use crate::pod::{Logging, Phase, PodState, Pods, QUEUE_LANE};
use crate::record::{is_kubelet, revision_fields};
use crate::reply::Reply;
use crate::request_log::{Entry, RequestLog};
use crate::tls::OneCertificate;
use crate::worker::Worker;

pub use probe::ProbeError;

use listen::Listening;
use probe::Prober;

/// How the kubelet calls itself.
const KUBELET: &str = "kube-probe/1.34";
/// How long a client connection may be silent between requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a drain looks whether requests are still in flight.
const DRAIN_POLL: Duration = Duration::from_millis(5);
/// How often it looks while only tunnels are left.
const TUNNEL_POLL: Duration = Duration::from_millis(100);
/// How long a drain waits for tunnels to end by themselves: Knative's own time of quiet. Then the
/// application is told to end, and can close its WebSockets as it should.
const TUNNEL_PATIENCE: Duration = Duration::from_secs(30);
/// After a preStop hook without a stop following it, the Pod takes requests again (the container
/// alone was restarted).
const UNDRAIN_AFTER: Duration = Duration::from_secs(1);

/// The sockets of one queue-proxy, already listening; `None` leaves that port out.
#[derive(Debug, Default)]
pub struct QueueListeners {
    /// 8012: HTTP/1.1, and HTTP/2 with prior knowledge.
    pub http: Option<StdListener>,
    /// 8013: the same; where the Services of h2c revisions point.
    pub h2c: Option<StdListener>,
    /// 8112: the same by TLS.
    pub https: Option<StdListener>,
    /// 9090: statistics for the autoscaler.
    pub stats: Option<StdListener>,
    /// 9091: metrics.
    pub metrics: Option<StdListener>,
    /// 8022: `/wait-for-drain`, the target of the containers' preStop hook.
    pub admin: Option<StdListener>,
}

/// What a queue-proxy must be told.
pub struct QueueConfig {
    /// The Pod it stands before; `ready` is ignored.
    pub pod: Pod,
    /// Its revision; the Pods listed in it are ignored.
    pub revision: Arc<Revision>,
    /// `SERVING_READINESS_PROBE`: a Kubernetes Probe as JSON, or a list of them. Without one the
    /// application is ready when its port accepts connections.
    pub readiness_probe: Option<String>,
    /// Its sockets.
    pub listeners: QueueListeners,
    /// What the TLS port shows.
    pub certificate: OneCertificate,
    /// How the application is reached.
    pub dialer: Arc<dyn Dial>,
    /// The limits and counters shared with the gateway of this process.
    pub pods: Pods,
    /// Where requests are logged; `None` is off.
    pub request_log: Option<RequestLog>,
    /// Which requests are traced.
    pub tracer: Tracer,
    /// A drain ends when so long no new request has come. Knative takes 30 s, because others may
    /// not know yet that the Pod goes; where the gateway is in the same process, much less will do.
    pub drain_quiet: Duration,
    /// A command of a container decides whether the Pod is ready, which the kubelet runs: the
    /// gateway sends nothing before Kubernetes calls the Pod ready.
    pub kubelet_decides: bool,
}

/// Why a queue-proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The readiness probe cannot be understood.
    #[error("readiness probe of Pod {pod}")]
    Probe {
        /// The Pod's name.
        pod: Arc<str>,
        /// What is wrong with it.
        #[source]
        source: ProbeError,
    },
    /// A socket cannot be used.
    #[error("register the {port} listener of Pod {pod}")]
    Listener {
        /// The Pod's name.
        pod: Arc<str>,
        /// Which of its sockets.
        port: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What the connections of one queue-proxy share.
pub(crate) struct Queue {
    pub(crate) pod: Arc<PodState>,
    pub(crate) revision: Arc<Revision>,
    prober: Prober,
    ready: watch::Sender<bool>,
    draining: AtomicBool,
    stopping: AtomicBool,
    last_request: Mutex<Instant>,
    drain_quiet: Duration,
    kubelet_decides: bool,
    started: Instant,
}

impl Queue {
    /// Decides about one request on the serving ports.
    pub(crate) fn decide(self: &Arc<Self>, query: &Query<'_>) -> Decision {
        match query.network_probe {
            Some("queue") => return Decision::Probe(Arc::clone(self)),
            Some("probe") => {
                let hash = query.headers.get("k-network-hash").unwrap_or_default();
                return Decision::Reply(answer_ingress_probe(hash));
            }
            Some(other) => {
                let text = format!("unexpected probe header value: {other:?}\n");
                return Decision::Reply(Reply::owned(400, text));
            }
            None => {}
        }
        let counted = !is_kubelet(query.user_agent);
        if counted {
            *self
                .last_request
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        Decision::Forward(Forward {
            via: Via::Pod {
                pod: Arc::clone(&self.pod),
                counted,
            },
            limits: Limits::of(&self.revision),
            timeout_text: "request timeout",
            rule: None,
            protocol: self.revision.protocol,
            proxied: query.proxied,
        })
    }

    /// The answer to a probe that asks for the queue-proxy: whether the application is ready.
    pub(crate) async fn answer_probe(&self) -> Reply {
        if self.draining.load(Ordering::Relaxed) {
            return Reply::text(503, "shutting down\n");
        }
        if self.prober.check().await {
            Reply::text(200, "queue")
        } else {
            Reply::text(503, "queue not ready\n")
        }
    }

    /// Tries until the application is ready, then says so to whoever waits and to the gateway.
    async fn become_ready(self: Arc<Self>) {
        self.prober.wait().await;
        if !self.draining.load(Ordering::Relaxed) {
            self.pod.set_phase(self.phase_when_ready());
        }
        self.ready.send_replace(true);
    }

    /// Reaching the application is enough for the gateway, unless a command of the container has to
    /// agree, whose result Kubernetes alone knows.
    const fn phase_when_ready(&self) -> Phase {
        if self.kubelet_decides {
            Phase::Unknown
        } else {
            Phase::Probed
        }
    }

    /// Refuses probes from now on, and waits until requests have finished and stopped coming.
    async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.pod.set_phase(Phase::Draining);
        let began = Instant::now();
        loop {
            let last = *self
                .last_request
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let quiet = Instant::now().saturating_duration_since(last.max(began));
            let (under_way, tunnels) = self.pod.under_way();
            if under_way > tunnels {
                tokio::time::sleep(DRAIN_POLL).await;
            } else if tunnels > 0 && quiet < TUNNEL_PATIENCE {
                tokio::time::sleep(TUNNEL_POLL).await;
            } else if quiet < self.drain_quiet {
                tokio::time::sleep(self.drain_quiet - quiet).await;
            } else {
                return;
            }
        }
    }

    /// The preStop hook: drains; undone a moment later unless the Pod is really being stopped.
    async fn wait_for_drain(self: Arc<Self>) {
        self.drain().await;
        tokio::spawn(async move {
            tokio::time::sleep(UNDRAIN_AFTER).await;
            if !self.stopping.load(Ordering::Relaxed) {
                self.draining.store(false, Ordering::Relaxed);
                self.pod.set_phase(self.phase_when_ready());
            }
        });
    }
}

/// A running queue-proxy. Dropping it closes its sockets and connections.
pub struct QueueProxy {
    queue: Arc<Queue>,
    ready: watch::Receiver<bool>,
    /// Connections end when this goes.
    _alive: watch::Sender<()>,
    _log: Option<Logging>,
    tasks: Vec<JoinHandle<()>>,
}

impl QueueProxy {
    /// Starts to serve and to probe the application, on the runtime of the caller.
    ///
    /// # Errors
    /// When the probe cannot be understood or a socket cannot be used.
    pub fn start(config: QueueConfig) -> Result<Self, Error> {
        let name = Arc::clone(&config.pod.name);
        let (ready, ready_watch) = watch::channel(false);
        let worker = worker(&config);
        let logs = config.request_log.map(|log| (log, config.pods.logs()));
        let listeners = Listening::register(config.listeners, config.certificate, &name)?;
        let prober = Prober::new(
            config.readiness_probe.as_deref(),
            config.dialer,
            &config.pod,
        )
        .map_err(|source| Error::Probe { pod: name, source })?;
        let queue = Arc::new(Queue {
            pod: pod_state(
                &config.pods,
                config.pod,
                config.revision.container_concurrency,
            ),
            revision: config.revision,
            prober,
            ready,
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            last_request: Mutex::new(Instant::now()),
            drain_quiet: config.drain_quiet,
            kubelet_decides: config.kubelet_decides,
            started: Instant::now(),
        });
        // What the gateway of this process sends past the queue-proxy's port is logged like what
        // comes through it.
        let log = logs.map(|(log, logs)| queue.pod.set_log(log, logs));
        let (alive, gone) = watch::channel(());
        let mut tasks = listeners.serve(&worker, &queue, &gone);
        tasks.push(tokio::spawn(Arc::clone(&queue).become_ready()));
        Ok(Self {
            queue,
            ready: ready_watch,
            _alive: alive,
            _log: log,
            tasks,
        })
    }

    /// Waits until the application has answered its readiness probe for the first time.
    pub async fn ready(&self) {
        // The sender lives in `queue`, as long as this does.
        let _ = self.ready.clone().wait_for(|ready| *ready).await;
    }

    /// Turns true at that moment.
    pub fn ready_watch(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Whether it has.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Tries the readiness probe now; false while draining. It stands for the kubelet's request and
    /// is logged as one.
    pub async fn check(&self) -> bool {
        let began = Instant::now();
        let reply = self.queue.answer_probe().await;
        let log = self.queue.pod.log().filter(|log| log.wants(true));
        if let Some(log) = log {
            let facts = self.queue.pod.facts.load();
            log.write(&Entry {
                method: "GET".to_owned(),
                uri: "/".to_owned(),
                host: format!("{}:8012", facts.ip),
                proto: "HTTP/1.1",
                user_agent: KUBELET.to_owned(),
                code: reply.status,
                size: reply.body.len() as u64,
                latency: began.elapsed(),
                revision: revision_fields(&self.queue.revision),
                pod_name: Arc::clone(&facts.name),
                pod_ip: facts.ip.to_string(),
                ..Entry::default()
            });
        }
        reply.status == 200
    }

    /// The Pod is being stopped: probes are refused, the gateway of this process sends nothing
    /// more; returns when all requests have finished and no new one has come for the configured
    /// time.
    pub async fn drain(&self) {
        self.queue.stopping.store(true, Ordering::Relaxed);
        self.queue.drain().await;
    }
}

impl Drop for QueueProxy {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn worker(config: &QueueConfig) -> Arc<Worker> {
    Arc::new(Worker {
        lane: QUEUE_LANE,
        dialer: Arc::clone(&config.dialer),
        stats: None,
        peers: None,
        idle_timeout: IDLE_TIMEOUT,
        head_timeout: HEAD_TIMEOUT,
        draining: Arc::default(),
        log: config.request_log.clone(),
        tracer: config.tracer.clone(),
        // What comes in here is logged here, whichever Pod it is for.
        pod_logs: Arc::default(),
        log_revision: Some(Arc::clone(&config.revision)),
        mark_proxied: false,
        connections: AtomicUsize::new(0),
        requests: AtomicUsize::new(0),
    })
}

/// The Pod's shared state. What the controllers have told the gateway of it already stands.
fn pod_state(pods: &Pods, pod: Pod, container_concurrency: u32) -> Arc<PodState> {
    let state = pods.get(&pod.uid);
    let known = state.facts.load_full();
    if known.name.is_empty() {
        state.set_facts(
            &Pod {
                ready: false,
                ..pod
            },
            container_concurrency,
        );
    } else if known.ip.is_unspecified() {
        let facts = Pod {
            ip: pod.ip,
            ..(*known).clone()
        };
        state.facts.store(Arc::new(facts));
    }
    state
}
