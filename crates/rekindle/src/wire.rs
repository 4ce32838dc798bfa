//! The embedded shape: every part of the product in one process, joined by values. The only file
//! that knows them all. A process may run fewer parts (`roles`); then the controllers are in
//! another one (`controllers`), which has its plans from here too.
//!
//! The order matters: the store and the node start side by side; the gateway listens before the
//! controllers can route to it; the controllers run before the API is served, so that the first
//! request finds everything in place.

mod on_node;
mod plans_thread;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::api::delivery;
use ::api::networking::{
    CHALLENGES_PORT, EXTERNAL_GATEWAY_PORT, EXTERNAL_GATEWAY_TLS_PORT, H2C_PORT, HTTP_PORT,
    HTTPS_PORT, LOCAL_GATEWAY_PORT, LOCAL_GATEWAY_TLS_PORT,
};
use ::api::route::Change;
use ::api::world::Context;
use anyhow::{Context as _, Result};
use apiserver::ApiServer;
use controller::{Driver, Effects, Observer, Record, Report, record};
use gateway::{Face, Gateway, Listen};
use kube::Client;
use node::Node;
use node::image::{ImageStore, Puller, Registries};
use node::net::Cidr;
use serde_json::{Value, json};
use serving::autoscale::Stat;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::builtins::Parts;
use crate::certificates::{Answers, Issuer};
use crate::cli::up::Flags;
use crate::events::Events;
use crate::facts::Facts;
use crate::measures::Measures;
use crate::parts::Journal;
use crate::roles::{Role, Roles};
use crate::traces::{self, Traces};
use crate::{console, hooks};
use on_node::begin_node;
use plans_thread::PlansThread;

/// Where Pods reach the API on the bridge.
const API_PORT: u16 = 6443;
/// Statistics that may wait for the autoscaler.
pub(crate) const STATS_WAITING_MAX: usize = 16_384;
/// Where Pods, and this machine by cluster addresses, reach the gateway on the bridge, and whether
/// by TLS.
const BRIDGE_LISTENERS: [(u16, Face, bool); 7] = [
    (HTTP_PORT, Face::Activator, false),
    (H2C_PORT, Face::Activator, false),
    (HTTPS_PORT, Face::Activator, true),
    (EXTERNAL_GATEWAY_PORT, Face::External, false),
    (LOCAL_GATEWAY_PORT, Face::Local, false),
    (EXTERNAL_GATEWAY_TLS_PORT, Face::External, true),
    (LOCAL_GATEWAY_TLS_PORT, Face::Local, true),
];
/// How long the gateway waits for its routes at most.
const CLOSED_MAX: Duration = Duration::from_secs(10);
/// The hidden verb under which this program becomes the node's launcher.
pub(crate) const LAUNCHER_VERB: &str = "internal-launcher";

/// A running instance.
pub(crate) struct Instance {
    /// Where it listens, as `--ready-file` has it.
    pub(crate) ready: Value,
    gateway: Option<Arc<Gateway>>,
    node: Option<Node>,
    events: Option<Events>,
    traces: Vec<Traces>,
    plans: PlansThread,
    api_stop: watch::Sender<()>,
    _server: Arc<ApiServer>,
}

/// Starts the parts that are asked for; returns when requests can be made.
pub(crate) async fn start(flags: &Flags) -> Result<Instance> {
    let roles = &flags.only;
    let pod_cidr = check(flags)?;
    let data_dir = data_dir(&flags.data_dir)?;
    let api_listener = listen("--api-listen", flags.api_listen).await?;
    let console_listener = listen("--console-listen", flags.console_listen).await?;
    let (stats, stats_received) = mpsc::channel(STATS_WAITING_MAX);
    let parts = Parts::start().context("start the thread of the queue-proxies")?;
    let (journal, late, tracer) = parts.handles();
    let gateway = start_gateway(flags, &parts, stats)?;
    let (http, https) = addresses(gateway.as_deref());
    let bridge_ip = pod_cidr.gateway().into();
    let cx = context(flags, (http, https), bridge_ip);
    let api_for_pods = api_for_pods(flags, api_listener.local_addr()?, bridge_ip);
    let calls = hooks::Calls::default();
    let server = open_api(&data_dir, flags, &cx, api_for_pods, calls.clone()).await?;
    let client = Client::new(server.service(), "default");
    let (images, puller) = open_images(&data_dir)?;
    let node = match roles.has(Role::Node) {
        true => {
            let images = (images, puller.clone());
            let parties = (&client, &*server, bridge_ip);
            Some(late.set(begin_node(flags, &data_dir, parts, images, parties).await?))
        }
        false => None,
    };
    let answers = serve_on_bridge(gateway.as_deref(), bridge_ip).await?;
    let events = start_events(&data_dir, node.as_ref(), (&client, &server), &cx, bridge_ip)?;
    let report = Report::default();
    let page = page(&gateway, &events, report.clone(), calls);
    let traces = traces::all(node.as_ref(), tracer, events.as_ref(), &cx);
    let observers = observers(&traces, node.as_ref(), &page, &cx);
    let plans = PlansThread::start(
        Plans {
            record: record::start(client.clone()),
            client,
            context: cx,
            roles: roles.clone(),
            route: route(gateway.clone(), journal),
            events: events.clone(),
            caught_up: gateway.clone().map(open_when_caught_up),
            images: puller,
            answers,
            stats: None,
            report: report.clone(),
            observers,
        },
        stats_received,
        &server,
    )?;
    let ready = json!({
        "api": api_listener.local_addr()?.to_string(),
        "http": http.unwrap_or(flags.http_listen).to_string(),
        "https": https.unwrap_or(flags.https_listen).to_string(),
        "console": console_listener.local_addr()?.to_string(),
        "kubeconfig": write_kubeconfig(&data_dir, &server, api_listener.local_addr()?)?,
    });
    tokio::spawn(console::serve(console_listener, page));
    let api_stop = serve_apis(&server, api_listener, api_for_pods).await?;
    Ok(Instance {
        ready,
        gateway,
        node,
        events,
        traces,
        plans,
        api_stop,
        _server: server,
    })
}

/// Where users reach the gateway, without and with TLS.
fn addresses(gateway: Option<&Gateway>) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let address = |tls| gateway?.address(Face::External, tls);
    (address(false), address(true))
}

/// The gateway for Pods, and the answers to the challenges of authorities; nothing without a gateway.
async fn serve_on_bridge(gateway: Option<&Gateway>, ip: IpAddr) -> Result<Answers> {
    let Some(gateway) = gateway else {
        return Ok(Answers::default());
    };
    listen_on_bridge(gateway, ip)?;
    Answers::serve(SocketAddr::new(ip, CHALLENGES_PORT)).await
}

impl Instance {
    /// Lets requests finish and stops. Pods are stopped and what was made on the machine is
    /// removed, unless they are to be kept for the next start.
    pub(crate) async fn stop(self, keep_pods: bool) {
        if let Some(gateway) = &self.gateway {
            gateway.drain().await;
        }
        self.plans.stop().await;
        for traces in &self.traces {
            traces.stop().await;
        }
        drop(self.api_stop);
        if let Some(events) = &self.events {
            events.stop();
        }
        match self.node {
            Some(node) if keep_pods => node.shutdown(),
            Some(node) => node.destroy().await,
            None => {}
        }
    }
}

/// The broker, beside the node: it reaches subscribers by the node's table of Services.
fn start_events(
    data_dir: &Path,
    node: Option<&Node>,
    (client, server): (&Client, &ApiServer),
    cx: &Context,
    ip: IpAddr,
) -> Result<Option<Events>> {
    let Some(node) = node else {
        return Ok(None);
    };
    let services = node.services().clone();
    let domain = &cx.cluster_domain;
    let events = Events::start(data_dir, services, domain, ip, client.clone())?;
    server.set_subresources(events.subresources());
    Ok(Some(events))
}

/// Tells the broker, if it is here.
fn deliver(events: Option<&Events>) -> Box<dyn FnMut(delivery::Change) + Send> {
    events.map_or_else(|| Box::new(drop) as _, Events::deliver)
}

/// Who follows what is said of traces and metrics.
fn observers(
    traces: &[Traces],
    node: Option<&Node>,
    page: &console::Metrics,
    cx: &Context,
) -> Vec<Observer> {
    let measures = node.map(|node| Measures::beside(node, Arc::clone(page), cx));
    let measures = measures.map(Measures::observer);
    traces
        .iter()
        .map(Traces::observer)
        .chain(measures)
        .collect()
}

/// The text of everything that counts; the end mark of the first would end all.
fn page(
    gateway: &Option<Arc<Gateway>>,
    events: &Option<Events>,
    report: Report,
    calls: hooks::Calls,
) -> console::Metrics {
    let (gateway, events) = (gateway.clone(), events.clone());
    Arc::new(move || {
        let requests = gateway.as_ref().map_or_else(String::new, |g| g.metrics());
        let requests = requests.trim_end().trim_end_matches("# EOF");
        let events = events.as_ref().map_or_else(String::new, Events::metrics);
        let (report, calls) = (report.text(), calls.text());
        format!("{requests}{events}{report}{calls}# EOF\n")
    })
}

/// Tells the gateway of this process, if it has one, and the activator's log.
fn route(gateway: Option<Arc<Gateway>>, journal: Journal) -> Box<dyn FnMut(Change) + Send> {
    Box::new(move |change| {
        if let Some(gateway) = &gateway {
            gateway.apply(change.clone());
        }
        journal.routed(&change);
    })
}

/// Lets the gateway answer when its routes are known, or after a while: on a machine that cannot
/// make them known, those that are may as well be served.
fn open_when_caught_up(gateway: Arc<Gateway>) -> Box<dyn FnOnce() + Send> {
    let late = Arc::clone(&gateway);
    tokio::spawn(async move {
        tokio::time::sleep(CLOSED_MAX).await;
        late.open();
    });
    Box::new(move || gateway.open())
}

/// Where Pods reach the API, which listens at `listens`: on the bridge, once the node has made it.
fn api_for_pods(flags: &Flags, listens: SocketAddr, bridge_ip: IpAddr) -> Option<SocketAddr> {
    let port = match flags.api_listen.ip().is_unspecified() {
        true => listens.port(),
        false => API_PORT,
    };
    let has_node = flags.only.has(Role::Node);
    has_node.then_some(SocketAddr::new(bridge_ip, port))
}

/// What plans are told of the gateway, which listens at `http` and `https` if this process has one.
fn context(
    flags: &Flags,
    (http, https): (Option<SocketAddr>, Option<SocketAddr>),
    bridge_ip: IpAddr,
) -> Context {
    let activator = http.map(|_| SocketAddr::new(bridge_ip, HTTP_PORT));
    Context {
        binds_pods: true,
        http_port: http.unwrap_or(flags.http_listen).port(),
        https_port: https.unwrap_or(flags.https_listen).port(),
        gateway_addresses: activator.into_iter().collect(),
        ..Context::default()
    }
}

/// What can be said before anything is touched: rights and ranges. Gives the Pods' range.
fn check(flags: &Flags) -> Result<Cidr> {
    if flags.only.has(Role::Node) {
        node::check_rights()?;
    }
    let _: Cidr = flags.service_cidr.parse().context("--service-cidr")?;
    flags.pod_cidr.parse().context("--pod-cidr")
}

fn data_dir(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).context("--data-dir")?;
    std::fs::create_dir_all(&path).with_context(|| {
        let path = path.display();
        format!("--data-dir {path}: cannot be made or is no directory; choose another")
    })?;
    Ok(path)
}

async fn listen(flag: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("{flag} {address}: cannot listen there; another port, or port 0 for any free one, will do")
    })
}

fn start_gateway(
    flags: &Flags,
    parts: &Parts,
    stats: mpsc::Sender<Stat>,
) -> Result<Option<Arc<Gateway>>> {
    if !flags.only.has(Role::Gateway) {
        return Ok(None);
    }
    let mut config = gateway::Config::new(Arc::new(parts.dialers.clone()), stats);
    config.closed = true;
    config.pods = parts.pods.clone();
    config.tracer = parts.tracer.clone();
    let tls = config.certificates.server().context("set up TLS")?;
    let gateway = Gateway::start(config).context("start the gateway")?;
    for (flag, address, tls) in [
        ("--http-listen", flags.http_listen, None),
        ("--https-listen", flags.https_listen, Some(tls)),
    ] {
        let listen = Listen {
            tls,
            ..Listen::plain(address, Face::External)
        };
        gateway.listen(listen).with_context(|| {
            format!("{flag} {address}: cannot listen there; another port will do")
        })?;
    }
    Ok(Some(Arc::new(gateway)))
}

/// The gateway for Pods. The bridge is there once the node has started.
fn listen_on_bridge(gateway: &Gateway, ip: IpAddr) -> Result<()> {
    for (port, face, by_tls) in BRIDGE_LISTENERS {
        let tls = by_tls.then(|| match face {
            Face::Activator => gateway.routing().server(),
            Face::External | Face::Local => gateway.certificates().server(),
        });
        let listen = Listen {
            tls: tls.transpose().context("set up TLS")?,
            ..Listen::plain(SocketAddr::new(ip, port), face)
        };
        gateway.listen(listen).context("listen for Pods")?;
    }
    Ok(())
}

async fn open_api(
    data_dir: &Path,
    flags: &Flags,
    cx: &Context,
    for_pods: Option<SocketAddr>,
    calls: hooks::Calls,
) -> Result<Arc<ApiServer>> {
    let mut config = apiserver::Config::new(data_dir);
    config.service_cidr = flags.service_cidr.clone();
    config.addresses = vec![flags.api_listen.ip()];
    config
        .addresses
        .extend(for_pods.map(|address| address.ip()));
    config.hooks = Arc::new(hooks::Measured(calls));
    config.owned = ::api::bootstrap(cx);
    let api_endpoints = for_pods.map(::api::bootstrap::api_endpoints);
    config.owned.extend(api_endpoints.into_iter().flatten());
    config.owned.extend(::api::crds());
    config.bootstrap = ::api::config::stock();
    config.bootstrap.extend(::api::crds::elsewhere());
    Ok(Arc::new(ApiServer::open(config).await?))
}

/// What a driver is made of.
pub(crate) struct Plans {
    pub(crate) client: Client,
    pub(crate) context: Context,
    /// Whose plans.
    pub(crate) roles: Roles,
    /// Told what the gateway must know.
    pub(crate) route: Box<dyn FnMut(Change) + Send>,
    /// Told what the broker must know, if it is in this process; tells what it cannot do.
    pub(crate) events: Option<Events>,
    /// Told when both know what was there at the start.
    pub(crate) caught_up: Option<Box<dyn FnOnce() + Send>>,
    /// Where what they tell becomes Events.
    pub(crate) record: mpsc::UnboundedSender<Record>,
    /// Knows the digests of tags.
    pub(crate) images: Puller,
    /// Answers the challenges of authorities.
    pub(crate) answers: Answers,
    /// What the autoscaler decides by; without it there is none.
    pub(crate) stats: Option<mpsc::Receiver<Stat>>,
    /// Where they show what they count.
    pub(crate) report: Report,
    /// Who follows the configuration of traces and metrics, where requests are served.
    pub(crate) observers: Vec<Observer>,
}

/// Runs the plans until `shutdown` is ready.
pub(crate) async fn run_plans(plans: Plans, shutdown: impl Future<Output = ()>) {
    let effects = Effects {
        route: plans.route,
        deliver: deliver(plans.events.as_ref()),
        caught_up: plans.caught_up,
        gather: Arc::new(Facts {
            images: plans.images,
            client: plans.client.clone(),
            issuer: Issuer::new(plans.client.clone(), plans.answers),
        }),
        record: Box::new(move |record| drop(plans.record.send(record))),
    };
    let mut planners = Vec::new();
    if plans.roles.has(Role::Gateway) {
        planners.extend(serving::plan::gateway_planners());
    }
    if plans.roles.has(Role::Controller) {
        planners.extend(serving::plan::controller_planners());
        planners.extend(workloads::planners());
        planners.extend(eventing::plan::planners());
        planners.extend(build::planners());
    } else if plans.roles.has(Role::Node) {
        planners.extend(eventing::plan::delivery_planners());
    }
    let horizontal = plans.roles.has(Role::Controller).then(|| {
        let client = plans.client.clone();
        tokio::spawn(controller::autoscale_horizontally(client))
    });
    let mut driver = Driver::new(plans.client, plans.context, planners, effects);
    plans.report.attach(&driver);
    if let Some(events) = &plans.events {
        events.tell(driver.handle());
    }
    for observer in plans.observers {
        driver.observe(observer);
    }
    let shell = plans.stats.map(|stats| {
        let shell = plans.report.autoscale(&mut driver, stats);
        tokio::spawn(shell.run(driver.handle()))
    });
    driver.run(shutdown).await;
    for task in shell.into_iter().chain(horizontal) {
        task.abort();
    }
}

/// The images of this machine, and who fetches others.
pub(crate) fn open_images(data_dir: &Path) -> Result<(ImageStore, Puller)> {
    let images = ImageStore::open(data_dir).context("open the image store")?;
    let registries = Registries::load(data_dir).context("registries.yaml")?;
    let puller = Puller::new(images.clone(), registries);
    Ok((images, puller))
}

/// Serves the API to the network, and to Pods unless they reach the same listener, until the
/// returned sender is dropped.
async fn serve_apis(
    server: &Arc<ApiServer>,
    listener: TcpListener,
    for_pods: Option<SocketAddr>,
) -> Result<watch::Sender<()>> {
    let (stop, stopped) = watch::channel(());
    let takes_all = listener.local_addr()?.ip().is_unspecified();
    serve_api(server, listener, stopped.clone());
    if let Some(address) = for_pods.filter(|_| !takes_all) {
        let listener = TcpListener::bind(address).await;
        let listener = listener.context("listen for Pods' requests to the API")?;
        serve_api(server, listener, stopped);
    }
    Ok(stop)
}

/// Serves the API to the network until the sender of `stopped` is dropped.
fn serve_api(server: &Arc<ApiServer>, listener: TcpListener, mut stopped: watch::Receiver<()>) {
    let server = Arc::clone(server);
    tokio::spawn(async move {
        let stopped = async move { drop(stopped.changed().await) };
        if let Err(error) = server.serve(listener, stopped).await {
            warn!(%error, "the Kubernetes API is no longer served");
        }
    });
}

/// The administrator's kubeconfig, readable by its owner alone. What says the same already stays: a
/// start on a full disk needs no room.
fn write_kubeconfig(data_dir: &Path, server: &ApiServer, api: SocketAddr) -> Result<PathBuf> {
    let path = data_dir.join("kubeconfig");
    let text = server.kubeconfig(&format!("https://{api}"));
    write_if_changed(&path, &text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Replaces the file as a whole, unless that is what it says.
fn write_if_changed(path: &Path, text: &str) -> io::Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    let partial = path.with_extension("partial");
    let mut file = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&partial, path)
}
