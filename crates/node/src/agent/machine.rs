//! The life of one Pod as a pure machine: what happened goes in, what to do comes out. Restarts,
//! backoff, order of init containers, probes and graceful stop are decided here and only here;
//! `worker` does what it says.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container as Spec, Pod, PodSpec};
use stdx::{Instant, Machine};

use super::container::{Container, Ended, PULL_BACKOFF, Role, State};
use super::probes::Verdict;
use super::records::go_duration;
use super::step::{Index, Input, LaunchFailure, Output, ProbeKind};
use super::stop::STOPPING;
use crate::launcher::{EXIT_NOT_STARTED, Exit};

/// Pause before network or volumes are tried again.
const PREPARE_RETRY: Duration = Duration::from_secs(2);
/// Pause before a container whose configuration was not there is tried again.
const CONFIG_RETRY: Duration = Duration::from_secs(5);
/// How long a failed pull is shown as itself before it is shown as the pause after it.
const PULL_ERROR_SHOWN: Duration = Duration::from_secs(1);
/// What a Pod is given to stop in when it says nothing.
const GRACE_DEFAULT_S: u64 = 30;
/// How long a Pod of a StatefulSet stays after its deletion at the least, as no kubelet ends one
/// faster: kubectl reads the Pod it has deleted, then watches its name, and waits for ever when
/// the next Pod of that name came in between.
const NAME_KEPT: Duration = Duration::from_secs(1);

/// Network and volumes.
#[derive(Clone, Debug)]
pub(super) enum Ground {
    /// Not asked for, or asked for again at this time.
    Missing(Instant),
    /// Asked for.
    Coming,
    /// There.
    Ready(Ipv4Addr),
    /// Given back; the address is still shown.
    Released(Option<Ipv4Addr>),
}

/// Why all containers are to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The Pod is being deleted.
    Deleted,
    /// `activeDeadlineSeconds` have passed.
    DeadlineExceeded,
    /// It took more of the disk than it may; this is what it took too much of.
    Evicted(String),
}

/// One Pod.
pub(crate) struct PodMachine {
    pub(super) pod: Arc<Pod>,
    pub(super) ground: Ground,
    pub(super) containers: Vec<Container>,
    pub(super) started: Instant,
    /// Why the Pod ends and when patience does.
    pub(super) ending: Option<(Ending, Instant)>,
    /// Its end is not told before then; see [`NAME_KEPT`].
    kept_until: Option<Instant>,
    gone: bool,
    outputs: VecDeque<Output>,
}

/// `spec` of the Pod; one without it has no containers and never starts.
fn spec_of(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

impl PodMachine {
    /// A Pod that has just been seen. `is_builtin` tells tasks of the daemon from processes.
    pub(crate) fn new(now: Instant, pod: Arc<Pod>, is_builtin: impl Fn(&Spec) -> bool) -> Self {
        let spec = spec_of(&pod);
        let role = |container: &Spec| match container.restart_policy.as_deref() {
            Some("Always") => Role::Sidecar,
            _ => Role::Init,
        };
        let init = spec
            .init_containers
            .iter()
            .flatten()
            .map(|spec| (role(spec), spec));
        let main = spec.containers.iter().map(|spec| (Role::Main, spec));
        let mut containers: Vec<Container> = init
            .chain(main)
            .map(|(role, spec)| Container::new(role, is_builtin(spec), spec.clone()))
            .collect();
        if containers
            .iter()
            .any(|container| container.role != Role::Main)
        {
            for container in &mut containers {
                container.state = State::Waiting {
                    reason: "PodInitializing",
                    message: String::new(),
                    retry: None,
                };
            }
        }
        let mut machine = Self {
            pod,
            ground: Ground::Missing(now),
            containers,
            started: now,
            ending: None,
            kept_until: None,
            gone: false,
            outputs: VecDeque::from([Output::Status]),
        };
        machine.note_deletion(now);
        machine.note_ephemeral();
        machine
    }

    /// The Pod as last seen.
    pub(crate) const fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// When it was first seen.
    pub(crate) const fn started(&self) -> Instant {
        self.started
    }

    /// The address it has, or had.
    pub(crate) const fn ip(&self) -> Option<Ipv4Addr> {
        match self.ground {
            Ground::Ready(ip) => Some(ip),
            Ground::Released(ip) => ip,
            Ground::Missing(_) | Ground::Coming => None,
        }
    }

    /// The containers in order.
    pub(crate) fn containers(&self) -> &[Container] {
        &self.containers
    }

    pub(super) fn restart_policy(&self) -> &str {
        spec_of(&self.pod)
            .restart_policy
            .as_deref()
            .unwrap_or("Always")
    }

    pub(super) fn say(&mut self, output: Output) {
        if output == Output::Status && self.outputs.contains(&Output::Status) {
            return;
        }
        self.outputs.push_back(output);
    }

    fn grace(&self) -> Duration {
        let meta = self.pod.metadata.deletion_grace_period_seconds;
        let spec = spec_of(&self.pod).termination_grace_period_seconds;
        let seconds = meta
            .or(spec)
            .and_then(|seconds| u64::try_from(seconds).ok());
        Duration::from_secs(seconds.unwrap_or(GRACE_DEFAULT_S))
    }

    fn note_deletion(&mut self, now: Instant) {
        if self.pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        if self.name_comes_back() {
            self.kept_until.get_or_insert(now + NAME_KEPT);
        }
        let deadline = now + self.grace();
        let sooner = match &self.ending {
            Some((Ending::Deleted, before)) => deadline < *before,
            _ => true,
        };
        if sooner {
            self.ending = Some((Ending::Deleted, deadline));
        }
    }

    /// Whether another Pod gets this one's name as soon as it is gone.
    fn name_comes_back(&self) -> bool {
        let mut owners = self.pod.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.kind == "StatefulSet" && owner.controller == Some(true))
    }

    /// Ephemeral containers are added to a Pod that runs, behind all others.
    fn note_ephemeral(&mut self) {
        let pod = Arc::clone(&self.pod);
        for spec in super::ephemeral::containers(&pod) {
            if self.containers.iter().all(|one| one.spec.name != spec.name) {
                self.containers
                    .push(Container::new(Role::Ephemeral, false, spec));
                self.say(Output::Status);
            }
        }
    }

    fn take(&mut self, now: Instant, input: Input) {
        match input {
            Input::Pod(pod) => {
                self.pod = pod;
                self.note_deletion(now);
                self.note_ephemeral();
            }
            Input::Remove => {
                self.ending = Some((Ending::Deleted, now));
                self.kept_until = None;
            }
            Input::Evict { message } => self.evict(now, message),
            Input::Prepared { ip } => {
                self.ground = Ground::Ready(ip);
                self.say(Output::Status);
            }
            Input::PrepareFailed {
                event,
                reason,
                message,
            } => {
                self.prepare_failed(now, reason, &message);
                self.record(true, event, message);
            }
            Input::Pulling { index } => self.pulling(index),
            Input::Pulled { index, took, size } => self.pulled(index, took, size),
            Input::LaunchFailed { index, failure } => self.launch_failed(now, index, failure),
            Input::Started {
                index,
                id,
                image_id,
            } => self.container_started(now, index, id, image_id),
            Input::Exited {
                index,
                exit,
                message,
            } => self.exited(now, index, exit, message),
            Input::PostStarted { index, error } => self.post_started(now, index, error),
            Input::PreStopped { index } => self.pre_stopped(now, index),
            Input::Drained { index } => self.drained(index),
            Input::Probed {
                index,
                kind,
                attempt,
                error,
            } => {
                if self
                    .containers
                    .get(index)
                    .is_some_and(|one| one.attempt == attempt)
                {
                    self.probed(now, index, kind, error);
                }
            }
            Input::BuiltinReady { index, ready } => self.builtin_ready(index, ready),
        }
    }

    /// What a builtin says of itself, as the kubelet says it of a container it probes.
    fn builtin_ready(&mut self, index: Index, ready: bool) {
        let container = self.containers.get_mut(index);
        let Some(run) = container.and_then(Container::running_mut) else {
            return;
        };
        run.builtin_ready = ready;
        if !ready && run.stop.is_none() {
            let text = "Readiness probe failed: HTTP probe failed with statuscode: 503";
            self.record_of(index, true, "Unhealthy", text.to_owned());
        }
        self.say(Output::Status);
    }

    fn prepare_failed(&mut self, now: Instant, reason: &'static str, message: &str) {
        self.ground = Ground::Missing(now + PREPARE_RETRY);
        for container in &mut self.containers {
            if let State::Waiting {
                reason: shown,
                message: text,
                ..
            } = &mut container.state
            {
                *shown = reason;
                message.clone_into(text);
            }
        }
        self.say(Output::Status);
    }

    fn launch_failed(&mut self, now: Instant, index: Index, failure: LaunchFailure) {
        let Some(container) = self.containers.get_mut(index) else {
            return;
        };
        let name = container.spec.name.clone();
        match failure {
            LaunchFailure::Image { reason, message } => {
                container.pull_failures += 1;
                let retry = Some(now + PULL_ERROR_SHOWN);
                container.state = State::Waiting {
                    reason,
                    message: message.clone(),
                    retry,
                };
                self.record_of(index, true, "Failed", message);
                self.record_of(index, true, "Failed", format!("Error: {reason}"));
            }
            LaunchFailure::Config(message) => {
                let reason = "CreateContainerConfigError";
                let retry = Some(now + CONFIG_RETRY);
                container.state = State::Waiting {
                    reason,
                    message: message.clone(),
                    retry,
                };
                self.record_of(index, true, "Failed", format!("Error: {message}"));
            }
            LaunchFailure::Start(message) => {
                container.end(Ended {
                    id: String::new(),
                    code: EXIT_NOT_STARTED,
                    signal: 0,
                    reason: "StartError".to_owned(),
                    message: message.clone(),
                    started: now,
                    finished: now,
                });
                self.record_of(
                    index,
                    false,
                    "Created",
                    format!("Created container: {name}"),
                );
                let text = format!("Error: container {name}: {message}");
                self.record_of(index, true, "Failed", text);
            }
        }
        self.say(Output::Status);
    }

    fn container_started(&mut self, now: Instant, index: Index, id: String, image_id: String) {
        let Some(container) = self.containers.get_mut(index) else {
            return;
        };
        container.run(now, id);
        container.image_id = image_id;
        container.pull_failures = 0;
        let hook = container.running().is_some_and(|run| run.post_start);
        let name = container.spec.name.clone();
        self.record_of(
            index,
            false,
            "Created",
            format!("Created container: {name}"),
        );
        self.record_of(index, false, "Started", format!("Started container {name}"));
        if hook {
            self.say(Output::PostStart { index });
        }
        self.say(Output::Status);
    }

    fn exited(&mut self, now: Instant, index: Index, exit: Exit, message: String) {
        let Some(container) = self.containers.get_mut(index) else {
            return;
        };
        let (id, started) = match container.running() {
            Some(run) => (run.id.clone(), run.since),
            None => (String::new(), now),
        };
        let reason = match exit {
            Exit { oom: true, .. } => "OOMKilled",
            Exit { code: 0, .. } => "Completed",
            _ => "Error",
        };
        container.end(Ended {
            id,
            code: exit.code,
            signal: exit.signal,
            reason: reason.to_owned(),
            message,
            started,
            finished: now,
        });
        self.say(Output::Status);
    }

    fn post_started(&mut self, now: Instant, index: Index, error: Option<String>) {
        let Some(run) = self
            .containers
            .get_mut(index)
            .and_then(Container::running_mut)
        else {
            return;
        };
        run.post_start = false;
        if let Some(error) = error {
            self.record_of(index, true, "FailedPostStartHook", error);
            let deadline = now + self.grace();
            self.begin_stop(now, index, deadline, "FailedPostStartHook");
        }
        self.say(Output::Status);
    }

    fn probed(&mut self, now: Instant, index: Index, kind: ProbeKind, error: Option<String>) {
        let Some(container) = self.containers.get_mut(index) else {
            return;
        };
        let Some(run) = container.running_mut() else {
            return;
        };
        let Some((_, schedule)) = run.probes.iter_mut().find(|(have, _)| *have == kind) else {
            return;
        };
        let eager = !schedule.is_well();
        let verdict = schedule.answer(now, error.is_none());
        if let Some(error) = error.filter(|_| !eager || verdict == Verdict::Failed) {
            let text = format!("{} probe failed: {error}", kind.word());
            self.record_of(index, true, "Unhealthy", text);
        }
        let Some(container) = self.containers.get_mut(index) else {
            return;
        };
        match (verdict, kind) {
            (Verdict::Passed, ProbeKind::Startup) => container.pass_startup(now),
            (Verdict::Failed, ProbeKind::Startup | ProbeKind::Liveness) => {
                let name = container.spec.name.clone();
                let own = container
                    .probe(kind)
                    .and_then(|probe| probe.termination_grace_period_seconds);
                let grace = own
                    .and_then(|seconds| u64::try_from(seconds).ok())
                    .map_or_else(|| self.grace(), Duration::from_secs);
                let word = kind.word().to_lowercase();
                let text = format!("Container {name} failed {word} probe, will be restarted");
                self.begin_stop(now, index, now + grace, &text);
            }
            _ => {}
        }
        if verdict != Verdict::Same {
            self.say(Output::Status);
        }
    }

    /// Does whatever the present state asks for; asked twice it does nothing more.
    fn advance(&mut self, now: Instant) {
        if self.gone {
            return;
        }
        self.check_deadline(now);
        if self.ending.is_some() {
            self.advance_ending(now);
        } else {
            self.advance_running(now);
        }
        self.advance_stops(now);
        self.ask_probes(now);
    }

    fn check_deadline(&mut self, now: Instant) {
        let limit = self.deadline().filter(|limit| *limit <= now);
        if limit.is_some() && !self.is_over() {
            self.ending = Some((Ending::DeadlineExceeded, now + self.grace()));
            let text = "Pod was active on the node longer than the specified deadline";
            self.record(true, "DeadlineExceeded", text.to_owned());
            self.say(Output::Status);
        }
    }

    /// Nobody is asked to stop first: the disk may be full by then.
    fn evict(&mut self, now: Instant, message: String) {
        if self.is_over() {
            return;
        }
        self.ending = Some((Ending::Evicted(message.clone()), now));
        self.record(true, "Evicted", message);
        self.say(Output::Status);
    }

    /// Whether the Pod ends or has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.ending.is_some() || self.is_finished()
    }

    fn deadline(&self) -> Option<Instant> {
        let seconds = u64::try_from(spec_of(&self.pod).active_deadline_seconds?).ok()?;
        Some(self.started + Duration::from_secs(seconds))
    }

    fn advance_running(&mut self, now: Instant) {
        if self.is_finished() {
            return self.finish(now);
        }
        match self.ground {
            Ground::Missing(at) if at <= now => {
                self.ground = Ground::Coming;
                return self.say(Output::Prepare);
            }
            Ground::Ready(_) => {}
            _ => return,
        }
        // They wait for nothing: what keeps the others from starting is what they look for.
        for index in 0..self.containers.len() {
            if self.containers[index].role == Role::Ephemeral {
                self.keep_running(now, index);
            }
        }
        for index in 0..self.containers.len() {
            let container = &self.containers[index];
            let held = match container.role {
                Role::Ephemeral => continue,
                Role::Main => false,
                Role::Init => container.ended().is_none_or(|ended| ended.code != 0),
                Role::Sidecar => !container.is_started(),
            };
            self.keep_running(now, index);
            if held {
                return;
            }
        }
    }

    /// Starts a container that is not running and should be.
    fn keep_running(&mut self, now: Instant, index: Index) {
        let wants = self.wants_restart(index);
        let Some(container) = self.containers.get_mut(index) else {
            return;
        };
        let name = container.spec.name.clone();
        match &mut container.state {
            State::Waiting { retry: None, .. } => self.launch(index),
            State::Waiting {
                reason,
                message,
                retry: Some(at),
            } if *at <= now => {
                if *reason != "ErrImagePull" {
                    return self.launch(index);
                }
                // Shown once as the error, from then on as the pause after it.
                let image = container.spec.image.clone().unwrap_or_default();
                let text = format!("Back-off pulling image \"{image}\"");
                *message = format!("{text}: {message}");
                *reason = "ImagePullBackOff";
                *at = now + PULL_BACKOFF.delay(container.pull_failures.saturating_sub(1));
                self.record_of(index, false, "BackOff", text);
                let text = "Error: ImagePullBackOff".to_owned();
                self.record_of(index, true, "Failed", text);
                self.say(Output::Status);
            }
            State::Ended(ended) if wants => {
                let ended = ended.clone();
                let at = container.restart_at(&ended);
                container.crashes += 1;
                container.attempt += 1;
                container.last = Some(ended);
                if at <= now {
                    return self.launch(index);
                }
                let meta = &self.pod.metadata;
                let delay = (at - now).as_secs_f64().ceil();
                let pod = format!(
                    "{}_{}({})",
                    meta.name.as_deref().unwrap_or_default(),
                    meta.namespace.as_deref().unwrap_or_default(),
                    meta.uid.as_deref().unwrap_or_default(),
                );
                let text = format!(
                    "back-off {} restarting failed container={name} pod={pod}",
                    go_duration(delay),
                );
                let reason = "CrashLoopBackOff";
                container.state = State::Waiting {
                    reason,
                    message: text,
                    retry: Some(at),
                };
                let text = format!("Back-off restarting failed container {name} in pod {pod}");
                self.record_of(index, true, "BackOff", text);
                self.say(Output::Status);
            }
            _ => {}
        }
    }

    fn launch(&mut self, index: Index) {
        let container = &mut self.containers[index];
        container.state = State::Launching {
            reason: "ContainerCreating",
        };
        let attempt = container.attempt;
        container.restarts = attempt;
        self.say(Output::Launch { index, attempt });
    }

    /// Whether a container that has ended is to run again.
    pub(super) fn wants_restart(&self, index: Index) -> bool {
        let Some(container) = self.containers.get(index) else {
            return false;
        };
        let Some(ended) = container.ended() else {
            return false;
        };
        match (container.role, self.restart_policy()) {
            (Role::Sidecar, _) => true,
            (Role::Ephemeral, _) => false,
            (Role::Init, "Never") | (Role::Main, "Never") => false,
            (Role::Init, _) | (Role::Main, "OnFailure") => ended.code != 0,
            (Role::Main, _) => true,
        }
    }

    /// Whether no container but sidecars will ever run again.
    pub(super) fn is_finished(&self) -> bool {
        let is_over =
            |index: Index| self.containers[index].ended().is_some() && !self.wants_restart(index);
        let indices = 0..self.containers.len();
        let of = |role: Role| {
            indices
                .clone()
                .filter(move |i| self.containers[*i].role == role)
        };
        let init_failed = of(Role::Init)
            .any(|i| is_over(i) && self.containers[i].ended().is_some_and(|end| end.code != 0));
        let all_over = of(Role::Main).all(is_over) && of(Role::Main).next().is_some();
        init_failed || all_over
    }

    /// The Pod has run to its end: sidecars stop, then the ground is given back.
    fn finish(&mut self, now: Instant) {
        let deadline = now + self.grace();
        for index in 0..self.containers.len() {
            self.begin_stop(now, index, deadline, STOPPING);
        }
        let idle = self.containers.iter().all(Container::is_idle);
        if let (true, Ground::Ready(ip)) = (idle, &self.ground) {
            self.ground = Ground::Released(Some(*ip));
            self.say(Output::Release);
            self.say(Output::Status);
        }
    }

    /// A Pod that ends: the main containers stop at once, sidecars after them, the last first.
    fn advance_ending(&mut self, now: Instant) {
        let Some((ending, deadline)) = self.ending.clone() else {
            return;
        };
        let late = deadline <= now;
        let busy_main = self
            .containers
            .iter()
            .any(|one| one.role != Role::Sidecar && !one.is_idle());
        for index in (0..self.containers.len()).rev() {
            let container = &self.containers[index];
            let sidecar = container.role == Role::Sidecar;
            if !late && sidecar && (busy_main || self.later_sidecar_runs(index)) {
                continue;
            }
            self.begin_stop(now, index, deadline, STOPPING);
        }
        if !self.containers.iter().all(Container::is_idle) {
            return;
        }
        match ending {
            Ending::Deleted => {
                self.kept_until = self.kept_until.filter(|until| *until > now);
                if self.kept_until.is_some() || matches!(self.ground, Ground::Coming) {
                    return;
                }
                self.gone = true;
                self.say(Output::Status);
                self.say(Output::Gone);
            }
            Ending::DeadlineExceeded | Ending::Evicted(_) => {
                if let Ground::Ready(ip) = self.ground {
                    self.ground = Ground::Released(Some(ip));
                    self.say(Output::Release);
                    self.say(Output::Status);
                }
            }
        }
    }

    fn later_sidecar_runs(&self, index: Index) -> bool {
        let mut later = self.containers[index + 1..].iter();
        later.any(|one| one.role == Role::Sidecar && !one.is_idle())
    }

    /// Whether something runs that has not been asked to stop.
    fn runs_on(&self) -> bool {
        let mut runs = self.containers.iter().filter_map(Container::running);
        runs.any(|run| run.stop.is_none())
    }

    fn ask_probes(&mut self, now: Instant) {
        let ending = self.ending.is_some();
        for index in 0..self.containers.len() {
            let container = &mut self.containers[index];
            let attempt = container.attempt;
            let Some(run) = container.running_mut() else {
                continue;
            };
            if run.stop.is_some() || ending {
                continue;
            }
            let mut due = Vec::new();
            for (kind, schedule) in &mut run.probes {
                let done = *kind == ProbeKind::Startup && schedule.is_well();
                if !done && schedule.ask(now) {
                    due.push(*kind);
                }
            }
            for kind in due {
                self.say(Output::Probe {
                    index,
                    kind,
                    attempt,
                });
            }
        }
    }
}

impl Machine for PodMachine {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input) {
        self.take(now, input);
        self.advance(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.gone {
            return None;
        }
        let ending = self.ending.is_some();
        let ground = match self.ground {
            Ground::Missing(at) if !ending => Some(at),
            _ => None,
        };
        let deadline = match &self.ending {
            Some((_, at)) => self.runs_on().then_some(*at),
            None => self.deadline().filter(|_| !self.is_finished()),
        };
        let idle = self.containers.iter().all(Container::is_idle);
        let kept = self.kept_until.filter(|_| idle);
        let own = self
            .containers
            .iter()
            .filter_map(|container| match &container.state {
                State::Waiting { retry, .. } if !ending && !self.is_finished() => *retry,
                State::Running(run) => run.timeout(ending),
                _ => None,
            });
        own.chain(ground).chain(deadline).chain(kept).min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}
