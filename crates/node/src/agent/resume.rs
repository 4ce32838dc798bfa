//! Going on with a Pod of an earlier daemon: network, volumes and running processes.

use std::sync::Arc;

use super::directory::{Directory, RunInfo};
use super::machine::Ground;
use super::state::Saved;
use super::step::Index;
use super::streams::Kept;
use super::worker::{Run, Worker};
use crate::launchers::Known;

impl Worker {
    pub(crate) fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// Takes the network the Pod had. Volumes are brought in order with the next launch's
    /// preparation; until then running containers have theirs mounted.
    pub(crate) fn resume_ground(&mut self, saved: &Saved) {
        let name = saved.network.as_deref();
        let net = name.and_then(|name| self.shared.network.adopt(name));
        let lost = net.is_none() && !self.is_host_network();
        if saved.network.is_none() || lost {
            return;
        }
        // The machine asks for the ground again and gets this network with it, at once.
        self.net = net.clone();
        let ip = self.stand_on(net);
        self.machine.ground = Ground::Missing(self.shared.clock.now());
        self.facts.pod_ip = ip.to_string();
    }

    /// Makes the logs of containers known that ended before.
    pub(crate) fn resume_ended(&mut self, saved: &Saved) {
        for (index, history) in saved.containers.iter().enumerate() {
            let Some(ended) = &history.ended else {
                continue;
            };
            let name = self.container(index).name.clone();
            let info = RunInfo {
                running: false,
                ..self.new_info(&name, history.attempt, &ended.id)
            };
            info.log.close();
            self.directory.set_run(&name, info);
        }
    }

    /// Takes over a process: its streams, and its end if it has come.
    pub(crate) fn resume_run(&mut self, index: Index, saved: &Saved, known: Known) {
        let history = &saved.containers[index];
        self.runs[index] = Some(Run {
            attempt: history.attempt,
            id: known.id.clone(),
            image_id: history.image_id.clone(),
            stop_signal: history.stop_signal,
            unconfined: known.unconfined,
            ..Run::default()
        });
        let container = self.container(index).clone();
        // Held again, so that nobody removes its layers.
        let image = container.image.as_deref().unwrap_or_default();
        let image = self.shared.config.images.get(image).ok().flatten();
        if let Some(run) = &mut self.runs[index] {
            run.image = image;
        }
        let info = self.new_info(&container.name, history.attempt, &known.id);
        let info = RunInfo {
            unconfined: known.unconfined,
            slot: Some(known.slot),
            pid: Some(known.pid),
            tty: container.tty == Some(true),
            process: saved.processes.get(&container.name).map(Arc::clone),
            ..info
        };
        self.connect(index, info, Kept::from_roles(known.kept));
        if let Some(exit) = known.exit {
            self.ended(index, exit);
        }
    }
}
