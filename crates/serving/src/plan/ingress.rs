//! Ingress → hosts of the gateway, which learns them before the Ingress says that it is ready.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::annotation;
use api::certificate;
use api::config::Network;
use api::networking::{INGRESS_CLASS, INGRESS_SET, NAMESPACE_HEADER, REVISION_HEADER};
use api::object::ObjectExt;
use api::route::{Change, PathMatch, RevisionKey, Rule, Split, Target, VirtualHost, Visibility};
use api::world::{Action, Context, INGRESS, Key, Plan, SECRET, SERVICE, World};
use serde_json::{Value, json};

use super::config::load;
use super::serverless_service::ready_addresses;
use super::{local_gateway, public_gateway};
use api::draft::Draft;

/// Classes that stand in older installations and manifests; this gateway answers for them all.
const CLASSES: &[&str] = &[
    api::config::stock::INGRESS_CLASS,
    "istio.ingress.networking.knative.dev",
    "kourier.ingress.networking.knative.dev",
    "contour.ingress.networking.knative.dev",
    "gateway-api.ingress.networking.knative.dev",
];
/// The domain of a fresh embedded installation.
const LOCALHOST: &str = ".localhost";
/// The domain of a fresh installation as the older tutorials know it.
const EXAMPLE: &str = ".example.com";

/// Plans one Ingress.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, INGRESS, key) else {
        return Plan::default();
    };
    if !is_ours(&draft) {
        return Plan::default();
    }
    for (host, rules) in hosts(world, &draft.object) {
        draft.push(Action::Route(Change::Host(host, Some(rules))));
    }
    let missing = show_identities(&mut draft);
    let mut conditions = draft.conditions(INGRESS_SET);
    match missing {
        Some(text) => {
            conditions.mark_unknown("NetworkConfigured", "ReconcileIngressFailed", &text);
        }
        None => conditions.mark_true("NetworkConfigured"),
    }
    conditions.mark_true("LoadBalancerReady");
    for (field, gateway) in [
        ("publicLoadBalancer", public_gateway(cx)),
        ("privateLoadBalancer", local_gateway(cx)),
    ] {
        draft.status[field] = json!({"ingress": [{"domainInternal": gateway}]});
    }
    draft.finish(conditions)
}

fn is_ours(draft: &Draft<'_>) -> bool {
    let Some((_, class)) = annotation::get(&draft.object, INGRESS_CLASS) else {
        return true;
    };
    CLASSES.contains(&class)
        || load(draft.cx, draft.world, Network::NAME, Network::parse).ingress_class == class
}

/// Tells the gateway by which certificates the hosts show who they are; gives the sentence about a
/// Secret that cannot be used.
fn show_identities(draft: &mut Draft<'_>) -> Option<String> {
    let mut missing = None;
    let entries = draft.object["spec"]["tls"].as_array().cloned();
    for entry in entries.into_iter().flatten() {
        let text = |key: &str| entry[key].as_str().unwrap_or_default();
        let namespace = match text("secretNamespace") {
            "" => draft.namespace().to_owned(),
            namespace => namespace.to_owned(),
        };
        let name = text("secretName");
        let secret = draft.world.get(SECRET, &namespace, name);
        let Some(identity) = secret.as_deref().and_then(certificate::identity) else {
            let what = match secret {
                Some(_) => "holds no tls.crt and tls.key",
                None => "is not there",
            };
            missing = Some(format!("Secret {namespace}/{name} {what}"));
            continue;
        };
        let identity = Arc::new(identity);
        for host in list(&entry["hosts"]).iter().filter_map(Value::as_str) {
            let change = Change::Identity(host.to_ascii_lowercase(), Some(Arc::clone(&identity)));
            draft.push(Action::Route(change));
        }
    }
    missing
}

/// All hosts of an Ingress and what to do for them, which those of one rule share.
fn hosts(world: &World, ingress: &Value) -> BTreeMap<String, Arc<VirtualHost>> {
    let mut hosts = BTreeMap::new();
    let redirect_to_https = ingress["spec"]["httpOption"] == "Redirected"
        && ingress["spec"]["tls"]
            .as_array()
            .is_some_and(|tls| !tls.is_empty());
    for rule in list(&ingress["spec"]["rules"]) {
        let visibility = match rule["visibility"].as_str() {
            Some("ClusterLocal") => Visibility::ClusterLocal,
            _ => Visibility::External,
        };
        let paths = list(&rule["http"]["paths"]);
        let host = Arc::new(VirtualHost {
            visibility,
            redirect_to_https: redirect_to_https && visibility == Visibility::External,
            rules: paths
                .iter()
                .flat_map(|path| rules(world, ingress, path))
                .collect(),
        });
        for name in list(&rule["hosts"]).iter().filter_map(Value::as_str) {
            let name = name.to_ascii_lowercase();
            if let Some(stem) = name.strip_suffix(LOCALHOST) {
                hosts
                    .entry(format!("{stem}{EXAMPLE}"))
                    .or_insert_with(|| Arc::clone(&host));
            }
            hosts.insert(name, Arc::clone(&host));
        }
    }
    hosts
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The rules of one path. A path that only rewrites the host to that of another Ingress here is
/// answered by the rules of that one, which saves a turn through the gateway.
fn rules(world: &World, ingress: &Value, path: &Value) -> Vec<Rule> {
    let Some(host) = path["rewriteHost"].as_str() else {
        return vec![rule(world, path)];
    };
    let behind = list(&path["splits"])
        .first()
        .and_then(|split| split["serviceName"].as_str())
        .and_then(|service| world.get(INGRESS, ingress.namespace(), service));
    let target = behind.as_ref().and_then(|ingress| {
        list(&ingress["spec"]["rules"])
            .iter()
            .find(|rule| list(&rule["hosts"]).iter().any(|name| name == host))
    });
    let Some(target) = target else {
        return vec![rule(world, path)];
    };
    let prefix = path["path"].as_str().unwrap_or_default();
    list(&target["http"]["paths"])
        .iter()
        .map(|path| rule(world, path))
        .map(|rule| Rule {
            path_prefix: if rule.path_prefix.is_empty() {
                prefix.to_owned()
            } else {
                rule.path_prefix.clone()
            },
            rewrite_host: Some(host.to_owned()),
            ..rule
        })
        .collect()
}

fn rule(world: &World, path: &Value) -> Rule {
    let headers = path["headers"].as_object().into_iter().flatten();
    Rule {
        path_prefix: path["path"].as_str().unwrap_or_default().to_owned(),
        path_match: PathMatch::Start,
        headers: headers
            .filter_map(|(name, m)| {
                Some((name.to_ascii_lowercase(), m["exact"].as_str()?.to_owned()))
            })
            .collect(),
        rewrite_host: path["rewriteHost"].as_str().map(str::to_owned),
        append_headers: header_map(&path["appendHeaders"]),
        splits: list(&path["splits"])
            .iter()
            .map(|s| split(world, s))
            .collect(),
    }
}

/// The address of a Service: the one it has, of one of its endpoints if it has none, else its name.
pub(super) fn address(world: &World, (namespace, name): (&str, &str), port: u64) -> String {
    let service = world.get(SERVICE, namespace, name);
    let ip = service.and_then(|service| {
        let own = service["spec"]["clusterIP"].as_str()?;
        own.parse::<IpAddr>()
            .ok()
            .or_else(|| ready_addresses(world, namespace, name).into_iter().min())
    });
    match ip {
        Some(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        Some(ip) => format!("{ip}:{port}"),
        None => format!("{name}.{namespace}.svc.cluster.local:{port}"),
    }
}

fn header_map(headers: &Value) -> BTreeMap<String, String> {
    let headers = headers.as_object().into_iter().flatten();
    headers
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), value.as_str()?.to_owned())))
        .collect()
}

/// A split that names its revision goes to the Pods of that revision; any other to its Service.
fn split(world: &World, split: &Value) -> Split {
    let text = |key: &str| split[key].as_str().unwrap_or_default();
    let headers = &split["appendHeaders"];
    let target = match (
        headers[NAMESPACE_HEADER].as_str(),
        headers[REVISION_HEADER].as_str(),
    ) {
        (Some(namespace), Some(name)) => Target::Revision(RevisionKey::new(namespace, name)),
        _ => Target::Address(address(
            world,
            (text("serviceNamespace"), text("serviceName")),
            split["servicePort"].as_u64().unwrap_or(80),
        )),
    };
    Split {
        percent: split["percent"].as_u64().map_or(100, |p| p.min(100) as u8),
        target,
        append_headers: header_map(headers),
    }
}
