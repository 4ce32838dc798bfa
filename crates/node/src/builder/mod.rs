//! The built-in builder: a Dockerfile and its context become an image of this node's store, with
//! the node's own containers for `RUN`. What a Dockerfile means is the `dockerfile` crate's.
//!
//! In reading order: [`Builder`] takes a [`BuildRequest`]; `walk` goes through stages and steps;
//! `context` is what is copied from, `tree` where files are put, `place`, `copy` and `fetch` put them
//! there, `repository` brings git's; `run` runs programs with what `mount` shows them, all of them in
//! the `room` the build has; `finish` makes the image and hands it out. Layers of earlier builds come
//! from the image store's cache.

mod context;
mod copy;
mod error;
mod fetch;
mod finish;
mod mount;
mod owner;
mod place;
mod repository;
mod room;
mod run;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::error::BuildError;
pub(crate) use self::tree::sweep;
use crate::builtin::Dialer;
use crate::cgroup::Limits;
use crate::image::{Access, Digest};
use crate::logs::{LogSink, Stream};
use crate::node::Shared;
use crate::program::Program;

/// What a build may take when nobody says otherwise.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(3600);
/// Bytes one build may add to the store.
pub const DISK_BYTES_MAX_DEFAULT: u64 = 20 << 30;
/// Bytes of layers that are kept for later builds.
const CACHE_BYTES_MAX: u64 = 10 << 30;

/// What is to be built, and how.
pub struct BuildRequest {
    /// The Dockerfile's text.
    pub dockerfile: String,
    /// The content of `.dockerignore`; empty for none.
    pub ignore: String,
    /// The context's directory: nothing outside is ever seen.
    pub context: OwnedFd,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--target`.
    pub target: Option<String>,
    /// Labels on top of the Dockerfile's.
    pub labels: BTreeMap<String, String>,
    /// Names of the image.
    pub names: Vec<String>,
    /// Whether the image is pushed under these names; otherwise only this node has it.
    pub push: bool,
    /// How to reach registries.
    pub access: Access,
    /// Whether layers of earlier builds are taken.
    pub cache: bool,
    /// Times do not get into the image.
    pub reproducible: bool,
    /// Where an archive for `docker load` is to be written.
    pub archive: Option<PathBuf>,
    /// The program that fetches the repositories `ADD` names: it is given `-url`, `-revision` (empty:
    /// the repository's own default), `-path` for the work tree and `-commit-file` for the
    /// commit's hash.
    pub git: Option<Program>,
    /// What `RUN --mount=type=secret` may ask for, by id.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Sockets of agents on this machine, for `RUN --mount=type=ssh`, by id.
    pub agents: BTreeMap<String, PathBuf>,
    /// The network of `RUN`; none is the machine's.
    pub network: Option<Dialer>,
    /// The namespace whose names `RUN` sees.
    pub namespace: String,
    /// What every `RUN` may use.
    pub limits: Limits,
    /// For the whole build.
    pub timeout: Duration,
    /// Bytes of files the build may add.
    pub disk_bytes_max: u64,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// The manifest's digest: the same in the store and in every registry it was pushed to.
    pub digest: Digest,
    /// Full names it has.
    pub names: Vec<String>,
    /// Steps that changed files.
    pub steps: usize,
    /// Those that were taken from an earlier build.
    pub cached: usize,
}

/// Who hears what a build says.
pub trait Output: Send + Sync {
    /// Raw output of a program or of the builder.
    fn write(&self, stream: Stream, bytes: &[u8]);

    /// One line of the builder's own.
    fn line(&self, text: &str) {
        self.write(Stream::Stdout, format!("{text}\n").as_bytes());
    }
}

impl Output for LogSink {
    fn write(&self, stream: Stream, bytes: &[u8]) {
        // A log that cannot be written loses output: the build goes on.
        let _ = self.0.append(stream, bytes);
    }
}

/// Builds images on this node; cheap to clone.
#[derive(Clone)]
pub struct Builder {
    shared: Arc<Shared>,
}

impl Builder {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Builds. Dropping the future cancels: what runs is killed, what was mounted goes.
    ///
    /// # Errors
    /// A mistake in the Dockerfile, a step that failed, a limit, a registry.
    pub async fn build(
        &self,
        request: BuildRequest,
        output: Arc<dyn Output>,
    ) -> Result<Built, BuildError> {
        let timeout = request.timeout;
        let build = walk::build(Arc::clone(&self.shared), request, output);
        let outcome = tokio::time::timeout(timeout, build).await;
        outcome.unwrap_or(Err(BuildError::Timeout { timeout }))
    }
}
