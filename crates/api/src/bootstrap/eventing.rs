//! Knative Eventing's part of a fresh installation: the accounts its parts have on a cluster, the
//! Services under which the data plane is called, and a Deployment for each part.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::{Part, endpoints};
use crate::config::eventing::SYSTEM_NAMESPACE;
use crate::networking::{EVENTING_PORT, EVENTING_TLS_PORT};
use crate::world::Context;

/// Where Brokers take events.
pub const BROKER_INGRESS: &str = "broker-ingress";
/// Where Triggers are called.
pub const BROKER_FILTER: &str = "broker-filter";
/// Where channels take events.
pub const IMC_DISPATCHER: &str = "imc-dispatcher";
/// Where JobSinks take events.
pub const JOB_SINK: &str = "job-sink";

/// Where RequestReplies take requests.
pub const REQUEST_REPLY: &str = "request-reply";

const SERVICES: [&str; 5] = [
    BROKER_INGRESS,
    BROKER_FILTER,
    IMC_DISPATCHER,
    JOB_SINK,
    REQUEST_REPLY,
];

const ACCOUNTS: [&str; 8] = [
    "eventing-controller",
    "eventing-webhook",
    "imc-controller",
    "imc-dispatcher",
    "job-sink",
    "mt-broker-filter",
    "mt-broker-ingress",
    "pingsource-mt-adapter",
];

const ROLE: &str = "eventing.knative.dev/brokerRole";
const CHANNEL_ROLE: &str = "messaging.knative.dev/role";

/// The parts that have Pods, with the labels tutorials select them by.
const PARTS: [(&str, &[(&str, &str)]); 7] = [
    ("eventing-controller", &[("app", "eventing-controller")]),
    (
        "eventing-webhook",
        &[("app", "eventing-webhook"), ("role", "eventing-webhook")],
    ),
    (
        "imc-controller",
        &[
            ("messaging.knative.dev/channel", "in-memory-channel"),
            (CHANNEL_ROLE, "controller"),
        ],
    ),
    (
        IMC_DISPATCHER,
        &[
            ("messaging.knative.dev/channel", "in-memory-channel"),
            (CHANNEL_ROLE, "dispatcher"),
        ],
    ),
    ("mt-broker-controller", &[("app", "mt-broker-controller")]),
    ("mt-broker-filter", &[(ROLE, "filter")]),
    ("mt-broker-ingress", &[(ROLE, "ingress")]),
];

/// All of it but the namespace.
pub(super) fn objects(cx: &Context) -> Vec<Value> {
    let accounts = ACCOUNTS.iter().map(|name| {
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata(name),
        })
    });
    let mut all: Vec<Value> = accounts.collect();
    let here: Vec<IpAddr> = cx.gateway_addresses.iter().map(SocketAddr::ip).collect();
    let ports = [("http", EVENTING_PORT), ("https", EVENTING_TLS_PORT)];
    for name in SERVICES {
        all.push(service(name));
        all.extend(endpoints((SYSTEM_NAMESPACE, name), &ports, &here));
    }
    let parts = PARTS.iter().map(|(name, labels)| {
        let part = Part {
            namespace: SYSTEM_NAMESPACE,
            system: SYSTEM_NAMESPACE,
            name,
            labels,
        };
        part.deployment()
    });
    all.extend(parts);
    all
}

fn metadata(name: &str) -> Value {
    json!({
        "namespace": SYSTEM_NAMESPACE,
        "name": name,
        "labels": {"app.kubernetes.io/name": SYSTEM_NAMESPACE},
    })
}

fn service(name: &str) -> Value {
    let port = |name: &str, port: u16, target: u16| json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"});
    let ports = json!([
        port("http", 80, EVENTING_PORT),
        port("https", 443, EVENTING_TLS_PORT),
    ]);
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name),
        "spec": {"type": "ClusterIP", "ports": ports},
    })
}
