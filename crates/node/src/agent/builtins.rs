//! Starting a builtin container: listeners inside the Pod, the task, its readiness.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::directory::RunInfo;
use super::launch::BuiltinRun;
use super::step::{Index, Input, LaunchFailure};
use super::worker::{Message, Run, Worker};
use crate::builtin::{BuiltinEnd, BuiltinStart, Dialer};
use crate::launcher::Exit;
use crate::launchers::RunId;
use crate::logs::{LogFile, LogSink};

impl Worker {
    pub(super) fn start_builtin(
        &mut self,
        index: Index,
        run: BuiltinRun,
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
        for port in builtin.ports(&pod, &container, &run.env) {
            let listener = dialer.listen(port).map_err(|error| {
                LaunchFailure::Start(format!("listen on port {port} in the Pod: {error}"))
            })?;
            listeners.push(listener);
        }
        let info = self.new_info(&container.name, attempt, &id);
        let image_id = container.image.clone().unwrap_or_default();
        let log = Arc::clone(&info.log);
        let mut running = builtin
            .start(BuiltinStart {
                pod,
                env: run.env,
                args: run.args,
                mounts: run.mounts,
                limits: run.limits,
                storage_bytes: super::eviction::storage(&container),
                listeners,
                pod_ip: self.pod_ip(),
                dialer,
                log: LogSink(Arc::clone(&info.log)),
                container: container.clone(),
            })
            .map_err(LaunchFailure::Start)?;
        let ended = running.ended();
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
        self.follow(index, attempt, ready, ended.map(|ended| (ended, log)));
        Ok(())
    }

    /// Hands on what the builtin says of itself: whether it is ready, and that it has ended.
    fn follow(
        &self,
        index: Index,
        attempt: u32,
        mut ready: watch::Receiver<bool>,
        ended: Option<(BoxFuture<'static, BuiltinEnd>, Arc<LogFile>)>,
    ) {
        if let Some((ended, log)) = ended {
            let to = self.to_self.clone();
            tokio::spawn(async move {
                let BuiltinEnd { code, message } = ended.await;
                log.close();
                let exit = Exit {
                    code,
                    ..Exit::CLEAN
                };
                to.send(Message::Finished {
                    index,
                    attempt,
                    exit,
                    message,
                })
            });
        }
        let to = self.to_self.clone();
        tokio::spawn(async move {
            while ready.changed().await.is_ok() {
                let ready = *ready.borrow_and_update();
                let input = Input::BuiltinReady { index, ready };
                if to.send(Message::Input(input)).is_err() {
                    return;
                }
            }
        });
    }
}
