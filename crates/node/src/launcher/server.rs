//! The launcher's event loop: requests of the agent, signs of life of children, and the making
//! of spares when nothing else is to be done. What a start takes is in `start`.

mod start;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions};

use super::child::{self, ExecTarget, Order};
use super::spaces::{Pause, Processes};
use super::staging::Slot;
use super::table::{Child, Container, Kind, Table};
use super::wire::{self, Event, Exit, Request, Role};
use super::{rootfs, seccomp, sys, terminal};
use crate::cgroup::Hierarchy;

/// How long after the last start spares are made again: not while a new container boots.
const REFILL_DELAY: Duration = Duration::from_millis(15);
/// How long to wait after a spare that could not be prepared.
const REFILL_DELAY_FAILED: Duration = Duration::from_secs(1);
/// Messages handled in one round at the most.
const EVENTS_MAX: usize = 32;

/// Directory below the data directory for the Pods' `/dev/shm`, where only the launcher sees them.
const SHM: &str = "shm";

const TOKEN_LISTENER: u64 = 0;
const TOKEN_AGENT: u64 = 1;
/// Children's tokens: four a child, of which two are used.
const TOKENS_PER_CHILD: u64 = 4;
const TOKEN_SOCKET: u64 = 2;
const TOKEN_PIDFD: u64 = 3;

/// The launcher's process, from after `main` to its end. `args` are the words after the verb:
/// `DATA_DIR CGROUP_BASE SPARES [unconfined]`; standard input is the listening socket.
pub fn launcher_main(args: impl Iterator<Item = OsString>) -> std::process::ExitCode {
    let args: Vec<OsString> = args.collect();
    match Server::new(&args).and_then(Server::run) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            child::complain(&format!("ended: {error}"));
            std::process::ExitCode::FAILURE
        }
    }
}

struct Server {
    data_dir: PathBuf,
    groups: Hierarchy,
    spares_max: usize,
    /// Makes slot names unique over launchers' lives.
    run: String,
    slots_made: u64,
    refill_at: Option<Instant>,
    /// The process namespace the launcher itself is in.
    own_processes: OwnedFd,
    poll: OwnedFd,
    listener: OwnedFd,
    agent: Option<OwnedFd>,
    table: Table,
    buffer: Vec<u8>,
    done: bool,
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl Server {
    fn new(args: &[OsString]) -> io::Result<Self> {
        let [data_dir, base, spares, rest @ ..] = args else {
            return Err(invalid("usage: DATA_DIR CGROUP_BASE SPARES [unconfined]"));
        };
        let text = |word: &OsString| word.to_str().map(str::to_owned);
        let base = text(base).ok_or_else(|| invalid("the control group's name is not text"))?;
        let spares_max = text(spares)
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| invalid("the number of spares is not a number"))?;
        let data_dir = PathBuf::from(data_dir);
        std::fs::create_dir_all(data_dir.join("slots"))?;
        forget_memory(&data_dir);
        rootfs::make_skeleton(&data_dir.join("skeleton"))?;
        let listener = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 10)?;
        let null = std::fs::File::open("/dev/null")?;
        sys::dup_onto(null.as_fd(), 0)?;
        private_view(&data_dir)?;
        if rest.iter().all(|word| word != "unconfined") {
            seccomp::install().map_err(io::Error::other)?;
        }
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let token = epoll::EventData::new_u64(TOKEN_LISTENER);
        epoll::add(&poll, &listener, token, epoll::EventFlags::IN)?;
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Ok(Self {
            groups: Hierarchy::open(&base)?,
            data_dir,
            spares_max,
            run: format!("{:x}", started.unwrap_or_default().as_millis()),
            slots_made: 0,
            refill_at: Some(Instant::now()),
            own_processes: std::fs::File::open("/proc/self/ns/pid")?.into(),
            poll,
            listener,
            agent: None,
            table: Table::default(),
            buffer: Vec::new(),
            done: false,
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        while !self.done {
            let timeout = self
                .refill_at
                .map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = timeout.map(|left| Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.poll, spare, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let data = event.data;
                self.dispatch(data.u64());
            }
            if self.refill_at.is_some_and(|at| at <= Instant::now()) {
                self.refill();
            }
        }
        self.kill_all();
        Ok(())
    }

    fn dispatch(&mut self, token: u64) {
        let key = token / TOKENS_PER_CHILD;
        match token % TOKENS_PER_CHILD {
            TOKEN_LISTENER if key == 0 => self.accept(),
            TOKEN_AGENT if key == 0 => self.serve_agent(),
            TOKEN_SOCKET => {
                self.child_spoke(key);
            }
            TOKEN_PIDFD => self.child_ended(key),
            _ => {}
        }
    }

    /// The newest agent is the right one: the one before it has died.
    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC;
        let Ok(agent) = rustix::net::accept_with(&self.listener, flags) else {
            return;
        };
        self.drop_agent();
        let token = epoll::EventData::new_u64(TOKEN_AGENT);
        if epoll::add(&self.poll, &agent, token, epoll::EventFlags::IN).is_ok() {
            self.agent = Some(agent);
        }
    }

    /// Without an agent nobody reads what an exec writes: execs end, containers go on.
    fn drop_agent(&mut self) {
        if self.agent.take().is_none() {
            return;
        }
        for (_, child) in self.table.iter() {
            if matches!(child.kind, Kind::Exec { .. }) {
                kill(child, Signal::KILL);
            }
        }
    }

    fn serve_agent(&mut self) {
        let Some(agent) = &self.agent else { return };
        match wire::receive::<Request>(agent.as_fd(), &mut self.buffer) {
            Ok(Some((request, fds))) => self.handle(request, fds),
            Ok(None) => self.drop_agent(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                child::complain(&format!("a request was not understood: {error}"));
            }
            Err(_) => self.drop_agent(),
        }
    }

    fn tell(&mut self, event: &Event, fds: &[BorrowedFd<'_>]) {
        let Some(agent) = &self.agent else { return };
        if wire::send(agent.as_fd(), event, fds).is_err() {
            self.drop_agent();
        }
    }

    fn handle(&mut self, request: Request, fds: Vec<OwnedFd>) {
        match request {
            Request::Start {
                id,
                pod_uid,
                roles,
                sharing,
                spec,
            } => {
                let order = Order { roles, spec };
                if let Err(error) = self.start(&id, (pod_uid, sharing), order, fds) {
                    let message = format!("start: {error}");
                    let slot = String::new();
                    self.tell(&Event::StartFailed { id, slot, message }, &[]);
                }
            }
            Request::Exec {
                id,
                exec_id,
                roles,
                process,
            } => {
                let outcome = self.exec(&id, &exec_id, (roles, fds), *process);
                if let Err(error) = outcome {
                    let message = format!("exec: {error}");
                    self.tell(&Event::ExecFailed { exec_id, message }, &[]);
                }
            }
            Request::Signal { id, signal } => {
                let signal = Signal::from_named_raw(signal);
                if let (Some(child), Some(signal)) = (self.table.named(&id), signal) {
                    kill(child, signal);
                }
            }
            Request::Release { id } => {
                if let Some(key) = self.table.key(&id) {
                    self.table.remove(key);
                }
            }
            Request::ReleasePod { pod_uid } => self.release_pod(&pod_uid),
            Request::List => self.list(),
            Request::Shutdown => self.done = true,
        }
    }

    fn refill(&mut self) {
        self.refill_at = None;
        if self.table.spares().count() >= self.spares_max {
            return;
        }
        match self.make_spare(Processes::Own) {
            Ok(_) => self.refill_at = Some(Instant::now()),
            Err(error) => {
                child::complain(&format!("no spare could be made: {error}"));
                self.refill_at = Some(Instant::now() + REFILL_DELAY_FAILED);
            }
        }
    }

    fn make_spare(&mut self, processes: Processes<'_>) -> io::Result<u64> {
        self.slots_made += 1;
        let name = format!("{}-{}", self.run, self.slots_made);
        let slot = Slot(self.data_dir.join("slots").join(&name));
        slot.create()?;
        let group = self.groups.create(&name)?;
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        match self.fork(processes)? {
            sys::Fork::Child => {
                child::spare(theirs, &slot, &self.data_dir.join("skeleton"), &group)
            }
            sys::Fork::Parent(pid) => {
                let kind = Kind::Spare {
                    slot: name,
                    ready: None,
                    usual: matches!(processes, Processes::Own),
                };
                self.adopt(pid, Some(ours), kind)
            }
        }
    }

    /// Enters a new child into the table and the loop.
    fn adopt(&mut self, pid: i32, socket: Option<OwnedFd>, kind: Kind) -> io::Result<u64> {
        let number = Pid::from_raw(pid).ok_or_else(|| invalid("process number 0"))?;
        let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty())?;
        let child = Child {
            pid,
            pidfd,
            socket,
            failure: None,
            kind,
        };
        let key = self.table.insert(child);
        let Some(child) = self.table.get(key) else {
            return Ok(key);
        };
        let base = key * TOKENS_PER_CHILD;
        let readable = epoll::EventFlags::IN;
        let token = |kind| epoll::EventData::new_u64(base + kind);
        epoll::add(&self.poll, &child.pidfd, token(TOKEN_PIDFD), readable)?;
        if let Some(socket) = &child.socket {
            epoll::add(&self.poll, socket, token(TOKEN_SOCKET), readable)?;
        }
        Ok(key)
    }

    /// A child's socket is readable: ready, a terminal, a failure, an exec's number, or closed by
    /// exec. Says whether there was anything.
    fn child_spoke(&mut self, key: u64) -> bool {
        let mut text = [0; 4096];
        let Some(child) = self.table.get(key) else {
            return false;
        };
        let Some(socket) = &child.socket else {
            return false;
        };
        let got = wire::receive_bytes(socket.as_fd(), &mut text, RecvFlags::DONTWAIT);
        let (length, mut fds) = match got {
            Ok(got) => got,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return false,
                _ => (0, Vec::new()),
            },
        };
        match (&text[..length], &mut child.kind) {
            ([], _) => self.child_closed(key),
            ([child::READY], Kind::Spare { ready, .. }) => *ready = fds.pop(),
            ([terminal::CONSOLE_COMES], _) => {
                if let Some(other) = fds.pop() {
                    self.console(key, &other);
                }
            }
            ([child::EXEC_PID, number @ ..], Kind::Exec { .. }) => {
                let pid = number.try_into().map(i32::from_ne_bytes);
                if let Ok(pid) = pid {
                    self.exec_forked(key, pid);
                }
            }
            (words, _) => child.failure = Some(String::from_utf8_lossy(words).into_owned()),
        }
        true
    }

    /// A process has made its terminal: the other end goes to the agent, and that of a container
    /// is kept for the next one.
    fn console(&mut self, key: u64, other: &OwnedFd) {
        let Some(child) = self.table.get(key) else {
            return;
        };
        let id = match &mut child.kind {
            Kind::Container(container) => {
                if let Ok(copy) = rustix::io::fcntl_dupfd_cloexec(other, 0) {
                    container.kept.push((Role::KeepTty, copy));
                }
                container.id.clone()
            }
            Kind::Exec { exec_id, .. } => exec_id.clone(),
            Kind::Spare { .. } | Kind::Pause { .. } | Kind::Helped => return,
        };
        self.tell(&Event::Console { id }, &[other.as_fd()]);
    }

    /// The socket is closed: the program runs, unless a failure came before.
    fn child_closed(&mut self, key: u64) {
        let Some(child) = self.table.get(key) else {
            return;
        };
        child.socket = None;
        if child.failure.is_some() {
            return;
        }
        let event = match &child.kind {
            Kind::Container(Container { id, slot, .. }) => Event::Started {
                id: id.clone(),
                pid: child.pid,
                slot: slot.clone(),
            },
            Kind::Exec {
                exec_id,
                running: true,
            } => Event::ExecStarted {
                exec_id: exec_id.clone(),
            },
            _ => return,
        };
        self.tell(&event, &[]);
    }

    fn exec(
        &mut self,
        id: &str,
        exec_id: &str,
        (roles, fds): (Vec<Role>, Vec<OwnedFd>),
        process: super::Process,
    ) -> io::Result<()> {
        let child = self
            .table
            .named(id)
            .ok_or_else(|| invalid("the container is not running"))?;
        let Kind::Container(Container {
            slot, exit: None, ..
        }) = &child.kind
        else {
            return Err(invalid("the container is not running"));
        };
        let group = self.groups.group(slot);
        let pidfd = rustix::io::fcntl_dupfd_cloexec(&child.pidfd, 0)?;
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        match sys::fork(0)? {
            sys::Fork::Child => child::exec_helper(
                theirs,
                ExecTarget {
                    pidfd,
                    group,
                    process,
                    roles,
                },
                fds,
            ),
            sys::Fork::Parent(pid) => {
                drop(theirs);
                let kind = Kind::Exec {
                    exec_id: exec_id.to_owned(),
                    running: false,
                };
                let key = self.adopt(pid, Some(ours), kind)?;
                self.table.name(exec_id, key);
            }
        }
        Ok(())
    }

    /// The helper has forked the process itself, which from now on is the exec.
    fn exec_forked(&mut self, key: u64, pid: i32) {
        let Some(child) = self.table.get(key) else {
            return;
        };
        let Kind::Exec { exec_id, .. } = &child.kind else {
            return;
        };
        let exec_id = exec_id.clone();
        let Some(socket) = child.socket.take() else {
            return;
        };
        // What the process itself has said already came first and fails the exec.
        if child.failure.is_none() {
            child.kind = Kind::Helped;
        }
        let _ = epoll::delete(&self.poll, &socket);
        let kind = Kind::Exec {
            exec_id: exec_id.clone(),
            running: true,
        };
        match self.adopt(pid, Some(socket), kind) {
            Ok(new) => self.table.name(&exec_id, new),
            Err(error) => {
                let message = format!("follow the process: {error}");
                self.tell(&Event::ExecFailed { exec_id, message }, &[]);
            }
        }
    }

    fn child_ended(&mut self, key: u64) {
        // What it said last comes before its end; the socket may hold several packets.
        while self.child_spoke(key) {}
        let Some(child) = self.table.get(key) else {
            return;
        };
        let Some(exit) = reap(child.pid) else { return };
        let _ = epoll::delete(&self.poll, &child.pidfd);
        let failure = child.failure.take();
        let (event, forget) = match &mut child.kind {
            Kind::Spare { slot, .. } => {
                let why = failure.as_deref().unwrap_or("it ended");
                child::complain(&format!("spare {slot}: {why}"));
                self.refill_at = Some(Instant::now() + REFILL_DELAY_FAILED);
                (None, true)
            }
            Kind::Container(container) => {
                let oom_kills = self.groups.group(&container.slot).oom_kills();
                let oom = exit.code != 0 && oom_kills > 0;
                let exit = Exit { oom, ..exit };
                container.exit = Some(exit);
                let id = container.id.clone();
                let slot = container.slot.clone();
                match failure {
                    Some(message) => (Some(Event::StartFailed { id, slot, message }), true),
                    None => (Some(Event::Exited { id, exit }), false),
                }
            }
            Kind::Exec { exec_id, running } => {
                let exec_id = exec_id.clone();
                let event = match failure {
                    None if *running => Event::ExecExited { exec_id, exit },
                    // It shares the container's control group, and may end with it.
                    failure => {
                        let killed = || "the container ended before the process ran".to_owned();
                        let message = failure.unwrap_or_else(killed);
                        Event::ExecFailed { exec_id, message }
                    }
                };
                (Some(event), true)
            }
            Kind::Helped => (None, true),
            Kind::Pause { pod_uid } => {
                let pod_uid = pod_uid.clone();
                let of_this = |pause: &Pause| pause.key == key;
                if self.table.pauses.get(&pod_uid).is_some_and(of_this) {
                    self.table.pauses.remove(&pod_uid);
                }
                (None, true)
            }
        };
        if forget {
            self.table.remove(key);
        }
        if let Some(event) = event {
            self.tell(&event, &[]);
        }
    }

    fn list(&mut self) {
        let mut known = Vec::new();
        for (_, child) in self.table.iter() {
            let Kind::Container(container) = &child.kind else {
                continue;
            };
            let event = Event::Known {
                id: container.id.clone(),
                pod_uid: container.pod_uid.clone(),
                pid: child.pid,
                slot: container.slot.clone(),
                exit: container.exit,
                roles: container.kept.iter().map(|(role, _)| *role).collect(),
            };
            let fds: io::Result<Vec<OwnedFd>> = container
                .kept
                .iter()
                .map(|(_, fd)| Ok(rustix::io::fcntl_dupfd_cloexec(fd, 0)?))
                .collect();
            known.push((event, fds.unwrap_or_default()));
        }
        for (event, fds) in known {
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            self.tell(&event, &fds);
        }
        let spare_slots = self
            .table
            .spares()
            .map(|(_, slot, _)| slot.to_owned())
            .collect();
        self.tell(&Event::Listed { spare_slots }, &[]);
    }

    /// Ends every child and reaps it, in the order in which they end: the first process of a
    /// process namespace ends only after all others in it have been reaped.
    fn kill_all(&self) {
        for (_, child) in self.table.iter() {
            kill(child, Signal::KILL);
        }
        let children = self.table.iter().map(|(_, child)| child.pid);
        let mut left: BTreeSet<i32> = children.collect();
        while !left.is_empty() {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, _))) => drop(left.remove(&pid.as_raw_nonzero().get())),
                Ok(None) | Err(Errno::INTR) => {}
                // There are no children, whatever the table says.
                Err(_) => return,
            }
        }
    }
}

/// Gives the launcher mounts of its own: what it mounts nobody sees, what the machine mounts
/// later it sees, and children copy a tree that is private already.
fn private_view(data_dir: &Path) -> io::Result<()> {
    let _ = rustix::process::setsid();
    rustix::process::chdir("/")?;
    sys::unshare(libc::CLONE_NEWNS)?;
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags)?;
    // Names of network namespaces, whose copies here would keep released ones alive.
    let _ = rustix::mount::unmount(data_dir.join("netns"), UnmountFlags::DETACH);
    rustix::thread::set_name(c"rekindle-launch")?;
    Ok(())
}

/// Removes the places where a launcher before this one had the Pods' `/dev/shm`; the mounts went
/// with it.
fn forget_memory(data_dir: &Path) {
    let dirs = std::fs::read_dir(data_dir.join(SHM));
    for dir in dirs.into_iter().flatten().flatten() {
        let _ = std::fs::remove_dir(dir.path());
    }
}

/// Sends a signal to a child, or silently to none: its number may be another process's once it
/// has been reaped.
fn kill(child: &Child, signal: Signal) {
    let _ = rustix::process::pidfd_send_signal(&child.pidfd, signal);
}

fn reap(pid: i32) -> Option<Exit> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = rustix::process::waitid(WaitId::Pid(Pid::from_raw(pid)?), options).ok()??;
    let signal = status.terminating_signal().unwrap_or(0);
    let code = status.exit_status().unwrap_or(128 + signal);
    Some(Exit {
        code,
        signal,
        oom: false,
    })
}
