//! The agent's side of the launcher: find the running one or start one, send requests, hand
//! events to whoever they concern.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::wire::{self, Event, Request};

/// Name of the socket in the data directory.
const SOCKET: &str = "launcher.sock";
/// Name of the launcher's own log in the data directory.
const LOG: &str = "launcher.log";
/// Agents that may wait to be accepted.
const BACKLOG: i32 = 8;
/// The thread that waits for the launcher's end does nothing, but the allocator's first steps in a
/// thread take more than 64 KiB where it was built without optimisation.
const WAITER_STACK_BYTES: usize = 256 << 10;

/// How to start a launcher.
#[derive(Clone, Debug)]
pub struct Options {
    /// Program and first words; the launcher's own arguments follow.
    pub command: Vec<OsString>,
    /// The node's data directory.
    pub data_dir: PathBuf,
    /// Name of the base control group.
    pub cgroup_base: String,
    /// Containers prepared ahead.
    pub spares: usize,
    /// Whether its containers run without the system call filter.
    pub unconfined: bool,
}

/// A connection to a launcher.
#[derive(Clone, Debug)]
pub struct Client {
    socket: Arc<UnixDatagram>,
}

impl Client {
    /// Connects to the launcher of the data directory, starting one if none answers. Must be
    /// called inside a tokio runtime.
    pub fn open(options: &Options) -> io::Result<Self> {
        let name = socket_name(options.unconfined);
        let socket = match connect(&options.data_dir, &name) {
            Ok(socket) => socket,
            Err(_) => {
                start(options, &name)?;
                connect(&options.data_dir, &name)?
            }
        };
        Self::new(socket)
    }

    /// Connects to the launcher of the data directory, if one answers.
    pub(crate) fn connect(data_dir: &Path, unconfined: bool) -> Option<Self> {
        Self::new(connect(data_dir, &socket_name(unconfined)).ok()?).ok()
    }

    fn new(socket: OwnedFd) -> io::Result<Self> {
        // Any kind of unix socket will do for tokio; only readiness is asked of it.
        let socket = std::os::unix::net::UnixDatagram::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Arc::new(UnixDatagram::from_std(socket)?),
        })
    }

    /// Sends a request. When the launcher is behind, waits until it has caught up.
    pub fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let socket = &*self.socket;
        loop {
            match wire::send(socket.as_fd(), request, fds) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut wait = [PollFd::new(socket, PollFlags::OUT)];
                    match rustix::event::poll(&mut wait, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Waits until the launcher has closed its side. Only for when nobody else reads.
    pub(crate) async fn gone(&self) {
        let socket = &*self.socket;
        loop {
            let mut wait = [PollFd::new(socket, PollFlags::empty())];
            let gone = rustix::event::poll(
                &mut wait,
                Some(&Timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                }),
            );
            if gone.is_err() || wait[0].revents().contains(PollFlags::HUP) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The next event; `None` when the launcher is gone.
    pub async fn next(&self, buffer: &mut Vec<u8>) -> io::Result<Option<(Event, Vec<OwnedFd>)>> {
        loop {
            self.socket.readable().await?;
            let socket = &*self.socket;
            let received =
                socket.try_io(Interest::READABLE, || wire::receive(socket.as_fd(), buffer));
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
        }
    }
}

fn socket_name(unconfined: bool) -> String {
    match unconfined {
        true => format!("unconfined-{SOCKET}"),
        false => SOCKET.to_owned(),
    }
}

fn unix_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// The socket's address by way of the directory's descriptor: the directory's own path may be
/// longer than an address can be.
fn address(dir: &fs::File, name: &str) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(format!(
        "/proc/self/fd/{}/{name}",
        dir.as_raw_fd()
    ))?)
}

fn connect(data_dir: &Path, name: &str) -> io::Result<OwnedFd> {
    let dir = fs::File::open(data_dir)?;
    let socket = unix_socket()?;
    rustix::net::connect(&socket, &address(&dir, name)?)?;
    Ok(socket)
}

/// Starts a launcher that listens already, so that connecting needs no waiting.
fn start(options: &Options, name: &str) -> io::Result<()> {
    let dir = fs::File::open(&options.data_dir)?;
    let _ = fs::remove_file(options.data_dir.join(name));
    let listener = unix_socket()?;
    rustix::net::bind(&listener, &address(&dir, name)?)?;
    rustix::net::listen(&listener, BACKLOG)?;
    let log = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(options.data_dir.join(LOG))?;
    let Some((program, first)) = options.command.split_first() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no launcher command",
        ));
    };
    let mut command = Command::new(program);
    command
        .args(first)
        .arg(&options.data_dir)
        .arg(&options.cgroup_base)
        .arg(options.spares.to_string())
        .stdin(Stdio::from(listener))
        .stdout(Stdio::null())
        .stderr(Stdio::from(log));
    if options.unconfined {
        command.arg("unconfined");
    }
    let mut child = command.spawn()?;
    // Reaps it should it end before this process does; otherwise it lives on.
    std::thread::Builder::new()
        .name("launcher-wait".to_owned())
        .stack_size(WAITER_STACK_BYTES)
        .spawn(move || child.wait())?;
    Ok(())
}
