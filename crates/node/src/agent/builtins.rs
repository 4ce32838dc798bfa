//! Starting a builtin container: listeners inside the Pod, the task, its readiness.

use std::sync::Arc;

use super::directory::RunInfo;
use super::step::{Index, Input, LaunchFailure};
use super::worker::{Message, Run, Worker};
use crate::builtin::{BuiltinStart, Dialer};
use crate::launchers::RunId;
use crate::logs::LogSink;

impl Worker {
    pub(super) fn start_builtin(
        &mut self,
        index: Index,
        env: Vec<(String, String)>,
    ) -> Result<(), LaunchFailure> {
        let container = self.container(index).clone();
        let Some(builtin) = self.shared.config.builtins.find(&container) else {
            let text = format!("image {:?} is no builtin", container.image);
            return Err(LaunchFailure::Start(text));
        };
        let pod = Arc::clone(self.machine.pod());
        let attempt = self.runs[index].as_ref().map_or(0, |run| run.attempt);
        let id = RunId::name(&self.directory.uid, index, attempt);
        let dialer = Dialer::new(self.net.clone());
        let mut listeners = Vec::new();
        for port in builtin.ports(&pod, &container, &env) {
            let listener = dialer.listen(port).map_err(|error| {
                LaunchFailure::Start(format!("listen on port {port} in the Pod: {error}"))
            })?;
            listeners.push(listener);
        }
        let info = self.new_info(&container.name, attempt, &id);
        let image_id = container.image.clone().unwrap_or_default();
        let running = builtin
            .start(BuiltinStart {
                pod,
                env,
                listeners,
                pod_ip: self.pod_ip(),
                dialer,
                log: LogSink(Arc::clone(&info.log)),
                container: container.clone(),
            })
            .map_err(LaunchFailure::Start)?;
        let mut ready = running.ready();
        let now_ready = *ready.borrow_and_update();
        self.runs[index] = Some(Run {
            attempt,
            id: id.clone(),
            builtin: Some(running),
            ..Run::default()
        });
        self.directory.set_run(
            &container.name,
            RunInfo {
                process: None,
                ..info
            },
        );
        self.feed(Input::Started {
            index,
            id,
            image_id,
        });
        if now_ready {
            self.feed(Input::BuiltinReady { index, ready: true });
        }
        let to = self.to_self.clone();
        tokio::spawn(async move {
            while ready.changed().await.is_ok() {
                let ready = *ready.borrow_and_update();
                if to
                    .send(Message::Input(Input::BuiltinReady { index, ready }))
                    .is_err()
                {
                    return;
                }
            }
        });
        Ok(())
    }
}
