//! ServerlessService → two Services of a Revision: the private one selects its Pods, the public
//! one, which others call, has these Pods for endpoints or, while there are too few, activators.

use std::net::IpAddr;

use api::conditions::Conditions;
use api::names;
use api::networking::{
    AUTOSCALING_METRICS_PORT, H2C_PORT, HTTP_PORT, HTTPS_PORT, QUEUE_ADMIN_PORT, SERVICE_H2C_PORT,
    SERVICE_HTTP_PORT, SERVICE_HTTPS_PORT, SERVICE_TYPE, SKS_LABEL, SKS_SET, USER_METRICS_PORT,
};
use api::object::ObjectExt;
use api::serving::REVISION_UID;
use api::world::{
    Context, ENDPOINT_SLICE, ENDPOINTS, Key, Plan, SERVERLESS_SERVICE, SERVICE, World,
};
use serde_json::{Value, json};

use api::draft::Agree;
use api::draft::{Child, Draft, not_owned, strings};

const ENDPOINTS_POPULATED: &str = "EndpointsPopulated";
/// Whether activators answer; what the scale to zero waits for. The time of the last change says
/// for how long.
pub(super) const ACTIVATORS_POPULATED: &str = "ActivatorEndpointsPopulated";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Keeps Kubernetes from making slices of the Endpoints a second time.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
const MANAGER: &str = "serverlessservice-controller.rekindle";

/// An address that answers for the revision, and the port it listens on.
type Backend = (IpAddr, u16);

/// Plans one ServerlessService.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, SERVERLESS_SERVICE, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SKS_SET);
    let private = names::private_service(draft.name());
    let public = draft.name().to_owned();
    let wanted = [private_service(&draft, &private), public_service(&draft)];
    for service in wanted {
        if let Child::Foreign = draft.ensure(SERVICE, service.clone(), Agree::AtLeast) {
            let text = not_owned("Service", service.name());
            conditions.mark_false(ENDPOINTS_POPULATED, "NotOwned", &text);
            return draft.finish(conditions);
        }
    }
    draft.status["serviceName"] = json!(public);
    draft.status["privateServiceName"] = json!(private);
    let pods = ready_pods(&draft, &private);
    let proxied = draft.object["spec"]["mode"] != "Serve" || pods.is_empty();
    let activators = activators(&draft);
    let through_activators = proxied && !activators.is_empty();
    reconcile_endpoints(
        &mut draft,
        if through_activators {
            activators
        } else {
            pods.clone()
        },
    );
    mark(&mut conditions, &pods, through_activators);
    draft.finish(conditions)
}

fn mark(conditions: &mut Conditions, pods: &[Backend], through_activators: bool) {
    if pods.is_empty() {
        let text = "K8s Service is not ready";
        conditions.mark_unknown(ENDPOINTS_POPULATED, "NoHealthyBackends", text);
    } else {
        conditions.mark_true(ENDPOINTS_POPULATED);
    }
    if through_activators {
        let text = "Revision is backed by Activator";
        conditions.mark_true_because(ACTIVATORS_POPULATED, ACTIVATORS_POPULATED, text);
    } else {
        let text = "Revision is backed by its Pods";
        conditions.mark_false(ACTIVATORS_POPULATED, "ActivatorEndpointsRemoved", text);
    }
}

fn is_h2c(draft: &Draft<'_>) -> bool {
    draft.object["spec"]["protocolType"] == "h2c"
}

/// The port of queue-proxy and activator that a revision is served on, and its name.
fn backend_port(draft: &Draft<'_>) -> (&'static str, u16) {
    if is_h2c(draft) {
        ("http2", H2C_PORT)
    } else {
        ("http", HTTP_PORT)
    }
}

fn labels(draft: &Draft<'_>, service_type: &str) -> Value {
    let extra = [(SKS_LABEL, draft.name()), (SERVICE_TYPE, service_type)];
    strings(&draft.object["metadata"]["labels"], &[], &extra)
}

fn annotations(draft: &Draft<'_>) -> Value {
    strings(&draft.object["metadata"]["annotations"], &[], &[])
}

fn service_port(name: &str, port: u16, target: u16) -> Value {
    json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"})
}

fn service(draft: &Draft<'_>, name: &str, kind: &str, spec: Value) -> Value {
    json!({
        "apiVersion": SERVICE.api_version(),
        "kind": SERVICE.kind,
        "metadata": draft.child_meta(name, labels(draft, kind), annotations(draft)),
        "spec": spec,
    })
}

fn private_service(draft: &Draft<'_>, name: &str) -> Value {
    let (proto, target) = backend_port(draft);
    let ports = json!([
        service_port(proto, SERVICE_HTTP_PORT, target),
        service_port("https", SERVICE_HTTPS_PORT, HTTPS_PORT),
        service_port(
            "http-autometric",
            AUTOSCALING_METRICS_PORT,
            AUTOSCALING_METRICS_PORT
        ),
        service_port("http-usermetric", USER_METRICS_PORT, USER_METRICS_PORT),
        service_port("http-queueadm", QUEUE_ADMIN_PORT, QUEUE_ADMIN_PORT),
        service_port(&format!("{proto}-istio"), target, target),
    ]);
    let uid = draft.object.label(REVISION_UID).unwrap_or_default();
    let spec = json!({"ports": ports, "selector": {REVISION_UID: uid}});
    service(draft, name, "Private", spec)
}

fn public_service(draft: &Draft<'_>) -> Value {
    let (proto, target) = backend_port(draft);
    let port = if is_h2c(draft) {
        SERVICE_H2C_PORT
    } else {
        SERVICE_HTTP_PORT
    };
    let ports = json!([
        service_port(proto, port, target),
        service_port("https", SERVICE_HTTPS_PORT, HTTPS_PORT),
    ]);
    let spec = json!({"ports": ports, "selector": null});
    service(draft, draft.name(), "Public", spec)
}

/// The addresses of the private Service's Pods that may get requests, ordered.
fn ready_pods(draft: &Draft<'_>, private: &str) -> Vec<Backend> {
    let (_, port) = backend_port(draft);
    let mut pods: Vec<Backend> = ready_addresses(draft.world, draft.namespace(), private)
        .into_iter()
        .map(|address| (address, port))
        .collect();
    pods.sort_unstable();
    pods.dedup();
    pods
}

/// The ready addresses in the EndpointSlices of a Service.
pub(super) fn ready_addresses(world: &World, namespace: &str, service: &str) -> Vec<IpAddr> {
    let slices = world.labelled(ENDPOINT_SLICE, namespace, SERVICE_NAME, service);
    let ready = |endpoint: &&Value| endpoint["conditions"]["ready"] != false;
    slices
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten())
        .filter(ready)
        .flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten())
        .filter_map(|address| address.as_str()?.parse().ok())
        .collect()
}

/// The activators that answer for this revision: as many as asked for, chosen by the name, so
/// that each revision keeps its own when others come and go.
fn activators(draft: &Draft<'_>) -> Vec<Backend> {
    let wanted = draft.object["spec"]["numActivators"]
        .as_u64()
        .filter(|&n| n > 0)
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(usize::MAX);
    let mut all: Vec<Backend> = draft
        .cx
        .gateway_addresses
        .iter()
        .map(|address| (address.ip(), address.port()))
        .collect();
    all.sort_by_cached_key(|backend| weight(draft.name(), backend));
    all.truncate(wanted);
    all.sort_unstable();
    all
}

/// Rendezvous hashing: FNV-1a over the name and the address.
fn weight(name: &str, (address, port): &Backend) -> u64 {
    let text = format!("{name} {address} {port}");
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The two ports of the public Service, as its endpoints have them: the revision's own and the one
/// for TLS, which queue-proxy and activator have in common.
fn endpoint_ports(proto: &str, port: u16) -> Value {
    json!([
        {"name": proto, "port": port, "protocol": "TCP"},
        {"name": "https", "port": HTTPS_PORT, "protocol": "TCP"},
    ])
}

fn reconcile_endpoints(draft: &mut Draft<'_>, backends: Vec<Backend>) {
    let (proto, _) = backend_port(draft);
    let mut ports: Vec<u16> = backends.iter().map(|(_, port)| *port).collect();
    ports.sort_unstable();
    ports.dedup();
    let at = |port: u16| backends.iter().filter(move |backend| backend.1 == port);
    let subsets: Value = ports
        .iter()
        .map(|&port| {
            let addresses: Value = at(port)
                .map(|(ip, _)| json!({"ip": ip.to_string()}))
                .collect();
            json!({"addresses": addresses, "ports": endpoint_ports(proto, port)})
        })
        .collect();
    let labels = strings(&labels(draft, "Public"), &[], &[(SKIP_MIRROR, "true")]);
    let endpoints = json!({
        "apiVersion": ENDPOINTS.api_version(),
        "kind": ENDPOINTS.kind,
        "metadata": draft.child_meta(draft.name(), labels, annotations(draft)),
        "subsets": subsets,
    });
    draft.ensure(ENDPOINTS, endpoints, Agree::Exactly);
    reconcile_slice(draft, &backends, proto);
}

/// One slice says the same to whoever reads slices. Its endpoints share one port, which holds as
/// long as all activators listen on the same one.
fn reconcile_slice(draft: &mut Draft<'_>, backends: &[Backend], proto: &str) {
    let endpoints: Value = backends
        .iter()
        .map(|(ip, _)| json!({"addresses": [ip.to_string()], "conditions": {"ready": true}}))
        .collect();
    let ipv6 = backends.iter().any(|(ip, _)| ip.is_ipv6());
    let ports = backends
        .first()
        .map_or_else(|| json!([]), |(_, port)| endpoint_ports(proto, *port));
    let labels = strings(
        &labels(draft, "Public"),
        &[],
        &[(SERVICE_NAME, draft.name()), (MANAGED_BY, MANAGER)],
    );
    let slice = json!({
        "apiVersion": ENDPOINT_SLICE.api_version(),
        "kind": ENDPOINT_SLICE.kind,
        "metadata": draft.child_meta(draft.name(), labels, json!({})),
        "addressType": if ipv6 { "IPv6" } else { "IPv4" },
        "endpoints": endpoints,
        "ports": ports,
    });
    draft.ensure(ENDPOINT_SLICE, slice, Agree::Exactly);
}
