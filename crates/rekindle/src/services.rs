//! The node's picture of Kubernetes Services: joins Services and EndpointSlices from the API
//! server and tells every change to whoever forwards and resolves them. Started by `wire`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ::api::bootstrap::GATEWAY_PORTS;
use ::api::object::ObjectExt;
use ::api::world::{ENDPOINT_SLICE, SERVICE};
use bytes::Bytes;
use controller::watch::{Update, watch};
use futures_util::StreamExt;
use kube::Client;
use node::net::{HeadlessAddress, Protocol, Service, ServiceChange, ServicePort};
use serde_json::Value;

/// The label that joins a slice to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A Service's namespace and name.
type Name = (String, String);

/// Calls `tell` for every change.
pub(crate) async fn run(client: Client, mut tell: impl FnMut(ServiceChange) + Send) {
    let mut services = Box::pin(watch(client.clone(), SERVICE));
    let mut slices = Box::pin(watch(client, ENDPOINT_SLICE));
    let mut known = Known::default();
    loop {
        let touched = tokio::select! {
            Some(update) = services.next() => known.services.take(update, service),
            Some(update) = slices.next() => known.slices.take(update, slice),
        };
        for name in touched {
            tell(known.change(name));
        }
    }
}

/// What is kept of both kinds: far less than the objects.
#[derive(Default)]
struct Known {
    services: Objects<Service>,
    slices: Objects<Slice>,
}

/// What is kept of an EndpointSlice: port names and numbers, addresses that are ready.
struct Slice {
    ports: Vec<(String, u16)>,
    addresses: Vec<HeadlessAddress>,
}

impl Known {
    fn change(&self, name: Name) -> ServiceChange {
        let Some(base) = self.services.named(&name).next() else {
            return ServiceChange::Remove {
                namespace: name.0,
                name: name.1,
            };
        };
        let mut service = base.clone();
        for slice in self.slices.named(&name) {
            for port in &mut service.ports {
                let numbers = slice.ports.iter().filter(|(name, _)| *name == port.name);
                port.endpoints.extend(numbers.flat_map(|(_, number)| {
                    slice
                        .addresses
                        .iter()
                        .map(|a| SocketAddr::new(a.ip.into(), *number))
                }));
            }
            if service.cluster_ip.is_none() && service.external_name.is_none() {
                service.headless.extend(slice.addresses.iter().cloned());
            }
        }
        ServiceChange::Upsert(service)
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn number(value: &Value) -> Option<u16> {
    value.as_u64().and_then(|number| number.try_into().ok())
}

/// A Service object without its endpoints; its own name is the name it belongs to.
fn service(object: &Value) -> (String, Service) {
    let spec = &object["spec"];
    let gateway = object.annotation(GATEWAY_PORTS).is_some();
    let port = |port: &Value| {
        Some(ServicePort {
            name: port["name"].as_str().unwrap_or_default().to_owned(),
            port: number(&port["port"])?,
            node_port: number(&port["nodePort"]).filter(|_| !gateway),
            protocol: if port["protocol"] == "UDP" {
                Protocol::Udp
            } else {
                Protocol::Tcp
            },
            endpoints: Vec::new(),
        })
    };
    let service = Service {
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        cluster_ip: spec["clusterIP"].as_str().and_then(|ip| ip.parse().ok()),
        ports: array(&spec["ports"]).filter_map(port).collect(),
        external_name: spec["externalName"].as_str().map(str::to_owned),
        affinity: (spec["sessionAffinity"] == "ClientIP").then(|| affinity(spec)),
        ..Service::default()
    };
    (object.name().to_owned(), service)
}

/// How long a client stays with its endpoint; Kubernetes' default is three hours.
fn affinity(spec: &Value) -> Duration {
    let seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].as_u64();
    Duration::from_secs(seconds.unwrap_or(10_800))
}

fn slice(object: &Value) -> (String, Slice) {
    let ports = array(&object["ports"]).filter_map(|port| {
        Some((
            port["name"].as_str().unwrap_or_default().to_owned(),
            number(&port["port"])?,
        ))
    });
    let ready = array(&object["endpoints"]).filter(|e| e["conditions"]["ready"] != false);
    let addresses = ready.flat_map(|endpoint| {
        let hostname = endpoint["hostname"].as_str().map(str::to_owned);
        let ips =
            array(&endpoint["addresses"]).filter_map(|ip| ip.as_str()?.parse::<Ipv4Addr>().ok());
        ips.map(move |ip| HeadlessAddress {
            ip,
            hostname: hostname.clone(),
        })
        .collect::<Vec<_>>()
    });
    let of = object.label(SERVICE_NAME).unwrap_or_default().to_owned();
    (
        of,
        Slice {
            ports: ports.collect(),
            addresses: addresses.collect(),
        },
    )
}

/// Objects of one kind by the Service they belong to, then by their own name. In one map: as a rule
/// there is one object for a Service, and a map for it alone would be all room for others.
struct Objects<T> {
    of: BTreeMap<(Name, String), T>,
    /// While a collection is read anew: what has not been seen again yet.
    unseen: Option<BTreeSet<(Name, String)>>,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self {
            of: BTreeMap::new(),
            unseen: None,
        }
    }
}

impl<T> Objects<T> {
    /// Takes an update in and says whose Services it concerns.
    fn take(&mut self, update: Update, read: fn(&Value) -> (String, T)) -> BTreeSet<Name> {
        match update {
            Update::Restarted => {
                self.unseen = Some(self.of.keys().cloned().collect());
                BTreeSet::new()
            }
            Update::Put(objects) => objects
                .iter()
                .filter_map(decode)
                .map(|object| self.put(&object, read))
                .collect(),
            Update::Gone(bytes) => {
                let object = decode(&bytes).into_iter();
                let mut gone = |object: Value| {
                    let of = (object.namespace().to_owned(), read(&object).0);
                    self.gone(of, object.name())
                };
                object.map(&mut gone).collect()
            }
            Update::Synced { .. } => {
                let unseen = self.unseen.take().into_iter().flatten();
                unseen.map(|(of, name)| self.gone(of, &name)).collect()
            }
            Update::NotServed => BTreeSet::new(),
        }
    }

    fn put(&mut self, object: &Value, read: fn(&Value) -> (String, T)) -> Name {
        let (of, value) = read(object);
        let (of, name) = (
            (object.namespace().to_owned(), of),
            object.name().to_owned(),
        );
        if let Some(unseen) = &mut self.unseen {
            unseen.remove(&(of.clone(), name.clone()));
        }
        self.of.insert((of.clone(), name), value);
        of
    }

    fn gone(&mut self, of: Name, name: &str) -> Name {
        self.of.remove(&(of.clone(), name.to_owned()));
        of
    }

    /// The objects that belong to a Service.
    fn named(&self, of: &Name) -> impl Iterator<Item = &T> {
        let from = (of.clone(), String::new());
        let rest = self.of.range(from..);
        rest.take_while(move |((found, _), _)| found == of)
            .map(|(_, object)| object)
    }
}

fn decode(bytes: &Bytes) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}
