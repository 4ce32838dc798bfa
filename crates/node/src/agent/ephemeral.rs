//! Ephemeral containers: what `kubectl debug` puts into a Pod that runs. They are containers like
//! others that start when they come, and may see the processes of one of the others.

use std::fs::File;
use std::os::fd::OwnedFd;

use k8s_openapi::api::core::v1::{Container as Spec, EphemeralContainer, Pod};

use super::step::{Index, LaunchFailure};
use super::worker::Worker;

fn all(pod: &Pod) -> impl Iterator<Item = &EphemeralContainer> {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.ephemeral_containers.as_ref())
        .into_iter()
        .flatten()
}

/// The ephemeral containers of a Pod, as containers.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = Spec> {
    // Every field of theirs is one of containers, but for the one that names another.
    all(pod).filter_map(|one| serde_json::from_value(serde_json::to_value(one).ok()?).ok())
}

impl Worker {
    /// The process namespace a container is to be born into, if it is one that looks at another.
    pub(super) fn joined_processes(&self, index: Index) -> Result<Option<OwnedFd>, LaunchFailure> {
        let (pod, name) = (self.machine.pod(), &self.container(index).name);
        let target = all(pod)
            .find(|one| one.name == *name)
            .and_then(|one| one.target_container_name.as_deref());
        let Some(target) = target.filter(|target| !target.is_empty()) else {
            return Ok(None);
        };
        let run = self.directory.run(target).filter(|run| run.running);
        let Some(pid) = run.and_then(|run| run.pid) else {
            let text = format!("unable to find target container {target:?}");
            return Err(LaunchFailure::Config(text));
        };
        let namespace = File::open(format!("/proc/{pid}/ns/pid")).map_err(|error| {
            LaunchFailure::Start(format!(
                "open the processes of container {target:?}: {error}"
            ))
        })?;
        Ok(Some(namespace.into()))
    }
}
