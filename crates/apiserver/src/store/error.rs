//! What can go wrong in the store, for the operator (opening) and for a request (writing).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Entry;

/// Why the store could not be opened or a write was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the data directory open.
    #[error(
        "data directory {} is in use by another process; stop that one or choose another --data-dir",
        path.display()
    )]
    Locked {
        /// The store's directory.
        path: PathBuf,
    },
    /// The files were written in a format this program does not read.
    #[error(
        "{} has store format {found}, this program reads formats up to {expected}; \
         use the version that wrote it or another --data-dir",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The format number in the file.
        found: u32,
        /// The format number of this program.
        expected: u32,
    },
    /// A file that must be whole is not, or the medium has lost something it had confirmed.
    #[error(
        "{} is damaged at byte {offset}: {why}; bring back a copy of the data directory, or run \
         `rekindle store repair --data-dir {}`, which keeps what can be read and says what is lost",
        path.display(), data_dir(path).display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong there.
        why: &'static str,
    },
    /// The file system has no room; nothing of the write was kept.
    #[error("no space left on the device that holds {}; free some, then write again", path.display())]
    Full {
        /// The store's directory.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("could not {step} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// An earlier failure left the disk's content unknown; writes are refused until a restart.
    #[error("the store refuses writes since an earlier failure ({why}); restart after mending it")]
    Failed {
        /// The first failure.
        why: String,
    },
    /// The object is not as the writer expected: absent, present or of another revision.
    #[error("the stored object is not the expected one")]
    Conflict {
        /// What is stored.
        current: Option<Arc<Entry>>,
    },
}

/// The data directory a file of the store belongs to.
fn data_dir(file: &Path) -> &Path {
    file.ancestors().nth(2).unwrap_or(file)
}

impl Error {
    /// Wraps a failed system call; a full disk gets its own variant.
    pub(super) fn io(step: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { step, path, source },
        }
    }
}
