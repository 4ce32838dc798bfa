//! What a Pod can learn about itself: `fieldRef` and `resourceFieldRef`, for environment and
//! downward API volumes alike.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use super::quantity;

/// Facts about the Pod that are not in its object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) pod_ip: String,
    pub(crate) host_ip: String,
    pub(crate) node_name: String,
    /// The machine's CPUs in thousandths, for containers without a limit.
    pub(crate) cpu_milli: u64,
    /// The machine's memory in bytes, likewise.
    pub(crate) memory_bytes: u64,
}

impl Facts {
    /// What is the same for all Pods of this machine.
    pub(crate) fn of_machine(host_ip: String, node_name: String) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let info = rustix::system::sysinfo();
        Self {
            pod_ip: String::new(),
            host_ip,
            node_name,
            cpu_milli: cpus as u64 * 1000,
            memory_bytes: info.totalram as u64 * u64::from(info.mem_unit),
        }
    }
}

fn pairs(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let lines = map
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value:?}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The value at `path`, or the reason there is none.
pub(crate) fn field(pod: &Pod, facts: &Facts, path: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    if let Some((map, key)) = path
        .strip_suffix("']")
        .and_then(|path| path.split_once("['"))
    {
        let map = match map {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(format!("unsupported fieldPath: {path}")),
        };
        return Ok(map
            .and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => pairs(meta.labels.as_ref()),
        "metadata.annotations" => pairs(meta.annotations.as_ref()),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => spec
            .and_then(|spec| spec.service_account_name.clone())
            .unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.clone(),
        "status.podIP" | "status.podIPs" => facts.pod_ip.clone(),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// A container's limit or request as a number, the machine's size where it has no limit.
pub(crate) fn resource(
    pod: &Pod,
    own: Option<&Container>,
    facts: &Facts,
    wanted: &ResourceFieldSelector,
) -> Result<String, String> {
    let spec = pod.spec.as_ref();
    let named = wanted.container_name.as_deref().and_then(|name| {
        let spec = spec?;
        let mut all = spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten());
        all.find(|container| container.name == name)
    });
    let container = named
        .or(own)
        .ok_or("resourceFieldRef names no container of the Pod")?;
    let resources = container.resources.as_ref();
    let (map, key) = match wanted.resource.split_once('.') {
        Some(("limits", key)) => (resources.and_then(|all| all.limits.as_ref()), key),
        Some(("requests", key)) => (resources.and_then(|all| all.requests.as_ref()), key),
        _ => {
            return Err(format!(
                "unsupported container resource: {}",
                wanted.resource
            ));
        }
    };
    let value = map
        .and_then(|map| map.get(key))
        .map(|quantity| quantity.0.clone());
    let value = match (value, key, wanted.resource.starts_with("limits")) {
        (Some(value), ..) => value,
        (None, "cpu", true) => format!("{}m", facts.cpu_milli),
        (None, "memory", true) => facts.memory_bytes.to_string(),
        (None, ..) => "0".to_owned(),
    };
    let divisor = wanted
        .divisor
        .as_ref()
        .map_or("1", |divisor| divisor.0.as_str());
    let number = quantity::divided(&value, divisor);
    number
        .map(|number| number.to_string())
        .ok_or_else(|| format!("{value:?} is not a quantity"))
}
