//! Starting a container: a prepared spare, what its Pod shares, the order on its way. Part of the
//! launcher's loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::net::RecvFlags;
use rustix::process::Signal;

use super::super::child::{self, Order};
use super::super::spaces::{Pause, PodSpaces, Processes};
use super::super::table::{Child, Container, Kind};
use super::super::wire::{self, Role, Sharing};
use super::super::{pause, sys};
use super::{REFILL_DELAY, SHM, Server, invalid, kill};

impl Server {
    /// Sends a prepared spare on its way, or a fresh one when none is left.
    pub(super) fn start(
        &mut self,
        id: &str,
        (pod_uid, sharing): (String, Sharing),
        mut order: Order,
        fds: Vec<OwnedFd>,
    ) -> io::Result<()> {
        self.refill_at = Some(Instant::now() + REFILL_DELAY);
        let (mut give, mut kept) = (Vec::new(), Vec::new());
        let (mut roles, mut joined) = (Vec::new(), None);
        for (role, fd) in order.roles.drain(..).zip(fds) {
            if role.is_kept() {
                kept.push((role, fd));
            } else if role == Role::Processes {
                joined = Some(fd);
            } else {
                roles.push(role);
                give.push(fd);
            }
        }
        let key = match &joined {
            Some(processes) => {
                let key = self.make_spare(Processes::Joined(processes.as_fd()))?;
                self.prepared(key)?
            }
            None => self.spare_for(&pod_uid, sharing)?,
        };
        for (role, fd) in self.shared(key, &pod_uid, sharing)? {
            roles.push(role);
            give.push(fd);
        }
        let slot = match self.table.get(key).map(|child| &child.kind) {
            Some(Kind::Spare { slot, .. }) => slot.clone(),
            _ => return Err(invalid("the spare is gone")),
        };
        order.roles = roles;
        let send: Vec<BorrowedFd<'_>> = give.iter().map(AsFd::as_fd).collect();
        if let Some(socket) = self.table.socket(key) {
            wire::send(socket, &order, &send)?;
        }
        let container = Container {
            id: id.to_owned(),
            pod_uid,
            slot,
            exit: None,
            kept,
        };
        if let Some(child) = self.table.get(key) {
            child.kind = Kind::Container(container);
        }
        self.table.name(id, key);
        Ok(())
    }

    /// A prepared spare in the right process namespace.
    fn spare_for(&mut self, pod_uid: &str, sharing: Sharing) -> io::Result<u64> {
        if sharing.host_pid {
            let key = self.make_spare(Processes::Machine)?;
            return self.prepared(key);
        }
        if sharing.pod_pid {
            self.pause(pod_uid)?;
            let key = self.make_spare(Processes::Pod(pod_uid))?;
            return self.prepared(key);
        }
        // The best first: one that is prepared, one that is being prepared.
        let spare = self.table.spares().max_by_key(|(_, _, ready)| *ready);
        let spare = spare.map(|(key, _, ready)| (key, ready));
        let key = match spare {
            Some((key, true)) => return Ok(key),
            Some((key, false)) => Some(key),
            None => None,
        };
        let key = match key {
            Some(key) => key,
            None => self.make_spare(Processes::Own)?,
        };
        self.prepared(key)
    }

    /// What the Pod's first container makes, and the others are given.
    fn shared(
        &mut self,
        key: u64,
        pod_uid: &str,
        sharing: Sharing,
    ) -> io::Result<Vec<(Role, OwnedFd)>> {
        let dir = self.data_dir.join(SHM).join(pod_uid);
        let first = !self.table.pods.contains_key(pod_uid);
        if first {
            let Some(Child {
                pid,
                kind: Kind::Spare { ready, .. },
                ..
            }) = self.table.get(key)
            else {
                return Err(invalid("the spare is gone"));
            };
            let shm = ready.take().ok_or_else(|| invalid("the spare is in use"))?;
            let spaces = PodSpaces::new(*pid, shm, sharing.host_ipc)?;
            self.table.pods.insert(pod_uid.to_owned(), spaces);
        }
        let mut shared = Vec::new();
        let Some(spaces) = self.table.pods.get_mut(pod_uid) else {
            return Ok(shared);
        };
        if !first {
            shared.push((Role::Uts, rustix::io::fcntl_dupfd_cloexec(&spaces.uts, 0)?));
        }
        if !first || sharing.host_ipc {
            shared.push((Role::Ipc, rustix::io::fcntl_dupfd_cloexec(&spaces.ipc, 0)?));
            shared.push((Role::Shm, spaces.shm(&dir)?));
        }
        Ok(shared)
    }

    /// Makes the Pod's process namespace, if it has none.
    fn pause(&mut self, pod_uid: &str) -> io::Result<()> {
        if self.table.pauses.contains_key(pod_uid) {
            return Ok(());
        }
        let pid = match sys::fork(libc::CLONE_NEWPID)? {
            sys::Fork::Child => pause::pause(),
            sys::Fork::Parent(pid) => pid,
        };
        let namespace = std::fs::File::open(format!("/proc/{pid}/ns/pid"))?.into();
        let pod_uid = pod_uid.to_owned();
        let kind = Kind::Pause {
            pod_uid: pod_uid.clone(),
        };
        let key = self.adopt(pid, None, kind)?;
        self.table.pauses.insert(pod_uid, Pause { key, namespace });
        Ok(())
    }

    pub(super) fn release_pod(&mut self, pod_uid: &str) {
        self.table.pods.remove(pod_uid);
        let pause = self.table.pauses.remove(pod_uid);
        if let Some(child) = pause.and_then(|pause| self.table.get(pause.key)) {
            kill(child, Signal::KILL);
        }
    }

    /// Waits until a spare is prepared.
    fn prepared(&mut self, key: u64) -> io::Result<u64> {
        let mut text = [0; 1024];
        let Some(socket) = self.table.socket(key) else {
            return Err(invalid("the spare is gone"));
        };
        let (length, mut fds) = wire::receive_bytes(socket, &mut text, RecvFlags::empty())?;
        if text[..length] != [child::READY] {
            let why = String::from_utf8_lossy(&text[..length]).into_owned();
            return Err(io::Error::other(why));
        }
        if let Some(Child {
            kind: Kind::Spare { ready, .. },
            ..
        }) = self.table.get(key)
        {
            *ready = fds.pop();
        }
        Ok(key)
    }

    pub(super) fn fork(&self, processes: Processes<'_>) -> io::Result<sys::Fork> {
        let namespace = match processes {
            Processes::Own => return sys::fork(libc::CLONE_NEWPID),
            Processes::Machine => return sys::fork(0),
            Processes::Joined(namespace) => namespace,
            Processes::Pod(pod_uid) => {
                let pause = self.table.pauses.get(pod_uid);
                let pause = pause.ok_or_else(|| invalid("the Pod has no process namespace"))?;
                pause.namespace.as_fd()
            }
        };
        sys::bear_into(namespace)?;
        let forked = sys::fork(0);
        if !matches!(forked, Ok(sys::Fork::Child)) {
            sys::bear_into(self.own_processes.as_fd())?;
        }
        forked
    }
}
