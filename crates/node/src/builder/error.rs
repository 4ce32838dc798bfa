//! Why a build failed.

use std::io;
use std::time::Duration;

use crate::image;

/// A build that failed. The text is the last line of its log.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile is wrong.
    #[error("{0}")]
    Dockerfile(#[from] dockerfile::Error),
    /// An instruction could not be carried out.
    #[error("Dockerfile:{line}: {text}: {message}")]
    Step {
        /// Its line.
        line: u32,
        /// As it is written.
        text: String,
        /// What happened.
        message: String,
    },
    /// An image could not be had, made or pushed.
    #[error("{}", chain(.0))]
    Image(#[from] image::Error),
    /// A file of the builder's own.
    #[error("cannot {step}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// It took too long.
    #[error("the build took longer than {} s", timeout.as_secs())]
    Timeout {
        /// How long it may take.
        timeout: Duration,
    },
}

impl BuildError {
    pub(super) fn io(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}

fn chain(error: &image::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}
