//! The subresources of Pods that reach into running containers, and their usage.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use serde_json::{Value, json};

use super::{Body, Reply};
use crate::core::Core;
use crate::hooks::{LogOptions, PodBackend, PodError, PodUsage};
use crate::request::{Query, Target};
use crate::selector::LabelSelector;
use crate::status::{Result, Status};

/// Answers log, exec, attach and port-forward; `None` for every other request.
pub(super) async fn connect(
    core: &Arc<Core>,
    target: &Target,
    query: &Query,
    parts: &mut Parts,
) -> Option<Result<Reply>> {
    if !target.resource.is("", "pods") {
        return None;
    }
    match &*target.subresource {
        "log" => Some(log(core, target, query).await),
        "exec" | "attach" | "portforward" => {
            Some(crate::stream::connect(core, target, query, parts).await)
        }
        _ => None,
    }
}

/// The node behind the Pod, if the Pod exists.
pub(crate) fn backend(core: &Core, target: &Target) -> Result<(Arc<dyn PodBackend>, Value)> {
    let entry = core.entry(&target.resource, &target.namespace, &target.name)?;
    let pod = crate::core::decode_stored(&entry)?;
    let backend = core
        .pods
        .get()
        .ok_or_else(|| Status::internal("no node runs beside this API server"))?;
    Ok((Arc::clone(backend), pod))
}

/// The container meant: the one named, the annotated default, or the only one.
pub(crate) fn container(pod: &Value, query: &Query) -> Result<String> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let of = |list: &str| {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers
            .filter_map(|c| c["name"].as_str())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let asked = query.get("container");
    if !asked.is_empty() {
        let exists = lists
            .iter()
            .any(|list| of(list).iter().any(|container| container == asked));
        let why = format!("container {asked} is not valid for pod {name}");
        return exists
            .then(|| asked.to_owned())
            .ok_or_else(|| Status::bad_request(why));
    }
    let annotated = &pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"];
    let containers = of("containers");
    match (annotated.as_str(), &*containers) {
        (Some(annotated), _) if containers.iter().any(|c| c == annotated) => Ok(annotated.into()),
        (_, [only]) => Ok(only.clone()),
        _ => {
            let mut why = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                containers.join(" ")
            );
            let init = of("initContainers");
            if !init.is_empty() {
                why.push_str(&format!(
                    " or one of the init containers: [{}]",
                    init.join(" ")
                ));
            }
            Err(Status::bad_request(why))
        }
    }
}

/// What the node answered, as a Status.
pub(crate) fn failed(error: PodError) -> Status {
    let reason = match error.code {
        400 => "BadRequest",
        404 => "NotFound",
        409 => "Conflict",
        _ => "InternalError",
    };
    Status::new(error.code, reason, error.message)
}

async fn log(core: &Core, target: &Target, query: &Query) -> Result<Reply> {
    let entry = core.entry(&target.resource, &target.namespace, &target.name)?;
    let container = container(&crate::core::decode_stored(&entry)?, query)?;
    let (backend, _) = backend(core, target)?;
    let since_time = query.get("sinceTime");
    let options = LogOptions {
        container,
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines: query.number("tailLines")?,
        since_seconds: query.number("sinceSeconds")?,
        since_time: (!since_time.is_empty()).then(|| since_time.to_owned()),
        limit_bytes: query.number("limitBytes")?,
    };
    let pod = (&*target.namespace, &*target.name);
    let stream = backend.log(pod, options).await.map_err(failed)?;
    Ok(Reply::new(200, "text/plain", Body::stream(stream)))
}

/// `metrics.k8s.io`: usage of Pods and of the node.
pub(super) async fn usage(core: &Core, target: &Target, query: &Query) -> Result<Reply> {
    let pods = core.builtin("", "pods");
    let nodes = target.resource.plural == "nodes";
    let selector = LabelSelector::parse(query.get("labelSelector")).map_err(Status::bad_request)?;
    let wanted = |pod: &PodUsage| {
        nodes
            || (target.namespace.is_empty() || pod.namespace == target.namespace)
                && (target.name.is_empty() || pod.name == target.name)
    };
    let used = match core.pods.get() {
        Some(backend) => backend.usage().await,
        None => Vec::new(),
    };
    let mut items = Vec::new();
    // A Pod that has run to its end uses nothing and is not listed, as with metrics-server.
    for usage in used.into_iter().filter(|pod| !pod.containers.is_empty()) {
        let path = pods.path(&usage.namespace, &usage.name);
        let Some(entry) = core.store.get(pods.id, &path).filter(|_| wanted(&usage)) else {
            continue;
        };
        if nodes || selector.matches(&crate::meta::labels_of(&entry.bytes())) {
            let node = crate::core::decode_stored(&entry)?["spec"]["nodeName"].clone();
            items.push((entry, node, usage));
        }
    }
    let (kind, items) = if nodes {
        ("NodeMetrics", by_node(&items))
    } else {
        ("PodMetrics", by_pod(&items))
    };
    if target.name.is_empty() {
        return Ok(Reply::value(
            200,
            &json!({
                "kind": format!("{kind}List"),
                "apiVersion": "metrics.k8s.io/v1beta1",
                "metadata": {},
                "items": items,
            }),
        ));
    }
    let found = items
        .into_iter()
        .find(|item| item["metadata"]["name"] == *target.name);
    found
        .map(|item| Reply::value(200, &item))
        .ok_or_else(|| Status::not_found(&target.resource, &target.name))
}

type Used = (Arc<crate::store::Entry>, Value, PodUsage);

fn quantities(cpu_nanocores: u64, memory_bytes: u64) -> Value {
    json!({"cpu": format!("{cpu_nanocores}n"), "memory": format!("{}Ki", memory_bytes / 1024)})
}

fn measured(kind: &str, metadata: Value, window: Duration) -> Value {
    let mut metadata = metadata;
    metadata["creationTimestamp"] = crate::meta::now().into();
    json!({
        "kind": kind,
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": metadata,
        "timestamp": crate::meta::now(),
        "window": format!("{:.3}s", window.as_secs_f64()),
    })
}

fn by_pod(used: &[Used]) -> Vec<Value> {
    let item = |(entry, _, usage): &Used| {
        let labels = crate::meta::labels_of(&entry.bytes());
        let metadata =
            json!({"name": entry.name(), "namespace": entry.namespace(), "labels": labels});
        let mut item = measured("PodMetrics", metadata, usage.window);
        let containers = usage
            .containers
            .iter()
            .map(|c| json!({"name": c.name, "usage": quantities(c.cpu_nanocores, c.memory_bytes)}));
        item["containers"] = containers.collect();
        item
    };
    used.iter().map(item).collect()
}

fn by_node(used: &[Used]) -> Vec<Value> {
    let mut sums = std::collections::BTreeMap::<&str, (u64, u64, Duration)>::new();
    for (_, node, usage) in used {
        let sum = sums.entry(node.as_str().unwrap_or_default()).or_default();
        sum.2 = sum.2.max(usage.window);
        for container in &usage.containers {
            sum.0 += container.cpu_nanocores;
            sum.1 += container.memory_bytes;
        }
    }
    let item = |(node, (cpu, memory, window)): (&str, (u64, u64, Duration))| {
        let mut item = measured("NodeMetrics", json!({"name": node}), window);
        item["usage"] = quantities(cpu, memory);
        item
    };
    sums.into_iter().map(item).collect()
}
