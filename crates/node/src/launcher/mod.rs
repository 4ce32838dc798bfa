//! The launcher: a small single-threaded process, the daemon's own binary re-executed, that
//! forks containers, reaps them and keeps what must outlive the daemon (exit codes, ends of
//! pipes, the Pods' shared namespaces). It knows nothing of Pods beyond their uid.
//!
//! Reading order: [`wire`] (what is said), [`server`] (the loop), `staging` and `child` (a
//! spare's life up to exec), `rootfs`, `user`, `caps`, `seccomp` (what it sets up)
//! (the agent's side).

pub mod caps;
mod child;
pub mod client;
mod failure;
mod rootfs;
mod seccomp;
mod server;
mod spec;
mod staging;
mod sys;
mod table;
mod tree;
mod user;
pub mod wire;

pub use child::EXIT_NOT_STARTED;
pub use server::launcher_main;
pub use spec::{ContainerSpec, Mount, Process, User};
pub use staging::Slot;
pub use wire::{Event, Exit, Role};
