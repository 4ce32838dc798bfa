//! What the containers of a Pod share: host name, inter-process communication with `/dev/shm`,
//! and processes where the Pod asks for it. The launcher keeps it from the Pod's first container
//! until the Pod is released, so that it outlives each of them.

use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::UnmountFlags;

use super::tree;

/// The machine's own shared memory.
const MACHINE_SHM: &str = "/dev/shm";

/// Whose processes a container sees.
#[derive(Clone, Copy)]
pub(super) enum Processes<'a> {
    /// Its own.
    Own,
    /// Those of all containers of the Pod with this UID.
    Pod(&'a str),
    /// Those of this namespace.
    Joined(BorrowedFd<'a>),
    /// All of the machine.
    Machine,
}

/// A Pod's process namespace.
pub(super) struct Pause {
    /// The number of its first process in the launcher's table.
    pub key: u64,
    /// The namespace.
    pub namespace: OwnedFd,
}

/// A Pod's namespaces, and its memory files.
pub(super) struct PodSpaces {
    /// Inter-process communication.
    pub ipc: OwnedFd,
    /// Host name.
    pub uts: OwnedFd,
    shm: Shm,
}

/// Where a Pod's `/dev/shm` is.
enum Shm {
    /// Only the first container has it. A detached mount cannot be copied.
    Loose(OwnedFd),
    /// Mounted where the launcher sees it, for copies.
    At(PathBuf),
    /// It is the machine's.
    Machine,
}

impl PodSpaces {
    /// Takes what the Pod's first container was born with; with `host_ipc` the machine's.
    pub(super) fn new(pid: i32, shm: OwnedFd, host_ipc: bool) -> io::Result<Self> {
        let pid = pid.to_string();
        let open = |pid: &str, name| fs::File::open(format!("/proc/{pid}/ns/{name}"));
        let (of_ipc, shm) = match host_ipc {
            true => ("self", Shm::Machine),
            false => (pid.as_str(), Shm::Loose(shm)),
        };
        Ok(Self {
            ipc: open(of_ipc, "ipc")?.into(),
            uts: open(&pid, "uts")?.into(),
            shm,
        })
    }

    /// A copy of the mount for another container. `dir` is where the Pod's own may be mounted.
    pub(super) fn shm(&mut self, dir: &Path) -> io::Result<OwnedFd> {
        if let Shm::Loose(mount) = &self.shm {
            fs::create_dir_all(dir)?;
            tree::attach_at(mount, CWD, dir)?;
            self.shm = Shm::At(dir.to_owned());
        }
        match &self.shm {
            Shm::At(dir) => tree::clone(CWD, dir, false),
            Shm::Machine | Shm::Loose(_) => tree::clone(CWD, Path::new(MACHINE_SHM), true),
        }
    }
}

impl Drop for PodSpaces {
    fn drop(&mut self) {
        if let Shm::At(dir) = &self.shm {
            let _ = rustix::mount::unmount(dir, UnmountFlags::DETACH);
            let _ = fs::remove_dir(dir);
        }
    }
}
