//! What goes into a Pod's machine and what comes out of it: the whole vocabulary between the
//! decisions (`machine`) and the doing (`worker`).

use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use crate::launcher::Exit;

/// The place of a container in its Pod: init containers first, then the others, in spec order.
pub(super) type Index = usize;

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The Pod is new or has changed; a deletion timestamp asks for a graceful stop.
    Pod(Arc<Pod>),
    /// The Pod's object is gone: stop at once.
    Remove,
    /// The Pod takes more of the disk than it may: it ends at once.
    Evict {
        /// What it took too much of.
        message: String,
    },
    /// Network and volumes are there.
    Prepared {
        /// The Pod's address.
        ip: Ipv4Addr,
    },
    /// Network or volumes could not be had; tried again after a while.
    PrepareFailed {
        /// Reason of the Event.
        event: &'static str,
        /// Reason for the containers' waiting state.
        reason: &'static str,
        /// What is wrong and what helps.
        message: String,
    },
    /// The image is being fetched from a registry.
    Pulling {
        /// The container.
        index: Index,
    },
    /// The image is there.
    Pulled {
        /// The container.
        index: Index,
        /// How long it took to fetch it, if it had to be.
        took: Option<std::time::Duration>,
        /// Bytes of its compressed content.
        size: u64,
    },
    /// The container could not be made: image, configuration or the launcher.
    LaunchFailed {
        /// The container.
        index: Index,
        /// Whether trying again needs a pause that grows, and under which name it is shown.
        failure: LaunchFailure,
    },
    /// The container's program runs.
    Started {
        /// The container.
        index: Index,
        /// What the launcher calls it.
        id: String,
        /// The digest or name of the image it runs.
        image_id: String,
    },
    /// The container ended.
    Exited {
        /// The container.
        index: Index,
        /// How.
        exit: Exit,
        /// Its termination message.
        message: String,
    },
    /// A hook after the start came to its end.
    PostStarted {
        /// The container.
        index: Index,
        /// What went wrong.
        error: Option<String>,
    },
    /// A hook before the stop came to its end, well or not.
    PreStopped {
        /// The container.
        index: Index,
    },
    /// A builtin that was asked to stop has nothing left to do.
    Drained {
        /// The container.
        index: Index,
    },
    /// A probe has an answer.
    Probed {
        /// The container.
        index: Index,
        /// Which probe.
        kind: ProbeKind,
        /// The run of the container it was asked of; answers of an earlier run are void.
        attempt: u32,
        /// What is wrong, if anything.
        error: Option<String>,
    },
    /// A builtin says whether it is ready.
    BuiltinReady {
        /// The container.
        index: Index,
        /// Ready or not.
        ready: bool,
    },
}

/// Why a container could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LaunchFailure {
    /// The image cannot be had.
    Image {
        /// `ErrImagePull`, `InvalidImageName` or `ErrImageNeverPull`.
        reason: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The Pod asks for something that is not there: `CreateContainerConfigError`.
    Config(String),
    /// The program could not be run: the container counts as ended with `StartError`.
    Start(String),
}

/// The three probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProbeKind {
    /// Holds the other two back until it succeeds once.
    Startup,
    /// Its failure restarts the container.
    Liveness,
    /// Its failure takes the Pod out of service.
    Readiness,
}

impl ProbeKind {
    /// The word in events: `Readiness probe failed`.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Get network and volumes.
    Prepare,
    /// Get the image and start the container.
    Launch {
        /// The container.
        index: Index,
        /// Which run, counted from zero: the number of the log file.
        attempt: u32,
    },
    /// Run the hook after the start.
    PostStart {
        /// The container.
        index: Index,
    },
    /// Run the hook before the stop.
    PreStop {
        /// The container.
        index: Index,
        /// Seconds left of the grace period.
        grace_s: u64,
    },
    /// Ask a probe.
    Probe {
        /// The container.
        index: Index,
        /// Which probe.
        kind: ProbeKind,
        /// The run of the container.
        attempt: u32,
    },
    /// Ask the container to stop.
    Terminate {
        /// The container.
        index: Index,
        /// Seconds left of the grace period.
        grace_s: u64,
    },
    /// End a builtin that has drained.
    Close {
        /// The container.
        index: Index,
    },
    /// End the container.
    Kill {
        /// The container.
        index: Index,
    },
    /// The Pod's status has changed.
    Status,
    /// Something worth an Event object.
    Record {
        /// The part of the Pod it is about, as `spec.containers{NAME}`; empty for the whole.
        field: String,
        /// Whether it is a warning.
        warning: bool,
        /// `Started`, `Killing`, `BackOff`, …
        reason: &'static str,
        /// The sentence.
        message: String,
    },
    /// The Pod has run to its end: network and volumes are no longer needed.
    Release,
    /// A Pod that was to be deleted has stopped: its object can go, and everything of it here.
    Gone,
}
