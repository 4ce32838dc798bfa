//! The launcher's table of children: spares, containers and execs, each reachable by a number
//! that the event loop uses as token, and by the agent's name.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::spaces::{Pause, PodSpaces};
use super::wire::{Exit, Role};

/// A child process and the two descriptors the loop waits on.
pub(super) struct Child {
    /// Process number; safe from reuse until the child is reaped here.
    pub pid: i32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    /// Speaks until exec closes it.
    pub socket: Option<OwnedFd>,
    /// What it said about a failed step.
    pub failure: Option<String>,
    /// What it is.
    pub kind: Kind,
}

/// What a child is.
pub(super) enum Kind {
    /// Waits for its order.
    Spare {
        /// Its slot.
        slot: String,
        /// Its `/dev/shm` as a detached mount, which comes when it is prepared.
        ready: Option<OwnedFd>,
        /// Whether it may become any container: its processes are its own.
        usual: bool,
    },
    /// A container's first process.
    Container(Container),
    /// An exec, or its helper until the process is known.
    Exec {
        /// The agent's name.
        exec_id: String,
        /// Whether this is the process itself.
        running: bool,
    },
    /// An exec's helper that has done its part.
    Helped,
    /// The first process of a Pod's process namespace.
    Pause {
        /// The Pod.
        pod_uid: String,
    },
}

/// What is kept about a container.
pub(super) struct Container {
    /// The agent's name.
    pub id: String,
    /// The Pod.
    pub pod_uid: String,
    /// Its slot.
    pub slot: String,
    /// How it ended.
    pub exit: Option<Exit>,
    /// What is held back for the next agent.
    pub kept: Vec<(Role, OwnedFd)>,
}

/// All children.
#[derive(Default)]
pub(super) struct Table {
    next: u64,
    children: BTreeMap<u64, Child>,
    by_name: BTreeMap<String, u64>,
    /// Shared namespaces by Pod.
    pub pods: BTreeMap<String, PodSpaces>,
    /// Process namespaces by Pod.
    pub pauses: BTreeMap<String, Pause>,
}

impl Table {
    /// Adds a child and gives its number.
    pub(super) fn insert(&mut self, child: Child) -> u64 {
        self.next += 1;
        self.children.insert(self.next, child);
        self.next
    }

    /// The child of that number.
    pub(super) fn get(&mut self, key: u64) -> Option<&mut Child> {
        self.children.get_mut(&key)
    }

    /// The socket of the child of that number.
    pub(super) fn socket(&self, key: u64) -> Option<BorrowedFd<'_>> {
        self.children.get(&key)?.socket.as_ref().map(AsFd::as_fd)
    }

    /// Takes the child out.
    pub(super) fn remove(&mut self, key: u64) -> Option<Child> {
        self.by_name.retain(|_, named| *named != key);
        self.children.remove(&key)
    }

    /// Gives a child the agent's name for it.
    pub(super) fn name(&mut self, name: &str, key: u64) {
        self.by_name.insert(name.to_owned(), key);
    }

    /// The number of the child of that name.
    pub(super) fn key(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).copied()
    }

    /// The child of that name.
    pub(super) fn named(&mut self, name: &str) -> Option<&mut Child> {
        let key = self.key(name)?;
        self.children.get_mut(&key)
    }

    /// All children with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Child)> {
        self.children.iter().map(|(key, child)| (*key, child))
    }

    /// The spares that may become any container: number and whether it is prepared.
    pub(super) fn spares(&self) -> impl Iterator<Item = (u64, &str, bool)> {
        self.iter().filter_map(|(key, child)| match &child.kind {
            Kind::Spare {
                slot,
                ready,
                usual: true,
            } => Some((key, slot.as_str(), ready.is_some())),
            _ => None,
        })
    }
}
