//! Pods that take more of the disk than they may are ended, as the kubelet does: by the limit of an
//! `emptyDir`, by the `ephemeral-storage` limits of containers, and, where a Pod has any of these,
//! when the disk is nearly full. [`exceeded`] decides; the worker measures again and again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::quantity;
use super::step::Input;
use super::worker::{Message, Worker};
use crate::launcher::Slot;
use crate::volume;

/// Pause between two measurements, at least.
const PERIOD: Duration = Duration::from_secs(1);
/// And this many times as long as the measurement took: it costs at most a twentieth of a core.
const PERIOD_FACTOR: u32 = 20;
/// Less free than this, and Pods with limits go.
const FREE_MIN_BYTES: u64 = 256 << 20;
const STORAGE: &str = "ephemeral-storage";

/// What a Pod takes of the disk, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Its `emptyDir`s on the disk, by name.
    pub(crate) volumes: BTreeMap<String, u64>,
    /// What its containers wrote into their own file systems, by name.
    pub(crate) containers: BTreeMap<String, u64>,
    /// What is left for all.
    pub(crate) free: u64,
}

/// The `emptyDir`s of a Pod that are on the disk, with their limits as written.
fn empty_dirs(pod: &Pod) -> impl Iterator<Item = (&str, Option<&str>)> {
    let spec = pod.spec.iter();
    let volumes = spec.flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| {
        let wanted = volume.empty_dir.as_ref()?;
        let on_disk = wanted.medium.as_deref() != Some("Memory");
        let limit = wanted.size_limit.as_ref().map(|limit| limit.0.as_str());
        on_disk.then_some((volume.name.as_str(), limit))
    })
}

fn limit(container: &Container) -> Option<&str> {
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    limits.get(STORAGE).map(|limit| limit.0.as_str())
}

/// All containers: whether they run one after the other, and themselves.
fn containers(pod: &Pod) -> impl Iterator<Item = (bool, &Container)> {
    let spec = pod.spec.iter();
    spec.flat_map(|spec| {
        let in_turn = |one: &Container| one.restart_policy.as_deref() != Some("Always");
        let init = spec.init_containers.iter().flatten();
        let main = spec.containers.iter().map(|one| (false, one));
        init.map(move |one| (in_turn(one), one)).chain(main)
    })
}

/// Whether there is anything to be measured.
pub(super) fn is_bounded(pod: &Pod) -> bool {
    empty_dirs(pod).any(|(_, limit)| bytes(limit).is_some())
        || containers(pod).any(|(_, one)| bytes(limit(one)).is_some())
}

/// A limit of nothing is none.
fn bytes(limit: Option<&str>) -> Option<u64> {
    quantity::whole(limit?).filter(|bytes| *bytes > 0)
}

/// What a container may write, bytes; none where it has no limit.
pub(super) fn storage(container: &Container) -> Option<u64> {
    bytes(limit(container))
}

/// What the containers may take together: those that run at the same time add up.
fn total(pod: &Pod) -> Option<u64> {
    let all: Vec<(bool, Option<u64>)> = containers(pod)
        .map(|(in_turn, one)| (in_turn, bytes(limit(one))))
        .collect();
    let sum = all.iter().filter(|(in_turn, _)| !in_turn);
    let sum: u64 = sum.filter_map(|(_, bytes)| *bytes).sum();
    let largest = all.iter().filter(|(in_turn, _)| *in_turn);
    let largest = largest.filter_map(|(_, bytes)| *bytes).max();
    let limit = sum.max(largest.unwrap_or_default());
    (limit > 0).then_some(limit)
}

/// Why the Pod has to go, if it has to.
pub(crate) fn exceeded(pod: &Pod, usage: &Usage) -> Option<String> {
    for (name, limit) in empty_dirs(pod) {
        let used = usage.volumes.get(name).copied().unwrap_or_default();
        if bytes(limit).is_some_and(|bytes| used > bytes) {
            let limit = limit.unwrap_or_default();
            return Some(format!(
                "Usage of EmptyDir volume \"{name}\" exceeds the limit \"{limit}\"."
            ));
        }
    }
    for (_, container) in containers(pod) {
        let name = &container.name;
        let used = usage.containers.get(name).copied().unwrap_or_default();
        if bytes(limit(container)).is_some_and(|bytes| used > bytes) {
            let limit = limit(container).unwrap_or_default();
            return Some(format!(
                "Container {name} exceeded its local ephemeral storage limit \"{limit}\"."
            ));
        }
    }
    let used: u64 = usage
        .volumes
        .values()
        .chain(usage.containers.values())
        .sum();
    if let Some(limit) = total(pod).filter(|limit| used > *limit) {
        return Some(format!(
            "Pod ephemeral local storage usage exceeds the total limit of containers {limit}."
        ));
    }
    (usage.free < FREE_MIN_BYTES).then(|| {
        format!(
            "The node was low on resource: {STORAGE}. Threshold quantity: {FREE_MIN_BYTES}, available: {}.",
            usage.free
        )
    })
}

impl Worker {
    /// When to measure first.
    pub(super) fn first_measurement(pod: &Pod) -> Option<tokio::time::Instant> {
        is_bounded(pod).then(|| tokio::time::Instant::now() + PERIOD)
    }

    /// Measures beside the worker.
    pub(super) fn measure(&mut self) {
        self.measure_at = None;
        if self.machine.is_over() {
            return;
        }
        let data_dir = self.shared.config.data_dir.clone();
        let pod = Arc::clone(self.machine.pod());
        let uid = self.directory.uid.clone();
        let slots = self.directory.runs().into_iter();
        let slots: Vec<(String, PathBuf)> = slots
            .filter(|(_, run)| run.running)
            .filter_map(|(name, run)| {
                Some((name, Slot(data_dir.join("slots").join(run.slot?)).upper()))
            })
            .collect();
        let to = self.to_self.clone();
        tokio::task::spawn_blocking(move || {
            let begun = std::time::Instant::now();
            let names = empty_dirs(&pod).map(|(name, _)| name.to_owned());
            let usage = Usage {
                volumes: names
                    .map(|name| {
                        let used =
                            volume::usage::disk(&volume::pod_volumes(&data_dir, &uid).join(&name));
                        (name, used)
                    })
                    .collect(),
                containers: slots
                    .into_iter()
                    .map(|(name, upper)| (name, volume::usage::disk(&upper)))
                    .collect(),
                free: rustix::fs::statvfs(&data_dir)
                    .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            };
            // The Pod may be gone meanwhile.
            let _ = to.send(Message::Measured(usage, begun.elapsed()));
        });
    }

    pub(super) fn measured(&mut self, usage: &Usage, took: Duration) {
        match exceeded(self.machine.pod(), usage) {
            Some(message) => self.feed(Input::Evict { message }),
            None => {
                let pause = PERIOD.max(took * PERIOD_FACTOR);
                self.measure_at = Some(tokio::time::Instant::now() + pause);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: Value, usage: &Usage, want: &str) {
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a Pod");
        let said = exceeded(&pod, usage).unwrap_or_default();
        assert_eq!(said, want, "{spec}");
    }

    #[test]
    fn limits_and_who_exceeds_them() {
        let limits = |text: &str| json!({"limits": {STORAGE: text}});
        let usage = Usage {
            volumes: BTreeMap::from([("v".to_owned(), 5 << 20)]),
            containers: BTreeMap::from([("c".to_owned(), 3 << 20)]),
            free: u64::MAX,
        };
        let volume = |empty_dir: Value| json!({"containers": [], "volumes": [{"name": "v", "emptyDir": empty_dir}]});
        let too_much = "Usage of EmptyDir volume \"v\" exceeds the limit \"4Mi\".";
        check(volume(json!({"sizeLimit": "4Mi"})), &usage, too_much);
        for fits in [
            json!({"sizeLimit": "5Mi"}),
            json!({"sizeLimit": "0"}),
            json!({"sizeLimit": "4Mi", "medium": "Memory"}),
            json!({}),
        ] {
            check(volume(fits), &usage, "");
        }
        let container = |text: &str| json!([{"name": "c", "resources": limits(text)}]);
        check(
            json!({"containers": container("2Mi")}),
            &usage,
            "Container c exceeded its local ephemeral storage limit \"2Mi\".",
        );
        let volumes = &volume(json!({}))["volumes"];
        check(
            json!({"containers": container("7Mi"), "volumes": volumes}),
            &usage,
            "Pod ephemeral local storage usage exceeds the total limit of containers 7340032.",
        );
        let mut init =
            json!({"initContainers": container("8Mi"), "containers": [], "volumes": volumes});
        check(init.clone(), &usage, "");
        // Steps in turn do not add up, containers side by side do.
        init["containers"] = json!([{"name": "d", "resources": limits("1Mi")}]);
        check(init.clone(), &usage, "");
        init["initContainers"] = container("4Mi");
        init["containers"][0]["resources"] = limits("9Mi");
        check(init, &usage, "");
    }

    #[test]
    fn a_disk_that_is_nearly_full() {
        let usage = Usage {
            free: 1000,
            ..Usage::default()
        };
        let want = "The node was low on resource: ephemeral-storage. Threshold quantity: 268435456, available: 1000.";
        check(json!({"containers": []}), &usage, want);
    }

    #[test]
    fn pods_without_limits_are_not_measured() {
        for (spec, want) in [
            (
                json!({"containers": [{"name": "c"}], "volumes": [{"name": "v", "emptyDir": {}}]}),
                false,
            ),
            (
                json!({"containers": [], "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}]}),
                true,
            ),
            (
                json!({"containers": [{"name": "c", "resources": {"limits": {STORAGE: "1Gi"}}}]}),
                true,
            ),
        ] {
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a Pod");
            assert_eq!(is_bounded(&pod), want, "{spec}");
        }
    }
}
