//! Taking over what an earlier daemon left running, and cleaning up what nobody wants.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Container;

use crate::agent::{PodMachine, Saved, Worker, clear_slot, remove_slot};
use crate::cgroup::Hierarchy;
use crate::launcher::wire::Request;
use crate::launchers::{Inventory, Known, RunId};
use crate::node::Shared;

/// Starts workers for the Pods of the earlier daemon and removes what belongs to none.
/// `before` are the slots there were before the inventory was taken.
pub(crate) fn adopt(shared: &Arc<Shared>, before: BTreeSet<String>, inventory: Inventory) {
    let mut slots: BTreeSet<String> = inventory.spare_slots.into_iter().collect();
    slots.extend(inventory.containers.iter().map(|known| known.slot.clone()));
    let mut by_pod: HashMap<String, Vec<Known>> = HashMap::new();
    for known in inventory.containers {
        let uid = RunId::parse(&known.id).map(|run| run.pod_uid.to_owned());
        by_pod
            .entry(uid.unwrap_or_default())
            .or_default()
            .push(known);
    }
    for (uid, saved) in Saved::read_all(&shared.config.data_dir) {
        let known = by_pod.remove(&uid).unwrap_or_default();
        adopt_pod(shared, &uid, &saved, known);
    }
    for orphan in by_pod.into_values().flatten() {
        kill_orphan(shared, orphan);
    }
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || {
        for slot in before.difference(&slots) {
            remove_slot(&shared, slot);
        }
    });
}

fn adopt_pod(shared: &Arc<Shared>, uid: &str, saved: &Saved, known: Vec<Known>) {
    let builtins = Arc::clone(&shared.config.builtins);
    let is_builtin = move |container: &Container| builtins.find(container).is_some();
    let machine = PodMachine::new(shared.clock.now(), Arc::clone(&saved.pod), is_builtin);
    let mut current = Vec::new();
    for one in known {
        let of_run = RunId::parse(&one.id).and_then(|run| {
            let history = saved.containers.get(run.index)?;
            let runs = history.running_since_ms.is_some() && history.attempt == run.attempt;
            runs.then_some(run.index)
        });
        match of_run {
            Some(index) => current.push((index, one)),
            None => kill_orphan(shared, one),
        }
    }
    let has = |index: usize| current.iter().any(|(have, _)| *have == index);
    let runs: Vec<bool> = (0..saved.containers.len()).map(has).collect();
    let mut worker = Worker::new(shared, machine.restore(saved, &runs));
    worker.resume_ground(saved);
    let directory = worker.directory();
    shared.pods().insert(uid.to_owned(), directory);
    worker.resume_ended(saved);
    for (index, one) in current {
        worker.resume_run(index, saved, one);
    }
    tokio::spawn(worker.run());
}

/// A container that no Pod's state speaks of: the daemon died before it was written down, or
/// after its end was.
fn kill_orphan(shared: &Arc<Shared>, orphan: Known) {
    let requests = [
        Request::Signal {
            id: orphan.id.clone(),
            signal: libc::SIGKILL,
        },
        Request::Release { id: orphan.id },
    ];
    for request in requests {
        if let Err(error) = shared.launchers.send(orphan.unconfined, &request, &[]) {
            tracing::warn!(%error, "a container of nobody could not be killed");
        }
    }
    let (shared, slot) = (Arc::clone(shared), orphan.slot);
    tokio::task::spawn_blocking(move || remove_slot(&shared, &slot));
}

/// Every slot there is: directories and control groups. To be asked before the launchers tell what
/// they know: a slot that is there by then and that none of them knows belongs to nobody, while
/// those made later are younger than the answer.
pub(crate) fn slots(groups: &Hierarchy, data_dir: &Path) -> BTreeSet<String> {
    let dirs = std::fs::read_dir(data_dir.join("slots"));
    let dirs = dirs.into_iter().flatten().flatten();
    let mut found: BTreeSet<String> = dirs
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.extend(groups.names());
    found
}

/// Removes what a node made that did not come up: nothing runs, and there is no network.
pub(crate) fn sweep_groups(groups: &Hierarchy, data_dir: &Path) {
    for slot in groups.names() {
        clear_slot(groups, data_dir, &slot);
    }
    groups.remove();
}

/// Removes every slot, the network and the base groups. Nothing runs any more.
pub(crate) fn sweep_all(shared: &Shared) {
    for slot in &slots(&shared.groups, &shared.config.data_dir) {
        remove_slot(shared, slot);
    }
    shared.groups.remove();
    for (uid, _) in Saved::read_all(&shared.config.data_dir) {
        crate::volume::remove(&shared.config.data_dir, &uid);
    }
    if let Err(error) = shared.network.stop() {
        tracing::warn!(%error, "the network could not be removed");
    }
}
