//! The broker in the embedded shape: events are kept in the data directory, subscribers are found
//! in the node's table of Services. Started by `wire`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use ::api::delivery::Change;
use ::api::networking::{EVENTING_PORT, EVENTING_TLS_PORT};
use anyhow::{Context as _, Result};
use apiserver::Subresources;
use broker::{Broker, Config, Connect, Kept, Stream};
use controller::Handle;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kube::Client;
use node::net::{Protocol, Service, Services};
use rand::seq::IndexedRandom;
use tokio::net::TcpStream;
use trace::Tracer;

use crate::dead_letters;
use crate::event_api::EventApi;
use crate::troubles::Troubles;

/// Where events are kept, in the data directory.
const DIRECTORY: &str = "events";
/// ExternalName Services that may point at each other.
const ALIASES_MAX: usize = 8;

/// The broker and what it keeps.
#[derive(Clone)]
pub(crate) struct Events {
    broker: Broker,
    kept: Kept,
    tracer: Tracer,
    troubles: Troubles,
}

impl Events {
    /// Opens what was kept and starts; takes events from Pods, by whatever Service, at `ip`.
    pub(crate) fn start(
        data_dir: &Path,
        services: Services,
        cluster_domain: &str,
        ip: IpAddr,
        client: Client,
    ) -> Result<Self> {
        let kept = Kept::open(&data_dir.join(DIRECTORY)).context("open the event logs")?;
        let mut config = Config::new(Arc::new(kept.clone()));
        let (tracer, troubles) = (config.tracer.clone(), Troubles::default());
        config.cluster_domain = cluster_domain.to_owned();
        config.report = Arc::new(troubles.clone());
        config.connect = Arc::new(ByService::new(services, cluster_domain));
        let api = Arc::new(EventApi::new(client));
        config.tokens = Arc::clone(&api) as _;
        config.jobs = Arc::clone(&api) as _;
        config.event_types = Arc::clone(&api) as _;
        config.watches = api;
        let broker = Broker::start(config).context("start the broker")?;
        let address = SocketAddr::new(ip, EVENTING_PORT);
        broker
            .listen(address)
            .with_context(|| format!("listen for events at {address}"))?;
        let address = SocketAddr::new(ip, EVENTING_TLS_PORT);
        broker
            .listen_tls(address)
            .with_context(|| format!("listen for events at {address}"))?;
        Ok(Self {
            broker,
            kept,
            tracer,
            troubles,
        })
    }

    /// Tells the broker what the plans say.
    pub(crate) fn deliver(&self) -> Box<dyn FnMut(Change) + Send> {
        let broker = self.broker.clone();
        Box::new(move |change| broker.apply(change))
    }

    /// Decides which events are traced.
    pub(crate) fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// The driver whose plans show what the broker cannot do.
    pub(crate) fn tell(&self, driver: Handle) {
        self.troubles.attach(driver);
    }

    /// What the API server answers from here.
    pub(crate) fn subresources(&self) -> Arc<dyn Subresources> {
        dead_letters::of(&self.broker)
    }

    /// The Prometheus text of all Brokers, channels and their subscribers.
    pub(crate) fn metrics(&self) -> String {
        self.broker.metrics()
    }

    /// Ends delivery; what is not delivered stays for the next start.
    pub(crate) fn stop(&self) {
        self.broker.stop();
        self.kept.close();
    }
}

/// Connects to cluster names without a detour through DNS and the addresses of Services: straight
/// to one of their endpoints. Everything else is resolved as the machine does it.
pub(crate) struct ByService {
    services: Services,
    /// `.svc.cluster.local`.
    domain: String,
}

/// Where a connection goes.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Endpoint(SocketAddr),
    /// A name or address outside the cluster.
    Elsewhere(String),
}

impl Connect for ByService {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Stream>> {
        let place = self.find(host, port);
        async move {
            let stream = match place? {
                Place::Endpoint(address) => TcpStream::connect(address).await?,
                Place::Elsewhere(host) => TcpStream::connect((host.as_str(), port)).await?,
            };
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Stream)
        }
        .boxed()
    }
}

impl ByService {
    /// Knows what the node knows of Services.
    pub(crate) fn new(services: Services, cluster_domain: &str) -> Self {
        let domain = format!(".svc.{cluster_domain}");
        Self { services, domain }
    }

    fn find(&self, host: &str, port: u16) -> io::Result<Place> {
        let table = self.services.read();
        let mut host = host.trim_end_matches('.').to_ascii_lowercase();
        for _ in 0..ALIASES_MAX {
            if let Ok(ip) = host.parse::<Ipv4Addr>() {
                let Some(of) = table.at(ip, port, Protocol::Tcp) else {
                    return Ok(Place::Elsewhere(host));
                };
                return endpoint(&of.service, port);
            }
            let Some((name, namespace)) = self.service_name(&host) else {
                return Ok(Place::Elsewhere(host));
            };
            let service = table.get(namespace, name).ok_or_else(|| {
                let text = format!("there is no Service {namespace}/{name}");
                io::Error::new(io::ErrorKind::NotFound, text)
            })?;
            let Some(alias) = &service.external_name else {
                return endpoint(service, port);
            };
            host = alias.trim_end_matches('.').to_ascii_lowercase();
        }
        let text = format!("{host}: ExternalName Services point at each other");
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }

    /// Name and namespace of `NAME.NAMESPACE.svc`, with or without the domain.
    fn service_name<'a>(&self, host: &'a str) -> Option<(&'a str, &'a str)> {
        let short = host
            .strip_suffix(self.domain.as_str())
            .or_else(|| host.strip_suffix(".svc"))?;
        let (name, namespace) = short.split_once('.')?;
        (!namespace.contains('.')).then_some((name, namespace))
    }
}

fn endpoint(service: &Service, port: u16) -> io::Result<Place> {
    let refused = |why: &str| {
        let text = format!("Service {}/{} {why}", service.namespace, service.name);
        io::Error::new(io::ErrorKind::ConnectionRefused, text)
    };
    let of_port = service
        .ports
        .iter()
        .find(|one| one.port == port && one.protocol == Protocol::Tcp);
    if let Some(of_port) = of_port {
        let chosen = of_port.endpoints.choose(&mut rand::rng());
        let chosen = chosen.ok_or_else(|| refused("has no endpoint that is ready"))?;
        return Ok(Place::Endpoint(*chosen));
    }
    let chosen = service.headless.choose(&mut rand::rng());
    match chosen {
        Some(address) if service.cluster_ip.is_none() => {
            Ok(Place::Endpoint(SocketAddr::new(address.ip.into(), port)))
        }
        _ => Err(refused(&format!("has no port {port}"))),
    }
}

#[cfg(test)]
mod tests {
    use node::net::{ServiceChange, ServicePort};

    use super::*;

    fn by_service() -> ByService {
        let services = Services::default();
        let service = |name: &str| Service {
            namespace: "ns".to_owned(),
            name: name.to_owned(),
            ..Service::default()
        };
        let port = |endpoints: Vec<SocketAddr>| ServicePort {
            port: 80,
            endpoints,
            ..ServicePort::default()
        };
        let mut plain = service("plain");
        plain.cluster_ip = Some(Ipv4Addr::new(10, 43, 0, 9));
        plain.ports = vec![port(vec!["10.42.0.7:8080".parse().expect("an address")])];
        let mut empty = service("empty");
        empty.ports = vec![port(Vec::new())];
        let mut alias = service("alias");
        alias.external_name = Some("plain.ns.svc.cluster.local".to_owned());
        let mut circle = service("circle");
        circle.external_name = Some("circle.ns.svc".to_owned());
        for service in [plain, empty, alias, circle] {
            services.apply(ServiceChange::Upsert(service));
        }
        ByService {
            services,
            domain: ".svc.cluster.local".to_owned(),
        }
    }

    #[test]
    fn names_lead_to_endpoints() {
        let by_service = by_service();
        let there = || {
            Ok(Place::Endpoint(
                "10.42.0.7:8080".parse().expect("an address"),
            ))
        };
        let elsewhere = |host: &str| Ok(Place::Elsewhere(host.to_owned()));
        for (host, port, expected) in [
            ("plain.ns.svc.cluster.local", 80, there()),
            ("alias.ns.svc", 80, there()),
            ("Plain.ns.svc.", 80, there()),
            ("10.43.0.9", 80, there()),
            ("127.0.0.1", 80, elsewhere("127.0.0.1")),
            ("example.com", 443, elsewhere("example.com")),
            ("plain.ns.svc", 81, Err("Service ns/plain has no port 81")),
            (
                "empty.ns.svc",
                80,
                Err("Service ns/empty has no endpoint that is ready"),
            ),
            ("none.ns.svc", 80, Err("there is no Service ns/none")),
            (
                "circle.ns.svc",
                80,
                Err("circle.ns.svc: ExternalName Services point at each other"),
            ),
        ] {
            let found = by_service
                .find(host, port)
                .map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{host}:{port}");
        }
    }
}
