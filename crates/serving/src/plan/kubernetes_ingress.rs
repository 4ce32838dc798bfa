//! Ingresses of Kubernetes (`networking.k8s.io`) → hosts of the gateway that Knative has no use
//! for. Rooted at their class: hosts are shared by Ingresses, so one plan states them all.
//!
//! The gateway asks its other table first, so that no Ingress takes a host away from a Service of
//! Knative's.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use api::certificate;
use api::networking::{KUBERNETES_CLASS, KUBERNETES_CLASS_DEFAULT, KUBERNETES_CONTROLLER};
use api::object::ObjectExt;
use api::route::{Change, PathMatch, Rule, Split, Target, VirtualHost, Visibility};
use api::world::{
    Action, Context, KUBERNETES_INGRESS, KUBERNETES_INGRESS_CLASS, Key, Plan, SECRET, SERVICE,
    World,
};
use serde_json::{Value, json};

use super::ingress::address;

/// Plans one class.
pub fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    let class = world.get(KUBERNETES_INGRESS_CLASS, "", &key.name);
    let is_ours = |class: &Arc<Value>| class["spec"]["controller"] == KUBERNETES_CONTROLLER;
    let Some(class) = class.filter(is_ours) else {
        return plan;
    };
    let mut ingresses = world.list(KUBERNETES_INGRESS, "");
    ingresses.retain(|ingress| !ingress.is_terminating() && is_of(ingress, &class));
    // Where two claim a path, the older one has it.
    ingresses.sort_by_cached_key(|ingress| {
        let made = ingress["metadata"]["creationTimestamp"].as_str();
        let name = (ingress.namespace().to_owned(), ingress.name().to_owned());
        (made.unwrap_or_default().to_owned(), name)
    });
    let hosts = hosts(world, &ingresses).into_iter();
    let routes = hosts.map(|(host, rules)| Change::Ingress(host, Some(Arc::new(rules))));
    plan.actions.extend(routes.map(Action::Route));
    for ingress in &ingresses {
        let shown = identities(world, ingress).into_iter();
        plan.actions.extend(shown.map(Action::Route));
    }
    for ingress in &ingresses {
        plan.actions.extend(report(cx, ingress));
    }
    plan
}

/// Whether an Ingress wants this class: by field, by the annotation of old, or by saying nothing.
fn is_of(ingress: &Value, class: &Value) -> bool {
    let stated = ingress["spec"]["ingressClassName"].as_str();
    let stated = stated.or_else(|| ingress.annotation(KUBERNETES_CLASS));
    match stated {
        Some(stated) => stated == class.name(),
        None => class.annotation(KUBERNETES_CLASS_DEFAULT) == Some("true"),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// All hosts with their rules; the empty one is every other host.
fn hosts(world: &World, ingresses: &[Arc<Value>]) -> BTreeMap<String, VirtualHost> {
    let mut hosts = BTreeMap::<String, Vec<Rule>>::new();
    let mut defaults = Vec::new();
    for ingress in ingresses {
        let namespace = ingress.namespace();
        for stated in list(&ingress["spec"]["rules"]) {
            let host = stated["host"].as_str().unwrap_or_default();
            let rules = hosts.entry(host.to_ascii_lowercase()).or_default();
            let paths = list(&stated["http"]["paths"]).iter();
            rules.extend(paths.filter_map(|path| rule(world, namespace, path)));
        }
        let backend = &ingress["spec"]["defaultBackend"];
        defaults.extend(target(world, namespace, backend).map(|target| to(target, "", None)));
    }
    for rules in hosts.values_mut() {
        // The longest path first, the exact one of equal ones.
        rules.sort_by_key(|rule| {
            let is_exact = rule.path_match == PathMatch::Exact;
            Reverse((rule.path_prefix.trim_end_matches('/').len(), is_exact))
        });
    }
    let mut others = hosts.remove("").unwrap_or_default();
    others.extend(defaults);
    if !others.is_empty() {
        hosts.insert(String::new(), Vec::new());
    }
    let with_others = |(host, mut rules): (String, Vec<Rule>)| {
        rules.extend(others.iter().cloned());
        let host_of_gateway = VirtualHost {
            visibility: Visibility::External,
            redirect_to_https: false,
            rules,
        };
        (host, host_of_gateway)
    };
    hosts.into_iter().map(with_others).collect()
}

fn rule(world: &World, namespace: &str, path: &Value) -> Option<Rule> {
    let target = target(world, namespace, &path["backend"])?;
    let stated = path["path"].as_str().unwrap_or_default();
    Some(to(target, stated, path["pathType"].as_str()))
}

fn to(target: Target, path: &str, path_type: Option<&str>) -> Rule {
    Rule {
        path_prefix: path.to_owned(),
        path_match: match path_type {
            Some("Exact") => PathMatch::Exact,
            _ => PathMatch::Elements,
        },
        splits: vec![Split {
            percent: 100,
            target,
            append_headers: BTreeMap::new(),
        }],
        ..Rule::default()
    }
}

/// Where a backend leads; `None` for one that names no port of a Service.
fn target(world: &World, namespace: &str, backend: &Value) -> Option<Target> {
    let wanted = &backend["service"];
    let name = wanted["name"].as_str()?;
    let service = world.get(SERVICE, namespace, name);
    let mut ports = service
        .iter()
        .flat_map(|service| list(&service["spec"]["ports"]));
    let port = match wanted["port"]["name"].as_str() {
        Some(port) => ports.find(|one| one["name"] == port),
        None => ports.find(|one| one["port"] == wanted["port"]["number"]),
    };
    let is_headless = |service: &Arc<Value>| service["spec"]["clusterIP"] == "None";
    // Without an address of its own the Service's endpoints are asked, at their port.
    let at_pods = port
        .filter(|_| service.as_ref().is_some_and(is_headless))
        .and_then(|port| port["targetPort"].as_u64());
    let number = at_pods
        .or_else(|| port.and_then(|port| port["port"].as_u64()))
        .or_else(|| wanted["port"]["number"].as_u64())?;
    Some(Target::Address(address(world, (namespace, name), number)))
}

/// The certificates of an Ingress, by the hosts that show them. A Secret that cannot be used is as
/// good as none.
fn identities(world: &World, ingress: &Value) -> Vec<Change> {
    let mut shown = Vec::new();
    for entry in list(&ingress["spec"]["tls"]) {
        let name = entry["secretName"].as_str().unwrap_or_default();
        let secret = world.get(SECRET, ingress.namespace(), name);
        let Some(identity) = secret.as_deref().and_then(certificate::identity) else {
            continue;
        };
        let identity = Arc::new(identity);
        let rules = list(&ingress["spec"]["rules"]);
        let own = rules.iter().filter_map(|rule| rule["host"].as_str());
        let named = list(&entry["hosts"]).iter().filter_map(Value::as_str);
        let mut hosts: Vec<&str> = named.collect();
        if hosts.is_empty() {
            hosts.extend(own);
        }
        shown.extend(
            hosts.into_iter().map(|host| {
                Change::Identity(host.to_ascii_lowercase(), Some(Arc::clone(&identity)))
            }),
        );
    }
    shown
}

/// Says where the gateway is, if the Ingress does not.
fn report(cx: &Context, ingress: &Value) -> Option<Action> {
    let address = cx.gateway_addresses.first()?;
    let status = json!({"loadBalancer": {"ingress": [{"ip": address.ip().to_string()}]}});
    (ingress["status"] != status).then(|| {
        let mut object = ingress.clone();
        object["status"] = status;
        Action::Status(object)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: &str = "rekindle";

    /// What the gateway is told of these Ingresses, a line per rule.
    fn told(ingresses: &[Value]) -> Vec<String> {
        let mut world = World::default();
        let class = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": {"name": CLASS, "annotations": {KUBERNETES_CLASS_DEFAULT: "true"}},
            "spec": {"controller": KUBERNETES_CONTROLLER},
        });
        world.insert(KUBERNETES_INGRESS_CLASS, class);
        let ports = json!([{"name": "http", "port": 80}]);
        for (name, ip) in [("a", "10.0.0.1"), ("b", "10.0.0.2")] {
            let meta = json!({"namespace": "ns", "name": name});
            let spec = json!({"clusterIP": ip, "ports": ports});
            world.insert(SERVICE, json!({"metadata": meta, "spec": spec}));
        }
        for (number, spec) in ingresses.iter().enumerate() {
            let meta = json!({"namespace": "ns", "name": format!("i{number}")});
            world.insert(KUBERNETES_INGRESS, json!({"metadata": meta, "spec": spec}));
        }
        let plan = plan(&Context::default(), &Key::new("", CLASS), &world);
        let mut lines = Vec::new();
        for action in &plan.actions {
            let Action::Route(Change::Ingress(host, Some(rules))) = action else {
                panic!("{action:?}");
            };
            for rule in &rules.rules {
                let Target::Address(address) = &rule.splits[0].target else {
                    panic!("{rule:?}");
                };
                let (how, path) = (rule.path_match, &rule.path_prefix);
                lines.push(format!("{host:?} {how:?} {path:?} {address}"));
            }
        }
        lines
    }

    fn path(path: &str, kind: &str, service: &str) -> Value {
        let port = json!({"number": 80});
        json!({"path": path, "pathType": kind,
            "backend": {"service": {"name": service, "port": port}}})
    }

    fn host(host: &str, paths: &[Value]) -> Value {
        json!({"host": host, "http": {"paths": paths}})
    }

    #[test]
    fn the_longest_path_of_all_ingresses_of_a_host_comes_first() {
        let one = json!({"rules": [host("X.example", &[
            path("/", "Prefix", "a"), path("/v", "Prefix", "a"), path("/v", "Exact", "b"),
        ])]});
        let two = json!({"rules": [host("x.example", &[path("/v/w", "Prefix", "b")])]});
        assert_eq!(
            told(&[one, two]),
            [
                "\"x.example\" Elements \"/v/w\" 10.0.0.2:80",
                "\"x.example\" Exact \"/v\" 10.0.0.2:80",
                "\"x.example\" Elements \"/v\" 10.0.0.1:80",
                "\"x.example\" Elements \"/\" 10.0.0.1:80",
            ]
        );
    }

    #[test]
    fn what_no_rule_takes_goes_to_the_default() {
        let port = json!({"name": "http"});
        let default = json!({"service": {"name": "b", "port": port}});
        let spec = json!({"defaultBackend": default,
            "rules": [host("x.example", &[path("/a", "Prefix", "a")])]});
        assert_eq!(
            told(&[spec]),
            [
                "\"\" Elements \"\" 10.0.0.2:80",
                "\"x.example\" Elements \"/a\" 10.0.0.1:80",
                "\"x.example\" Elements \"\" 10.0.0.2:80",
            ]
        );
    }

    #[test]
    fn another_class_is_anothers() {
        let rules = json!([host("x.example", &[path("/", "Prefix", "a")])]);
        let other = json!({"ingressClassName": "nginx", "rules": rules});
        assert_eq!(told(&[other]), Vec::<String>::new());
        let ours = json!({"ingressClassName": CLASS, "rules": rules});
        assert_eq!(told(&[ours]).len(), 1);
    }
}
