//! What runs between fork and exec: a spare prepares everything that does not depend on the
//! container, waits for its specification, finishes, and becomes the container's program.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode};
use rustix::thread::LinkNameSpaceType;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::failure::{Failure, Step};
use super::spec::{ContainerSpec, Process};
use super::staging::{self, Slot};
use super::user::{self, Identity};
use super::wire::{self, Role};
use super::{caps, rootfs, sys, terminal, tree};
use crate::cgroup::Group;

/// Where the socket to the launcher is in a child.
const SOCKET_FD: i32 = 3;
/// `PATH` of a process whose image and Pod say nothing.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Exit code of a process that never became the container's program (as runtimes have it).
pub const EXIT_NOT_STARTED: i32 = 128;

/// What the launcher hands to a spare.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    /// What the descriptors beside the order are.
    pub roles: Vec<Role>,
    /// A [`ContainerSpec`].
    pub spec: Box<RawValue>,
}

/// The life of a spare, from the fork on. Never returns.
pub(super) fn spare(socket: OwnedFd, slot: &Slot, skeleton: &Path, group: &Group) -> ! {
    let socket = only(socket);
    let failed = match socket {
        Ok(socket) => {
            let Err(failure) = run_spare(&socket, slot, skeleton, group);
            report(socket.as_fd(), &failure)
        }
        Err(_) => EXIT_NOT_STARTED,
    };
    sys::exit_now(failed)
}

/// Nothing: a step that succeeds does not come back.
pub(super) enum Never {}

fn run_spare(
    socket: &OwnedFd,
    slot: &Slot,
    skeleton: &Path,
    group: &Group,
) -> Result<Never, Failure> {
    rustix::process::umask(Mode::empty());
    group.join().step("join the control group")?;
    sys::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | NEW_CGROUP)
        .step("make namespaces")?;
    staging::build(slot, group)?;
    let shm = tree::clone(CWD, &slot.shm(), false).step("open /dev/shm")?;
    wire::send_bytes(socket.as_fd(), &[READY], &[shm.as_fd()]).step("say ready")?;
    drop(shm);
    let mut buffer = Vec::new();
    let order = wire::receive::<Order>(socket.as_fd(), &mut buffer).step("take the order")?;
    // The launcher is gone, and nobody will ever use this spare.
    let Some((order, fds)) = order else {
        sys::exit_now(0)
    };
    let spec: ContainerSpec = serde_json::from_str(order.spec.get()).step("read the order")?;
    let mut given = Given(order.roles.into_iter().zip(fds).collect());
    group.limit(&spec.limits).step("set the limits")?;
    // Lowering it needs a right the daemon may not have; it is advice all the same.
    let _ = fs::write("/proc/self/oom_score_adj", spec.oom_score_adj.to_string());
    join_pod(&given, &spec)?;
    let shared = rootfs::Shared {
        ipc: given.get(Role::Ipc).is_some(),
        shm: given.get(Role::Shm),
    };
    rootfs::enter(slot, skeleton, &spec, &shared)?;
    if spec.process.tty {
        let terminal = terminal::open(socket.as_fd())?;
        terminal::show_as_console(&terminal, spec.privileged)?;
        given.0.push((Role::Tty, terminal));
    }
    become_program(&spec.process, &given)
}

const NEW_CGROUP: libc::c_int = libc::CLONE_NEWCGROUP;

/// Keeps one descriptor, on [`SOCKET_FD`], and closes the launcher's others.
fn only(socket: OwnedFd) -> io::Result<OwnedFd> {
    if socket.as_raw_fd() != SOCKET_FD {
        sys::dup_onto(socket.as_fd(), SOCKET_FD)?;
    }
    std::mem::forget(socket);
    sys::close_from(SOCKET_FD.unsigned_abs() + 1);
    let socket = sys::own(SOCKET_FD)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(socket)
}

/// Tells the launcher what went wrong and gives the code to exit with.
fn report(socket: BorrowedFd<'_>, failure: &Failure) -> i32 {
    let _ = rustix::io::write(socket, failure.to_string().as_bytes());
    EXIT_NOT_STARTED
}

/// The descriptors beside an order.
struct Given(Vec<(Role, OwnedFd)>);

impl Given {
    fn get(&self, role: Role) -> Option<&OwnedFd> {
        self.0
            .iter()
            .find(|(have, _)| *have == role)
            .map(|(_, fd)| fd)
    }
}

fn join_pod(given: &Given, spec: &ContainerSpec) -> Result<(), Failure> {
    let shared = [
        (Role::Netns, LinkNameSpaceType::Network),
        (Role::Ipc, LinkNameSpaceType::InterProcessCommunication),
        (Role::Uts, LinkNameSpaceType::HostNameAndNISDomainName),
    ];
    for (role, kind) in shared {
        if let Some(fd) = given.get(role) {
            rustix::thread::move_into_link_name_space(fd.as_fd(), Some(kind))
                .step("join the Pod's namespaces")?;
        }
    }
    rustix::system::sethostname(spec.hostname.as_bytes()).step("set the host name")
}

/// From inside the container's root to its program.
fn become_program(process: &Process, given: &Given) -> Result<Never, Failure> {
    let cwd = if process.cwd.is_empty() {
        "/"
    } else {
        &process.cwd
    };
    enter_directory(cwd)?;
    let identity = identity(&process.user)?;
    let env = environment(process, &identity);
    let program = find_program(process, &env)?;
    stdio(process, given, &identity).step("connect standard streams")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    take_identity(&identity, process)?;
    let args = c_strings(&process.args)?;
    let env = c_strings(&env)?;
    sys::reset_signals();
    let error = sys::exec(&program, &args, &env);
    Err(Failure::new(
        format!("exec {}", program.to_string_lossy()),
        error,
    ))
}

fn enter_directory(cwd: &str) -> Result<(), Failure> {
    if rustix::process::chdir(cwd).is_ok() {
        return Ok(());
    }
    fs::create_dir_all(cwd).step_on("make the working directory", cwd)?;
    rustix::process::chdir(cwd).step_on("enter the working directory", cwd)
}

fn identity(wanted: &super::User) -> Result<Identity, Failure> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    user::resolve(wanted, &read("/etc/passwd"), &read("/etc/group")).step("find the user")
}

/// The environment as given, with `PATH` and `HOME` where they are missing.
fn environment(process: &Process, identity: &Identity) -> Vec<String> {
    let mut env = process.env.clone();
    let has = |env: &[String], name: &str| {
        env.iter()
            .any(|pair| pair.split_once('=').is_some_and(|(have, _)| have == name))
    };
    if !has(&env, "PATH") {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
    if !has(&env, "HOME") {
        env.push(format!("HOME={}", identity.home.as_deref().unwrap_or("/")));
    }
    if process.tty && !has(&env, "TERM") {
        env.push("TERM=xterm".to_owned());
    }
    env
}

/// The program's path: as it is with a slash in it, otherwise from `PATH`.
fn find_program(process: &Process, env: &[String]) -> Result<CString, Failure> {
    let Some(name) = process.args.first().filter(|name| !name.is_empty()) else {
        return Err(Failure::new("exec", "no command specified"));
    };
    let path = if name.contains('/') {
        Some(name.clone())
    } else {
        search(name, env)
    };
    let Some(path) = path else {
        let text = format!("exec: {name:?}");
        return Err(Failure::new(text, "executable file not found in $PATH"));
    };
    CString::new(path).step("exec")
}

fn search(name: &str, env: &[String]) -> Option<String> {
    let path = env.iter().find_map(|pair| pair.strip_prefix("PATH="))?;
    path.split(':')
        .map(|dir| if dir.is_empty() { "." } else { dir })
        .find_map(|dir| {
            let file = format!("{dir}/{name}");
            let is_file = fs::metadata(&file).is_ok_and(|kind| kind.is_file());
            let runs = rustix::fs::access(&file, rustix::fs::Access::EXEC_OK).is_ok();
            (is_file && runs).then_some(file)
        })
}

fn stdio(process: &Process, given: &Given, identity: &Identity) -> io::Result<()> {
    rustix::process::setsid()?;
    let owner = Some(rustix::fs::Uid::from_raw(identity.uid));
    if let Some(tty) = given.get(Role::Tty) {
        let _ = rustix::fs::fchown(tty, owner, None);
        (0..=2).try_for_each(|target| sys::dup_onto(tty.as_fd(), target))?;
        if process.tty {
            sys::set_controlling_terminal(tty.as_fd())?;
        }
        return Ok(());
    }
    let streams = [(Role::Stdin, 0), (Role::Stdout, 1), (Role::Stderr, 2)];
    let mut null = None;
    if streams.iter().any(|(role, _)| given.get(*role).is_none()) {
        let mut options = fs::OpenOptions::new();
        null = Some(options.read(true).write(true).open("/dev/null")?);
    }
    for (role, target) in streams {
        match (given.get(role), &null) {
            (Some(fd), _) => {
                // Who is not root may open /dev/stdout anew only if it is theirs.
                let _ = rustix::fs::fchown(fd, owner, None);
                sys::dup_onto(fd.as_fd(), target)?;
            }
            (None, Some(null)) => sys::dup_onto(null.as_fd(), target)?,
            (None, None) => {}
        }
    }
    Ok(())
}

fn take_identity(identity: &Identity, process: &Process) -> Result<(), Failure> {
    let (uid, gid) = (
        rustix::fs::Uid::from_raw(identity.uid),
        rustix::fs::Gid::from_raw(identity.gid),
    );
    let groups: Vec<_> = identity
        .groups
        .iter()
        .map(|group| rustix::fs::Gid::from_raw(*group))
        .collect();
    caps::bound(process.capabilities).step("bound the capabilities")?;
    rustix::thread::set_thread_groups(&groups).step("set the groups")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).step("set the group")?;
    rustix::thread::set_keep_capabilities(true).step("keep the capabilities")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).step("set the user")?;
    caps::drop_to(process.capabilities).step("drop the capabilities")?;
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).step("forbid new privileges")?;
    }
    Ok(())
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>, Failure> {
    texts
        .iter()
        .map(|text| CString::new(text.as_str()).step("exec"))
        .collect()
}

/// The life of an exec's helper: enters the container's namespaces and forks the process as a
/// child of the launcher, whose number it tells on the socket. Never returns.
pub(super) fn exec_helper(socket: OwnedFd, target: ExecTarget, fds: Vec<OwnedFd>) -> ! {
    let failed = match run_exec(&socket, &target, fds) {
        Ok(()) => 0,
        Err(failure) => report(socket.as_fd(), &failure),
    };
    sys::exit_now(failed)
}

/// What an exec's helper needs to know.
pub(super) struct ExecTarget {
    /// A handle on the container's first process.
    pub pidfd: OwnedFd,
    /// The container's control group.
    pub group: Group,
    /// What to run.
    pub process: Process,
    /// What the descriptors are.
    pub roles: Vec<Role>,
}

/// What a spare says when it is prepared.
pub(super) const READY: u8 = 1;
/// First byte of a helper's message that holds the number of the forked process.
pub(super) const EXEC_PID: u8 = 0;

fn run_exec(socket: &OwnedFd, target: &ExecTarget, fds: Vec<OwnedFd>) -> Result<(), Failure> {
    use rustix::thread::ThreadNameSpaceType as Ns;
    target.group.join().step("join the control group")?;
    let all = Ns::MOUNT
        | Ns::PROCESS_ID
        | Ns::NETWORK
        | Ns::INTER_PROCESS_COMMUNICATION
        | Ns::HOST_NAME_AND_NIS_DOMAIN_NAME
        | Ns::CONTROL_GROUP;
    rustix::thread::move_into_thread_name_spaces(target.pidfd.as_fd(), all)
        .step("enter the container")?;
    let mut given = Given(target.roles.iter().copied().zip(fds).collect());
    match sys::fork(libc::CLONE_PARENT).step("fork")? {
        sys::Fork::Parent(pid) => {
            let mut message = vec![EXEC_PID];
            message.extend(pid.to_ne_bytes());
            rustix::io::write(socket, &message).step("tell the process number")?;
            Ok(())
        }
        sys::Fork::Child => {
            let Err(failure) = become_exec(socket, &target.process, &mut given);
            sys::exit_now(report(socket.as_fd(), &failure))
        }
    }
}

fn become_exec(socket: &OwnedFd, process: &Process, given: &mut Given) -> Result<Never, Failure> {
    if process.tty {
        given.0.push((Role::Tty, terminal::open(socket.as_fd())?));
    }
    become_program(process, given)
}

/// Writes a line to the launcher's log; all there is when the agent cannot be told.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "launcher: {text}");
}
