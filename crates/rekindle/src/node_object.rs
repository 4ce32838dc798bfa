//! The Node object: what this machine is and can hold. Written once at the start by `wire`.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

/// As many Pods as the Pod range has room for in practice; Kubernetes' own default is 110.
const PODS_MAX: u32 = 5000;

/// This machine's host name, in the form Kubernetes allows for names.
pub(crate) fn name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy().to_lowercase();
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let name: String = name.chars().map(allowed).collect();
    let name = name.trim_matches(['-', '.']).to_owned();
    if name.is_empty() {
        "rekindle".to_owned()
    } else {
        name
    }
}

/// The object, Ready since `now` (RFC 3339), of a node that keeps its data in a directory.
pub(crate) fn object(
    name: &str,
    address: IpAddr,
    pod_cidr: &str,
    data_dir: &Path,
    now: &str,
) -> Value {
    let uname = rustix::system::uname();
    let memory_kib = memory_kib();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let room = json!({
        "cpu": cores.to_string(),
        "memory": format!("{memory_kib}Ki"),
        "pods": PODS_MAX.to_string(),
        "ephemeral-storage": format!("{}Ki", disk_kib(data_dir)),
    });
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": architecture(),
                "node-role.kubernetes.io/control-plane": "",
            },
        },
        "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]},
        "status": {
            "capacity": room,
            "allocatable": room,
            "addresses": [
                {"type": "InternalIP", "address": address.to_string()},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "enough memory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "enough disk"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID", "enough process IDs"),
                condition("Ready", "True", "KubeletReady", "rekindle runs Pods"),
            ],
            "nodeInfo": {
                "machineID": read("/etc/machine-id"),
                "systemUUID": read("/etc/machine-id"),
                "bootID": read("/proc/sys/kernel/random/boot_id"),
                "kernelVersion": uname.release().to_string_lossy(),
                "osImage": os_image(),
                "containerRuntimeVersion": format!("rekindle://{}", env!("CARGO_PKG_VERSION")),
                "kubeletVersion": api_version(),
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": architecture(),
            },
        },
    })
}

/// The Kubernetes version this node behaves like.
fn api_version() -> String {
    format!(
        "{}+rekindle.{}",
        apiserver::VERSION,
        env!("CARGO_PKG_VERSION")
    )
}

/// Go's name of the processor's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn memory_kib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// How large the file system of a directory is.
fn disk_kib(directory: &Path) -> u64 {
    rustix::fs::statvfs(directory).map_or(0, |of| of.f_blocks * of.f_frsize / 1024)
}

fn os_image() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.unwrap_or("Linux").trim_matches('"').to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}
