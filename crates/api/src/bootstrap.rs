//! The objects besides ConfigMaps that a fresh embedded installation holds: the namespaces of the
//! system, the Services by which Knative's clients and tools look for the gateway, under the names
//! that Istio and Kourier gave it, and Deployments that stand for the parts of Knative Serving;
//! what Eventing has besides is in `eventing`, the roles of both are in `roles`. Created by the
//! binary at every start, if missing, and brought up to date when the gateway's addresses change.

pub mod eventing;
mod roles;

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::config::eventing::SYSTEM_NAMESPACE as EVENTING_NAMESPACE;
use crate::networking::{
    CHALLENGES_PORT, EXTERNAL_GATEWAY_PORT, EXTERNAL_GATEWAY_TLS_PORT, H2C_PORT, HTTP_PORT,
    HTTPS_PORT, KUBERNETES_CLASS_DEFAULT, KUBERNETES_CONTROLLER, LOCAL_GATEWAY_PORT,
    LOCAL_GATEWAY_TLS_PORT,
};
use crate::world::Context;

/// Where the gateway is reached from the machine itself.
const LOOPBACK: &str = "127.0.0.1";

/// On a Service whose node ports are the gateway's own listeners: they may be any port, are shared
/// by several Services, and nobody else listens on them.
pub const GATEWAY_PORTS: &str = "rekindle.dev/gateway-ports";

/// What Knative Serving consists of on a cluster, each part a Deployment. All of them are this one
/// process; the Pods are there for those who look whether the parts run and read their logs.
const PARTS: &[&str] = &["activator", "autoscaler", "controller", "webhook"];

/// Images of this prefix stand for parts of the process that runs the node.
pub const PART_IMAGES: &str = "rekindle.local/";

/// Namespace and name of the Service whose node ports are those of the gateway.
pub const PUBLIC_GATEWAY: (&str, &str) = ("kourier-system", "kourier");
/// Name of the Service, in the system's namespace, whose endpoints are where Pods reach the gateway.
pub const ACTIVATOR_SERVICE: &str = "activator-service";

/// Name of the Service, in the system's namespace, that answers the challenges of ACME.
pub const CHALLENGES_SERVICE: &str = "acme-challenges";

/// One Service of the gateway.
struct Gateway {
    namespace: &'static str,
    name: &'static str,
    /// Whether users outside call it.
    is_public: bool,
}

impl Gateway {
    /// Where its Pods would listen.
    fn port(&self) -> u16 {
        if self.is_public {
            EXTERNAL_GATEWAY_PORT
        } else {
            LOCAL_GATEWAY_PORT
        }
    }

    /// The same by TLS.
    fn tls_port(&self) -> u16 {
        if self.is_public {
            EXTERNAL_GATEWAY_TLS_PORT
        } else {
            LOCAL_GATEWAY_TLS_PORT
        }
    }
}

const GATEWAYS: &[Gateway] = &[
    Gateway {
        namespace: "istio-system",
        name: "istio-ingressgateway",
        is_public: true,
    },
    Gateway {
        namespace: "istio-system",
        name: "knative-local-gateway",
        is_public: false,
    },
    Gateway {
        namespace: PUBLIC_GATEWAY.0,
        name: PUBLIC_GATEWAY.1,
        is_public: true,
    },
    Gateway {
        namespace: "kourier-system",
        name: "kourier-internal",
        is_public: false,
    },
];

/// The class of Ingresses that the gateway answers for, and of those that name none.
fn ingress_class() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {
            "name": "rekindle",
            "annotations": {KUBERNETES_CLASS_DEFAULT: "true"},
        },
        "spec": {"controller": KUBERNETES_CONTROLLER},
    })
}

/// All objects, in an order in which they can be created.
pub fn bootstrap(cx: &Context) -> Vec<Value> {
    let namespaces = [
        cx.system_namespace.as_str(),
        EVENTING_NAMESPACE,
        "istio-system",
        "kourier-system",
    ];
    let mut objects: Vec<Value> = namespaces.into_iter().map(namespace).collect();
    let addresses: Vec<IpAddr> = cx.gateway_addresses.iter().map(SocketAddr::ip).collect();
    for gateway in GATEWAYS {
        objects.push(gateway_service(cx, gateway));
        let ports = [("http2", gateway.port()), ("https", gateway.tls_port())];
        objects.extend(endpoints(
            (gateway.namespace, gateway.name),
            &ports,
            &addresses,
        ));
    }
    objects.push(ingress_class());
    objects.push(activator_service(cx));
    let name = (cx.system_namespace.as_str(), ACTIVATOR_SERVICE);
    let port = cx
        .gateway_addresses
        .first()
        .map_or(HTTP_PORT, SocketAddr::port);
    objects.extend(endpoints(name, &[("http", port)], &addresses));
    objects.push(challenges_service(cx));
    let name = (cx.system_namespace.as_str(), CHALLENGES_SERVICE);
    objects.extend(endpoints(name, &[("http", CHALLENGES_PORT)], &addresses));
    objects.extend(PARTS.iter().map(|part| {
        let labels = [("app", *part), ("role", *part)];
        let part = Part {
            namespace: &cx.system_namespace,
            system: "knative-serving",
            name: part,
            labels: &labels,
        };
        part.deployment()
    }));
    objects.extend(eventing::objects(cx));
    objects.extend(roles::objects());
    objects
}

/// Where Pods reach the API server: the endpoints of its Service.
pub fn api_endpoints(address: SocketAddr) -> Vec<Value> {
    let ports = [("https", address.port())];
    endpoints(("default", "kubernetes"), &ports, &[address.ip()])
}

/// What [`bootstrap`] has written down of the gateway: the context of plans in another process.
/// Takes the Service [`PUBLIC_GATEWAY`] and the Endpoints of [`ACTIVATOR_SERVICE`].
pub fn context_of(public: &Value, activator: &Value) -> Context {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    let defaults = Context::default();
    let ports = list(&public["spec"]["ports"]);
    let node_port = |name: &str| {
        let port = ports.iter().find(|port| port["name"] == name);
        port.and_then(|port| number(&port["nodePort"]))
    };
    let mut gateway_addresses = Vec::new();
    for subset in list(&activator["subsets"]) {
        let port = number(&subset["ports"][0]["port"]);
        for address in list(&subset["addresses"]) {
            let ip = address["ip"].as_str().and_then(|ip| ip.parse().ok());
            gateway_addresses.extend(ip.zip(port).map(|(ip, port)| SocketAddr::new(ip, port)));
        }
    }
    Context {
        http_port: node_port("http2").unwrap_or(defaults.http_port),
        https_port: node_port("https").unwrap_or(defaults.https_port),
        gateway_addresses,
        ..defaults
    }
}

fn namespace(name: &str) -> Value {
    let mut labels = labels();
    if name == EVENTING_NAMESPACE {
        labels["app.kubernetes.io/name"] = json!(name);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    })
}

fn labels() -> Value {
    json!({"app.kubernetes.io/name": "knative-serving"})
}

fn service(namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name, "labels": labels()},
        "spec": spec,
    })
}

/// The node ports of a public gateway are where it listens on the machine: that is how Knative's
/// own test client finds it.
fn gateway_service(cx: &Context, gateway: &Gateway) -> Value {
    let mut http =
        json!({"name": "http2", "port": 80, "targetPort": gateway.port(), "protocol": "TCP"});
    let mut https =
        json!({"name": "https", "port": 443, "targetPort": gateway.tls_port(), "protocol": "TCP"});
    if !gateway.is_public {
        let spec = json!({"type": "ClusterIP", "ports": [http, https]});
        return service(gateway.namespace, gateway.name, spec);
    }
    http["nodePort"] = json!(cx.http_port);
    https["nodePort"] = json!(cx.https_port);
    let spec = json!({"type": "LoadBalancer", "ports": [http, https]});
    let mut service = service(gateway.namespace, gateway.name, spec);
    service["metadata"]["annotations"] = json!({GATEWAY_PORTS: "true"});
    service["status"] = json!({"loadBalancer": {"ingress": [{"ip": LOOPBACK}]}});
    service
}

fn activator_service(cx: &Context) -> Value {
    let port = |name: &str, port: u16, target: u16| json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"});
    let ports = json!([
        port("http", 80, HTTP_PORT),
        port("http2", 81, H2C_PORT),
        port("https", 443, HTTPS_PORT),
    ]);
    let spec = json!({"type": "ClusterIP", "ports": ports});
    service(&cx.system_namespace, ACTIVATOR_SERVICE, spec)
}

/// Who answers an authority that asks whether a name leads here.
fn challenges_service(cx: &Context) -> Value {
    let port =
        json!({"name": "http", "port": 80, "targetPort": CHALLENGES_PORT, "protocol": "TCP"});
    let spec = json!({"type": "ClusterIP", "ports": [port]});
    service(&cx.system_namespace, CHALLENGES_SERVICE, spec)
}

/// One part of Knative, in the node's network, where the gateway listens. The node knows the image:
/// it stands for what already runs.
struct Part<'a> {
    namespace: &'a str,
    /// `app.kubernetes.io/name`.
    system: &'a str,
    name: &'a str,
    /// What its Pods are selected by.
    labels: &'a [(&'a str, &'a str)],
}

impl Part<'_> {
    fn deployment(&self) -> Value {
        let labels = json!({"app.kubernetes.io/name": self.system});
        let selector: Value = self
            .labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect();
        let mut pod_labels = labels.clone();
        for (key, value) in self.labels {
            pod_labels[*key] = json!(value);
        }
        let image = format!("{PART_IMAGES}{}", self.name);
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"namespace": self.namespace, "name": self.name, "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": selector},
                "template": {
                    "metadata": {"labels": pod_labels},
                    "spec": {
                        "hostNetwork": true,
                        "enableServiceLinks": false,
                        "automountServiceAccountToken": false,
                        "terminationGracePeriodSeconds": 0,
                        "containers": [{"name": self.name, "image": image}],
                    },
                },
            },
        })
    }
}

/// The Services have no selector, since the gateway is no Pod: their endpoints are written down.
fn endpoints(
    (namespace, name): (&str, &str),
    ports: &[(&str, u16)],
    addresses: &[IpAddr],
) -> Vec<Value> {
    let Some(first) = addresses.first() else {
        return Vec::new();
    };
    let ports: Value = ports
        .iter()
        .map(|(name, port)| json!({"name": name, "port": port, "protocol": "TCP"}))
        .collect();
    let ips: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    let subset = json!({
        "addresses": ips.iter().map(|ip| json!({"ip": ip})).collect::<Value>(),
        "ports": ports,
    });
    let slice_endpoints: Value = ips
        .iter()
        .map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}}))
        .collect();
    let endpoints = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [subset],
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "rekindle",
            },
        },
        "addressType": if first.is_ipv6() { "IPv6" } else { "IPv4" },
        "endpoints": slice_endpoints,
        "ports": ports,
    });
    vec![endpoints, slice]
}

#[cfg(test)]
mod tests;
