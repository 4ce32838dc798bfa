//! Pods, and the Pod templates of workloads.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Errors, Rules, api_access, container, items, items_mut, prune_nulls, set, text};
use crate::field::{self, Error};
use crate::status::{Result, Status};
use crate::write::Call;

pub(super) const RULES: Rules = Rules {
    default,
    prepare,
    validate,
};

/// The lists of containers in a Pod's spec.
const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

fn default(pod: &mut Value) {
    if pod["spec"].is_object() {
        default_spec(&mut pod["spec"]);
    }
}

/// Fills in the defaults of a Pod's spec, in a Pod or in a template.
pub(super) fn default_spec(spec: &mut Value) {
    set(spec, "restartPolicy", "Always");
    set(spec, "dnsPolicy", "ClusterFirst");
    set(spec, "terminationGracePeriodSeconds", 30);
    set(spec, "schedulerName", "default-scheduler");
    set(spec, "securityContext", json!({}));
    if let Some(account) = spec
        .get("serviceAccountName")
        .filter(|a| a.is_string())
        .cloned()
    {
        spec["serviceAccount"] = account;
    } else if let Some(account) = spec
        .get("serviceAccount")
        .filter(|a| a.is_string())
        .cloned()
    {
        spec["serviceAccountName"] = account;
    }
    for list in LISTS {
        if spec.get(list).is_some() {
            items_mut(&mut spec[list]).for_each(container);
        }
    }
    if spec.get("volumes").is_some() {
        items_mut(&mut spec["volumes"]).for_each(volume);
    }
}

fn container(container: &mut Value) {
    set(container, "terminationMessagePath", "/dev/termination-log");
    set(container, "terminationMessagePolicy", "File");
    set(container, "resources", json!({}));
    let policy = if is_latest(text(&container["image"])) {
        "Always"
    } else {
        "IfNotPresent"
    };
    set(container, "imagePullPolicy", policy);
    if let Some(limits) = container["resources"]["limits"].as_object().cloned() {
        set(&mut container["resources"], "requests", json!({}));
        for (name, limit) in limits {
            set(&mut container["resources"]["requests"], &name, limit);
        }
    }
    if container.get("ports").is_some() {
        items_mut(&mut container["ports"]).for_each(|port| set(port, "protocol", "TCP"));
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container[probe].is_object() {
            default_probe(&mut container[probe]);
        }
    }
    for hook in ["postStart", "preStop"] {
        if container["lifecycle"][hook]["httpGet"].is_object() {
            http_get(&mut container["lifecycle"][hook]["httpGet"]);
        }
    }
    if container.get("env").is_some() {
        for variable in items_mut(&mut container["env"]) {
            if variable["valueFrom"]["fieldRef"].is_object() {
                set(&mut variable["valueFrom"]["fieldRef"], "apiVersion", "v1");
            }
        }
    }
}

fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn default_probe(probe: &mut Value) {
    for (key, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        let present = probe[key].as_i64().unwrap_or_default();
        if present == 0 {
            probe[key] = value.into();
        }
    }
    if probe["httpGet"].is_object() {
        http_get(&mut probe["httpGet"]);
    }
    if probe["grpc"].is_object() {
        set(&mut probe["grpc"], "service", "");
    }
}

fn http_get(action: &mut Value) {
    set(action, "path", "/");
    set(action, "scheme", "HTTP");
}

fn volume(volume: &mut Value) {
    for kind in ["secret", "configMap", "projected", "downwardAPI"] {
        if volume[kind].is_object() {
            set(&mut volume[kind], "defaultMode", 420);
        }
    }
    if volume["hostPath"].is_object() {
        set(&mut volume["hostPath"], "type", "");
    }
    for kind in ["projected", "downwardAPI"] {
        let list = if kind == "projected" {
            "sources"
        } else {
            "items"
        };
        if !volume[kind].is_object() || volume[kind].get(list).is_none() {
            continue;
        }
        for source in items_mut(&mut volume[kind][list]) {
            if source["serviceAccountToken"].is_object() {
                set(
                    &mut source["serviceAccountToken"],
                    "expirationSeconds",
                    3600,
                );
            }
            let fields = match kind {
                "projected" => source.pointer_mut("/downwardAPI/items"),
                _ => Some(source),
            };
            let fields: Vec<&mut Value> = match fields {
                Some(Value::Array(list)) => list.iter_mut().collect(),
                Some(one) => vec![one],
                None => Vec::new(),
            };
            for field in fields.into_iter().filter(|f| f["fieldRef"].is_object()) {
                set(&mut field["fieldRef"], "apiVersion", "v1");
            }
        }
    }
    // Indexing above leaves nulls behind where nothing was.
    prune_nulls(volume);
}

fn prepare(call: &Call<'_>, pod: &mut Value, old: Option<&Value>) -> Result<()> {
    prune_nulls(&mut pod["spec"]);
    if let Some(old) = old {
        if call.subresource.is_empty() && !pod["status"].is_object() {
            pod["status"] = old["status"].clone();
        }
        return Ok(());
    }
    account(call, pod)?;
    let spec = &mut pod["spec"];
    set(spec, "enableServiceLinks", true);
    set(spec, "priority", 0);
    set(spec, "preemptionPolicy", "PreemptLowerPriority");
    tolerations(spec);
    let class = quality_of_service(spec);
    pod["status"] = json!({"phase": "Pending", "qosClass": class});
    Ok(())
}

/// The Pod runs as a ServiceAccount, which must exist.
fn account(call: &Call<'_>, pod: &mut Value) -> Result<()> {
    set(&mut pod["spec"], "serviceAccountName", "default");
    if text(&pod["spec"]["serviceAccountName"]).is_empty() {
        pod["spec"]["serviceAccountName"] = "default".into();
    }
    let name = text(&pod["spec"]["serviceAccountName"]).to_owned();
    pod["spec"]["serviceAccount"] = name.as_str().into();
    let Some(account) = call.core.read("", "serviceaccounts", call.namespace, &name) else {
        let why = format!(
            "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
            call.namespace
        );
        return Err(Status::forbidden(
            call.resource,
            text(&pod["metadata"]["name"]),
            &why,
        ));
    };
    if items(&pod["spec"]["imagePullSecrets"]).is_empty()
        && !items(&account["imagePullSecrets"]).is_empty()
    {
        pod["spec"]["imagePullSecrets"] = account["imagePullSecrets"].clone();
    }
    api_access::mount(&mut pod["spec"], &account);
    Ok(())
}

/// Pods stay for five minutes on a node that is not ready.
fn tolerations(spec: &mut Value) {
    let mut list = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let tolerated = list.iter().any(|t| {
            (t["key"] == key || text(&t["key"]).is_empty())
                && matches!(text(&t["effect"]), "" | "NoExecute")
        });
        if !tolerated {
            list.push(
                json!({"key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300}),
            );
        }
    }
    spec["tolerations"] = Value::Array(list);
}

fn quality_of_service(spec: &Value) -> &'static str {
    let containers: Vec<_> = items(&spec["containers"])
        .iter()
        .chain(items(&spec["initContainers"]))
        .collect();
    let of = |container: &Value, kind: &str, name: &str| container["resources"][kind][name].clone();
    let any = |kind| {
        let has = |c: &&&Value| {
            ["cpu", "memory"]
                .iter()
                .any(|name| !of(c, kind, name).is_null())
        };
        containers.iter().any(|c| has(&c))
    };
    if !any("requests") && !any("limits") {
        return "BestEffort";
    }
    let guaranteed = containers.iter().all(|container| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = of(container, "limits", name);
            !limit.is_null() && limit == of(container, "requests", name)
        })
    });
    if guaranteed {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

fn validate(pod: &Value, old: Option<&Value>, errors: &mut Errors) {
    validate_spec(&pod["spec"], "spec", errors);
    let Some(old) = old.filter(|_| errors.is_empty()) else {
        return;
    };
    let fixed = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        for list in LISTS {
            if spec.get(list).is_some() {
                items_mut(&mut spec[list]).for_each(|c| c["image"] = Value::Null);
            }
        }
        for key in [
            "activeDeadlineSeconds",
            "tolerations",
            "terminationGracePeriodSeconds",
            "nodeName",
            "schedulingGates",
            "ephemeralContainers",
        ] {
            spec.as_object_mut().map(|spec| spec.remove(key));
        }
        spec
    };
    if fixed(pod) != fixed(old) {
        errors.push(Error::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
             additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to \
             be set to 1 if it was previously negative)",
        ));
    }
}

/// Checks a Pod's spec at `field`, in a Pod or in a template.
pub(super) fn validate_spec(spec: &Value, field: &str, errors: &mut Errors) {
    let volumes = volumes(&spec["volumes"], &format!("{field}.volumes"), errors);
    if items(&spec["containers"]).is_empty() {
        errors.push(Error::required(format!("{field}.containers"), ""));
    }
    let mut names = BTreeSet::new();
    for list in LISTS {
        for (index, container) in items(&spec[list]).iter().enumerate() {
            let field = format!("{field}.{list}[{index}]");
            container::validate(container, &field, &volumes, errors);
            let name = text(&container["name"]);
            if !name.is_empty() && !names.insert(name) {
                errors.push(Error::duplicate(
                    format!("{field}.name"),
                    &container["name"],
                ));
            }
        }
    }
    super::ephemeral::validate_spec(spec, field, errors);
    let policies = ["Always", "OnFailure", "Never"];
    one_of(spec, "restartPolicy", field, &policies, errors);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(spec, "dnsPolicy", field, &dns, errors);
    container::at_least_zero(spec, "terminationGracePeriodSeconds", field, errors);
    let deadline = &spec["activeDeadlineSeconds"];
    if deadline.as_i64().is_some_and(|seconds| seconds < 1) {
        let field = format!("{field}.activeDeadlineSeconds");
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.push(Error::invalid(field, deadline, detail));
    }
    let security = format!("{field}.securityContext");
    container::ids(&spec["securityContext"], &security, errors);
}

pub(super) fn one_of(
    object: &Value,
    key: &str,
    field: &str,
    allowed: &[&str],
    errors: &mut Errors,
) {
    if object
        .get(key)
        .is_some_and(|value| !allowed.contains(&text(value)))
    {
        errors.push(Error::not_supported(
            format!("{field}.{key}"),
            &object[key],
            allowed,
        ));
    }
}

fn volumes<'a>(volumes: &'a Value, field: &str, errors: &mut Errors) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (index, volume) in items(volumes).iter().enumerate() {
        let field = format!("{field}[{index}].name");
        let name = text(&volume["name"]);
        if name.is_empty() {
            errors.push(Error::required(&*field, ""));
            continue;
        }
        for wrong in field::dns_label(name) {
            errors.push(Error::invalid(&*field, &volume["name"], &wrong));
        }
        if !names.insert(name) {
            errors.push(Error::duplicate(&*field, &volume["name"]));
        }
        let sources = volume.as_object().into_iter().flatten();
        let sources = sources.filter(|(key, source)| *key != "name" && source.is_object());
        for (second, _) in sources.skip(1) {
            let field = field.replace(".name", &format!(".{second}"));
            let detail = "may not specify more than 1 volume type";
            errors.push(Error::forbidden(field, detail));
        }
    }
    names
}
