//! The node's picture of Kubernetes Services: joins Services and EndpointSlices from the API
//! server and tells every change to whoever forwards and resolves them. Started by `wire`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ::api::object::ObjectExt;
use ::api::world::{ENDPOINT_SLICE, SERVICE};
use controller::watch::{Update, watch};
use futures_util::StreamExt;
use kube::Client;
use serde_json::Value;

/// The label that joins a slice to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A Service's namespace and name.
pub(crate) type Name = (String, String);

/// One Service with everything that is ready behind it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Service {
    /// The Service object.
    pub(crate) object: Value,
    /// Port name → addresses that take its traffic.
    pub(crate) endpoints: BTreeMap<String, Vec<SocketAddr>>,
    /// Addresses of all ready endpoints, with their host names where they have one; for DNS.
    pub(crate) addresses: BTreeMap<IpAddr, Option<String>>,
}

/// Calls `tell` for every Service that changed, `None` for one that is gone.
pub(crate) async fn run(client: Client, mut tell: impl FnMut(&Name, Option<Service>) + Send) {
    let mut services = Box::pin(watch(client.clone(), SERVICE));
    let mut slices = Box::pin(watch(client, ENDPOINT_SLICE));
    let mut known = Known::default();
    loop {
        let touched = tokio::select! {
            Some(update) = services.next() => known.services.take(update, Value::name),
            Some(update) = slices.next() => {
                known.slices.take(update, |slice| slice.label(SERVICE_NAME).unwrap_or_default())
            }
        };
        for name in touched {
            let service = known.service(&name);
            tell(&name, service);
        }
    }
}

#[derive(Default)]
struct Known {
    services: Objects,
    slices: Objects,
}

impl Known {
    fn service(&self, name: &Name) -> Option<Service> {
        let object = self.services.of.get(name)?.values().next()?.clone();
        let mut endpoints: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
        let mut addresses = BTreeMap::new();
        for slice in self.slices.of.get(name).into_iter().flat_map(BTreeMap::values) {
            for endpoint in array(&slice["endpoints"]) {
                if endpoint["conditions"]["ready"] == false {
                    continue;
                }
                let ips = array(&endpoint["addresses"]).filter_map(Value::as_str);
                for ip in ips.filter_map(|ip| ip.parse::<IpAddr>().ok()) {
                    addresses.insert(ip, endpoint["hostname"].as_str().map(str::to_owned));
                    for port in array(&slice["ports"]) {
                        let name = port["name"].as_str().unwrap_or_default().to_owned();
                        let number = port["port"].as_u64().and_then(|port| port.try_into().ok());
                        endpoints.entry(name).or_default().extend(
                            number.map(|number| SocketAddr::new(ip, number)),
                        );
                    }
                }
            }
        }
        Some(Service { object, endpoints, addresses })
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Objects of one kind, grouped by the Service they belong to.
#[derive(Default)]
struct Objects {
    of: BTreeMap<Name, BTreeMap<String, Value>>,
    /// While a collection is read anew: what has not been seen again yet.
    unseen: Option<BTreeSet<(Name, String)>>,
}

impl Objects {
    /// Takes an update in and says whose Services it concerns.
    fn take(&mut self, update: Update, service: impl Fn(&Value) -> &str) -> BTreeSet<Name> {
        match update {
            Update::Restarted => {
                let all = self.of.iter();
                let all = all.flat_map(|(s, objects)| objects.keys().map(|o| (s.clone(), o.clone())));
                self.unseen = Some(all.collect());
                BTreeSet::new()
            }
            Update::Put(objects) => objects
                .iter()
                .filter_map(|bytes| serde_json::from_slice::<Value>(bytes).ok())
                .map(|object| self.put(object, &service))
                .collect(),
            Update::Gone(bytes) => {
                let object = serde_json::from_slice::<Value>(&bytes).ok();
                object.map(|object| self.gone(&name_of(&object, &service), object.name())).into_iter().collect()
            }
            Update::Synced { .. } => {
                let unseen = self.unseen.take().into_iter().flatten();
                unseen.map(|(service, name)| self.gone(&service, &name)).collect()
            }
            Update::NotServed => BTreeSet::new(),
        }
    }

    fn put(&mut self, object: Value, service: &impl Fn(&Value) -> &str) -> Name {
        let (of, name) = (name_of(&object, service), object.name().to_owned());
        if let Some(unseen) = &mut self.unseen {
            unseen.remove(&(of.clone(), name.clone()));
        }
        self.of.entry(of.clone()).or_default().insert(name, object);
        of
    }

    fn gone(&mut self, service: &Name, name: &str) -> Name {
        if let Some(objects) = self.of.get_mut(service) {
            objects.remove(name);
            if objects.is_empty() {
                self.of.remove(service);
            }
        }
        service.clone()
    }
}

fn name_of(object: &Value, service: &impl Fn(&Value) -> &str) -> Name {
    (object.namespace().to_owned(), service(object).to_owned())
}
