//! What Pods use now, for `kubectl top` and autoscaling on CPU.

use std::time::Instant;

use crate::node::Node;

/// What one container uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerUsage {
    /// The container's name.
    pub name: String,
    /// CPU time used since it started, nanoseconds. Two samples give a rate.
    pub cpu_ns: u64,
    /// The working set, bytes.
    pub memory_bytes: u64,
}

/// What one Pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUsage {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// When it was looked at.
    pub at: Instant,
    /// Its running containers. Builtins use the daemon's own memory and are counted as nothing.
    pub containers: Vec<ContainerUsage>,
}

impl Node {
    /// What every Pod uses. Reads a few files per container.
    pub fn stats(&self) -> Vec<PodUsage> {
        let pods: Vec<_> = self
            .shared
            .pods()
            .values()
            .map(std::sync::Arc::clone)
            .collect();
        let of = |pod: &crate::agent::Directory| {
            let meta = pod.pod().metadata.clone();
            let runs = pod.runs().into_iter().filter(|(_, run)| run.running);
            let containers = runs.map(|(name, run)| {
                let usage = run.slot.map(|slot| self.shared.groups.group(&slot).usage());
                let usage = usage.unwrap_or_default();
                ContainerUsage {
                    name,
                    cpu_ns: usage.cpu_ns,
                    memory_bytes: usage.memory_bytes,
                }
            });
            PodUsage {
                namespace: meta.namespace.unwrap_or_default(),
                name: meta.name.unwrap_or_default(),
                uid: pod.uid.clone(),
                at: Instant::now(),
                containers: containers.collect(),
            }
        };
        pods.iter().map(|pod| of(pod)).collect()
    }
}
