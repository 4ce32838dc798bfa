//! The Kubernetes API over a durable store, as a tower service.
//!
//! In reading order: `store` (objects as bytes, a journal, revisions, watches), `resource` (the
//! table of what is served), `request` and `rest` (HTTP in, HTTP out), `write` (create, modify,
//! delete: one path for all kinds), `kinds` (what single kinds have beyond that), `apply` (where
//! the `schema` crate plugs in), `auth` and `webhook` (who may, who else is asked), `after`,
//! `quota` (how much may be written), `janitor` and `expiry` (what follows from a write, at once or later), `table` (what kubectl prints), `serve` (the listener).
//!
//! [`ApiServer::open`] gives a server; [`ApiServer::service`] its in-process door, which
//! `kube::Client` takes as it is; [`ApiServer::serve`] the one for the network. What controllers
//! and the node do is no business of this crate.

mod after;
mod alloc;
mod apply;
mod auth;
mod bootstrap;
mod convert;
mod core;
mod expiry;
mod field;
mod hooks;
mod janitor;
mod kinds;
mod meta;
mod metrics;
mod pki;
mod quota;
mod request;
mod resource;
mod rest;
mod selector;
mod serve;
mod service;
mod status;
pub mod store;
mod stream;
mod table;
mod tls;
mod webhook;
mod write;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

pub use auth::User;
pub use hooks::{
    Access, Admitted, Asked, ContainerUsage, Denied, Duplex, ExecOptions, Hooks, LogOptions,
    Lookup, NoHooks, Operation, PodBackend, PodError, PodUsage, Process, Reader, Review,
    Subresources, TerminalSize, Writer,
};
pub use rest::{Body, VERSION};
pub use service::ApiService;
pub use store::Durability;
pub use table::jsonpath;

use crate::core::Core;
use auth::Identity;

/// What is wrong with a Pod of this specification, as its creation would say it; `None` when it
/// could be created.
pub fn pod_trouble(spec: &Value) -> Option<String> {
    kinds::pod_trouble(spec)
}

/// What an API server is made of.
pub struct Config {
    /// Holds the store and the keys; made when it does not exist.
    pub data_dir: PathBuf,
    /// The range of cluster addresses of Services, IPv4, e.g. `10.43.0.0/16`.
    pub service_cidr: String,
    /// Further addresses clients reach the listener under; the loopback ones are always there.
    pub addresses: Vec<IpAddr>,
    /// Further names clients reach the listener under.
    pub names: Vec<String>,
    /// Admission and conversion of the program's own kinds.
    pub hooks: Arc<dyn Hooks>,
    /// Objects made at the start when they are absent, in this order. What is there is its users'.
    pub bootstrap: Vec<Value>,
    /// Objects of the program's own, made before `bootstrap`: in those that are there, what is
    /// stated here replaces what was stated by an earlier process.
    pub owned: Vec<Value>,
    /// When a write is acknowledged.
    pub durability: Durability,
}

impl Config {
    /// The usual configuration over a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            service_cidr: "10.43.0.0/16".to_owned(),
            addresses: Vec::new(),
            names: Vec::new(),
            hooks: Arc::new(NoHooks),
            bootstrap: Vec::new(),
            owned: Vec::new(),
            durability: Durability::default(),
        }
    }
}

/// Why an API server could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be opened or recovered.
    #[error("could not open the store")]
    Store(#[from] store::Error),
    /// The keys could not be read or made.
    #[error("could not open the keys")]
    Pki(#[from] pki::Error),
    /// The range of service addresses is none.
    #[error("service range \"{0}\" is not an IPv4 range such as 10.43.0.0/16 (/8 to /30)")]
    ServiceCidr(String),
    /// An object every cluster has, or one of the configuration's, could not be made.
    #[error("could not make {object}: {message}")]
    Bootstrap {
        /// Kind and name.
        object: String,
        /// What is wrong with it.
        message: String,
    },
}

/// An open API server.
pub struct ApiServer {
    core: Arc<Core>,
    tasks: [tokio::task::JoinHandle<()>; 3],
}

impl ApiServer {
    /// Recovers the store, makes or reads the keys, makes the objects every cluster has. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(config: Config) -> Result<Self, Error> {
        let addresses = alloc::Allocator::new(&config.service_cidr)
            .ok_or_else(|| Error::ServiceCidr(config.service_cidr.clone()))?;
        let store = store::Store::open(&config.data_dir.join("store"), config.durability)?;
        let mut reached: Vec<IpAddr> =
            vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
        reached.push(addresses.first().into());
        reached.extend(&config.addresses);
        let pki = pki::Pki::open(&config.data_dir.join("pki"), &reached, &config.names)?;
        let core = Arc::new(Core {
            registry: resource::Registry::new(&store),
            store,
            hooks: config.hooks,
            pods: OnceLock::new(),
            subresources: OnceLock::new(),
            addresses,
            pki,
            webhooks: webhook::Client::default(),
            metrics: metrics::Metrics::default(),
            access: auth::Cache::default(),
            quota: tokio::sync::Mutex::default(),
        });
        recover(&core);
        bootstrap::bootstrap(&core, config.owned, config.bootstrap)
            .await
            .map_err(|(object, status)| Error::Bootstrap {
                object,
                message: status.message,
            })?;
        let tasks = [
            tokio::spawn(janitor::run(Arc::clone(&core))),
            tokio::spawn(expiry::run(Arc::clone(&core))),
            tokio::spawn(quota::run(Arc::clone(&core))),
        ];
        Ok(Self { core, tasks })
    }

    /// The in-process door, on behalf of the administrator.
    pub fn service(&self) -> ApiService {
        self.service_as(User::admin("system:rekindle"))
    }

    /// The in-process door, on behalf of `user`.
    pub fn service_as(&self, user: User) -> ApiService {
        ApiService::new(Arc::clone(&self.core), Identity::Local(user))
    }

    /// Gives access to running Pods; the first backend stays.
    pub fn set_pods(&self, backend: Arc<dyn PodBackend>) {
        // A second node in the same process would be a mistake of the wiring; the first one wins.
        drop(self.core.pods.set(backend));
    }

    /// Lets a part of the program answer subresources of its own; the first one stays.
    pub fn set_subresources(&self, answers: Arc<dyn Subresources>) {
        // As above.
        drop(self.core.subresources.set(answers));
    }

    /// Serves TLS on `listener` until `shutdown` is done.
    ///
    /// # Errors
    /// When the certificates do not fit together.
    pub async fn serve(
        &self,
        listener: tokio::net::TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> std::io::Result<()> {
        serve::serve(Arc::clone(&self.core), listener, shutdown).await
    }

    /// A kubeconfig of the administrator for the listener at `server_url`.
    pub fn kubeconfig(&self, server_url: &str) -> String {
        use base64::Engine;
        let encode = |pem: &str| base64::engine::general_purpose::STANDARD.encode(pem);
        let pki = &self.core.pki;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "rekindle", "cluster": {
                "server": server_url,
                "certificate-authority-data": encode(&pki.authority.certificate),
            }}],
            "users": [{"name": "admin", "user": {
                "client-certificate-data": encode(&pki.admin.certificate),
                "client-key-data": encode(&pki.admin.key),
            }}],
            "contexts": [{"name": "rekindle", "context": {"cluster": "rekindle", "user": "admin"}}],
            "current-context": "rekindle",
        });
        serde_saphyr::to_string(&config).unwrap_or_else(|_| config.to_string())
    }

    /// The certificate of the authority that signed the server's, as PEM.
    pub fn authority(&self) -> &str {
        &self.core.pki.authority.certificate
    }

    /// The store, for measurements and for waiting until a revision is durable.
    pub fn store(&self) -> &store::Store {
        &self.core.store
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// Rebuilds what lives beside the store: definitions in the table, addresses in use.
fn recover(core: &Core) {
    let crds = core.builtin("apiextensions.k8s.io", "customresourcedefinitions");
    for entry in core.store.list(crds.id, "") {
        if let Ok(crd) = core::decode_stored(&entry) {
            core.registry.define(&core.store, &crd);
        }
    }
    let services = core.builtin("", "services");
    for entry in core.store.list(services.id, "") {
        if let Ok(service) = core::decode_stored(&entry) {
            core.addresses.occupy(&service);
        }
    }
}
