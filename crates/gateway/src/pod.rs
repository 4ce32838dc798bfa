//! One Pod as the data plane sees it: its limit and counters, shared by the gateway and by the
//! Pod's queue-proxy in the same process, and the idle connections to its application.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use serving::route::Pod;
use serving::throttle::{Breaker, PodId, RequestReport};

use crate::gate::Gate;
use crate::h1::Upstream;
use crate::h2::Connections;
use crate::internal::Own;
use crate::metrics::Durations;
use crate::request_log::RequestLog;

/// Lists of idle connections a Pod has: one per worker, and the last for its queue-proxy.
pub(crate) const LANES: usize = 9;
/// The lane of the queue-proxy.
pub(crate) const QUEUE_LANE: usize = LANES - 1;
/// Idle connections kept per lane; one more is closed.
const IDLE_MAX: usize = 1000;
/// How long a connection to an application is kept without use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Statistics are taken over at least this long.
const REPORT_PERIOD_MIN: Duration = Duration::from_millis(900);

/// What the Pod's queue-proxy in this process knows of it, before Kubernetes does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Phase {
    /// There is no queue-proxy here, or it has not reached the application yet.
    Unknown,
    /// The application has answered its first probe.
    Probed,
    /// The Pod is being stopped.
    Draining,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

/// One Pod.
pub(crate) struct PodState {
    pub(crate) id: PodId,
    pub(crate) facts: ArcSwap<Pod>,
    pub(crate) gate: Arc<Gate<Breaker>>,
    /// Connections that hyper carries.
    pub(crate) connections: Connections,
    pub(crate) durations: Arc<Durations>,
    /// Requests that have become tunnels (WebSockets).
    tunnels: AtomicU32,
    lanes: [Mutex<Vec<(Instant, Upstream)>>; LANES],
    retired: AtomicBool,
    was_ready: AtomicBool,
    phase: AtomicU8,
    on_phase: Mutex<Option<Hook>>,
    report: Mutex<(Option<Instant>, RequestReport)>,
    log: ArcSwapOption<RequestLog>,
    /// Connections of the gateway in this process that the TLS port is to recognize.
    pub(crate) own: Own,
}

/// A request that has become a tunnel, counted while it lives.
pub(crate) struct Tunnel(Arc<PodState>);

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps the request log of a Pod for as long as its queue-proxy lives.
pub(crate) struct Logging {
    pod: Arc<PodState>,
    all: Arc<AtomicUsize>,
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.pod.log.store(None);
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PodState {
    fn new(id: PodId, uid: Arc<str>) -> Self {
        let pod = Pod {
            name: "".into(),
            uid,
            ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            user_port: 0,
            tls_name: None,
            ready: false,
        };
        Self {
            id,
            facts: ArcSwap::from_pointee(pod),
            gate: Gate::new(Breaker::new(0), Instant::now()),
            connections: Connections::default(),
            durations: Arc::default(),
            tunnels: AtomicU32::new(0),
            lanes: [const { Mutex::new(Vec::new()) }; LANES],
            retired: AtomicBool::new(false),
            was_ready: AtomicBool::new(false),
            phase: AtomicU8::new(Phase::Unknown as u8),
            on_phase: Mutex::new(None),
            report: Mutex::default(),
            log: ArcSwapOption::empty(),
            own: Own::default(),
        }
    }

    /// What is sent to the Pod is logged there from now on; `all` counts such Pods.
    pub(crate) fn set_log(self: &Arc<Self>, log: RequestLog, all: Arc<AtomicUsize>) -> Logging {
        self.log.store(Some(Arc::new(log)));
        all.fetch_add(1, Ordering::Relaxed);
        let pod = Arc::clone(self);
        Logging { pod, all }
    }

    /// Counts a tunnel.
    pub(crate) fn tunnel(self: &Arc<Self>) -> Tunnel {
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        Tunnel(Arc::clone(self))
    }

    /// Requests under way, and how many of them are tunnels.
    pub(crate) fn under_way(&self) -> (u32, u32) {
        let tunnels = self.tunnels.load(Ordering::Relaxed);
        (self.gate.concurrency(), tunnels)
    }

    /// Where requests to the Pod are logged.
    pub(crate) fn log(&self) -> Option<Arc<RequestLog>> {
        self.log.load_full()
    }

    /// Takes in what the controllers say of the Pod.
    pub(crate) fn set_facts(&self, pod: &Pod, container_concurrency: u32) {
        if pod.ready {
            self.was_ready.store(true, Ordering::Relaxed);
        }
        let known = self.facts.load();
        let mut pod = pod.clone();
        // The queue-proxy knows the address before Kubernetes does.
        if pod.ip.is_unspecified() {
            pod.ip = known.ip;
        }
        if **known != pod {
            self.facts.store(Arc::new(pod));
        }
        self.gate
            .with(|breaker| breaker.set_container_concurrency(container_concurrency));
        self.retired.store(false, Ordering::Relaxed);
    }

    /// Whether new requests may be sent. A Pod that Kubernetes has not called ready yet is used as
    /// soon as its queue-proxy here has reached the application; after that Kubernetes decides.
    pub(crate) fn is_usable(&self) -> bool {
        let phase = self.phase.load(Ordering::Acquire);
        if phase == Phase::Draining as u8 {
            return false;
        }
        let probed = phase == Phase::Probed as u8 && !self.was_ready.load(Ordering::Relaxed);
        probed || self.facts.load().ready
    }

    /// What the queue-proxy of this process found out; the gateway looks at the Pod again.
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        let hook = self
            .on_phase
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(hook) = hook {
            hook();
        }
    }

    /// Has `hook` called after every change of phase.
    pub(crate) fn on_phase(&self, hook: Hook) {
        *self.on_phase.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// An idle connection of this lane, the one used last first.
    pub(crate) fn take_idle(&self, lane: usize) -> Option<Upstream> {
        let mut lane = self.lanes[lane]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        lane.pop().map(|(_, connection)| connection)
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put_idle(&self, lane: usize, connection: Upstream, now: Instant) {
        if self.retired.load(Ordering::Relaxed) {
            return;
        }
        let mut lane = self.lanes[lane]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if lane.len() < IDLE_MAX {
            lane.push((now, connection));
        }
    }

    /// Closes connections that have been idle for too long; all of them once the Pod is gone.
    pub(crate) fn sweep_idle(&self, now: Instant) {
        for lane in &self.lanes {
            let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
            lane.retain(|(since, _)| now.saturating_duration_since(*since) < IDLE_TIMEOUT);
        }
    }

    /// The Pod has left its revision: no connection to it is kept.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        for lane in &self.lanes {
            lane.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        self.connections.clear();
    }

    /// What the statistics of this second will come to at least.
    pub(crate) fn so_far(&self, now: Instant) -> RequestReport {
        self.gate.so_far(now)
    }

    /// The statistics of the last full second. Several may ask; the period is theirs together.
    pub(crate) fn report(&self, now: Instant) -> RequestReport {
        let mut last = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last
            .0
            .is_none_or(|at| now.saturating_duration_since(at) >= REPORT_PERIOD_MIN);
        if due {
            *last = (Some(now), self.gate.report(now));
        }
        last.1
    }
}

#[derive(Default)]
struct Registry {
    next_id: AtomicU64,
    by_uid: Mutex<HashMap<Arc<str>, Weak<PodState>>>,
    logs: Arc<AtomicUsize>,
}

/// The Pods this process knows, by UID: through it the gateway and a Pod's queue-proxy find the
/// same limits and counters. A cheap handle.
#[derive(Clone, Default)]
pub struct Pods(Arc<Registry>);

impl Pods {
    /// The number of Pods with a request log.
    pub(crate) fn logs(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.0.logs)
    }

    /// The Pod with this UID; made when nobody has asked for it yet.
    pub(crate) fn get(&self, uid: &Arc<str>) -> Arc<PodState> {
        let mut by_uid = self.0.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pod) = by_uid.get(uid).and_then(Weak::upgrade) {
            return pod;
        }
        let id = PodId(self.0.next_id.fetch_add(1, Ordering::Relaxed));
        let pod = Arc::new(PodState::new(id, Arc::clone(uid)));
        by_uid.retain(|_, pod| pod.strong_count() > 0);
        by_uid.insert(Arc::clone(uid), Arc::downgrade(&pod));
        pod
    }
}

impl fmt::Debug for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pods").finish_non_exhaustive()
    }
}
