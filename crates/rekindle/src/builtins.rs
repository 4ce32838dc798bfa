//! Containers that are tasks of this process: Knative's queue-proxy as the gateway brings it,
//! dressed as the node's builtin, and which other images stand for one. Also how the gateway reaches a Pod's application: through
//! sockets made inside the Pod's network namespace.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::api::bootstrap::PART_IMAGES;
use ::api::networking::{HTTPS_PORT, internal_name};
use ::api::route::{Pod as RoutePod, Protocol, Revision, RevisionKey};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use gateway::queue::{QueueConfig, QueueListeners, QueueProxy};
use gateway::request_log::RequestLog;
use gateway::{Dial, Pods};
use k8s_openapi::api::core::v1::{Container, Pod};
use node::image::ImageStore;
use node::logs::{LogSink, Stream};
use node::{Builtin, BuiltinStart, Builtins, Dialer, Files, Program, RunningBuiltin};
use tokio::sync::watch;
use trace::Tracer;

use crate::event_display;
use crate::kaniko::{self, LateNode};
use crate::parts::{Journal, Part};
use crate::queue_certificate::{self, Following};
use crate::readiness::{self, Schedule};
use crate::steps;

/// The image name that stands for queue-proxy; `config-deployment` has it as
/// `queue-sidecar-image`.
const QUEUE_PROXY_IMAGE: &str = "rekindle.local/queue-proxy";
/// The gateway of this process knows at once that a Pod goes; this only covers requests that are
/// on their way to it.
const DRAIN_QUIET: Duration = Duration::from_millis(50);
/// Ports of queue-proxy, in the order in which `start` takes their listeners; where it has a
/// certificate its TLS port follows.
const QUEUE_PORTS: [u16; 5] = [8012, 8013, 9090, 9091, 8022];

/// Namespaces of Pods by UID, for dialing.
#[derive(Clone, Default)]
pub(crate) struct Dialers(Arc<Mutex<HashMap<String, Dialer>>>);

impl Dialers {
    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Dialer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dial for Dialers {
    fn socket(&self, pod: &RoutePod) -> io::Result<(socket2::Socket, SocketAddr)> {
        let Some(dialer) = self.all().get(&*pod.uid).cloned() else {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "the Pod does not run here",
            ));
        };
        let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), pod.user_port);
        Ok((dialer.socket(to)?.as_fd().try_clone_to_owned()?.into(), to))
    }
}

/// See the module.
pub(crate) struct Parts {
    /// Filled as Pods start.
    pub(crate) dialers: Dialers,
    /// Shared with the gateway.
    pub(crate) pods: Pods,
    /// Shared with the gateway, too.
    pub(crate) tracer: Tracer,
    /// Logs of the parts that have Pods.
    pub(crate) journal: Journal,
    /// Images that are here run as they are, even where a builtin could stand in for them.
    pub(crate) images: Option<ImageStore>,
    /// The node these are for, set when it runs.
    pub(crate) node: LateNode,
    runtime: tokio::runtime::Handle,
}

impl Parts {
    /// Parts that share nothing yet, and the thread they run on: queue-proxies probe and serve
    /// beside the controllers, not behind them.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("queue-proxy")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        // It ends with the process: a runtime must not be dropped inside another.
        std::mem::forget(runtime);
        Ok(Self {
            dialers: Dialers::default(),
            pods: Pods::default(),
            tracer: Tracer::default(),
            journal: Journal::default(),
            images: None,
            node: LateNode::default(),
            runtime: handle,
        })
    }
}

impl Parts {
    /// What is needed of the parts after the node has taken them.
    pub(crate) fn handles(&self) -> (Journal, LateNode, Tracer) {
        let (journal, node) = (self.journal.clone(), self.node.clone());
        (journal, node, self.tracer.clone())
    }

    fn is_here(&self, image: &str) -> bool {
        let store = self.images.as_ref();
        store.is_some_and(|store| matches!(store.get(image), Ok(Some(_))))
    }
}

impl Builtins for Parts {
    fn find(&self, container: &Container) -> Option<Arc<dyn Builtin>> {
        let image = container.image.as_deref().unwrap_or_default();
        if image
            .split('@')
            .next()
            .is_some_and(|image| image == QUEUE_PROXY_IMAGE)
        {
            return Some(Arc::new(Queue {
                dialers: self.dialers.clone(),
                pods: self.pods.clone(),
                tracer: self.tracer.clone(),
                runtime: self.runtime.clone(),
            }));
        }
        if let Some(display) = event_display::for_image(image) {
            return (!self.is_here(image)).then(|| Arc::new(display) as Arc<dyn Builtin>);
        }
        if let Some(builder) = kaniko::for_image(image, &self.node) {
            return (!self.is_here(image)).then(|| Arc::new(builder) as Arc<dyn Builtin>);
        }
        // The steps of Builds have names of the same kind, and are processes.
        let is_part = !image.starts_with(build::images::PREFIX);
        let part = image.strip_prefix(PART_IMAGES).filter(|_| is_part)?;
        Some(Arc::new(Part {
            name: part.to_owned(),
            journal: self.journal.clone(),
        }))
    }

    fn program(&self, container: &Container) -> Option<Program> {
        steps::program(container.image.as_deref().unwrap_or_default())
    }
}

struct Queue {
    dialers: Dialers,
    pods: Pods,
    tracer: Tracer,
    runtime: tokio::runtime::Handle,
}

impl Builtin for Queue {
    fn ports(&self, _: &Pod, container: &Container, _: &[(String, String)]) -> Vec<u16> {
        let tls = queue_certificate::is_mounted(container).then_some(HTTPS_PORT);
        QUEUE_PORTS.into_iter().chain(tls).collect()
    }

    fn start(&self, start: BuiltinStart) -> Result<Box<dyn RunningBuiltin>, String> {
        let uid = start.pod.metadata.uid.clone().unwrap_or_default();
        self.dialers.all().insert(uid.clone(), start.dialer.clone());
        let mut listeners = start.listeners.into_iter();
        let log = start.log.clone();
        log.line(Stream::Stdout, "Starting queue-proxy");
        let _on_its_thread = self.runtime.enter();
        let follow = || queue_certificate::follow(Files::new(&start.mounts), log.clone());
        let (certificate, following) = queue_certificate::is_mounted(&start.container)
            .then(follow)
            .unzip();
        let tls_name = following.is_some().then(|| {
            let namespace = start.pod.metadata.namespace.as_deref();
            internal_name(namespace.unwrap_or_default()).into()
        });
        let config = QueueConfig {
            pod: RoutePod {
                tls_name,
                ..route_pod(&start.pod, &uid, start.pod_ip, &start.env)?
            },
            certificate: certificate.unwrap_or_default(),
            revision: Arc::new(revision(&start.env)?),
            readiness_probe: variable(&start.env, "SERVING_READINESS_PROBE").map(str::to_owned),
            listeners: QueueListeners {
                http: listeners.next(),
                h2c: listeners.next(),
                stats: listeners.next(),
                metrics: listeners.next(),
                admin: listeners.next(),
                https: listeners.next(),
            },
            dialer: Arc::new(self.dialers.clone()),
            pods: self.pods.clone(),
            tracer: self.tracer.clone(),
            request_log: request_log(&start.env, start.log)?,
            drain_quiet: DRAIN_QUIET,
            kubelet_decides: readiness::a_command_decides(&start.pod),
        };
        let proxy = QueueProxy::start(config).map_err(|error| chain(&error))?;
        let (ready, watch) = watch::channel(false);
        let proxy = Arc::new(proxy);
        let waiting = Arc::clone(&proxy);
        let schedule = Schedule::of(&start.container);
        let tell = tokio::spawn(readiness::watch(waiting, schedule, ready));
        Ok(Box::new(RunningQueue {
            proxy,
            ready: watch,
            tell,
            _certificate: following,
            dialers: self.dialers.clone(),
            uid,
        }))
    }
}

struct RunningQueue {
    proxy: Arc<QueueProxy>,
    ready: watch::Receiver<bool>,
    tell: tokio::task::JoinHandle<()>,
    _certificate: Option<Following>,
    dialers: Dialers,
    uid: String,
}

impl RunningBuiltin for RunningQueue {
    fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    fn stop(&mut self, _: Duration) -> BoxFuture<'static, ()> {
        let proxy = Arc::clone(&self.proxy);
        async move { proxy.drain().await }.boxed()
    }
}

impl Drop for RunningQueue {
    fn drop(&mut self) {
        self.tell.abort();
        self.dialers.all().remove(&self.uid);
    }
}

fn variable<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = env.iter().rev().find(|(key, _)| key == name);
    found
        .map(|(_, value)| value.as_str())
        .filter(|value| !value.is_empty())
}

fn number<T: std::str::FromStr>(env: &[(String, String)], name: &str) -> Result<Option<T>, String> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|_| format!("{name}={text:?} is not a number"))
    };
    variable(env, name).map(parse).transpose()
}

/// What `config-observability` says of request logs, as queue-proxy's environment has it. Lines
/// go to the container's own log.
fn request_log(env: &[(String, String)], log: LogSink) -> Result<Option<RequestLog>, String> {
    let is_on = |name| variable(env, name) == Some("true");
    let template = variable(env, "SERVING_REQUEST_LOG_TEMPLATE");
    let Some(template) = template.filter(|_| is_on("SERVING_ENABLE_REQUEST_LOG")) else {
        return Ok(None);
    };
    let sink = Arc::new(move |line: &str| log.line(Stream::Stdout, line));
    let mut request_log = RequestLog::new(template, sink).map_err(|error| error.to_string())?;
    request_log.log_probes = is_on("SERVING_ENABLE_PROBE_REQUEST_LOG");
    Ok(Some(request_log))
}

fn route_pod(
    pod: &Pod,
    uid: &str,
    ip: IpAddr,
    env: &[(String, String)],
) -> Result<RoutePod, String> {
    Ok(RoutePod {
        name: pod.metadata.name.as_deref().unwrap_or_default().into(),
        uid: uid.into(),
        ip,
        user_port: number(env, "USER_PORT")?.ok_or("USER_PORT is not set")?,
        tls_name: None,
        ready: false,
    })
}

/// The Revision as queue-proxy's environment describes it.
fn revision(env: &[(String, String)]) -> Result<Revision, String> {
    let text = |name| variable(env, name).unwrap_or_default();
    let seconds = |name| number(env, name).map(|s| s.filter(|s| *s > 0).map(Duration::from_secs));
    let h2c = variable(env, "QUEUE_SERVING_PORT") == Some("8013");
    Ok(Revision {
        key: RevisionKey::new(text("SERVING_NAMESPACE"), text("SERVING_REVISION")),
        service: text("SERVING_SERVICE").into(),
        configuration: text("SERVING_CONFIGURATION").into(),
        container_concurrency: number(env, "CONTAINER_CONCURRENCY")?.unwrap_or(0),
        timeout: seconds("REVISION_TIMEOUT_SECONDS")?.unwrap_or(Duration::from_secs(300)),
        response_start_timeout: seconds("REVISION_RESPONSE_START_TIMEOUT_SECONDS")?,
        idle_timeout: seconds("REVISION_IDLE_TIMEOUT_SECONDS")?,
        protocol: if h2c { Protocol::H2c } else { Protocol::Http1 },
        activator_in_path: false,
        pods: Vec::new(),
    })
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
