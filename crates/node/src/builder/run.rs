//! `RUN`: a program in a container of this node's own, whose upper directory becomes a layer.
//! `walk` calls it; the launcher does not know that the container is part of a build.

use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::Output;
use super::room::{Meter, Room};
use super::walk::blocking;
use crate::agent::{confinement, remove_slot};
use crate::cgroup::Limits;
use crate::dns::DnsPolicy;
use crate::launcher::wire::Request;
use crate::launcher::{ContainerSpec, Event, Exit, Mount, Process, Role, Slot};
use crate::logs::Stream;
use crate::net::PodNet;
use crate::node::Shared;
use crate::pipe;

/// How long the end of a program waits for the last of its output.
const OUTPUT_WAIT: Duration = Duration::from_secs(5);
/// How often the disk is looked at.
const DISK_PERIOD: Duration = Duration::from_secs(1);
/// The pause is this many times as long as the look took: it costs at most a twentieth of a core.
const DISK_PERIOD_FACTOR: u32 = 20;
/// A program is stopped when less than this is free: the node needs the rest.
const DISK_FREE_MIN_BYTES: u64 = 256 << 20;
/// The kernel's preference for killing it when memory runs out: before Pods that serve.
const OOM_SCORE_ADJ: i32 = 900;
const HOSTNAME: &str = "build";

/// The network of a program.
pub(super) enum Net {
    /// The machine's.
    Machine,
    /// A Pod's.
    Pod(PodNet),
    /// A namespace with nothing in it.
    Nothing(OwnedFd),
}

impl Net {
    fn namespace(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Machine => None,
            Self::Pod(net) => Some(net.netns()),
            Self::Nothing(fd) => Some(fd.as_fd()),
        }
    }
}

/// What a `RUN` is given.
pub(super) struct Program<'a> {
    pub(super) run: &'a dockerfile::Run,
    /// Topmost first.
    pub(super) layers: Vec<PathBuf>,
    pub(super) mounts: Vec<Mount>,
    pub(super) net: Net,
    pub(super) namespace: &'a str,
    pub(super) limits: &'a Limits,
    /// More of the environment.
    pub(super) env: Vec<String>,
    /// What it may take of the disk.
    pub(super) room: Room,
    /// Where it writes besides its own files.
    pub(super) writable: Vec<PathBuf>,
}

/// Runs it; what it changed is moved to `upper`, which must not be there yet, if it ended well.
pub(super) async fn run(
    shared: &Arc<Shared>,
    program: Program<'_>,
    output: &Arc<dyn Output>,
    upper: &Path,
) -> Result<Exit, String> {
    let spec = spec(shared, &program)?;
    let (room, writable) = (program.room, program.writable);
    let meter = blocking(move || Ok(Meter::begin(room, writable))).await?;
    let text = |error: io::Error| format!("cannot start the container: {error}");
    let (out, out_end) = pipe::pipe().map_err(text)?;
    let (err, err_end) = pipe::pipe().map_err(text)?;
    let stdin = program.run.stdin.as_deref().map(memory).transpose();
    let stdin = stdin.map_err(text)?;
    let mut roles = vec![Role::Stdout, Role::Stderr];
    let mut fds = vec![out_end.as_fd(), err_end.as_fd()];
    if let Some(stdin) = &stdin {
        roles.push(Role::Stdin);
        fds.push(stdin.as_fd());
    }
    if let Some(netns) = program.net.namespace() {
        roles.push(Role::Netns);
        fds.push(netns);
    }
    let (mut running, events) = Running::register(shared);
    running.events = Some(events);
    let request = Request::Start {
        id: running.id.clone(),
        pod_uid: running.id.clone(),
        roles,
        sharing: crate::launcher::wire::Sharing::default(),
        spec: serde_json::value::to_raw_value(&spec).map_err(|error| error.to_string())?,
    };
    let sent = shared.launchers.send(false, &request, &fds);
    sent.map_err(text)?;
    drop((out_end, err_end, stdin));
    let pumps = [(out, Stream::Stdout), (err, Stream::Stderr)]
        .map(|(fd, stream)| tokio::spawn(pump(fd, stream, Arc::clone(output))));
    let exit = running.wait(&Arc::new(meter)).await?;
    let all = futures_util::future::join_all(pumps);
    let _ = tokio::time::timeout(OUTPUT_WAIT, all).await;
    if exit.code != 0 {
        return Ok(exit);
    }
    let slot = running.slot.clone().unwrap_or_default();
    let slot = Slot(shared.config.data_dir.join("slots").join(slot));
    std::fs::rename(slot.upper(), upper)
        .map_err(|error| format!("cannot take the container's files: {error}"))?;
    Ok(exit)
}

/// What to say of a command that failed.
pub(super) fn failure(run: &dockerfile::Run, exit: Exit, limits: &Limits) -> String {
    let command = run.argv.join(" ");
    let mut text = format!(
        "The command '{command}' returned a non-zero code: {}",
        exit.code
    );
    if exit.oom {
        let limit = limits.memory_bytes.unwrap_or_default() >> 20;
        text.push_str(&format!(" (out of memory: the limit is {limit} MiB)"));
    }
    text
}

fn spec(shared: &Shared, program: &Program<'_>) -> Result<ContainerSpec, String> {
    let run = program.run;
    let confinement = confinement(&Pod::default(), &Container::default(), &run.user)?;
    let host_network = matches!(program.net, Net::Machine);
    let policy = DnsPolicy::of(None, host_network);
    let own = match &program.net {
        Net::Pod(net) => format!("{}\t{HOSTNAME}\n", net.ip()),
        Net::Machine | Net::Nothing(_) => String::new(),
    };
    let mut env = run.env.clone();
    env.extend(run.quiet_env.iter().cloned());
    env.extend(program.env.iter().cloned());
    Ok(ContainerSpec {
        layers: program.layers.clone(),
        exact_changes: true,
        hostname: HOSTNAME.to_owned(),
        hosts: format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{own}"),
        resolv: shared.resolver.resolv_conf(program.namespace, policy, None),
        mounts: program.mounts.clone(),
        limits: program.limits.clone(),
        oom_score_adj: OOM_SCORE_ADJ,
        host_network,
        process: Process {
            args: run.argv.clone(),
            env,
            cwd: run.cwd.clone(),
            user: confinement.user,
            capabilities: confinement.capabilities,
            no_new_privileges: confinement.no_new_privileges,
            tty: false,
        },
        ..ContainerSpec::default()
    })
}

/// A text as a file nobody else has.
fn memory(text: &str) -> io::Result<OwnedFd> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("rekindle-stdin", flags)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

async fn pump(from: OwnedFd, stream: Stream, output: Arc<dyn Output>) {
    let Ok(mut reader) = pipe::Reader::new(from) else {
        return;
    };
    let mut buffer = vec![0; 32 << 10];
    while let Ok(length) = reader.read(&mut buffer).await {
        if length == 0 {
            return;
        }
        output.write(stream, &buffer[..length]);
    }
}

/// A container of a build, from before its start until nothing of it is left.
struct Running {
    shared: Arc<Shared>,
    id: String,
    slot: Option<String>,
    events: Option<mpsc::UnboundedReceiver<Event>>,
    ended: bool,
}

impl Running {
    fn register(shared: &Arc<Shared>) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let id = format!("build-{}", uuid::Uuid::new_v4().simple());
        let events = shared.launchers.follow(&id);
        let running = Self {
            shared: Arc::clone(shared),
            id,
            slot: None,
            events: None,
            ended: false,
        };
        (running, events)
    }

    /// Waits for its end; stops it when it takes too much of the disk, or the disk runs full.
    async fn wait(&mut self, meter: &Arc<Meter>) -> Result<Exit, String> {
        let mut stopped: Option<String> = None;
        let mut pause = DISK_PERIOD;
        loop {
            let Some(events) = &mut self.events else {
                return Err("the launcher has ended".to_owned());
            };
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Started { slot, .. }) => self.slot = Some(slot),
                    Some(Event::StartFailed { slot, message, .. }) => {
                        self.slot = Some(slot);
                        self.ended = true;
                        return Err(message);
                    }
                    Some(Event::Exited { exit, .. }) => {
                        self.ended = true;
                        return match stopped {
                            Some(why) => Err(why),
                            // What it wrote last, nobody has seen yet.
                            None => self.measure(meter).await.map(|()| exit),
                        };
                    }
                    Some(_) => {}
                    None => {
                        self.ended = true;
                        return Err("the launcher has ended".to_owned());
                    }
                },
                () = tokio::time::sleep(pause), if stopped.is_none() => {
                    let begun = std::time::Instant::now();
                    if let Err(why) = self.measure(meter).await {
                        stopped = Some(why);
                        signal(&self.shared, &self.id);
                    }
                    pause = DISK_PERIOD.max(begun.elapsed() * DISK_PERIOD_FACTOR);
                }
            }
        }
    }

    /// Whether there is still room for what it has written.
    async fn measure(&self, meter: &Arc<Meter>) -> Result<(), String> {
        if free_bytes(&self.shared) < DISK_FREE_MIN_BYTES {
            let free = DISK_FREE_MIN_BYTES >> 20;
            return Err(format!("the disk is full: less than {free} MiB are free"));
        }
        let slots = self.shared.config.data_dir.join("slots");
        let upper = self
            .slot
            .as_ref()
            .map(|slot| Slot(slots.join(slot)).upper());
        let meter = Arc::clone(meter);
        blocking(move || meter.check(upper)).await
    }
}

fn free_bytes(shared: &Shared) -> u64 {
    rustix::fs::statvfs(&shared.config.data_dir)
        .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn signal(shared: &Shared, id: &str) {
    let request = Request::Signal {
        id: id.to_owned(),
        signal: libc::SIGKILL,
    };
    let _ = shared.launchers.send(false, &request, &[]);
}

impl Drop for Running {
    /// Kills what still runs; its slot goes when it has ended, on a task beside.
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        let (id, slot, events) = (self.id.clone(), self.slot.take(), self.events.take());
        if !self.ended {
            signal(&shared, &id);
        }
        let ended = self.ended;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let mut slot = slot;
            if let Some(mut events) = events.filter(|_| !ended) {
                while let Some(event) = events.recv().await {
                    match event {
                        Event::Started { slot: made, .. } => {
                            slot = Some(made);
                            signal(&shared, &id);
                        }
                        Event::StartFailed { slot: made, .. } => {
                            slot = Some(made);
                            break;
                        }
                        Event::Exited { .. } => break,
                        _ => {}
                    }
                }
            }
            shared.launchers.unfollow(&id);
            let pod_uid = id.clone();
            for request in [Request::Release { id }, Request::ReleasePod { pod_uid }] {
                let _ = shared.launchers.send(false, &request, &[]);
            }
            if let Some(slot) = slot {
                tokio::task::spawn_blocking(move || remove_slot(&shared, &slot));
            }
        });
    }
}
