//! The launcher: a small single-threaded process, the daemon's own binary re-executed, that
//! forks containers, reaps them and keeps what must outlive the daemon (exit codes, ends of
//! pipes, the Pods' shared namespaces). It knows nothing of Pods beyond their uid.
//!
//! Reading order: [`wire`] (what is said), [`server`] (the loop), `staging` and `child` (a
//! spare's life up to exec), `rootfs`, `terminal`, `user`, `caps`, `seccomp` (what it sets up),
//! `spaces` and `pause` (what the containers of a Pod share), [`client`] (the agent's side).

pub mod caps;
mod child;
pub mod client;
mod failure;
pub(crate) mod mounts;
mod pause;
mod rootfs;
mod seccomp;
mod server;
mod spaces;
mod spec;
mod staging;
mod sys;
mod table;
mod terminal;
pub(crate) mod tree;
pub(crate) mod user;
pub mod wire;

pub use child::EXIT_NOT_STARTED;
pub use server::launcher_main;
pub use spec::{ContainerSpec, Mount, Process, User};
pub use staging::Slot;
pub use wire::{Event, Exit, Role, Sharing};
