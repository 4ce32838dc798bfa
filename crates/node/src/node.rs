//! The node's handle: start, Pods in, events out, and access to what runs.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::mpsc;

use crate::agent::{Directory, Facts, Input, Message, Worker};
use crate::builtin::{Builtins, Dialer};
use crate::cgroup::Hierarchy;
use crate::clock::Clock;
use crate::cluster::{Cluster, Source};
use crate::dns::{DnsConfig, DnsServer, PodResolver, ResolvConf};
use crate::image::{ImageStore, Puller};
use crate::launchers::Launchers;
use crate::net::{Cidr, Claim, NetConfig, Network, ServiceProxy, Services};

/// Where the machine says which name servers it asks.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Port of the Pods' name server.
const DNS_PORT: u16 = 53;

/// What a node is started with.
pub struct Config {
    /// Everything the node keeps is in here.
    pub data_dir: PathBuf,
    /// The node's name in the cluster.
    pub node_name: String,
    /// Range of the Pods' addresses.
    pub pod_cidr: Cidr,
    /// Range of the Services' addresses.
    pub service_cidr: Cidr,
    /// Name of the bridge.
    pub bridge: String,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// Pod networks kept ready.
    pub networks_ready: usize,
    /// Containers kept prepared.
    pub spares: usize,
    /// Program and first words that become the launcher: the binary itself and its verb.
    pub launcher: Vec<OsString>,
    /// The images of this machine.
    pub images: ImageStore,
    /// Fetches what is not there.
    pub puller: Puller,
    /// Containers that are tasks of the daemon.
    pub builtins: Arc<dyn Builtins>,
    /// The rest of the cluster.
    pub cluster: Arc<dyn Cluster>,
}

/// What became of a Pod.
#[derive(Clone, Debug)]
pub struct PodEvent {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// What is new.
    pub news: News,
}

/// What is new about a Pod.
#[derive(Clone, Debug)]
pub enum News {
    /// Its whole status as it is now.
    Status(Box<PodStatus>),
    /// Something worth an Event object.
    Record {
        /// The part of the Pod it is about, as `spec.containers{NAME}`; empty for the whole.
        field: String,
        /// `Warning` rather than `Normal`.
        warning: bool,
        /// `Started`, `BackOff`, …
        reason: &'static str,
        /// The sentence.
        message: String,
    },
    /// A Pod that was being deleted has stopped: its object can go.
    Gone,
}

/// Starting the node failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A right is missing.
    #[error("the node needs root or these capabilities: missing {}", missing.join(", "))]
    Rights {
        /// Names of capabilities.
        missing: Vec<&'static str>,
    },
    /// A directory of the node cannot be used.
    #[error("cannot use the data directory {}", path.display())]
    DataDir {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Control groups.
    #[error("cannot make control groups")]
    Groups {
        /// Why.
        source: std::io::Error,
    },
    /// The launcher could not be started.
    #[error("cannot start the launcher")]
    Launcher {
        /// Why.
        source: std::io::Error,
    },
    /// Bridge, ranges or Services.
    #[error("cannot set up the Pod network")]
    Network {
        /// Why.
        source: crate::net::Error,
    },
    /// The Pods' name server.
    #[error("cannot start the name server for Pods")]
    Dns {
        /// Why.
        source: crate::dns::Error,
    },
}

/// What all parts of the node share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) groups: Hierarchy,
    pub(crate) launchers: Launchers,
    pub(crate) network: Network,
    pub(crate) services: Services,
    pub(crate) resolver: PodResolver,
    pub(crate) facts: Facts,
    pub(crate) pods: Mutex<HashMap<String, Arc<Directory>>>,
    pub(crate) events: mpsc::UnboundedSender<PodEvent>,
}

impl Shared {
    pub(crate) fn pods(&self) -> MutexGuard<'_, HashMap<String, Arc<Directory>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The Pod of that name; the youngest, should another of the name be on its way out.
    pub(crate) fn named(&self, namespace: &str, name: &str) -> Option<Arc<Directory>> {
        let pods = self.pods();
        let of_name = pods.values().filter(|pod| pod.is_named(namespace, name));
        of_name.min_by_key(|pod| pod.is_ending()).map(Arc::clone)
    }

    /// The address by which Pods reach the machine.
    pub(crate) fn host_ip(&self) -> String {
        self.facts.host_ip.clone()
    }
}

/// A running node. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    pub(crate) shared: Arc<Shared>,
    _services: Arc<(ServiceProxy, DnsServer, Claim)>,
}

impl Node {
    /// Checks rights, starts launcher and network, and takes over the Pods an earlier daemon
    /// left running; their states come as events at once. Events must be received: they queue
    /// without bound.
    pub async fn start(config: Config) -> Result<(Self, mpsc::UnboundedReceiver<PodEvent>), Error> {
        check_rights()?;
        let in_dir = |source| Error::DataDir {
            path: config.data_dir.clone(),
            source,
        };
        std::fs::create_dir_all(config.data_dir.join("pods")).map_err(in_dir)?;
        let net_config = NetConfig {
            pod_cidr: config.pod_cidr,
            service_cidr: config.service_cidr,
            bridge: config.bridge.clone(),
            data_dir: config.data_dir.clone(),
            ready: config.networks_ready,
        };
        let claim = Claim::take(&net_config).map_err(|source| Error::Network { source })?;
        let base = group_base(&config);
        let groups = Hierarchy::open(&base).map_err(|source| Error::Groups { source })?;
        let slots = crate::adopt::slots(&groups, &config.data_dir);
        // The launcher first: what it copies of the machine's mounts should be little.
        let (launchers, known) = Launchers::start(&config, &base)
            .await
            .map_err(|source| Error::Launcher { source })?;
        let services = Services::default();
        let idle = known.containers.is_empty();
        let joined = join_network(&config, net_config, services.clone(), idle).await;
        let (network, proxy, dns) = match joined {
            Ok(joined) => joined,
            Err(error) => {
                // Nothing stays of a start that failed, save Pods that the next one takes over.
                if idle {
                    launchers.shut_down().await;
                    crate::adopt::sweep_groups(&groups, &config.data_dir);
                }
                return Err(error);
            }
        };
        let (events, received) = mpsc::unbounded_channel();
        let machine = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        let shared = Arc::new(Shared {
            clock: Clock::start(),
            groups,
            launchers,
            resolver: PodResolver {
                nameserver: network.gateway(),
                cluster_domain: config.cluster_domain.clone(),
                node: ResolvConf::parse(&machine),
            },
            facts: Facts::of_machine(network.gateway().to_string(), config.node_name.clone()),
            network,
            services,
            pods: Mutex::default(),
            events,
            config,
        });
        crate::builder::sweep(&shared.config.data_dir);
        crate::adopt::adopt(&shared, slots, known);
        Launchers::dispatch(&shared);
        Ok((
            Self {
                shared,
                _services: Arc::new((proxy, dns, claim)),
            },
            received,
        ))
    }

    /// The Pod is wanted as it is written here; a deletion timestamp asks it to stop gracefully.
    /// Must be called inside a tokio runtime.
    pub fn set_pod(&self, pod: Arc<Pod>) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut pods = self.shared.pods();
        match pods.get(&uid) {
            Some(known) => known.send(Message::Input(Input::Pod(pod))),
            None => drop(pods.insert(uid, Worker::spawn(&self.shared, pod))),
        }
    }

    /// The Pod's object is gone: what runs of it is killed. Its [`News::Gone`] still comes.
    pub fn remove_pod(&self, uid: &str) {
        if let Some(pod) = self.shared.pods().get(uid) {
            pod.send(Message::Input(Input::Remove));
        }
    }

    /// Removes every Pod that is not in `uids`: for when the first full list has been read after
    /// a start. What nobody has claimed of the earlier daemon's networks is released.
    pub fn retain_pods(&self, uids: &BTreeSet<String>) {
        for (uid, pod) in self.shared.pods().iter() {
            if !uids.contains(uid) {
                pod.send(Message::Input(Input::Remove));
            }
        }
        self.shared.network.sweep();
    }

    /// A ConfigMap or Secret has changed: volumes that show it are written anew.
    pub fn source_changed(&self, source: &Source) {
        for pod in self.shared.pods().values() {
            pod.send(Message::SourceChanged(source.clone()));
        }
    }

    /// The node's table of Services, to be kept up to date: Pods' names, addresses and
    /// environment follow it.
    pub fn services(&self) -> &Services {
        &self.shared.services
    }

    /// Builds images here.
    pub fn builder(&self) -> crate::builder::Builder {
        crate::builder::Builder::new(Arc::clone(&self.shared))
    }

    /// The Pod network.
    pub fn network(&self) -> &Network {
        &self.shared.network
    }

    /// The address by which Pods reach the machine.
    pub fn host_ip(&self) -> String {
        self.shared.host_ip()
    }

    /// Makes sockets inside the Pod; none while the Pod has no network or is not here.
    pub fn dialer(&self, uid: &str) -> Option<Dialer> {
        let pod = self.shared.pods().get(uid).map(Arc::clone)?;
        pod.dialer()
    }

    /// Lets go of everything and leaves containers running for the next daemon.
    pub fn shutdown(&self) {
        for pod in self.shared.pods().values() {
            pod.send(Message::Leave);
        }
        self.shared.network.detach();
    }

    /// Kills every container and removes network, control groups and the launcher: nothing of the
    /// node is left but its data directory.
    pub async fn destroy(&self) {
        for pod in self.shared.pods().values() {
            pod.send(Message::Leave);
        }
        self.shared.launchers.shut_down().await;
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || crate::adopt::sweep_all(&shared));
        if let Err(error) = done.await {
            tracing::warn!(%error, "cleaning up the node failed");
        }
    }
}

/// Bridge, service addresses and the name server; on failure none of them when `idle`, that is,
/// when no Pod uses them.
async fn join_network(
    config: &Config,
    net_config: NetConfig,
    services: Services,
    idle: bool,
) -> Result<(Network, ServiceProxy, DnsServer), Error> {
    let network = Network::start(net_config).map_err(|source| Error::Network { source })?;
    let dns_config = DnsConfig {
        listen: SocketAddr::new(network.gateway().into(), DNS_PORT),
        cluster_domain: config.cluster_domain.clone(),
        ranges: vec![config.pod_cidr, config.service_cidr],
        resolv_conf: RESOLV_CONF.into(),
    };
    let serve = async {
        let proxy = ServiceProxy::start(&network, services.clone())
            .await
            .map_err(|source| Error::Network { source })?;
        let dns = DnsServer::start(dns_config, services.clone())
            .await
            .map_err(|source| Error::Dns { source })?;
        Ok((proxy, dns))
    };
    match serve.await {
        Ok((proxy, dns)) => Ok((network, proxy, dns)),
        Err(error) => {
            if idle && let Err(left) = network.stop() {
                tracing::warn!(error = %left, "the network could not be removed");
            }
            Err(error)
        }
    }
}

/// The base control group: one per data directory, so that instances stay apart.
fn group_base(config: &Config) -> String {
    let path = config.data_dir.to_string_lossy();
    let hash = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("rekindle-{hash:016x}")
}

/// The capabilities without which no container can be made.
const NEEDED: [&str; 10] = [
    "SYS_ADMIN",
    "NET_ADMIN",
    "SETUID",
    "SETGID",
    "SETPCAP",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "SYS_CHROOT",
];

/// Whether this process may do what a node does.
///
/// # Errors
/// [`Error::Rights`] names what is missing.
pub fn check_rights() -> Result<(), Error> {
    let held = rustix::thread::capabilities(None)
        .map(|sets| sets.effective.bits())
        .unwrap_or(0);
    let lacks = |name: &&str| crate::launcher::caps::bit(name).is_some_and(|bit| held & bit == 0);
    let missing: Vec<&'static str> = NEEDED.iter().filter(|name| lacks(name)).copied().collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Error::Rights { missing })
    }
}
