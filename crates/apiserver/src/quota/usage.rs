//! What an object takes of a quota: names as Kubernetes' quota evaluators have them, with amounts.
//! Pure; asked by admission of the object that comes and by the keeper of all that are there.

use std::collections::BTreeMap;

use api::quantity::Quantity;
use serde_json::Value;

use crate::kinds::{items, text};
use crate::resource::Resource;

/// Amounts by name.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// One whole.
const ONE: Quantity = Quantity::decimal(1_000_000_000);
/// Kinds of the core group that are counted under their own name too.
const COUNTED: [&str; 7] = [
    "pods",
    "services",
    "configmaps",
    "secrets",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "resourcequotas",
];
/// What containers must say when a quota limits it.
const COMPUTE: [&str; 6] = [
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
];

/// What `object` takes.
pub(super) fn of(resource: &Resource, object: &Value) -> Amounts {
    let mut usage = Amounts::new();
    usage.insert(format!("count/{}", resource.group_resource()), ONE);
    if !resource.group.is_empty() {
        return usage;
    }
    match &*resource.plural {
        "pods" => pod(object, &mut usage),
        "services" => service(&object["spec"], &mut usage),
        "persistentvolumeclaims" => claim(object, &mut usage),
        _ => {}
    }
    let is_over = resource.plural == "pods" && is_over(object);
    if COUNTED.contains(&&*resource.plural) && !is_over {
        usage.insert(resource.plural.to_string(), ONE);
    }
    usage
}

/// A Pod that has come to its end takes nothing any more.
fn is_over(pod: &Value) -> bool {
    matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed")
}

fn pod(pod: &Value, usage: &mut Amounts) {
    if is_over(pod) {
        return;
    }
    for (name, amount) in total(pod, "requests") {
        usage.insert(format!("requests.{name}"), amount);
        usage.insert(name, amount);
    }
    for (name, amount) in total(pod, "limits") {
        usage.insert(format!("limits.{name}"), amount);
    }
}

/// What a Pod's containers ask for together (`requests` or `limits`): all at once, or the greediest
/// of those that run first; of these, sidecars stay.
pub(super) fn total(pod: &Value, which: &str) -> Amounts {
    let spec = &pod["spec"];
    let (mut running, mut starting) = (Amounts::new(), Amounts::new());
    for container in items(&spec["initContainers"]) {
        let mut peak = running.clone();
        add(&mut peak, &asked(container, which));
        if container["restartPolicy"] == "Always" {
            running = peak.clone();
        }
        raise(&mut starting, &peak);
    }
    for container in items(&spec["containers"]) {
        add(&mut running, &asked(container, which));
    }
    raise(&mut running, &starting);
    if which == "requests" || !running.is_empty() {
        add(&mut running, &amounts(&spec["overhead"]));
    }
    running
}

/// What one container asks for.
pub(super) fn asked(container: &Value, which: &str) -> Amounts {
    amounts(&container["resources"][which])
}

/// A map of quantities as objects have them.
pub(super) fn amounts(map: &Value) -> Amounts {
    let fields = map.as_object().into_iter().flatten();
    let read = |value: &Value| match value.as_str() {
        Some(text) => Quantity::parse(text).ok(),
        None => Quantity::parse(&value.to_string()).ok(),
    };
    fields
        .filter_map(|(name, value)| Some((name.clone(), read(value)?)))
        .collect()
}

/// Adds `more` to `sum`.
pub(super) fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let held = sum.entry(name.clone()).or_insert(Quantity::decimal(0));
        *held = held.plus(*amount);
    }
}

fn raise(high: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let held = high.entry(name.clone()).or_insert(*amount);
        if *amount > *held {
            *held = *amount;
        }
    }
}

fn service(spec: &Value, usage: &mut Amounts) {
    let ports = items(&spec["ports"]).len();
    let ports = Quantity::decimal(1_000_000_000 * i128::try_from(ports).unwrap_or(0));
    match text(&spec["type"]) {
        "NodePort" => {
            usage.insert("services.nodeports".to_owned(), ports);
        }
        "LoadBalancer" => {
            usage.insert("services.loadbalancers".to_owned(), ONE);
            if spec["allocateLoadBalancerNodePorts"] != false {
                usage.insert("services.nodeports".to_owned(), ports);
            }
        }
        _ => {}
    }
}

fn claim(claim: &Value, usage: &mut Amounts) {
    let spec = &claim["spec"];
    let storage = amounts(&spec["resources"]["requests"]).remove("storage");
    let class = text(&spec["storageClassName"]);
    let prefix = format!("{class}.storageclass.storage.k8s.io/");
    if !class.is_empty() {
        usage.insert(format!("{prefix}persistentvolumeclaims"), ONE);
    }
    if let Some(storage) = storage {
        usage.insert("requests.storage".to_owned(), storage);
        if !class.is_empty() {
            usage.insert(format!("{prefix}requests.storage"), storage);
        }
    }
}

/// The words for what a Pod's containers leave open although `hard` limits it; `None` when they
/// say everything.
pub(super) fn unsaid(hard: &Amounts, pod: &Value) -> Option<String> {
    let mut missing = Vec::new();
    for name in COMPUTE.iter().filter(|name| hard.contains_key(**name)) {
        let (which, resource) = match name.split_once('.') {
            Some((which, resource)) => (which, resource),
            None => ("requests", *name),
        };
        let all = ["initContainers", "containers"];
        let all = all.iter().flat_map(|key| items(&pod["spec"][*key]));
        let silent = all.filter(|one| one["resources"][which][resource].is_null());
        let mut silent: Vec<&str> = silent.map(|one| text(&one["name"])).collect();
        silent.sort_unstable();
        if !silent.is_empty() {
            missing.push(format!("{name} for: {}", silent.join(",")));
        }
    }
    missing.sort();
    (!missing.is_empty()).then(|| format!("must specify {}", missing.join("; ")))
}

/// Whether a quota's scopes take the object in. Only Pods have scopes.
pub(super) fn in_scope(quota: &Value, resource: &Resource, object: &Value) -> bool {
    let spec = &quota["spec"];
    let mut scopes: Vec<(&str, &str, &Value)> = items(&spec["scopes"])
        .iter()
        .map(|scope| (text(scope), "Exists", &Value::Null))
        .collect();
    for one in items(&spec["scopeSelector"]["matchExpressions"]) {
        scopes.push((
            text(&one["scopeName"]),
            text(&one["operator"]),
            &one["values"],
        ));
    }
    if scopes.is_empty() {
        return true;
    }
    let is_pod = resource.is("", "pods");
    is_pod && scopes.iter().all(|scope| scope_holds(*scope, object))
}

fn scope_holds((scope, operator, values): (&str, &str, &Value), pod: &Value) -> bool {
    let spec = &pod["spec"];
    let ends = spec["activeDeadlineSeconds"]
        .as_i64()
        .is_some_and(|s| s >= 0);
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => is_best_effort(spec),
        "NotBestEffort" => !is_best_effort(spec),
        "PriorityClass" => {
            let class = text(&spec["priorityClassName"]);
            let listed = items(values).iter().any(|value| text(value) == class);
            match operator {
                "In" => listed,
                "NotIn" => !listed,
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        _ => false,
    }
}

fn is_best_effort(spec: &Value) -> bool {
    let all = ["initContainers", "containers"];
    let mut all = all.iter().flat_map(|key| items(&spec[*key]));
    !all.any(|one| {
        let said = |which| {
            let amounts = asked(one, which);
            ["cpu", "memory"]
                .iter()
                .any(|name| amounts.contains_key(*name))
        };
        said("requests") || said("limits")
    })
}
