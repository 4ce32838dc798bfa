//! The values that go down from the controllers to the gateway: hosts and their rules, revisions
//! and their Pods. Written by `controller`, read by `gateway`; neither knows the other.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use crate::networking::{HTTPS_PORT, INTERNAL_NAME};

/// A revision's namespace and name; the key of everything on the data path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RevisionKey {
    /// The namespace of the Revision.
    pub namespace: Arc<str>,
    /// The name of the Revision.
    pub name: Arc<str>,
}

impl RevisionKey {
    /// The key of revision `name` in `namespace`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// Who may use a host. Knative's `ExternalIP` and `ClusterLocal` Ingress visibilities.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Visibility {
    /// Answered on the external and on the cluster-local listener.
    External,
    /// Answered on the cluster-local listener alone; 404 outside.
    ClusterLocal,
}

/// Everything the gateway does for one host name.
#[derive(Clone, PartialEq, Debug)]
pub struct VirtualHost {
    /// Which listeners answer for it.
    pub visibility: Visibility,
    /// Plain HTTP is answered with a redirect to https.
    pub redirect_to_https: bool,
    /// Tried in order; the first whose conditions hold is used.
    pub rules: Vec<Rule>,
}

/// One path of a Knative Ingress rule.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Rule {
    /// The request's path must start with this; empty matches all.
    pub path_prefix: String,
    /// How they are compared.
    pub path_match: PathMatch,
    /// Every header named here must have exactly this value (tag header routing). Lower case.
    pub headers: BTreeMap<String, String>,
    /// Replaces the Host header on the way up (DomainMapping).
    pub rewrite_host: Option<String>,
    /// Set on the request whichever split is drawn. Lower-case names.
    pub append_headers: BTreeMap<String, String>,
    /// Percentages sum to 100.
    pub splits: Vec<Split>,
}

/// How a rule's path and a request's are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PathMatch {
    /// The request's begins with the rule's.
    #[default]
    Start,
    /// They are the same.
    Exact,
    /// The elements of the rule's are the first ones of the request's: `/a` is of `/a/b` and not
    /// of `/ab`.
    Elements,
}

/// One share of a rule's traffic.
#[derive(Clone, PartialEq, Debug)]
pub struct Split {
    /// 0 to 100.
    pub percent: u8,
    /// Where this share goes.
    pub target: Target,
    /// Set on the request when this split is drawn. Lower-case names.
    pub append_headers: BTreeMap<String, String>,
}

/// The backend of a split.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A revision, whose Pods the table knows.
    Revision(RevisionKey),
    /// Any other address, `host:port` (a Kubernetes Service a DomainMapping points at).
    Address(String),
}

/// The protocol the application speaks, from the name of its container port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// Port name empty or `http1`.
    #[default]
    Http1,
    /// Port name `h2c`: HTTP/2 with prior knowledge, gRPC included.
    H2c,
}

/// What the data plane needs to know of one revision.
#[derive(Clone, PartialEq, Debug)]
pub struct Revision {
    /// Which revision.
    pub key: RevisionKey,
    /// Label `serving.knative.dev/service`, empty without one; for metrics and logs.
    pub service: Arc<str>,
    /// Label `serving.knative.dev/configuration`.
    pub configuration: Arc<str>,
    /// Requests one Pod may serve at once; 0 is unlimited.
    pub container_concurrency: u32,
    /// `timeoutSeconds`: the whole request.
    pub timeout: Duration,
    /// `responseStartTimeoutSeconds`; `None` is off.
    pub response_start_timeout: Option<Duration>,
    /// `idleTimeoutSeconds`; `None` is off.
    pub idle_timeout: Option<Duration>,
    /// What the application speaks.
    pub protocol: Protocol,
    /// Whether requests count as the activator's (SKS mode Proxy): buffered and reported by it.
    pub activator_in_path: bool,
    /// The Pods, ordered by address.
    pub pods: Vec<Pod>,
}

/// One Pod of a revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pod {
    /// The Pod's name.
    pub name: Arc<str>,
    /// The Pod's UID: identifies its network namespace to the dialer.
    pub uid: Arc<str>,
    /// The Pod's address.
    pub ip: IpAddr,
    /// The application's port inside the Pod (`PORT`).
    pub user_port: u16,
    /// The name in the certificate of its queue-proxy, where it has one: then it is asked by TLS
    /// (`system-internal-tls`).
    pub tls_name: Option<Arc<str>>,
    /// Requests may be sent. A Pod that is not ready stays listed while it drains.
    pub ready: bool,
}

/// A certificate and its key, by which a host shows who it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The chain as PEM, the host's own certificate first.
    pub certificate: Arc<str>,
    /// The private key as PEM.
    pub key: Arc<str>,
}

/// The key is nobody's to read.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// What the parts of the system know of each other where they speak by TLS
/// (`system-internal-tls`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Internal {
    /// By which the gateway shows who it is where it stands for the activator.
    pub identity: Identity,
    /// PEM certificates of which those of queue-proxies must descend.
    pub trust: Arc<str>,
}

/// One change of the table. The last word about a key wins; `None` removes it.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// A host (lower case, without port) and what to do for it.
    Host(String, Option<Arc<VirtualHost>>),
    /// A host of Ingresses of Kubernetes, for when no [`Change::Host`] has it: lower case, with `*`
    /// for any first label; empty for all hosts.
    Ingress(String, Option<Arc<VirtualHost>>),
    /// A revision and its Pods.
    Revision(RevisionKey, Option<Arc<Revision>>),
    /// A host as TLS clients name it (lower case; `*` for any first label) and its certificate.
    Identity(String, Option<Arc<Identity>>),
    /// How the gateway and queue-proxies know each other.
    Internal(Option<Arc<Internal>>),
}

/// What a [`Change`] is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// The rules of a host.
    Host(String),
    /// The rules of Ingresses for a host.
    Ingress(String),
    /// A revision.
    Revision(RevisionKey),
    /// The certificate of a host.
    Identity(String),
    /// How the gateway and queue-proxies know each other.
    Internal,
}

impl Change {
    /// What it is about: a later change of the same subject replaces it.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Host(host, _) => Subject::Host(host.clone()),
            Self::Ingress(host, _) => Subject::Ingress(host.clone()),
            Self::Revision(key, _) => Subject::Revision(key.clone()),
            Self::Identity(host, _) => Subject::Identity(host.clone()),
            Self::Internal(_) => Subject::Internal,
        }
    }

    /// The change that undoes it; `None` when there is nothing to undo.
    pub fn taken_back(&self) -> Option<Self> {
        match self {
            Self::Host(host, Some(_)) => Some(Self::Host(host.clone(), None)),
            Self::Ingress(host, Some(_)) => Some(Self::Ingress(host.clone(), None)),
            Self::Revision(key, Some(_)) => Some(Self::Revision(key.clone(), None)),
            Self::Identity(host, Some(_)) => Some(Self::Identity(host.clone(), None)),
            Self::Internal(Some(_)) => Some(Self::Internal(None)),
            Self::Host(_, None)
            | Self::Ingress(_, None)
            | Self::Revision(_, None)
            | Self::Identity(_, None)
            | Self::Internal(None) => None,
        }
    }
}

/// The state the changes add up to.
#[derive(Clone, Default, Debug)]
pub struct RouteTable {
    /// Hosts, lower case, without port.
    pub hosts: BTreeMap<String, Arc<VirtualHost>>,
    /// Those of Ingresses of Kubernetes.
    pub ingresses: BTreeMap<String, Arc<VirtualHost>>,
    /// Revisions that hosts refer to.
    pub revisions: BTreeMap<RevisionKey, Arc<Revision>>,
    /// Certificates by host.
    pub identities: BTreeMap<String, Arc<Identity>>,
    /// How the gateway and queue-proxies know each other.
    pub internal: Option<Arc<Internal>>,
}

impl RouteTable {
    /// Takes in one change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Host(host, Some(rules)) => drop(self.hosts.insert(host, rules)),
            Change::Host(host, None) => drop(self.hosts.remove(&host)),
            Change::Ingress(host, Some(rules)) => drop(self.ingresses.insert(host, rules)),
            Change::Ingress(host, None) => drop(self.ingresses.remove(&host)),
            Change::Revision(key, Some(revision)) => drop(self.revisions.insert(key, revision)),
            Change::Revision(key, None) => drop(self.revisions.remove(&key)),
            Change::Identity(host, Some(identity)) => drop(self.identities.insert(host, identity)),
            Change::Identity(host, None) => drop(self.identities.remove(&host)),
            Change::Internal(internal) => self.internal = internal,
        }
    }
}
