//! Service with a selector → Endpoints and an EndpointSlice: which Pods take its traffic, where.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::object::ObjectExt;
use api::world::{
    Action, Context, ENDPOINT_SLICE, ENDPOINTS, Key, Kind, POD, Plan, SERVICE, World,
};
use serde_json::{Map, Value, json};

use crate::pods::{is_ready, owner_reference};

/// The label that joins a slice to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Who keeps a slice.
const MANAGED_BY: (&str, &str) = (
    "endpointslice.kubernetes.io/managed-by",
    "endpointslice-controller.k8s.io",
);
/// Set on both, so that nobody mirrors one into the other.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// Plans the endpoints of one Service.
pub(crate) fn plan(_: &Context, key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    let Some(service) = world.get(SERVICE, &key.namespace, &key.name) else {
        // Slices have an owner and go with it; Endpoints have none.
        let left = world.get(ENDPOINTS, &key.namespace, &key.name);
        plan.actions.extend(left.map(|left| Action::Delete {
            kind: ENDPOINTS,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: left.uid().to_owned(),
        }));
        return plan;
    };
    let Some(selector) = service["spec"]["selector"]
        .as_object()
        .filter(|s| !s.is_empty())
    else {
        return plan;
    };
    if service["spec"]["type"] == "ExternalName" {
        return plan;
    }
    let pods = selected(world, &key.namespace, selector);
    let members: Vec<Member<'_>> = pods
        .iter()
        .filter_map(|pod| Member::of(pod, &service))
        .collect();
    let labels = labels(&service);
    let mut endpoints = json!({
        "apiVersion": ENDPOINTS.api_version(),
        "kind": ENDPOINTS.kind,
        "metadata": {"name": key.name, "namespace": key.namespace, "labels": labels},
    });
    let subsets = subsets(&service, &members);
    if !subsets.is_empty() {
        endpoints["subsets"] = json!(subsets);
    }
    ensure(&mut plan, world, ENDPOINTS, endpoints);
    ensure(
        &mut plan,
        world,
        ENDPOINT_SLICE,
        slice(&service, &members, labels),
    );
    plan
}

/// A Pod behind a Service.
struct Member<'a> {
    pod: &'a Value,
    ip: &'a str,
    ready: bool,
    serving: bool,
    hostname: Option<&'a str>,
}

impl<'a> Member<'a> {
    fn of(pod: &'a Value, service: &Value) -> Option<Self> {
        let ip = pod["status"]["podIP"].as_str()?;
        let phase = &pod["status"]["phase"];
        if phase == "Succeeded" || phase == "Failed" {
            return None;
        }
        let publish = service["spec"]["publishNotReadyAddresses"] == true;
        let serving = is_ready(pod);
        let subdomain = pod["spec"]["subdomain"].as_str();
        let hostname = pod["spec"]["hostname"].as_str();
        Some(Self {
            pod,
            ip,
            ready: publish || serving && !pod.is_terminating(),
            serving: publish || serving,
            hostname: hostname.filter(|_| subdomain == Some(service.name())),
        })
    }

    fn target(&self) -> Value {
        json!({
            "kind": "Pod",
            "namespace": self.pod.namespace(),
            "name": self.pod.name(),
            "uid": self.pod.uid(),
        })
    }

    /// The number of the Service's port in this Pod: `targetPort`, by name if it is one.
    fn port(&self, port: &Value) -> Option<u64> {
        let target = &port["targetPort"];
        let Some(name) = target.as_str() else {
            return target
                .as_u64()
                .filter(|n| *n > 0)
                .or_else(|| port["port"].as_u64());
        };
        let containers = self.pod["spec"]["containers"]
            .as_array()
            .into_iter()
            .flatten();
        let ports = containers.flat_map(|c| c["ports"].as_array().into_iter().flatten());
        let mut named = ports.filter(|declared| declared["name"] == name);
        named
            .next()
            .and_then(|declared| declared["containerPort"].as_u64())
    }
}

/// The Pods whose labels match, ordered by name. The label with the fewest Pods would do; any
/// one narrows them enough to look at the rest.
fn selected(world: &World, namespace: &str, selector: &Map<String, Value>) -> Vec<Arc<Value>> {
    let Some((key, value)) = selector.iter().next() else {
        return Vec::new();
    };
    let mut pods = world.labelled(POD, namespace, key, value.as_str().unwrap_or_default());
    pods.retain(|pod| {
        selector
            .iter()
            .all(|(key, value)| pod.label(key) == value.as_str())
    });
    pods
}

fn labels(service: &Value) -> Map<String, Value> {
    let mut labels = service.labels().cloned().unwrap_or_default();
    if service["spec"]["clusterIP"] == "None" {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    labels
}

fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service["spec"]["ports"].as_array().into_iter().flatten()
}

/// A Service's port with its number in the Pods.
fn port_of(port: &Value, number: u64) -> Value {
    let mut value = json!({
        "port": number,
        "protocol": port["protocol"].as_str().unwrap_or("TCP"),
    });
    for key in ["name", "appProtocol"] {
        if let Some(text) = port[key].as_str() {
            value[key] = json!(text);
        }
    }
    value
}

/// Members grouped by the numbers of their ports.
fn subsets(service: &Value, members: &[Member<'_>]) -> Vec<Value> {
    let mut groups: BTreeMap<String, (Value, Vec<&Member<'_>>)> = BTreeMap::new();
    for member in members {
        let numbers = ports(service).filter_map(|p| member.port(p).map(|n| port_of(p, n)));
        let numbers = Value::Array(numbers.collect());
        let group = groups.entry(numbers.to_string());
        group
            .or_insert_with(|| (numbers, Vec::new()))
            .1
            .push(member);
    }
    let address = |member: &&&Member<'_>| {
        let mut address = json!({"ip": member.ip, "targetRef": member.target()});
        for (key, value) in [
            ("nodeName", member.pod["spec"]["nodeName"].as_str()),
            ("hostname", member.hostname),
        ] {
            if let Some(value) = value {
                address[key] = json!(value);
            }
        }
        address
    };
    let mut subsets = Vec::new();
    for (ports, members) in groups.into_values() {
        let mut subset = json!({});
        for (key, ready) in [("addresses", true), ("notReadyAddresses", false)] {
            let of_kind = members.iter().filter(|member| member.ready == ready);
            let addresses: Vec<Value> = of_kind.map(|member| address(&member)).collect();
            if !addresses.is_empty() {
                subset[key] = json!(addresses);
            }
        }
        if ports != json!([]) {
            subset["ports"] = ports;
        }
        subsets.push(subset);
    }
    subsets
}

/// One slice for all members. Where Pods name different numbers for one port the first Pod's
/// number stands for all; Endpoints tell them apart.
fn slice(service: &Value, members: &[Member<'_>], mut labels: Map<String, Value>) -> Value {
    labels.insert(SERVICE_NAME.to_owned(), json!(service.name()));
    labels.insert(MANAGED_BY.0.to_owned(), json!(MANAGED_BY.1));
    let number = |port: &Value| {
        let mut found = members.iter().filter_map(|member| member.port(port));
        found
            .next()
            .or_else(|| port["targetPort"].as_u64())
            .or_else(|| port["port"].as_u64())
    };
    let ports: Vec<Value> = ports(service)
        .filter_map(|port| number(port).map(|number| port_of(port, number)))
        .map(|mut port| {
            if port["name"].is_null() {
                port["name"] = json!("");
            }
            port
        })
        .collect();
    let endpoint = |member: &Member<'_>| {
        let mut endpoint = json!({
            "addresses": [member.ip],
            "conditions": {
                "ready": member.ready,
                "serving": member.serving,
                "terminating": member.pod.is_terminating(),
            },
            "targetRef": member.target(),
        });
        for (key, value) in [
            ("nodeName", member.pod["spec"]["nodeName"].as_str()),
            ("hostname", member.hostname),
        ] {
            if let Some(value) = value {
                endpoint[key] = json!(value);
            }
        }
        endpoint
    };
    json!({
        "apiVersion": ENDPOINT_SLICE.api_version(),
        "kind": ENDPOINT_SLICE.kind,
        "metadata": {
            "name": format!("{}-{}", service.name(), short_hash(service.uid())),
            "namespace": service.namespace(),
            "labels": labels,
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": members.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": ports,
    })
}

/// Five letters that differ from Service to Service and stay for the life of one.
fn short_hash(uid: &str) -> String {
    let hash = uid.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let letters = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5)
        .map(|at| char::from(letters[(hash >> (at * 8)) as usize % letters.len()]))
        .collect()
}

/// Creates `wanted`, or brings what is there to it.
fn ensure(plan: &mut Plan, world: &World, kind: Kind, wanted: Value) {
    let Some(current) = world.get(kind, wanted.namespace(), wanted.name()) else {
        plan.actions.push(Action::Create(wanted));
        return;
    };
    let mut object = Value::clone(&current);
    for key in ["subsets", "endpoints", "ports", "addressType"] {
        if wanted[key].is_null() {
            object.as_object_mut().map(|object| object.remove(key));
        } else {
            object[key] = wanted[key].clone();
        }
    }
    for (key, value) in wanted.labels().into_iter().flatten() {
        object["metadata"]["labels"][key] = value.clone();
    }
    if object != *current {
        plan.actions.push(Action::Update(object));
    }
}
