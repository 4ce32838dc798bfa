//! Revision → what the gateway must know of it: its limits and its Pods. The shortest way from a
//! Pod that became ready to the request that waits for it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use api::networking::{SERVING_CERTIFICATE_PATH, internal_name};
use api::object::ObjectExt;
use api::route::{self, Change, Protocol, RevisionKey};
use api::serving::revision::{
    container_concurrency, idle_timeout, is_h2c, response_start_timeout, timeout, user_port,
};
use api::serving::{CONFIGURATION, REVISION as REVISION_LABEL, SERVICE};
use api::world::{Action, Context, Key, POD, Plan, REVISION, SERVERLESS_SERVICE, World};
use serde_json::Value;

/// Plans what the gateway knows of one Revision. Nothing is written to the API.
pub fn plan(_: &Context, key: &Key, world: &World) -> Plan {
    let Some(revision) = world.get(REVISION, &key.namespace, &key.name) else {
        return Plan::default();
    };
    let pods = pods(world, &revision);
    let sks = world.get(SERVERLESS_SERVICE, &key.namespace, &key.name);
    let served = sks.is_some_and(|sks| sks["spec"]["mode"] == "Serve");
    let route_key = RevisionKey::new(&key.namespace, &key.name);
    let value = route::Revision {
        key: route_key.clone(),
        service: revision.label(SERVICE).unwrap_or_default().into(),
        configuration: revision.label(CONFIGURATION).unwrap_or_default().into(),
        container_concurrency: container_concurrency(&revision),
        timeout: timeout(&revision),
        response_start_timeout: response_start_timeout(&revision),
        idle_timeout: idle_timeout(&revision),
        protocol: if is_h2c(&revision) {
            Protocol::H2c
        } else {
            Protocol::Http1
        },
        activator_in_path: !served || !pods.iter().any(|pod| pod.ready),
        pods,
    };
    let change = Change::Revision(route_key, Some(Arc::new(value)));
    Plan {
        actions: vec![Action::Route(change)],
    }
}

/// The Pods, ordered by their addresses. One without an address yet is named all the same: the
/// gateway on its own machine reaches it without, as soon as its queue-proxy calls.
fn pods(world: &World, revision: &Value) -> Vec<route::Pod> {
    let port = user_port(revision);
    let tls_name: Arc<str> = internal_name(revision.namespace()).into();
    let list = world.labelled(POD, revision.namespace(), REVISION_LABEL, revision.name());
    let mut pods: Vec<_> = list
        .iter()
        .filter(|pod| !is_over(pod))
        .map(|pod| {
            let ip = pod["status"]["podIP"].as_str();
            let ip: Option<IpAddr> = ip.and_then(|ip| ip.parse().ok());
            route::Pod {
                name: pod.name().into(),
                uid: pod.uid().into(),
                ip: ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                user_port: port,
                tls_name: has_certificate(pod).then(|| Arc::clone(&tls_name)),
                ready: ip.is_some() && is_ready(pod) && !pod.is_terminating(),
            }
        })
        .collect();
    pods.sort_by_key(|pod| pod.ip);
    pods
}

/// Whether the Pod's queue-proxy is asked by TLS: it has been given a certificate.
fn has_certificate(pod: &Value) -> bool {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let mut mounts = containers
        .filter(|container| container["name"] == "queue-proxy")
        .flat_map(|container| container["volumeMounts"].as_array().into_iter().flatten());
    mounts.any(|mount| mount["mountPath"] == SERVING_CERTIFICATE_PATH)
}

fn is_over(pod: &Value) -> bool {
    matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    )
}

/// Whether a Pod's condition `Ready` is true.
pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
