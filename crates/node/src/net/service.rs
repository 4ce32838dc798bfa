//! The Services a node knows: addresses, ports, endpoints, names.
//!
//! A value without I/O. The agent applies changes from the cluster; the forwarder looks connections
//! up in it, the DNS server names. Both see a change at once.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::sync::watch;

/// Transport of a Service's port.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

impl Protocol {
    /// As in an SRV name: `_tcp.…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// One Service with its endpoints.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    /// None for headless Services and those of type ExternalName.
    pub cluster_ip: Option<Ipv4Addr>,
    pub ports: Vec<ServicePort>,
    /// The addresses of a headless Service.
    pub headless: Vec<HeadlessAddress>,
    /// The name an ExternalName Service stands for.
    pub external_name: Option<String>,
    /// How long a client stays with its endpoint (`sessionAffinity: ClientIP`); none for no affinity.
    pub affinity: Option<Duration>,
}

/// A port of a Service and the ready endpoints behind it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServicePort {
    /// Empty where the Service has one port only and does not name it.
    pub name: String,
    pub port: u16,
    pub node_port: Option<u16>,
    pub protocol: Protocol,
    pub endpoints: Vec<SocketAddr>,
}

/// An address of a headless Service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeadlessAddress {
    pub ip: Ipv4Addr,
    /// The Pod's `hostname`, if its `subdomain` is the Service's name.
    pub hostname: Option<String>,
}

impl HeadlessAddress {
    /// The label in front of the Service's name; without a hostname the address with dashes.
    pub fn label(&self) -> String {
        self.hostname
            .clone()
            .unwrap_or_else(|| self.ip.to_string().replace('.', "-"))
    }
}

/// What the table is told.
#[derive(Clone, Debug)]
pub enum ServiceChange {
    /// This Service is so from now on.
    Upsert(Service),
    /// This Service is gone.
    Remove { namespace: String, name: String },
}

/// A Service and which of its ports was asked for.
#[derive(Clone, Debug)]
pub struct PortOf {
    pub service: Arc<Service>,
    at: usize,
}

impl PortOf {
    pub fn port(&self) -> &ServicePort {
        &self.service.ports[self.at]
    }
}

/// Every Service by name, by address and by node port.
#[derive(Debug, Default)]
pub struct ServiceTable {
    by_name: BTreeMap<(String, String), Arc<Service>>,
    by_address: HashMap<(Ipv4Addr, u16, Protocol), PortOf>,
    by_node_port: BTreeMap<(Protocol, u16), PortOf>,
    by_ip: HashMap<Ipv4Addr, Arc<Service>>,
}

impl ServiceTable {
    /// Applies one change.
    pub fn apply(&mut self, change: ServiceChange) {
        match change {
            ServiceChange::Upsert(service) => {
                self.remove(&service.namespace, &service.name);
                self.insert(Arc::new(service));
            }
            ServiceChange::Remove { namespace, name } => self.remove(&namespace, &name),
        }
    }

    /// The Service of this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Service>> {
        self.by_name.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Whether any Service is in this namespace.
    pub fn has_namespace(&self, namespace: &str) -> bool {
        let from = (namespace.to_owned(), String::new());
        self.by_name
            .range(from..)
            .next()
            .is_some_and(|((found, _), _)| found == namespace)
    }

    /// The Services of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<Service>> {
        let from = (namespace.to_owned(), String::new());
        let all = self.by_name.range(from..);
        all.take_while(move |((found, _), _)| found == namespace)
            .map(|(_, service)| service)
    }

    /// The Service behind a cluster address and port.
    pub fn at(&self, ip: Ipv4Addr, port: u16, protocol: Protocol) -> Option<PortOf> {
        self.by_address.get(&(ip, port, protocol)).cloned()
    }

    /// The Service behind a node port.
    pub fn at_node_port(&self, port: u16, protocol: Protocol) -> Option<PortOf> {
        self.by_node_port.get(&(protocol, port)).cloned()
    }

    /// Every node port of this protocol, ascending.
    pub fn node_ports(&self, protocol: Protocol) -> Vec<u16> {
        let ports = self
            .by_node_port
            .keys()
            .filter(|(found, _)| *found == protocol);
        ports.map(|(_, port)| *port).collect()
    }

    /// Every cluster address and port of this protocol with its endpoints.
    pub fn addresses(&self, protocol: Protocol) -> impl Iterator<Item = (Ipv4Addr, u16, &PortOf)> {
        let found = self
            .by_address
            .iter()
            .filter(move |((_, _, p), _)| *p == protocol);
        found.map(|((ip, port, _), of)| (*ip, *port, of))
    }

    /// The Service with this cluster address.
    pub fn at_ip(&self, ip: Ipv4Addr) -> Option<&Arc<Service>> {
        self.by_ip.get(&ip)
    }

    /// The headless Service and address with this address, the first by name.
    pub fn headless_at(&self, ip: Ipv4Addr) -> Option<(&Arc<Service>, &HeadlessAddress)> {
        self.by_name.values().find_map(|service| {
            let address = service.headless.iter().find(|address| address.ip == ip)?;
            Some((service, address))
        })
    }

    fn insert(&mut self, service: Arc<Service>) {
        for (at, port) in service.ports.iter().enumerate() {
            let of = PortOf {
                service: Arc::clone(&service),
                at,
            };
            if let Some(node_port) = port.node_port {
                self.by_node_port
                    .insert((port.protocol, node_port), of.clone());
            }
            if let Some(ip) = service.cluster_ip {
                self.by_address.insert((ip, port.port, port.protocol), of);
            }
        }
        if let Some(ip) = service.cluster_ip {
            self.by_ip.insert(ip, Arc::clone(&service));
        }
        self.by_name
            .insert((service.namespace.clone(), service.name.clone()), service);
    }

    fn remove(&mut self, namespace: &str, name: &str) {
        let Some(old) = self
            .by_name
            .remove(&(namespace.to_owned(), name.to_owned()))
        else {
            return;
        };
        // An address may have passed to another Service in between: only one's own goes.
        let own = |of: &PortOf| Arc::ptr_eq(&of.service, &old);
        for port in &old.ports {
            if let Some(node_port) = port.node_port {
                let key = (port.protocol, node_port);
                if self.by_node_port.get(&key).is_some_and(own) {
                    self.by_node_port.remove(&key);
                }
            }
            if let Some(ip) = old.cluster_ip {
                let key = (ip, port.port, port.protocol);
                if self.by_address.get(&key).is_some_and(own) {
                    self.by_address.remove(&key);
                }
            }
        }
        if let Some(ip) = old.cluster_ip
            && self
                .by_ip
                .get(&ip)
                .is_some_and(|found| Arc::ptr_eq(found, &old))
        {
            self.by_ip.remove(&ip);
        }
    }
}

/// The table, shared: one writer, many readers.
#[derive(Clone, Debug)]
pub struct Services {
    table: Arc<RwLock<ServiceTable>>,
    generation: watch::Sender<u64>,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            table: Arc::default(),
            generation: watch::Sender::new(0),
        }
    }
}

impl Services {
    /// Applies one change; whoever waits for changes wakes up.
    pub fn apply(&self, change: ServiceChange) {
        self.table
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(change);
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// The table as it is now. Not to be held across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, ServiceTable> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever the table did.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, ip: u8, node_port: Option<u16>) -> Service {
        Service {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            cluster_ip: Some(Ipv4Addr::new(10, 43, 0, ip)),
            ports: vec![ServicePort {
                port: 80,
                node_port,
                ..ServicePort::default()
            }],
            ..Service::default()
        }
    }

    #[test]
    fn a_change_leaves_nothing_of_what_was() {
        let mut table = ServiceTable::default();
        let at = |table: &ServiceTable, ip: u8| {
            let found = table.at(Ipv4Addr::new(10, 43, 0, ip), 80, Protocol::Tcp);
            found.map(|of| of.service.name.clone())
        };
        table.apply(ServiceChange::Upsert(service("a", 1, Some(30_000))));
        table.apply(ServiceChange::Upsert(service("a", 2, None)));
        assert_eq!((at(&table, 1), at(&table, 2)), (None, Some("a".to_owned())));
        assert!(table.node_ports(Protocol::Tcp).is_empty());
        // The address passes to another Service before the first one's removal is seen.
        table.apply(ServiceChange::Upsert(service("b", 2, Some(30_001))));
        let gone = ("default".to_owned(), "a".to_owned());
        table.apply(ServiceChange::Remove {
            namespace: gone.0,
            name: gone.1,
        });
        assert_eq!(at(&table, 2), Some("b".to_owned()));
        assert_eq!(table.node_ports(Protocol::Tcp), [30_001]);
        assert!(table.has_namespace("default") && !table.has_namespace("defaul"));
    }
}
