//! The rows of the other built-in kinds.

use serde_json::Value;

use super::{Printer, age, integer, pod, text, wide, workload};
use crate::kinds::items;
use crate::resource::Resource;

/// The printer of a built-in resource.
pub(super) fn printer(resource: &Resource) -> &'static Printer {
    match (&*resource.group, &*resource.kind) {
        ("", "Pod") => &pod::PRINTER,
        ("apps", "Deployment") => &workload::DEPLOYMENT,
        ("apps", "ReplicaSet") | ("", "ReplicationController") => &workload::REPLICA_SET,
        ("apps", "StatefulSet") => &workload::STATEFUL_SET,
        ("apps", "DaemonSet") => &workload::DAEMON_SET,
        ("batch", "Job") => &workload::JOB,
        ("batch", "CronJob") => &workload::CRON_JOB,
        ("autoscaling", _) => &workload::AUTOSCALER,
        ("", "Service") => &SERVICE,
        ("", "Endpoints") => &ENDPOINTS,
        ("discovery.k8s.io", _) => &ENDPOINT_SLICE,
        ("", "ConfigMap") => &CONFIG_MAP,
        ("", "Secret") => &SECRET,
        ("", "ServiceAccount") => &SERVICE_ACCOUNT,
        ("", "Namespace") => &NAMESPACE,
        ("", "Node") => &NODE,
        ("", "Event") => &EVENT,
        ("events.k8s.io", _) => &NEW_EVENT,
        ("", "PersistentVolumeClaim") => &CLAIM,
        ("", "PersistentVolume") => &VOLUME,
        ("coordination.k8s.io", _) => &LEASE,
        ("networking.k8s.io" | "extensions", "Ingress") => &INGRESS,
        ("policy", _) => &BUDGET,
        ("storage.k8s.io", "StorageClass") => &STORAGE_CLASS,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => &BINDING,
        (_, "CustomResourceDefinition" | "ClusterRole" | "Role") => &CREATED_AT,
        ("admissionregistration.k8s.io", _) => &WEBHOOKS,
        _ => &PLAIN,
    }
}

pub(super) fn name(object: &Value) -> Value {
    object["metadata"]["name"].clone()
}

pub(super) fn created(object: &Value) -> Value {
    age(object["metadata"]["creationTimestamp"]
        .as_str()
        .unwrap_or_default())
    .into()
}

/// A label selector, or a plain map, as text.
pub(super) fn selector(selector: &Value) -> Value {
    let structured =
        selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    let labels = if structured {
        &selector["matchLabels"]
    } else {
        selector
    };
    let labels = labels.as_object().into_iter().flatten();
    let mut terms: Vec<String> = labels
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for expression in items(&selector["matchExpressions"]) {
        let values: Vec<_> = crate::meta::strings(&expression["values"]).collect();
        let key = expression["key"].as_str().unwrap_or_default();
        terms.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    if terms.is_empty() {
        "<none>".into()
    } else {
        terms.join(",").into()
    }
}

fn count(value: &Value) -> usize {
    value
        .as_array()
        .map(Vec::len)
        .or_else(|| value.as_object().map(serde_json::Map::len))
        .unwrap_or(0)
}

fn or(value: &Value, fallback: &str) -> Value {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .unwrap_or(fallback)
        .into()
}

const PLAIN: Printer = Printer {
    columns: &[text("Name"), text("Age")],
    cells: |object| vec![name(object), created(object)],
};

const CREATED_AT: Printer = Printer {
    columns: &[text("Name"), text("Created At")],
    cells: |object| {
        vec![
            name(object),
            object["metadata"]["creationTimestamp"].clone(),
        ]
    },
};

const BINDING: Printer = Printer {
    columns: &[
        text("Name"),
        text("Role"),
        text("Age"),
        wide("Users"),
        wide("Groups"),
        wide("ServiceAccounts"),
    ],
    cells: |object| {
        let role = &object["roleRef"];
        let part = |key: &str| role[key].as_str().unwrap_or_default().to_owned();
        let subjects = |kind: &str| -> Value {
            let of = items(&object["subjects"])
                .iter()
                .filter(|s| s["kind"] == kind);
            let names = of.map(|s| match s["namespace"].as_str() {
                Some(namespace) if kind == "ServiceAccount" => {
                    format!("{namespace}/{}", s["name"].as_str().unwrap_or_default())
                }
                _ => s["name"].as_str().unwrap_or_default().to_owned(),
            });
            names.collect::<Vec<_>>().join(", ").into()
        };
        vec![
            name(object),
            format!("{}/{}", part("kind"), part("name")).into(),
            created(object),
            subjects("User"),
            subjects("Group"),
            subjects("ServiceAccount"),
        ]
    },
};

const WEBHOOKS: Printer = Printer {
    columns: &[text("Name"), integer("Webhooks"), text("Age")],
    cells: |object| {
        vec![
            name(object),
            count(&object["webhooks"]).into(),
            created(object),
        ]
    },
};

const SERVICE: Printer = Printer {
    columns: &[
        text("Name"),
        text("Type"),
        text("Cluster-IP"),
        text("External-IP"),
        text("Port(s)"),
        text("Age"),
        wide("Selector"),
    ],
    cells: |object| {
        let spec = &object["spec"];
        let ports: Vec<_> = items(&spec["ports"])
            .iter()
            .map(|port| {
                let number = port["port"].as_i64().unwrap_or_default();
                let protocol = port["protocol"].as_str().unwrap_or_default();
                match port["nodePort"].as_i64().unwrap_or_default() {
                    0 => format!("{number}/{protocol}"),
                    node => format!("{number}:{node}/{protocol}"),
                }
            })
            .collect();
        let ports = if ports.is_empty() {
            "<none>".to_owned()
        } else {
            ports.join(",")
        };
        vec![
            name(object),
            or(&spec["type"], ""),
            or(&spec["clusterIP"], "<none>"),
            external(object).into(),
            ports.into(),
            created(object),
            selector(&spec["selector"]),
        ]
    },
};

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let mut all: Vec<&str> = crate::meta::strings(&spec["externalIPs"]).collect();
    match spec["type"].as_str() {
        Some("ExternalName") => spec["externalName"].as_str().unwrap_or_default().to_owned(),
        Some("LoadBalancer") => {
            let ingress = items(&service["status"]["loadBalancer"]["ingress"]);
            let addresses = ingress
                .iter()
                .filter_map(|i| i["ip"].as_str().or_else(|| i["hostname"].as_str()));
            all.splice(0..0, addresses);
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        _ if all.is_empty() => "<none>".to_owned(),
        _ => all.join(","),
    }
}

/// At most this many endpoints are shown in a row.
const ENDPOINTS_SHOWN: usize = 3;

fn shorten(all: &[String]) -> String {
    match all {
        [] => "<none>".to_owned(),
        few if few.len() <= ENDPOINTS_SHOWN => few.join(","),
        many => {
            let more = many.len() - ENDPOINTS_SHOWN;
            format!("{} + {more} more...", many[..ENDPOINTS_SHOWN].join(","))
        }
    }
}

const ENDPOINTS: Printer = Printer {
    columns: &[text("Name"), text("Endpoints"), text("Age")],
    cells: |object| {
        let mut all = Vec::new();
        for subset in items(&object["subsets"]) {
            let ports = items(&subset["ports"]);
            for address in items(&subset["addresses"])
                .iter()
                .filter_map(|a| a["ip"].as_str())
            {
                if ports.is_empty() {
                    all.push(address.to_owned());
                }
                let numbers = ports.iter().filter_map(|port| port["port"].as_i64());
                all.extend(numbers.map(|port| format!("{address}:{port}")));
            }
        }
        vec![name(object), shorten(&all).into(), created(object)]
    },
};

const ENDPOINT_SLICE: Printer = Printer {
    columns: &[
        text("Name"),
        text("AddressType"),
        text("Ports"),
        text("Endpoints"),
        text("Age"),
    ],
    cells: |object| {
        let ports: Vec<_> = items(&object["ports"])
            .iter()
            .map(|port| {
                port["port"]
                    .as_i64()
                    .map_or_else(|| "*".to_owned(), |p| p.to_string())
            })
            .collect();
        let ports = if ports.is_empty() {
            "<unset>".to_owned()
        } else {
            shorten(&ports)
        };
        let addresses: Vec<String> = items(&object["endpoints"])
            .iter()
            .flat_map(|endpoint| crate::meta::strings(&endpoint["addresses"]))
            .map(str::to_owned)
            .collect();
        let addresses = if addresses.is_empty() {
            "<unset>".to_owned()
        } else {
            shorten(&addresses)
        };
        vec![
            name(object),
            or(&object["addressType"], ""),
            ports.into(),
            addresses.into(),
            created(object),
        ]
    },
};

const CONFIG_MAP: Printer = Printer {
    columns: &[text("Name"), integer("Data"), text("Age")],
    cells: |object| {
        let data = count(&object["data"]) + count(&object["binaryData"]);
        vec![name(object), data.into(), created(object)]
    },
};

const SECRET: Printer = Printer {
    columns: &[text("Name"), text("Type"), integer("Data"), text("Age")],
    cells: |object| {
        vec![
            name(object),
            or(&object["type"], ""),
            count(&object["data"]).into(),
            created(object),
        ]
    },
};

const SERVICE_ACCOUNT: Printer = Printer {
    columns: &[text("Name"), integer("Secrets"), text("Age")],
    cells: |object| {
        vec![
            name(object),
            count(&object["secrets"]).into(),
            created(object),
        ]
    },
};

const NAMESPACE: Printer = Printer {
    columns: &[text("Name"), text("Status"), text("Age")],
    cells: |object| {
        vec![
            name(object),
            or(&object["status"]["phase"], ""),
            created(object),
        ]
    },
};

const NODE: Printer = Printer {
    columns: &[
        text("Name"),
        text("Status"),
        text("Roles"),
        text("Age"),
        text("Version"),
        wide("Internal-IP"),
        wide("External-IP"),
        wide("OS-Image"),
        wide("Kernel-Version"),
        wide("Container-Runtime"),
    ],
    cells: |object| {
        let (info, status) = (&object["status"]["nodeInfo"], &object["status"]);
        let address = |kind: &str| {
            let found = items(&status["addresses"])
                .iter()
                .find(|a| a["type"] == kind);
            found.map_or_else(|| "<none>".into(), |a| or(&a["address"], "<none>"))
        };
        vec![
            name(object),
            node_status(object).into(),
            node_roles(object).into(),
            created(object),
            or(&info["kubeletVersion"], ""),
            address("InternalIP"),
            address("ExternalIP"),
            or(&info["osImage"], "<unknown>"),
            or(&info["kernelVersion"], "<unknown>"),
            or(&info["containerRuntimeVersion"], "<unknown>"),
        ]
    },
};

fn node_status(node: &Value) -> String {
    let ready = items(&node["status"]["conditions"])
        .iter()
        .find(|c| c["type"] == "Ready");
    let mut status = match ready.and_then(|condition| condition["status"].as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn node_roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let roles: Vec<&str> = labels
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role),
                None if key == "kubernetes.io/role" => value.as_str(),
                None => None,
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    }
}

/// The younger of an Event's times, as an age.
fn event_time(event: &Value, keys: &[&str]) -> Value {
    let time = keys
        .iter()
        .find_map(|key| event[key].as_str())
        .or_else(|| event["eventTime"].as_str());
    time.or_else(|| event["metadata"]["creationTimestamp"].as_str())
        .map_or_else(|| "<unknown>".into(), |t| age(t).into())
}

fn event_object(object: &Value) -> Value {
    let part = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", part("kind").to_lowercase(), part("name")).into()
}

const EVENT: Printer = Printer {
    columns: &[
        text("Last Seen"),
        text("Type"),
        text("Reason"),
        text("Object"),
        wide("Subobject"),
        wide("Source"),
        text("Message"),
        wide("First Seen"),
        wide("Count"),
        wide("Name"),
    ],
    cells: |event| {
        let source = or(
            &event["source"]["component"],
            event["reportingComponent"].as_str().unwrap_or_default(),
        );
        vec![
            event_time(event, &["lastTimestamp"]),
            or(&event["type"], ""),
            or(&event["reason"], ""),
            event_object(&event["involvedObject"]),
            or(&event["involvedObject"]["fieldPath"], ""),
            source,
            event["message"].as_str().unwrap_or_default().trim().into(),
            event_time(event, &["firstTimestamp"]),
            event["count"].as_i64().unwrap_or(1).to_string().into(),
            name(event),
        ]
    },
};

const NEW_EVENT: Printer = Printer {
    columns: EVENT.columns,
    cells: |event| {
        vec![
            event_time(event, &["deprecatedLastTimestamp"]),
            or(&event["type"], ""),
            or(&event["reason"], ""),
            event_object(&event["regarding"]),
            or(&event["regarding"]["fieldPath"], ""),
            or(&event["reportingController"], ""),
            event["note"].as_str().unwrap_or_default().trim().into(),
            event_time(event, &["deprecatedFirstTimestamp"]),
            event["deprecatedCount"]
                .as_i64()
                .unwrap_or(1)
                .to_string()
                .into(),
            name(event),
        ]
    },
};

fn access_modes(modes: &Value) -> Value {
    let short = crate::meta::strings(modes).map(|mode| match mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    });
    short.collect::<Vec<_>>().join(",").into()
}

const CLAIM: Printer = Printer {
    columns: &[
        text("Name"),
        text("Status"),
        text("Volume"),
        text("Capacity"),
        text("Access Modes"),
        text("StorageClass"),
        text("VolumeAttributesClass"),
        text("Age"),
        wide("VolumeMode"),
    ],
    cells: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let phase = match object["metadata"]["deletionTimestamp"].is_string() {
            true => "Terminating".into(),
            false => or(&status["phase"], ""),
        };
        vec![
            name(object),
            phase,
            or(&spec["volumeName"], ""),
            or(&status["capacity"]["storage"], ""),
            access_modes(&status["accessModes"]),
            or(&spec["storageClassName"], ""),
            or(&spec["volumeAttributesClassName"], "<unset>"),
            created(object),
            or(&spec["volumeMode"], "Filesystem"),
        ]
    },
};

const VOLUME: Printer = Printer {
    columns: &[
        text("Name"),
        text("Capacity"),
        text("Access Modes"),
        text("Reclaim Policy"),
        text("Status"),
        text("Claim"),
        text("StorageClass"),
        text("VolumeAttributesClass"),
        text("Reason"),
        text("Age"),
        wide("VolumeMode"),
    ],
    cells: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let claim = &spec["claimRef"];
        let claim = match (claim["namespace"].as_str(), claim["name"].as_str()) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            _ => String::new(),
        };
        vec![
            name(object),
            or(&spec["capacity"]["storage"], ""),
            access_modes(&spec["accessModes"]),
            or(&spec["persistentVolumeReclaimPolicy"], ""),
            or(&status["phase"], ""),
            claim.into(),
            or(&spec["storageClassName"], ""),
            or(&spec["volumeAttributesClassName"], "<unset>"),
            or(&status["reason"], ""),
            created(object),
            or(&spec["volumeMode"], "Filesystem"),
        ]
    },
};

const LEASE: Printer = Printer {
    columns: &[text("Name"), text("Holder"), text("Age")],
    cells: |object| {
        vec![
            name(object),
            or(&object["spec"]["holderIdentity"], ""),
            created(object),
        ]
    },
};

const INGRESS: Printer = Printer {
    columns: &[
        text("Name"),
        text("Class"),
        text("Hosts"),
        text("Address"),
        text("Ports"),
        text("Age"),
    ],
    cells: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let hosts: Vec<_> = items(&spec["rules"])
            .iter()
            .filter_map(|rule| rule["host"].as_str())
            .collect();
        let hosts = if hosts.is_empty() {
            "*".to_owned()
        } else {
            hosts.join(",")
        };
        let ingress = items(&status["loadBalancer"]["ingress"]).iter();
        let addresses: Vec<_> = ingress
            .filter_map(|i| i["ip"].as_str().or_else(|| i["hostname"].as_str()))
            .collect();
        let ports = if items(&spec["tls"]).is_empty() {
            "80"
        } else {
            "80, 443"
        };
        vec![
            name(object),
            or(&spec["ingressClassName"], "<none>"),
            hosts.into(),
            addresses.join(",").into(),
            ports.into(),
            created(object),
        ]
    },
};

const BUDGET: Printer = Printer {
    columns: &[
        text("Name"),
        text("Min Available"),
        text("Max Unavailable"),
        integer("Allowed Disruptions"),
        text("Age"),
    ],
    cells: |object| {
        let spec = &object["spec"];
        let shown = |value: &Value| match value {
            Value::Null => "N/A".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let allowed = object["status"]["disruptionsAllowed"]
            .as_i64()
            .unwrap_or_default();
        vec![
            name(object),
            shown(&spec["minAvailable"]).into(),
            shown(&spec["maxUnavailable"]).into(),
            allowed.into(),
            created(object),
        ]
    },
};

const STORAGE_CLASS: Printer = Printer {
    columns: &[
        text("Name"),
        text("Provisioner"),
        text("ReclaimPolicy"),
        text("VolumeBindingMode"),
        text("AllowVolumeExpansion"),
        text("Age"),
    ],
    cells: |object| {
        let annotations = &object["metadata"]["annotations"];
        let default = annotations["storageclass.kubernetes.io/is-default-class"] == "true";
        let own = object["metadata"]["name"].as_str().unwrap_or_default();
        let name = if default {
            format!("{own} (default)")
        } else {
            own.to_owned()
        };
        vec![
            name.into(),
            or(&object["provisioner"], ""),
            or(&object["reclaimPolicy"], "Delete"),
            or(&object["volumeBindingMode"], "Immediate"),
            (object["allowVolumeExpansion"] == true).into(),
            created(object),
        ]
    },
};
