//! What is written down of a Pod so that the next daemon can go on with it: `pods/UID/pod.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use stdx::Instant;

use super::container::{Ended, State};
use super::machine::{Ending, Ground, PodMachine};
use super::worker::Worker;
use crate::cgroup::Hierarchy;
use crate::launcher::{Process, Slot};
use crate::node::Shared;

/// One container's history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedContainer {
    /// Which run comes next, or is at hand.
    pub(crate) attempt: u32,
    /// Crashes that count for the backoff.
    pub(crate) crashes: u32,
    /// The image it runs or ran.
    pub(crate) image_id: String,
    /// Since when it runs, milliseconds since the epoch; none when it does not.
    pub(crate) running_since_ms: Option<u64>,
    /// How it ended.
    pub(crate) ended: Option<Ended>,
    /// The end before.
    pub(crate) last: Option<Ended>,
    /// The number of the signal that asks it to stop.
    pub(crate) stop_signal: i32,
    /// Whether the startup probe was through.
    pub(crate) started: bool,
}

/// One Pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// The object as last seen.
    pub(crate) pod: Arc<Pod>,
    /// When it was first seen.
    #[serde(with = "super::millis")]
    pub(crate) started: Instant,
    /// The name of its network.
    pub(crate) network: Option<String>,
    /// Its address, which is shown of a Pod that has run to its end, too.
    #[serde(default)]
    pub(crate) ip: Option<std::net::Ipv4Addr>,
    /// Why it was ended for the disk's sake, if it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) evicted: Option<String>,
    /// Its containers in order.
    pub(crate) containers: Vec<SavedContainer>,
    /// Environment and rights of the running ones, for exec.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub(crate) processes: BTreeMap<String, Arc<Process>>,
}

fn path(data_dir: &Path, uid: &str) -> PathBuf {
    data_dir.join("pods").join(uid).join("pod.json")
}

impl Saved {
    pub(super) fn of(worker: &Worker) -> Self {
        let machine = &worker.machine;
        let containers = machine.containers().iter().enumerate().map(|(index, one)| {
            let run = worker.runs[index].as_ref();
            SavedContainer {
                attempt: one.attempt,
                crashes: one.crashes,
                image_id: one.image_id.clone(),
                running_since_ms: one.running().map(|run| millis(run.since)),
                ended: one.ended().cloned(),
                last: one.last.clone(),
                stop_signal: run.map_or(libc::SIGTERM, |run| run.stop_signal),
                started: one.is_started(),
            }
        });
        let runs = worker.directory.runs().into_iter();
        let processes = runs.filter(|(_, run)| run.running);
        Self {
            pod: Arc::clone(machine.pod()),
            started: machine.started(),
            network: worker.net.as_ref().map(|net| net.name().to_owned()),
            ip: machine.ip(),
            evicted: match &machine.ending {
                Some((Ending::Evicted(message), _)) => Some(message.clone()),
                _ => None,
            },
            containers: containers.collect(),
            processes: processes
                .filter_map(|(name, run)| Some((name, run.process?)))
                .collect(),
        }
    }

    /// Writes the file in one step. It need not survive a power cut: no container does.
    pub(super) fn write(&self, data_dir: &Path, uid: &str) {
        let path = path(data_dir, uid);
        let write = || -> std::io::Result<()> {
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)?;
            }
            let new = path.with_extension("new");
            let mut file = fs::File::create(&new)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            fs::rename(&new, &path)
        };
        if let Err(error) = write() {
            tracing::warn!(%error, path = %path.display(), "a Pod's state could not be written");
        }
    }

    /// Reads the states of all Pods; what cannot be read is reported and removed.
    pub(crate) fn read_all(data_dir: &Path) -> Vec<(String, Self)> {
        let entries = fs::read_dir(data_dir.join("pods"))
            .into_iter()
            .flatten()
            .flatten();
        let mut found = Vec::new();
        for entry in entries {
            let uid = entry.file_name().to_string_lossy().into_owned();
            let text = fs::read(path(data_dir, &uid));
            let read = text.map_err(|error| error.to_string());
            match read.and_then(|text| serde_json::from_slice(&text).map_err(|e| e.to_string())) {
                Ok(saved) => found.push((uid, saved)),
                Err(error) => {
                    tracing::warn!(error, uid, "a Pod's state cannot be read and is dropped");
                    crate::volume::remove(data_dir, &uid);
                }
            }
        }
        found
    }
}

fn millis(instant: Instant) -> u64 {
    u64::try_from(instant.since_origin().as_millis()).unwrap_or(u64::MAX)
}

impl PodMachine {
    /// A Pod an earlier daemon had. `runs` tells for each container whether its process still is
    /// at the launcher.
    pub(crate) fn restore(mut self, saved: &Saved, runs: &[bool]) -> Self {
        self.started = saved.started;
        for (index, history) in saved.containers.iter().enumerate() {
            let Some(container) = self.containers.get_mut(index) else {
                break;
            };
            container.attempt = history.attempt;
            container.restarts = history.attempt;
            container.crashes = history.crashes;
            container.image_id.clone_from(&history.image_id);
            container.last.clone_from(&history.last);
            let runs = runs.get(index).copied().unwrap_or(false);
            match (&history.ended, history.running_since_ms) {
                (Some(ended), _) => container.state = State::Ended(ended.clone()),
                (None, Some(since)) if runs => {
                    let id = crate::launchers::RunId::name(
                        saved.pod.metadata.uid.as_deref().unwrap_or_default(),
                        index,
                        history.attempt,
                    );
                    container.resume(Instant::from_millis(since), id, history.started);
                }
                // Builtins start anew with the daemon; what else is missing counts as new.
                _ => {}
            }
        }
        if let Some(message) = &saved.evicted {
            self.ending = Some((Ending::Evicted(message.clone()), saved.started));
        }
        if (self.is_finished() || saved.evicted.is_some()) && saved.network.is_none() {
            self.ground = Ground::Released(saved.ip);
        }
        self
    }
}

/// Removes a used slot: its control group and its files, when everything in it has ended.
pub(super) fn discard_slot(shared: &Arc<Shared>, slot: String) {
    if slot.is_empty() {
        return;
    }
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || remove_slot(&shared, &slot));
}

/// How often a control group that is still busy is tried again.
const GROUP_ATTEMPTS: u32 = 50;
/// And how long between two attempts.
const GROUP_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// The same, now, on a thread that may block.
pub(crate) fn remove_slot(shared: &Shared, slot: &str) {
    clear_slot(&shared.groups, &shared.config.data_dir, slot);
}

/// The same, for a node that has not come up.
pub(crate) fn clear_slot(groups: &Hierarchy, data_dir: &Path, slot: &str) {
    let group = groups.group(slot);
    for _ in 0..GROUP_ATTEMPTS {
        match group.remove() {
            Ok(()) => break,
            // An exec may outlive the first process by a moment.
            Err(_) => group.kill(),
        }
        std::thread::sleep(GROUP_PAUSE);
    }
    let dir = Slot(data_dir.join("slots").join(slot));
    if let Err(error) = fs::remove_dir_all(&dir.0)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, slot, "a container's files could not be removed");
    }
}
