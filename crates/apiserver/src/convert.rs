//! Objects between the versions of their kind.
//!
//! Custom resources: by changing `apiVersion`, in process through the hooks, or by the webhook
//! their definition names. Built-in kinds with two versions: by the rules written here.

mod ingress;

pub(crate) use ingress::to_v1 as ingress_to_v1;

use serde_json::{Map, Value, json};

use crate::core::Core;
use crate::resource::{Resource, join_version};
use crate::status::{Result, Status};

/// The `apiVersion` objects of this resource are stored under.
pub(crate) fn storage_api_version(resource: &Resource) -> String {
    let group = resource
        .row
        .map_or(&*resource.group, |row| row.storage_group);
    join_version(group, &resource.storage_version)
}

/// The object under `api_version`.
pub(crate) async fn to_version(
    core: &Core,
    resource: &Resource,
    mut object: Value,
    api_version: &str,
) -> Result<Value> {
    let from = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    if from == api_version {
        return Ok(object);
    }
    match &resource.custom {
        Some(custom) if custom.converts => {
            if core.hooks.converts(&resource.group, &resource.kind) {
                let converted = core.hooks.convert(object, api_version);
                return converted.map_err(|why| failed(resource, &why));
            }
            let webhook = custom
                .webhook
                .as_ref()
                .ok_or_else(|| failed(resource, "no webhook"))?;
            let converted = core
                .webhooks
                .convert(core, webhook, object, api_version)
                .await;
            converted.map_err(|why| failed(resource, &why))
        }
        Some(_) => {
            object["apiVersion"] = api_version.into();
            Ok(object)
        }
        None => {
            builtin(&mut object, &from, api_version);
            object["apiVersion"] = api_version.into();
            Ok(object)
        }
    }
}

fn failed(resource: &Resource, why: &str) -> Status {
    let of = resource.group_resource();
    Status::internal(format_args!("conversion webhook for {of} failed: {why}"))
}

fn builtin(object: &mut Value, from: &str, to: &str) {
    match (from, to) {
        ("v1", "events.k8s.io/v1") => rename(object, EVENT_FIELDS.iter().copied()),
        ("events.k8s.io/v1", "v1") => rename(object, EVENT_FIELDS.iter().map(|(a, b)| (*b, *a))),
        ("autoscaling/v2", "autoscaling/v1") => autoscaler_to_v1(object),
        ("autoscaling/v1", "autoscaling/v2") => autoscaler_to_v2(object),
        ("networking.k8s.io/v1", _) => ingress::from_v1(object),
        (_, "networking.k8s.io/v1") => ingress::to_v1(object),
        _ => {}
    }
}

/// core/v1 name and events.k8s.io/v1 name of what differs between the two Events.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename<'a>(object: &mut Value, names: impl Iterator<Item = (&'a str, &'a str)>) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    for (from, to) in names {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn is_cpu_utilization(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"]["target"]["averageUtilization"].is_number()
}

fn autoscaler_to_v1(object: &mut Value) {
    let metrics = object["spec"]
        .as_object_mut()
        .and_then(|spec| spec.remove("metrics"));
    let behavior = object["spec"]
        .as_object_mut()
        .and_then(|spec| spec.remove("behavior"));
    let mut others = Vec::new();
    for metric in metrics
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if is_cpu_utilization(metric) && object["spec"]["targetCPUUtilizationPercentage"].is_null()
        {
            let target = metric["resource"]["target"]["averageUtilization"].clone();
            object["spec"]["targetCPUUtilizationPercentage"] = target;
        } else {
            others.push(metric.clone());
        }
    }
    let mut annotate = |key: &str, value: Value| {
        let annotations = &mut object["metadata"]["annotations"];
        if !annotations.is_object() {
            *annotations = Value::Object(Map::new());
        }
        annotations[key] = value.to_string().into();
    };
    if !others.is_empty() {
        annotate(METRICS, Value::Array(others));
    }
    if let Some(behavior) = behavior {
        annotate(BEHAVIOR, behavior);
    }
}

fn autoscaler_to_v2(object: &mut Value) {
    let mut take = |key: &str| {
        let annotations = object["metadata"].get_mut("annotations")?;
        let text = annotations.as_object_mut()?.remove(key)?;
        serde_json::from_str::<Value>(text.as_str()?).ok()
    };
    let mut metrics = match take(METRICS) {
        Some(Value::Array(metrics)) => metrics,
        _ => Vec::new(),
    };
    let behavior = take(BEHAVIOR);
    let Some(spec) = object["spec"].as_object_mut() else {
        return;
    };
    if let Some(percentage) = spec.remove("targetCPUUtilizationPercentage") {
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percentage}}}));
    }
    if !metrics.is_empty() {
        spec.insert("metrics".into(), Value::Array(metrics));
    }
    if let Some(behavior) = behavior {
        spec.insert("behavior".into(), behavior);
    }
}
