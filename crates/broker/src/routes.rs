//! Which ingress or handler a request is for, by host and path. Filled by `graph`, asked by
//! `ingress` for what comes from outside and by `sender` for what this broker sends to itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use api::delivery::Key;
use api::world::Kind;

/// The first labels of the hosts that are this broker's, whatever the path.
const SHARED_HOSTS: [&str; 4] = [
    "broker-ingress",
    "imc-dispatcher",
    "job-sink",
    "request-reply",
];

/// The kinds that share a host, and are told apart by the path `/NAMESPACE/NAME`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Shared {
    Broker,
    Channel,
    JobSink,
    RequestReply,
}

impl Shared {
    /// The kinds reached by path, and the first label of the host they share. A host that is not
    /// listed means brokers: that is what people call by address and port.
    const HOSTS: [(&'static str, Self); 3] = [
        ("imc-dispatcher", Self::Channel),
        ("job-sink", Self::JobSink),
        ("request-reply", Self::RequestReply),
    ];

    fn of_host(host: &str) -> Self {
        let label = host.split('.').next().unwrap_or_default();
        let known = Self::HOSTS.iter().find(|(name, _)| *name == label);
        known.map_or(Self::Broker, |(_, shared)| *shared)
    }

    /// Where objects of `kind` are found.
    fn of_kind(kind: Kind) -> Option<Self> {
        match kind.kind {
            "Broker" => Some(Self::Broker),
            "Channel" | "InMemoryChannel" => Some(Self::Channel),
            "JobSink" => Some(Self::JobSink),
            "RequestReply" => Some(Self::RequestReply),
            _ => None,
        }
    }
}

/// Why a request is for nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lost {
    /// The path is `/`.
    Root,
    /// The path has not two segments.
    Path,
    /// Nobody has that name.
    Unknown(Shared),
}

/// Who is where. Copied on every change and then only read.
#[derive(Debug)]
pub(crate) struct Routes<T> {
    /// `svc.cluster.local`, which hosts may end in.
    domain: String,
    hosts: BTreeMap<Box<str>, Arc<T>>,
    paths: BTreeMap<Shared, BTreeMap<Box<str>, Arc<T>>>,
}

impl<T> Clone for Routes<T> {
    fn clone(&self) -> Self {
        Self {
            domain: self.domain.clone(),
            hosts: self.hosts.clone(),
            paths: self.paths.clone(),
        }
    }
}

impl<T> Routes<T> {
    /// No routes yet, in a cluster whose names end in `cluster_domain`.
    pub(crate) fn new(cluster_domain: &str) -> Self {
        Self {
            domain: format!(".svc.{cluster_domain}"),
            hosts: BTreeMap::new(),
            paths: BTreeMap::new(),
        }
    }

    /// Lets requests for `key`, or for one of `hosts`, go to `entry`.
    pub(crate) fn insert(&mut self, key: &Key, hosts: &[String], entry: &Arc<T>) {
        for host in hosts {
            let host = short(host, &self.domain).into();
            self.hosts.insert(host, Arc::clone(entry));
        }
        if let Some(shared) = Shared::of_kind(key.kind) {
            let path = format!("{}/{}", key.namespace, key.name).into();
            self.paths
                .entry(shared)
                .or_default()
                .insert(path, Arc::clone(entry));
        }
    }

    /// Takes back everything that leads to `entry`.
    pub(crate) fn remove(&mut self, entry: &Arc<T>) {
        self.hosts.retain(|_, known| !Arc::ptr_eq(known, entry));
        for paths in self.paths.values_mut() {
            paths.retain(|_, known| !Arc::ptr_eq(known, entry));
        }
    }

    /// Who has `host`, whatever the path.
    pub(crate) fn by_host(&self, host: &str) -> Option<&Arc<T>> {
        let host = bare(host);
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            let host = host.to_ascii_lowercase();
            return self.hosts.get(short(&host, &self.domain));
        }
        self.hosts.get(short(host, &self.domain))
    }

    /// Whether somebody here answers `path` at `host` for certain: by the host alone, or because
    /// the host is one that brokers share.
    pub(crate) fn is_own(&self, host: &str, path: &str) -> bool {
        let shares = || SHARED_HOSTS.contains(&bare(host).split('.').next().unwrap_or_default());
        self.by_host(host).is_some() || (shares() && self.find(host, path).is_ok())
    }

    /// Who answers a request for `path` at `host`, both as the request has them.
    pub(crate) fn find(&self, host: &str, path: &str) -> Result<&Arc<T>, Lost> {
        if let Some(entry) = self.by_host(host) {
            return Ok(entry);
        }
        let path = path.trim_start_matches('/').trim_end_matches('/');
        let path = &*named(path);
        if path.is_empty() {
            return Err(Lost::Root);
        }
        if path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .count()
            != 2
        {
            return Err(Lost::Path);
        }
        let shared = Shared::of_host(bare(host));
        let entry = self.paths.get(&shared).and_then(|paths| paths.get(path));
        entry.ok_or(Lost::Unknown(shared))
    }
}

/// `NAMESPACE/NAME` of the path where a JobSink tells about a Job,
/// `namespaces/NAMESPACE/name/NAME/…`, or where a RequestReply gets answers,
/// `NAMESPACE/NAME/reply`; other paths are as they are.
fn named(path: &str) -> Cow<'_, str> {
    let mut segments = path.split('/');
    let mut next = || segments.next().unwrap_or_default();
    match (next(), next(), next(), next(), next()) {
        ("namespaces", namespace, "name", name, "sources") => format!("{namespace}/{name}").into(),
        (namespace, name, "reply", "", "") => format!("{namespace}/{name}").into(),
        _ => path.into(),
    }
}

/// The host without its port and final dot.
fn bare(host: &str) -> &str {
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    host.trim_end_matches('.')
}

/// `NAME.NAMESPACE` of a cluster name in any of its lengths.
fn short<'a>(host: &'a str, domain: &str) -> &'a str {
    host.strip_suffix(domain)
        .or_else(|| host.strip_suffix(".svc"))
        .unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use api::world::{BROKER, IN_MEMORY_CHANNEL, JOB_SINK};

    use super::*;

    fn routes() -> Routes<&'static str> {
        let mut routes = Routes::new("cluster.local");
        let hosts = ["default-broker.ns.svc.cluster.local".to_owned()];
        routes.insert(&Key::new(JOB_SINK, "ns", "j"), &[], &Arc::new("job"));
        routes.insert(
            &Key::new(BROKER, "ns", "default"),
            &hosts,
            &Arc::new("broker"),
        );
        let hosts = ["c-kn-channel.ns.svc.cluster.local".to_owned()];
        routes.insert(
            &Key::new(IN_MEMORY_CHANNEL, "ns", "c"),
            &hosts,
            &Arc::new("channel"),
        );
        routes
    }

    #[test]
    fn host_and_path_lead_to_the_ingress() {
        let routes = routes();
        let ingress = "broker-ingress.knative-eventing.svc.cluster.local";
        for (host, path, expected) in [
            (ingress, "/ns/default", Ok("broker")),
            (ingress, "/ns/default/", Ok("broker")),
            ("10.42.0.1:8088", "/ns/default", Ok("broker")),
            ("default-broker.ns.svc.cluster.local", "/", Ok("broker")),
            ("Default-Broker.ns:80", "/any/thing/else", Ok("broker")),
            ("c-kn-channel.ns.svc", "/", Ok("channel")),
            (
                "imc-dispatcher.knative-eventing.svc",
                "/ns/c",
                Ok("channel"),
            ),
            (ingress, "/ns/c", Err(Lost::Unknown(Shared::Broker))),
            (ingress, "/", Err(Lost::Root)),
            (ingress, "/ns", Err(Lost::Path)),
            (ingress, "/ns/default/more", Err(Lost::Path)),
            ("d-kn-channel.ns.svc", "/", Err(Lost::Root)),
            ("job-sink.x.svc", "/ns/j", Ok("job")),
            (
                "job-sink.x.svc",
                "/namespaces/ns/name/j/sources//a/b/ids/1",
                Ok("job"),
            ),
        ] {
            let found = routes.find(host, path).map(|entry| **entry);
            assert_eq!(found, expected, "{host}{path}");
        }
    }

    #[test]
    fn what_is_removed_is_found_no_more() {
        let mut routes = routes();
        let broker = Arc::clone(routes.find("x", "/ns/default").expect("there"));
        routes.remove(&broker);
        assert!(routes.find("x", "/ns/default").is_err());
        assert!(routes.by_host("default-broker.ns").is_none());
        assert!(routes.by_host("c-kn-channel.ns").is_some());
    }
}
