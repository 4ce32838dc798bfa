//! What the agent tells the launcher about one container or one exec: plain values on the wire.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::Limits;

/// Everything that is needed to run one container, with all names already resolved.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Unpacked layers, the topmost first (the order of overlayfs' `lowerdir`).
    pub layers: Vec<PathBuf>,
    /// Whether the upper directory is to become a layer: what changed is in it whole.
    pub exact_changes: bool,
    /// Whether the root file system is mounted read-only.
    pub read_only_root: bool,
    /// The Pod's host name.
    pub hostname: String,
    /// Content of `/etc/hosts`.
    pub hosts: String,
    /// Content of `/etc/resolv.conf`.
    pub resolv: String,
    /// Volumes, in the order they are mounted.
    pub mounts: Vec<Mount>,
    /// Limits of the control group.
    pub limits: Limits,
    /// The kernel's preference for killing it when memory runs out, −1000 to 1000.
    pub oom_score_adj: i32,
    /// Where the container may leave its last words.
    pub termination_log: String,
    /// All capabilities, all devices, nothing masked.
    pub privileged: bool,
    /// Whether the Pod uses the machine's network.
    pub host_network: bool,
    /// The process.
    pub process: Process,
}

/// A bind mount into the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    /// Directory or file of the machine.
    pub source: PathBuf,
    /// A path below the source, resolved without leaving it; made when it is missing.
    pub sub_path: String,
    /// Absolute path in the container; made when it is missing.
    pub target: String,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// A process in a container: its first one or an exec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Program and arguments; a program without a slash is looked up in `PATH`.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working directory, made when it is missing; empty is `/`.
    pub cwd: String,
    /// Who it runs as.
    pub user: User,
    /// Capabilities as a bit set.
    pub capabilities: u64,
    /// Whether set-user-id programs gain nothing.
    pub no_new_privileges: bool,
    /// Whether standard input is a terminal that becomes the controlling one.
    pub tty: bool,
}

/// The user of a process: what the Pod says wins over what the image says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// The image's `USER`: `name|uid[:group|gid]`, or nothing.
    pub image: String,
    /// `runAsUser`.
    pub uid: Option<u32>,
    /// `runAsGroup`.
    pub gid: Option<u32>,
    /// `fsGroup` and `supplementalGroups`.
    pub groups: Vec<u32>,
}
