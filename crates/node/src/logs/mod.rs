//! Containers' output: one file per run in the CRI format, written by [`LogFile`], read by
//! [`read`], fed by a pump per pipe.

mod file;
mod line;
mod pump;
mod read;

pub use file::{LogFile, LogSink, Stream};
pub(crate) use pump::{Output, pump};
pub use read::{LogOptions, LogStream};
pub(crate) use read::{open, tail_text};

use std::path::{Path, PathBuf};

/// The directory of a Pod's logs below the data directory.
pub fn pod_dir(data_dir: &Path, namespace: &str, name: &str, uid: &str) -> PathBuf {
    data_dir
        .join("logs/pods")
        .join(format!("{namespace}_{name}_{uid}"))
}

/// The file of one run of one container.
pub fn file_path(pod_dir: &Path, container: &str, attempt: u32) -> PathBuf {
    pod_dir.join(container).join(format!("{attempt}.log"))
}
