//! Things asked of a running container: probes, lifecycle hooks, last words.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ExecAction, LifecycleHandler, Probe};

use super::directory::{Directory, RunInfo};
use super::step::Index;
use super::worker::Worker;
use crate::launcher::Slot;
use crate::logs;
use crate::node::Shared;
use crate::probe::{self, Question};

/// Longest termination message, bytes (the kubelet's limits).
const MESSAGE_MAX_BYTES: usize = 4096;
/// The same when it is the end of the log.
const MESSAGE_FROM_LOG_MAX_BYTES: usize = 2048;
/// And its lines.
const MESSAGE_FROM_LOG_MAX_LINES: u64 = 80;
/// A hook after the start may take this long.
const POST_START_MAX: Duration = Duration::from_secs(3600);

/// A container as hooks and probes see it, by value.
pub(super) struct Place {
    shared: Arc<Shared>,
    directory: Arc<Directory>,
    container: Container,
    pod_ip: IpAddr,
}

impl Worker {
    pub(super) fn hook_place(&self, index: Index) -> Place {
        Place {
            shared: Arc::clone(&self.shared),
            directory: Arc::clone(&self.directory),
            container: self.container(index).clone(),
            pod_ip: self.pod_ip(),
        }
    }
}

impl Place {
    async fn exec(&self, action: &ExecAction, limit: Duration) -> Result<(), String> {
        let command = action.command.clone().unwrap_or_default();
        let run = self
            .directory
            .run(&self.container.name)
            .ok_or("the container does not run")?;
        let (code, output) = crate::exec::run_to_end(&self.shared, &run, command, limit).await?;
        match code {
            0 => Ok(()),
            _ => Err(format!("command exited with {code}: {}", output.trim_end())),
        }
    }

    async fn ask(&self, question: &Question, limit: Duration) -> Result<(), String> {
        let dialer = self.directory.dialer().ok_or("the Pod has no network")?;
        probe::ask(question, &self.container, &dialer, self.pod_ip, limit).await
    }

    async fn handle(&self, handler: &LifecycleHandler, limit: Duration) -> Result<(), String> {
        if let Some(action) = &handler.exec {
            return self.exec(action, limit).await;
        }
        if let Some(action) = &handler.http_get {
            return self.ask(&Question::Http(action.clone()), limit).await;
        }
        if let Some(action) = &handler.sleep {
            let pause = Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0));
            tokio::time::sleep(pause.min(limit)).await;
        }
        Ok(())
    }
}

/// Asks a probe.
pub(super) async fn probe(place: Place, probe: Probe) -> Result<(), String> {
    let limit = probe::timeout(&probe);
    if let Some(action) = &probe.exec {
        return place.exec(action, limit).await;
    }
    match Question::of(&probe) {
        Some(question) => place.ask(&question, limit).await,
        None => Ok(()),
    }
}

/// Runs the hook after the start; gives what went wrong.
pub(super) async fn post_start(place: Place) -> Option<String> {
    let hooks = place.container.lifecycle.as_ref();
    let handler = hooks.and_then(|hooks| hooks.post_start.clone())?;
    let error = place.handle(&handler, POST_START_MAX).await.err()?;
    Some(format!("PostStartHook failed: {error}"))
}

/// Runs the hook before the stop, no longer than the grace period. A hook that fails is noted
/// and the stop goes on.
pub(super) async fn pre_stop(place: Place, grace: Duration) {
    let hooks = place.container.lifecycle.as_ref();
    let Some(handler) = hooks.and_then(|hooks| hooks.pre_stop.clone()) else {
        return;
    };
    let outcome = tokio::time::timeout(grace, place.handle(&handler, grace)).await;
    if let Ok(Err(error)) = outcome {
        tracing::debug!(%error, container = place.container.name, "preStop hook failed");
    }
}

/// The termination message of a run that has ended with `code`.
pub(super) fn last_words(
    shared: &Shared,
    container: &Container,
    info: &RunInfo,
    code: i32,
) -> String {
    let slot = info.slot.as_ref();
    let file =
        slot.map(|slot| Slot(shared.config.data_dir.join("slots").join(slot)).termination_log());
    let mut bytes = file
        .and_then(|file| fs::read(file).ok())
        .unwrap_or_default();
    bytes.truncate(MESSAGE_MAX_BYTES);
    let policy = container.termination_message_policy.as_deref();
    if bytes.is_empty() && code != 0 && policy == Some("FallbackToLogsOnError") {
        let (lines, most) = (MESSAGE_FROM_LOG_MAX_LINES, MESSAGE_FROM_LOG_MAX_BYTES);
        return logs::tail_text(info.log.path(), lines, most);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
