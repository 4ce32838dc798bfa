//! The messages between agent and launcher, and the framing: one JSON value a packet over a
//! sequenced-packet socket, descriptors beside it. Both sides of the socket use this file.

use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A message longer than this travels as a memory file instead of inline.
const INLINE_MAX_BYTES: usize = 96 << 10;
/// Descriptors in one message at the most.
const FDS_MAX: usize = 16;
/// First byte of a packet whose message follows it.
const INLINE: u8 = b'J';
/// First byte of a packet whose message is in the memory file that is its last descriptor.
const IN_FILE: u8 = b'F';

/// What a descriptor beside a message is for. Those called `Keep…` are kept by the launcher so that
/// output survives the agent, the others go to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The process's standard input.
    Stdin,
    /// The process's standard output.
    Stdout,
    /// The process's standard error.
    Stderr,
    /// A terminal for all three. The process opens it in its own container; never sent.
    Tty,
    /// The Pod's network namespace.
    Netns,
    /// The Pod's IPC namespace.
    Ipc,
    /// The Pod's host name namespace.
    Uts,
    /// The Pod's `/dev/shm`, as a detached mount.
    Shm,
    /// The process namespace the process is born into; for the launcher itself.
    Processes,
    /// The other end of standard input.
    KeepStdin,
    /// The other end of standard output.
    KeepStdout,
    /// The other end of standard error.
    KeepStderr,
    /// The other end of the terminal.
    KeepTty,
}

impl Role {
    /// Whether the launcher holds the descriptor back for the next agent.
    pub const fn is_kept(self) -> bool {
        matches!(
            self,
            Self::KeepStdin | Self::KeepStdout | Self::KeepStderr | Self::KeepTty
        )
    }
}

/// Agent to launcher.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Run a container. Descriptors: one per role.
    Start {
        /// The agent's name for the container, unique for ever.
        id: String,
        /// The Pod, whose IPC and host name namespaces its containers share.
        pod_uid: String,
        /// What the descriptors are.
        roles: Vec<Role>,
        /// What the Pod's containers share beyond its network.
        #[serde(default)]
        sharing: Sharing,
        /// A [`super::ContainerSpec`]; the launcher passes it on unread.
        spec: Box<RawValue>,
    },
    /// Run a process in a container that runs.
    Exec {
        /// The container.
        id: String,
        /// The agent's name for the exec.
        exec_id: String,
        /// What the descriptors are.
        roles: Vec<Role>,
        /// What to run.
        process: Box<super::Process>,
    },
    /// Send a signal to a container's first process or to an exec.
    Signal {
        /// Container or exec.
        id: String,
        /// The signal's number.
        signal: i32,
    },
    /// Forget an exited container.
    Release {
        /// The container.
        id: String,
    },
    /// Forget a Pod's shared namespaces.
    ReleasePod {
        /// The Pod.
        pod_uid: String,
    },
    /// Tell everything that is known: one [`Event::Known`] per container, then
    /// [`Event::Listed`].
    List,
    /// Kill everything and end.
    Shutdown,
}

/// Which namespaces a Pod's containers share, with each other or with the machine. Host name and,
/// without a word here, inter-process communication are the Pod's, and each container has its own
/// processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sharing {
    /// `hostIPC`: the machine's inter-process communication and `/dev/shm`.
    pub host_ipc: bool,
    /// `hostPID`: the machine's processes.
    pub host_pid: bool,
    /// `shareProcessNamespace`: one process namespace for all containers of the Pod.
    pub pod_pid: bool,
}

/// Launcher to agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The container's program runs.
    Started {
        /// The container.
        id: String,
        /// Its first process, in the machine's numbering.
        pid: i32,
        /// The slot it lives in: directory below `slots` and control group of this name.
        slot: String,
    },
    /// The container's program could not be run.
    StartFailed {
        /// The container.
        id: String,
        /// The slot that was used up.
        slot: String,
        /// The step that failed and why.
        message: String,
    },
    /// The container's first process ended.
    Exited {
        /// The container.
        id: String,
        /// How.
        exit: Exit,
    },
    /// A process has its terminal; comes before its start. Descriptor: the terminal's other end.
    Console {
        /// The container or the exec.
        id: String,
    },
    /// The exec's program runs.
    ExecStarted {
        /// The exec.
        exec_id: String,
    },
    /// The exec's program could not be run.
    ExecFailed {
        /// The exec.
        exec_id: String,
        /// The step that failed and why.
        message: String,
    },
    /// The exec ended.
    ExecExited {
        /// The exec.
        exec_id: String,
        /// How.
        exit: Exit,
    },
    /// Answer to [`Request::List`]: a container. Descriptors: the kept ones, one per role.
    Known {
        /// The container.
        id: String,
        /// The Pod.
        pod_uid: String,
        /// Its first process.
        pid: i32,
        /// Its slot.
        slot: String,
        /// How it ended, when it did.
        exit: Option<Exit>,
        /// What the descriptors are.
        roles: Vec<Role>,
    },
    /// Answer to [`Request::List`]: that was all.
    Listed {
        /// Slots made ahead and not yet used.
        spare_slots: Vec<String>,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 plus the signal's number for a process killed by a signal.
    pub code: i32,
    /// The signal that killed it, or 0.
    pub signal: i32,
    /// Whether the kernel killed a process of the container for want of memory.
    pub oom: bool,
}

impl Exit {
    /// An orderly end.
    pub const CLEAN: Self = Self {
        code: 0,
        signal: 0,
        oom: false,
    };
    /// An end by `SIGKILL`.
    pub const KILLED: Self = Self {
        code: 137,
        signal: 9,
        oom: false,
    };
}

/// Sends one message. `EAGAIN` when the socket does not block and is full.
pub fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    if body.len() <= INLINE_MAX_BYTES {
        return send_packet(socket, INLINE, &body, fds);
    }
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("rekindle-message", flags)?);
    file.write_all(&body)?;
    let mut all = fds.to_vec();
    all.push(file.as_fd());
    send_packet(socket, IN_FILE, &[], &all)
}

fn send_packet(
    socket: BorrowedFd<'_>,
    kind: u8,
    body: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let kind = [kind];
    send_parts(socket, &[IoSlice::new(&kind), IoSlice::new(body)], fds)
}

/// Sends a few bytes that are no message, and descriptors.
pub(super) fn send_bytes(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    send_parts(socket, &[IoSlice::new(bytes)], fds)
}

fn send_parts(
    socket: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if fds.len() > FDS_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many descriptors",
        ));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    rustix::net::sendmsg(socket, parts, &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet as it is: its length, zero at the end of the connection, and descriptors.
pub(super) fn receive_bytes(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: RecvFlags,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let got = rustix::net::recvmsg(socket, &mut parts, &mut control, flags)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(list) = message {
            fds.extend(list);
        }
    }
    Ok((got.bytes, fds))
}

/// Receives one message and its descriptors; `None` at the end of the connection.
pub fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    buffer.resize(INLINE_MAX_BYTES + 1, 0);
    let (length, mut fds) = receive_bytes(socket, buffer, RecvFlags::empty())?;
    let body = match buffer[..length].split_first() {
        None => return Ok(None),
        Some((&INLINE, body)) => return Ok(Some((serde_json::from_slice(body)?, fds))),
        Some((&IN_FILE, _)) => fds.pop(),
        Some(_) => None,
    };
    let Some(body) = body else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "packet of an unknown kind",
        ));
    };
    let mut file = std::fs::File::from(body);
    let mut text = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut text)?;
    Ok(Some((serde_json::from_slice(&text)?, fds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn check(text: &str) {
        let pair = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        );
        let (a, b) = pair.expect("socketpair");
        let message = Request::Release {
            id: text.to_owned(),
        };
        send(a.as_fd(), &message, &[a.as_fd()]).expect("send");
        drop(a);
        let mut buffer = Vec::new();
        let (got, fds) = receive::<Request>(b.as_fd(), &mut buffer)
            .expect("receive")
            .expect("one");
        assert_eq!(fds.len(), 1);
        drop(fds);
        let Request::Release { id } = got else {
            panic!("another message came out")
        };
        assert_eq!(id, text);
        assert!(
            receive::<Request>(b.as_fd(), &mut buffer)
                .expect("receive")
                .is_none()
        );
    }

    #[test]
    fn messages_and_descriptors_arrive_inline_and_in_a_file() {
        check("short");
        check(&"long".repeat(100_000));
    }
}
