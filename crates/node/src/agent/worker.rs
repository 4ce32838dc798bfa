//! The task of one Pod: asks its machine what to do, does it, and tells the machine what came of
//! it. What can be done at once is done at once; the rest goes on beside and comes back as a
//! message.

use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use k8s_openapi::api::core::v1::{Container, Pod};
use stdx::Machine;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use super::directory::{Directory, RunInfo};
use super::eviction::Usage;
use super::fields::Facts;
use super::launch::{Launch, Prepared, ProcessRun};
use super::machine::PodMachine;
use super::pull::Pulled;
use super::state::{self, Saved};
use super::step::{Index, Input, LaunchFailure, Output, ProbeKind};
use super::{ground, hooks, security, streams};
use crate::builtin::RunningBuiltin;
use crate::cluster::Source;
use crate::launcher::wire::Request;
use crate::launcher::{Event, Exit, Role};
use crate::launchers::RunId;
use crate::logs;
use crate::net::PodNet;
use crate::node::{News, PodEvent, Shared};
use crate::volume::{self, Volumes};

/// Pieces of output an attached client may fall behind.
const ATTACHED_PIECES_MAX: usize = 256;
/// How long a change of the Pod waits for the next one before it is written down: a container that
/// starts comes first. A daemon killed in between starts that container anew.
const SAVE_DELAY: Duration = Duration::from_millis(5);
/// How long the end of a run waits for the last of its output.
const OUTPUT_WAIT: Duration = Duration::from_millis(250);

/// What a worker is told.
pub(crate) enum Message {
    /// For its machine.
    Input(Input),
    /// From the launcher.
    Launcher(Event),
    /// The other end of a run's terminal.
    Console(String, OwnedFd),
    /// Network and volumes, or why not.
    Grounded(Result<ground::Ground, ground::Failure>),
    /// A container can be started, or not.
    Ready(Index, Option<Pulled>, Result<Prepared, LaunchFailure>),
    /// A run has ended and its output is written.
    Finished {
        index: Index,
        attempt: u32,
        exit: Exit,
        message: String,
    },
    /// The launcher with or without the filter has ended, and nobody has its containers any more.
    LauncherLost { unconfined: bool },
    /// Content of volumes has changed.
    SourceChanged(Source),
    /// What the Pod takes of the disk, and how long it took to find out.
    Measured(Usage, Duration),
    /// The daemon ends; the containers go on.
    Leave,
}

/// What the worker keeps of a run beside what all may see.
#[derive(Default)]
pub(super) struct Run {
    pub(super) attempt: u32,
    pub(super) id: String,
    pub(super) image_id: String,
    pub(super) stop_signal: i32,
    pub(super) unconfined: bool,
    pub(super) pumps: Vec<JoinHandle<()>>,
    pub(super) builtin: Option<Box<dyn RunningBuiltin>>,
    /// Keeps the image from being removed.
    pub(super) image: Option<Arc<crate::image::Image>>,
}

/// The worker of one Pod.
pub(crate) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) directory: Arc<Directory>,
    pub(super) machine: PodMachine,
    pub(super) to_self: mpsc::UnboundedSender<Message>,
    messages: mpsc::UnboundedReceiver<Message>,
    pub(super) facts: Facts,
    pub(super) net: Option<PodNet>,
    pub(super) volumes: Arc<Volumes>,
    pub(super) runs: Vec<Option<Run>>,
    pub(super) renew_at: Option<tokio::time::Instant>,
    pub(super) measure_at: Option<tokio::time::Instant>,
    pub(super) writing: Arc<tokio::sync::Mutex<()>>,
    saved: Option<Saved>,
    save_at: Option<tokio::time::Instant>,
    done: bool,
}

impl Worker {
    /// Starts the task of a Pod that is new here.
    pub(crate) fn spawn(shared: &Arc<Shared>, pod: Arc<Pod>) -> Arc<Directory> {
        let builtins = Arc::clone(&shared.config.builtins);
        let is_builtin = move |container: &Container| builtins.find(container).is_some();
        let machine = PodMachine::new(shared.clock.now(), Arc::clone(&pod), is_builtin);
        let worker = Self::new(shared, machine);
        let directory = Arc::clone(&worker.directory);
        tokio::spawn(worker.run());
        directory
    }

    pub(crate) fn new(shared: &Arc<Shared>, machine: PodMachine) -> Self {
        let (to_self, messages) = mpsc::unbounded_channel();
        let pod = Arc::clone(machine.pod());
        let measure_at = Self::first_measurement(&pod);
        Self {
            directory: Arc::new(Directory::new(pod, to_self.clone())),
            runs: machine.containers().iter().map(|_| None).collect(),
            machine,
            to_self,
            messages,
            facts: shared.facts.clone(),
            shared: Arc::clone(shared),
            net: None,
            volumes: Arc::default(),
            renew_at: None,
            measure_at,
            writing: Arc::default(),
            saved: None,
            save_at: None,
            done: false,
        }
    }

    /// The task.
    pub(crate) async fn run(mut self) {
        self.machine.handle_timeout(self.shared.clock.now());
        loop {
            self.perform_all();
            if self.done {
                return self.save_if_due(true);
            }
            let timer = self
                .machine
                .poll_timeout()
                .map(|at| self.shared.clock.tokio(at));
            let (renew, save, measure) = (self.renew_at, self.save_at, self.measure_at);
            tokio::select! {
                biased;
                message = self.messages.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                () = sleep_until(timer) => self.machine.handle_timeout(self.shared.clock.now()),
                () = sleep_until(renew) => self.refresh(None),
                () = sleep_until(measure) => self.measure(),
                () = sleep_until(save) => self.save_if_due(false),
            }
        }
    }

    pub(super) fn feed(&mut self, input: Input) {
        self.machine.handle(self.shared.clock.now(), input);
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Input(Input::Pod(pod)) => {
                let shown = |pod: &Pod| {
                    let meta = &pod.metadata;
                    (meta.labels.clone(), meta.annotations.clone())
                };
                let changed = shown(self.machine.pod()) != shown(&pod);
                self.feed(Input::Pod(pod));
                let count = self.machine.containers().len();
                self.runs.resize_with(count, || None);
                if changed && self.ground_place().draws_on(&Source::Pod) {
                    self.refresh(Some(Source::Pod));
                }
            }
            Message::Input(input) => self.feed(input),
            Message::Launcher(event) => self.launcher_event(event),
            Message::Console(id, terminal) => self.console(&id, terminal),
            Message::Grounded(outcome) => self.grounded(outcome),
            Message::Ready(index, pulled, prepared) => {
                if let Some(Pulled { took, size }) = pulled {
                    self.feed(Input::Pulled { index, took, size });
                }
                self.start(index, prepared);
            }
            Message::Finished {
                index,
                attempt,
                exit,
                message,
            } => self.finished(index, attempt, exit, message),
            Message::LauncherLost { unconfined } => self.launcher_lost(unconfined),
            Message::SourceChanged(source) => {
                if self.ground_place().draws_on(&source) {
                    self.refresh(Some(source));
                }
            }
            Message::Measured(usage, took) => self.measured(&usage, took),
            Message::Leave => self.done = true,
        }
    }

    fn finished(&mut self, index: Index, attempt: u32, exit: Exit, message: String) {
        let current = self.runs.get(index).and_then(Option::as_ref);
        if current.is_none_or(|run| run.attempt != attempt) {
            return;
        }
        self.runs[index] = None;
        let name = self.container(index).name.clone();
        self.directory.change_run(&name, |run| {
            run.running = false;
            run.stdin = None;
        });
        self.feed(Input::Exited {
            index,
            exit,
            message,
        });
    }

    /// What ran at the launcher is killed and counts as ended: nobody would notice its end.
    fn launcher_lost(&mut self, unconfined: bool) {
        for index in 0..self.runs.len() {
            let Some(run) = &self.runs[index] else {
                continue;
            };
            if run.builtin.is_some() || run.id.is_empty() || run.unconfined != unconfined {
                continue;
            }
            let name = self.container(index).name.clone();
            let slot = self.directory.run(&name).and_then(|info| info.slot);
            match slot {
                Some(slot) => {
                    self.shared.groups.group(&slot).kill();
                    self.ended(index, Exit::KILLED);
                }
                None => {
                    self.runs[index] = None;
                    let failure = LaunchFailure::Start("the launcher has ended".to_owned());
                    self.feed(Input::LaunchFailed { index, failure });
                }
            }
        }
    }

    pub(super) fn container(&self, index: Index) -> &Container {
        &self.machine.containers()[index].spec
    }

    /// Runs a piece of work: to its end now if it never has to wait, beside the worker otherwise.
    pub(super) fn go(&mut self, work: impl Future<Output = Message> + Send + 'static) {
        let mut work = Box::pin(work);
        match (&mut work).now_or_never() {
            Some(message) => self.take(message),
            None => {
                let to = self.to_self.clone();
                tokio::spawn(async move { to.send(work.await) });
            }
        }
    }

    fn perform_all(&mut self) {
        let mut changed = false;
        while let Some(output) = self.machine.poll_output() {
            changed |= output == Output::Status;
            self.perform(output);
        }
        if changed && !self.done && self.save_at.is_none() {
            self.save_at = Some(tokio::time::Instant::now() + SAVE_DELAY);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Prepare => self.prepare_ground(),
            Output::Launch { index, attempt } => self.launch(index, attempt),
            Output::PostStart { index } => {
                let hook = hooks::post_start(self.hook_place(index));
                self.go(async move {
                    Message::Input(Input::PostStarted {
                        index,
                        error: hook.await,
                    })
                });
            }
            Output::PreStop { index, grace_s } => {
                let hook = hooks::pre_stop(self.hook_place(index), Duration::from_secs(grace_s));
                self.go(async move {
                    hook.await;
                    Message::Input(Input::PreStopped { index })
                });
            }
            Output::Probe {
                index,
                kind,
                attempt,
            } => self.probe(index, kind, attempt),
            Output::Terminate { index, grace_s } => self.terminate(index, grace_s),
            Output::Close { index } => self.end_builtin(index, Exit::CLEAN),
            Output::Kill { index } => self.kill(index),
            Output::Status => {
                let status = self
                    .machine
                    .status(self.shared.clock.now(), &self.shared.host_ip());
                self.tell(News::Status(Box::new(status)));
            }
            Output::Record {
                field,
                warning,
                reason,
                message,
            } => {
                self.tell(News::Record {
                    field,
                    warning,
                    reason,
                    message,
                });
            }
            Output::Release => {
                self.release_network();
                self.release_volumes();
            }
            Output::Gone => self.gone(),
        }
    }

    fn tell(&self, news: News) {
        let meta = &self.machine.pod().metadata;
        let _ = self.shared.events.send(PodEvent {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: self.directory.uid.clone(),
            news,
        });
    }

    fn launch(&mut self, index: Index, attempt: u32) {
        let container = &self.machine.containers()[index];
        let to_self = self.to_self.clone();
        let launch = Launch {
            shared: Arc::clone(&self.shared),
            pod: Arc::clone(self.machine.pod()),
            container: container.spec.clone(),
            builtin: container.builtin,
            facts: self.facts.clone(),
            volumes: Arc::clone(&self.volumes),
            host_network: self.is_host_network(),
            pulling: Box::new(move || {
                let _ = to_self.send(Message::Input(Input::Pulling { index }));
            }),
        };
        self.runs[index] = Some(Run {
            attempt,
            ..Run::default()
        });
        self.go(async move {
            let (pulled, prepared) = launch.prepare().await;
            Message::Ready(index, pulled, prepared)
        });
    }

    fn start(&mut self, index: Index, prepared: Result<Prepared, LaunchFailure>) {
        let outcome = match prepared {
            Ok(Prepared::Process(process)) => self.start_process(index, *process),
            Ok(Prepared::Builtin(run)) => self.start_builtin(index, run),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = outcome {
            self.runs[index] = None;
            self.feed(Input::LaunchFailed { index, failure });
        }
    }

    fn start_process(&mut self, index: Index, process: ProcessRun) -> Result<(), LaunchFailure> {
        let failed = |step: &str, error: &dyn std::fmt::Display| {
            LaunchFailure::Start(format!("{step}: {error}"))
        };
        let spec = self.container(index).clone();
        let attempt = self.runs[index].as_ref().map_or(0, |run| run.attempt);
        let id = RunId::name(&self.directory.uid, index, attempt);
        let tty = process.spec.process.tty;
        let once = spec.stdin_once == Some(true);
        let ends = streams::Ends::new(tty, spec.stdin == Some(true), once)
            .map_err(|error| failed("make pipes", &error))?;
        let (mut roles, mut fds) = ends.for_launcher();
        let netns = self.net.clone();
        if let Some(net) = &netns {
            roles.push(Role::Netns);
            fds.push(net.netns());
        }
        let body = serde_json::value::to_raw_value(&process.spec)
            .map_err(|error| failed("write the specification", &error))?;
        let pod_uid = self.directory.uid.clone();
        let joined = self.joined_processes(index)?;
        if let Some(namespace) = &joined {
            roles.push(Role::Processes);
            fds.push(namespace.as_fd());
        }
        let request = Request::Start {
            id: id.clone(),
            pod_uid,
            roles,
            sharing: security::sharing(self.machine.pod()),
            spec: body,
        };
        let sent = self
            .shared
            .launchers
            .send(process.unconfined, &request, &fds);
        sent.map_err(|error| failed("reach the launcher", &error))?;
        let kept = ends.into_kept();
        let image_id = process.image.digest.to_string();
        self.runs[index] = Some(Run {
            attempt,
            id: id.clone(),
            image_id,
            stop_signal: process.stop_signal,
            unconfined: process.unconfined,
            image: Some(process.image),
            ..Run::default()
        });
        let info = self.new_info(&spec.name, attempt, &id);
        let info = RunInfo {
            unconfined: process.unconfined,
            tty,
            process: Some(Arc::new(process.spec.process)),
            ..info
        };
        self.connect(index, info, kept);
        Ok(())
    }

    pub(super) fn new_info(&self, container: &str, attempt: u32, id: &str) -> RunInfo {
        let meta = &self.machine.pod().metadata;
        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
        let data_dir = &self.shared.config.data_dir;
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        let dir = logs::pod_dir(data_dir, namespace, name, &self.directory.uid);
        RunInfo {
            id: id.to_owned(),
            attempt,
            unconfined: false,
            slot: None,
            pid: None,
            log: logs::LogFile::new(logs::file_path(&dir, container, attempt)),
            attached: broadcast::channel(ATTACHED_PIECES_MAX).0,
            stdin: None,
            tty: false,
            running: true,
            process: None,
        }
    }

    /// Connects the node's ends of a run's streams to its log, and makes the run known.
    pub(super) fn connect(&mut self, index: Index, mut info: RunInfo, kept: streams::Kept) {
        let name = self.container(index).name.clone();
        info.stdin = kept.stdin.map(Arc::new);
        for (stream, fd) in kept.outputs {
            self.pump(index, &info, stream, fd);
        }
        self.directory.set_run(&name, info);
    }

    fn pump(&mut self, index: Index, info: &RunInfo, stream: logs::Stream, fd: OwnedFd) {
        let (log, attached) = (Arc::clone(&info.log), info.attached.clone());
        let pump = tokio::spawn(async move {
            if let Err(error) = logs::pump(fd, stream, log, attached).await {
                tracing::warn!(%error, "reading a container's output failed");
            }
        });
        if let Some(run) = self.runs.get_mut(index).and_then(Option::as_mut) {
            run.pumps.push(pump);
        }
    }

    /// The process has made its terminal.
    fn console(&mut self, id: &str, terminal: OwnedFd) {
        let Some(RunId { index, attempt, .. }) = RunId::parse(id) else {
            return;
        };
        let run = self.runs.get(index).and_then(Option::as_ref);
        if run.is_none_or(|run| run.attempt != attempt) {
            return;
        }
        let name = self.container(index).name.clone();
        if let Some(info) = self.directory.run(&name) {
            let kept = streams::Kept::from_roles(vec![(Role::KeepTty, terminal)]);
            self.connect(index, info, kept);
        }
    }

    fn launcher_event(&mut self, event: Event) {
        let (Event::Started { id, .. } | Event::StartFailed { id, .. } | Event::Exited { id, .. }) =
            &event
        else {
            return;
        };
        let Some(RunId { index, attempt, .. }) = RunId::parse(id) else {
            return;
        };
        let Some(run) = self.runs.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        if run.attempt != attempt {
            return;
        }
        match event {
            Event::Started { id, slot, pid } => {
                let image_id = run.image_id.clone();
                let name = self.container(index).name.clone();
                self.directory.change_run(&name, |info| {
                    info.slot = Some(slot);
                    info.pid = Some(pid);
                });
                self.feed(Input::Started {
                    index,
                    id,
                    image_id,
                });
            }
            Event::StartFailed { slot, message, .. } => {
                self.runs[index] = None;
                self.discard_slot(slot);
                let failure = LaunchFailure::Start(message);
                self.feed(Input::LaunchFailed { index, failure });
            }
            Event::Exited { exit, .. } => self.ended(index, exit),
            _ => {}
        }
    }

    /// The process has ended: its last output is awaited, its last words are read.
    pub(super) fn ended(&mut self, index: Index, exit: Exit) {
        let Some(run) = self.runs.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let (attempt, pumps) = (run.attempt, std::mem::take(&mut run.pumps));
        let (id, unconfined) = (run.id.clone(), run.unconfined);
        let spec = self.container(index).clone();
        let info = self.directory.run(&spec.name);
        let shared = Arc::clone(&self.shared);
        self.go(async move {
            let all = futures_util::future::join_all(pumps);
            let _ = tokio::time::timeout(OUTPUT_WAIT, all).await;
            let mut message = String::new();
            if let Some(info) = info {
                info.log.close();
                message = hooks::last_words(&shared, &spec, &info, exit.code);
                if let Some(slot) = info.slot {
                    state::discard_slot(&shared, slot);
                }
            }
            let _ = shared
                .launchers
                .send(unconfined, &Request::Release { id }, &[]);
            Message::Finished {
                index,
                attempt,
                exit,
                message,
            }
        });
    }

    fn discard_slot(&self, slot: String) {
        state::discard_slot(&self.shared, slot);
    }

    fn terminate(&mut self, index: Index, grace_s: u64) {
        let Some(run) = self.runs.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        if let Some(builtin) = &mut run.builtin {
            let drained = builtin.stop(Duration::from_secs(grace_s));
            self.go(async move {
                drained.await;
                Message::Input(Input::Drained { index })
            });
            return;
        }
        let signal = run.stop_signal;
        self.signal(index, signal);
    }

    fn kill(&mut self, index: Index) {
        let run = self.runs.get(index).and_then(Option::as_ref);
        match run.is_some_and(|run| run.builtin.is_some()) {
            true => self.end_builtin(index, Exit::KILLED),
            false => self.signal(index, libc::SIGKILL),
        }
    }

    fn end_builtin(&mut self, index: Index, exit: Exit) {
        let Some(run) = self.runs.get(index).and_then(Option::as_ref) else {
            return;
        };
        self.take(Message::Finished {
            index,
            attempt: run.attempt,
            exit,
            message: String::new(),
        });
    }

    fn signal(&self, index: Index, signal: i32) {
        let Some(run) = self.runs.get(index).and_then(Option::as_ref) else {
            return;
        };
        let request = Request::Signal {
            id: run.id.clone(),
            signal,
        };
        if let Err(error) = self.shared.launchers.send(run.unconfined, &request, &[]) {
            tracing::warn!(%error, id = run.id, "a container could not be signalled");
        }
    }

    fn probe(&mut self, index: Index, kind: ProbeKind, attempt: u32) {
        let Some(probe) = self.machine.containers()[index].probe(kind).cloned() else {
            return;
        };
        let asked = hooks::probe(self.hook_place(index), probe);
        self.go(async move {
            let error = asked.await.err();
            Message::Input(Input::Probed {
                index,
                kind,
                attempt,
                error,
            })
        });
    }

    pub(super) fn is_host_network(&self) -> bool {
        let spec = self.machine.pod().spec.as_ref();
        spec.is_some_and(|spec| spec.host_network == Some(true))
    }

    /// Brings volumes up to date: those that show `source`, or all, tokens among them.
    fn refresh(&mut self, source: Option<Source>) {
        if source.is_none() {
            let renew = self.renew_in();
            self.renew_at = renew.map(|after| tokio::time::Instant::now() + after);
        }
        tokio::spawn(ground::refresh(self.ground_place(), source));
    }

    pub(super) fn release_network(&mut self) {
        self.directory.set_network(None, false);
        if let Some(net) = self.net.take() {
            self.shared.network.release(net);
        }
        let request = Request::ReleasePod {
            pod_uid: self.directory.uid.clone(),
        };
        self.shared.launchers.tell_all(&request);
    }

    /// What a Pod that has ended had in its volumes is of no use to anybody.
    fn release_volumes(&mut self) {
        self.renew_at = None;
        let data_dir = self.shared.config.data_dir.clone();
        let uid = self.directory.uid.clone();
        let writing = Arc::clone(&self.writing);
        tokio::spawn(async move {
            let _one = writing.lock_owned().await;
            let removed = move || volume::remove_content(&data_dir, &uid);
            let _ = tokio::task::spawn_blocking(removed).await;
        });
    }

    /// Everything of the Pod but its logs' last bytes goes.
    fn gone(&mut self) {
        self.done = true;
        self.save_at = None;
        self.release_network();
        self.shared.pods().remove(&self.directory.uid);
        self.tell(News::Gone);
        let meta = &self.machine.pod().metadata;
        let (namespace, name) = (meta.namespace.clone(), meta.name.clone());
        let (shared, uid) = (Arc::clone(&self.shared), self.directory.uid.clone());
        tokio::task::spawn_blocking(move || {
            let data_dir = &shared.config.data_dir;
            volume::remove(data_dir, &uid);
            let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
            let _ = std::fs::remove_dir_all(logs::pod_dir(data_dir, &namespace, &name, &uid));
        });
    }

    /// Writes down what the next daemon needs, when it has changed.
    fn save_if_due(&mut self, at_once: bool) {
        let now = tokio::time::Instant::now();
        if self.save_at.is_none_or(|at| at > now && !at_once) {
            return;
        }
        self.save_at = None;
        let saved = Saved::of(self);
        if self.saved.as_ref() == Some(&saved) {
            return;
        }
        saved.write(&self.shared.config.data_dir, &self.directory.uid);
        self.saved = Some(saved);
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
