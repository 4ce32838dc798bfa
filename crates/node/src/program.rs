//! Containers without an image: a program the daemon has at hand, alone in an empty root, with the
//! files it needs mounted. Unlike a builtin it is a process like any other: its memory is bounded,
//! it can be killed, it goes on when the daemon is started anew.

use crate::launcher::Mount;

/// What runs in such a container.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The program and its first arguments; the container's own follow. A container's command is
    /// run in its place.
    pub entrypoint: Vec<String>,
    /// `NAME=VALUE` each, as of an image: the container's own come after them.
    pub env: Vec<String>,
    /// Files and directories of the machine, below the container's own volumes.
    pub mounts: Vec<Mount>,
}
