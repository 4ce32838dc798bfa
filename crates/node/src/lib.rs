//! Pods as containers: give a [`Node`] Pods, get their states as events. It knows Pods, not who
//! decided on them; the rest of the cluster it asks through [`Cluster`].
//!
//! In reading order: `node` is the handle; `agent` decides and acts, one machine and one task per
//! Pod; `launcher` is the small process that makes containers; `cgroup`, `volume`, `logs`,
//! `probe`, `exec` and `stats` are what a container has and what is asked of it; `builtin` are
//! containers that are tasks of the daemon, `program` those that need no image; `builder` makes
//! images of Dockerfiles; `adopt` takes over after a restart. `image`, `net` and `dns` bring images,
//! addresses and names.

mod adopt;
mod agent;
pub mod builder;
mod builtin;
pub mod cgroup;
mod clock;
mod cluster;
pub mod dns;
mod exec;
mod files;
pub mod image;
pub mod launcher;
mod launchers;
pub mod logs;
pub mod net;
mod node;
mod pipe;
mod probe;
mod program;
mod stats;
mod volume;

pub use builtin::{
    Builtin, BuiltinEnd, BuiltinStart, Builtins, Dialer, NoBuiltins, RunningBuiltin,
};
pub use cluster::{Answer, Cluster, Source, Token, TokenRequest};
pub use exec::{AccessError, ExecOptions, Reader, Session, TerminalSize, Writer};
pub use files::Files;
pub use launcher::{Mount, launcher_main};
pub use logs::{LogOptions, LogSink, LogStream};
pub use node::{Config, Error, News, Node, PodEvent, check_rights};
pub use program::Program;
pub use stats::{ContainerUsage, PodUsage};
