//! What is filled in where the user said nothing. The rules of Knative's
//! `pkg/apis/serving/v1/*_defaults.go`. Works on decoded values (see `shape`).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::pod::items;
use crate::config::defaults::object_meta;
use crate::config::{Configs, Defaults, Flag};
use crate::names::child_name;

/// Ports below this need the capability NET_BIND_SERVICE.
const LOW_PORTS: i64 = 1024;

/// Fills in a RevisionSpec of an object with `metadata`.
pub(super) fn revision_spec(spec: &mut Value, metadata: &Value, create: bool, configs: &Configs) {
    let defaults = &configs.defaults;
    set_timeouts(spec, defaults);
    if spec["containerConcurrency"].is_null() {
        spec["containerConcurrency"] = json!(defaults.container_concurrency);
    }
    name_containers(spec, metadata, defaults);
    if create && spec["enableServiceLinks"].is_null() && !items(&spec["containers"]).is_empty() {
        set_if(
            spec,
            "enableServiceLinks",
            defaults.enable_service_links.map(Value::Bool),
        );
    }
    let writable: BTreeSet<String> = items(&spec["volumes"])
        .iter()
        .filter(|volume| super::volume::is_writable(volume))
        .filter_map(|volume| volume["name"].as_str().map(str::to_owned))
        .collect();
    let single = items(&spec["containers"]).len() == 1;
    let pod_security = spec["securityContext"].clone();
    for container in items_mut(spec, "containers") {
        fill_resources(container, defaults);
        let serves = single || container["ports"].as_array().is_some_and(|p| !p.is_empty());
        fill_probes(container, serves);
        for mount in items_mut(container, "volumeMounts") {
            let name = mount["name"].as_str().unwrap_or_default();
            if !writable.contains(name) {
                mount["readOnly"] = Value::Bool(true);
            }
        }
        fill_security(
            container,
            &pod_security,
            configs.features.secure_pod_defaults,
        );
    }
    for container in items_mut(spec, "initContainers") {
        fill_security(
            container,
            &pod_security,
            configs.features.secure_pod_defaults,
        );
    }
}

/// Fills in a list of traffic targets; `within_service` when the Configuration is a given.
pub(super) fn traffic(spec: &mut Value, within_service: bool) {
    if within_service && items(&spec["traffic"]).is_empty() {
        spec["traffic"] = json!([{"latestRevision": true, "percent": 100}]);
    }
    for target in items_mut(spec, "traffic") {
        if target["latestRevision"].is_null() {
            target["latestRevision"] = Value::Bool(target["revisionName"].is_null());
        }
        if target["percent"].is_null() {
            target["percent"] = json!(0);
        }
    }
}

fn set_if(object: &mut Value, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        object[key] = value;
    }
}

fn items_mut<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn set_timeouts(spec: &mut Value, defaults: &Defaults) {
    if spec["timeoutSeconds"].as_i64().unwrap_or(0) == 0 {
        spec["timeoutSeconds"] = json!(defaults.timeout_s);
    }
    let timeout = spec["timeoutSeconds"].as_i64().unwrap_or(0);
    for (field, default) in [
        ("idleTimeoutSeconds", defaults.idle_timeout_s),
        (
            "responseStartTimeoutSeconds",
            defaults.response_start_timeout_s,
        ),
    ] {
        if spec[field].is_null() && default < timeout && default != 0 {
            spec[field] = json!(default);
        }
    }
}

fn name_containers(spec: &mut Value, metadata: &Value, defaults: &Defaults) {
    let lists = ["containers", "initContainers"];
    // A nameless container counts as one called "", as in Knative.
    let mut taken: BTreeSet<String> = lists
        .iter()
        .flat_map(|list| items(&spec[*list]))
        .map(|container| container["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    let meta = object_meta(metadata);
    let templates = [&defaults.container_name, &defaults.init_container_name];
    for (list, template) in lists.into_iter().zip(templates) {
        let default = template.execute(&meta).unwrap_or_default();
        name_list(spec, list, &default, &mut taken);
    }
}

fn name_list(spec: &mut Value, list: &str, default: &str, taken: &mut BTreeSet<String>) {
    let several = items(&spec[list]).len() > 1;
    let mut suffix = 0u32;
    for container in items_mut(spec, list) {
        if !container["name"].is_null() {
            continue;
        }
        let mut name = default.to_owned();
        if several || taken.contains(&name) {
            loop {
                name = child_name(default, &format!("-{suffix}"));
                suffix += 1;
                if !taken.contains(&name) {
                    break;
                }
            }
        }
        if !name.is_empty() {
            container["name"] = Value::String(name);
        }
    }
}

fn fill_resources(container: &mut Value, defaults: &Defaults) {
    for (kind, amounts) in [
        ("requests", &defaults.requests),
        ("limits", &defaults.limits),
    ] {
        let resources = &mut container["resources"];
        for (name, amount) in amounts.iter() {
            if !resources[kind].is_object() {
                resources[kind] = Value::Object(Map::new());
            }
            let set = &mut resources[kind];
            if set[name].is_null() {
                set[name] = Value::String(amount.to_string());
            }
        }
    }
}

fn fill_probes(container: &mut Value, serves: bool) {
    if serves {
        if container["readinessProbe"].is_null() {
            container["readinessProbe"] = json!({});
        }
        let probe = &mut container["readinessProbe"];
        let handlers = ["tcpSocket", "httpGet", "exec", "grpc"];
        if handlers
            .iter()
            .all(|handler| probe.get(*handler).is_none_or(Value::is_null))
        {
            probe["tcpSocket"] = json!({});
        }
    }
    if let Some(probe) = container
        .get_mut("readinessProbe")
        .filter(|probe| probe.is_object())
    {
        let mut fill = |field: &str, value: i64| {
            if probe[field].as_i64().unwrap_or(0) == 0 {
                probe[field] = json!(value);
            }
        };
        fill("successThreshold", 1);
        if container["readinessProbe"]["periodSeconds"]
            .as_i64()
            .unwrap_or(0)
            != 0
        {
            let probe = &mut container["readinessProbe"];
            for (field, value) in [("failureThreshold", 3), ("timeoutSeconds", 1)] {
                if probe[field].is_null() {
                    probe[field] = json!(value);
                }
            }
        }
    }
    for name in ["readinessProbe", "livenessProbe", "startupProbe"] {
        let grpc = container
            .get_mut(name)
            .and_then(|probe| probe.get_mut("grpc"));
        if let Some(grpc) = grpc.filter(|grpc| grpc.is_object())
            && grpc["service"].is_null()
        {
            grpc["service"] = json!("");
        }
    }
}

/// The restricted profile, where the feature is on and the user did not decide otherwise.
fn fill_security(container: &mut Value, pod: &Value, feature: Flag) {
    if !matches!(feature, Flag::Enabled | Flag::AllowRootBounded) {
        return;
    }
    let low_port = items(&container["ports"])
        .iter()
        .any(|port| port["containerPort"].as_i64().unwrap_or(0) < LOW_PORTS);
    if container["securityContext"].is_null() {
        container["securityContext"] = json!({});
    }
    let context = &mut container["securityContext"];
    if context["allowPrivilegeEscalation"].is_null() {
        context["allowPrivilegeEscalation"] = Value::Bool(false);
    }
    if pod["seccompProfile"]["type"].is_null() && context["seccompProfile"]["type"].is_null() {
        context["seccompProfile"]["type"] = json!("RuntimeDefault");
    }
    if context["capabilities"].is_null() {
        context["capabilities"] = json!({"drop": ["ALL"]});
        if low_port {
            context["capabilities"]["add"] = json!(["NET_BIND_SERVICE"]);
        }
    }
    if feature == Flag::Enabled
        && pod["runAsNonRoot"].is_null()
        && context["runAsNonRoot"].is_null()
    {
        context["runAsNonRoot"] = Value::Bool(true);
    }
}
