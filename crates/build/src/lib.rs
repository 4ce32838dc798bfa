//! Knative Build as a plan: a Build becomes one Pod whose init containers are its steps, and what
//! the Pod says becomes the Build's status.
//!
//! In reading order: `plan` decides what a Build needs next; `template` puts a template's steps into
//! it; `pod` makes the Pod, with `sources` as its first steps and what [`credentials`] of the
//! ServiceAccount's Secrets it needs; `status` reads the Pod. [`credentials`] also says which files
//! those Secrets become, for the step that writes them.

pub mod credentials;
mod plan;
mod pod;
mod sources;
mod status;
mod template;
#[cfg(test)]
mod tests;

use api::world::{self as kinds, Planner};

/// Names of images that stand for the programs a Build's own steps run; the node knows them.
pub mod images {
    /// Writes credentials into the home directory.
    pub const CREDS_INIT: &str = "rekindle.local/build/creds-init";
    /// Fetches a git repository.
    pub const GIT_INIT: &str = "rekindle.local/build/git-init";
    /// Fetches archives and manifests.
    pub const GCS_FETCHER: &str = "rekindle.local/build/gcs-fetcher";
    /// Says that all went well.
    pub const NOP: &str = "rekindle.local/build/nop";
    /// What all of them begin with.
    pub const PREFIX: &str = "rekindle.local/build/";
}

/// The label by which a Build's Pod is found; its value is the Build's name.
pub const BUILD_LABEL: &str = "build.knative.dev/buildName";
/// What the names of containers that are steps begin with.
pub const STEP_PREFIX: &str = "build-step-";

/// All planners, for the driver to register.
pub fn planners() -> Vec<Planner> {
    vec![Planner {
        name: "Build",
        root: kinds::BUILD,
        watches: &[
            kinds::POD,
            kinds::BUILD_TEMPLATE,
            kinds::CLUSTER_BUILD_TEMPLATE,
        ],
        is_urgent: false,
        plan: plan::plan,
    }]
}
