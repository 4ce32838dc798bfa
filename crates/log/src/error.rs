//! What can go wrong, for the operator (opening) and for a producer or consumer (the rest).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a log could not be opened, written or read. Cheap to clone: everyone who waited for one
/// commit gets it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the directory open.
    #[error("{} is in use by another process; stop that one or choose another directory", path.display())]
    Locked {
        /// The directory of all logs.
        path: PathBuf,
    },
    /// The files were written in a format this program does not read.
    #[error("{} has log format {found}, this program reads format {expected}; use the version that wrote it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format number in the file.
        found: u32,
        /// The format number of this program.
        expected: u32,
    },
    /// Something that was durable is not readable any more.
    #[error("{} is damaged at byte {position}: {why}; restore it from a copy or delete the log", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where, in bytes.
        position: u64,
        /// What is wrong there.
        why: &'static str,
    },
    /// The file system has no room. Nothing of the append was kept; try again later.
    #[error("no space left on the device that holds {}; free some, then send again", path.display())]
    Full {
        /// The file that did not fit.
        path: PathBuf,
    },
    /// Appends wait faster than the disk takes them. Nothing was kept; try again later.
    #[error("log {name} has {pending_bytes} bytes waiting for the disk; send slower")]
    Busy {
        /// The log.
        name: String,
        /// Bytes that wait in all logs together.
        pending_bytes: usize,
    },
    /// A payload is above [`crate::PAYLOAD_BYTES_MAX`].
    #[error("a record of {bytes} bytes is too large; at most {max} bytes are kept")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A system call failed.
    #[error("could not {step} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        #[source]
        source: Arc<io::Error>,
    },
    /// An earlier failure left the disk's content unknown; writes are refused until a reopening
    /// has read again what is there.
    #[error("log {name} refuses writes since an earlier failure ({why}); restart after mending it")]
    Failed {
        /// The log.
        name: String,
        /// The first failure.
        why: String,
    },
    /// The log was deleted.
    #[error("log {name} was deleted")]
    Deleted {
        /// The log.
        name: String,
    },
    /// The name is no file name.
    #[error(
        "{name:?} is no name of a log; use 1 to 200 of a-z, A-Z, 0-9, '-', '_' and '.', not '.' first"
    )]
    Name {
        /// What was asked for.
        name: String,
    },
    /// The record was dropped by retention.
    #[error("record {offset} of log {name} was dropped by retention; the first kept is {first}")]
    Dropped {
        /// The log.
        name: String,
        /// What was asked for.
        offset: u64,
        /// The first record that is still there.
        first: u64,
    },
    /// A consumer cannot have passed what is not durable.
    #[error("position {next} of consumer {consumer} is beyond the end {end} of log {name}")]
    Ahead {
        /// The log.
        name: String,
        /// The consumer.
        consumer: String,
        /// The position asked for.
        next: u64,
        /// The end of the log.
        end: u64,
    },
}

impl Error {
    /// Wraps a failed system call; a full disk gets its own variant.
    pub(crate) fn io(step: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io {
                step,
                path,
                source: Arc::new(source),
            },
        }
    }

    /// Whether the same append may succeed later without anyone reopening the log.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Busy { .. })
    }

    /// The error and its cause in one line, for those who keep only a text.
    pub(crate) fn chain(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}
