//! Places for files: the merged view of layers, mounted where nobody else sees it.
//!
//! Each use gets a thread with a mount namespace of its own; when the thread ends, the kernel takes
//! the mounts away, whatever happened. `walk` calls it for every step that copies.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags};

use crate::launcher::mounts;

/// A directory of the builder's that goes with everything in it.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one in the node's data directory, on the file system of the image store.
    pub(super) fn make(data_dir: &Path) -> io::Result<Self> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let path = data_dir.join("builds").join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// A new, empty directory in it.
    pub(super) fn dir(&self) -> io::Result<PathBuf> {
        let path = self.0.join(uuid::Uuid::new_v4().simple().to_string());
        fs::create_dir(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what builds of an earlier daemon have left.
pub(crate) fn sweep(data_dir: &Path) {
    let _ = fs::remove_dir_all(data_dir.join("builds"));
}

/// Views of layers, for one thread.
pub(super) struct Views<'a> {
    scratch: &'a Scratch,
}

impl Views<'_> {
    /// Layers (topmost first) to read from.
    pub(super) fn read(&self, layers: &[PathBuf]) -> io::Result<OwnedFd> {
        let (at, empty) = (self.scratch.dir()?, self.scratch.dir()?);
        // The kernel wants two layers where nobody writes.
        let mut lower: Vec<&Path> = layers.iter().map(PathBuf::as_path).collect();
        lower.push(&empty);
        if lower.len() == 1 {
            return open(&empty);
        }
        let overlay = mounts::Overlay {
            lower: &lower,
            upper: None,
            exact: true,
        };
        overlay.mount(&at, MountFlags::NODEV | MountFlags::NOSUID)?;
        open(&at)
    }

    /// Layers with `upper` on top, which takes what is written.
    pub(super) fn write(&self, layers: &[PathBuf], upper: &Path) -> io::Result<OwnedFd> {
        if layers.is_empty() {
            return open(upper);
        }
        let (at, work) = (self.scratch.dir()?, self.scratch.dir()?);
        let lower: Vec<&Path> = layers.iter().map(PathBuf::as_path).collect();
        let overlay = mounts::Overlay {
            lower: &lower,
            upper: Some((upper, &work)),
            exact: true,
        };
        overlay.mount(&at, MountFlags::NODEV | MountFlags::NOSUID)?;
        open(&at)
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Runs `work` on a thread of its own with its own mounts, which are gone when it is done. Blocks.
pub(super) fn with_views<T: Send>(
    scratch: &Scratch,
    work: impl FnOnce(&Views<'_>) -> Result<T, String> + Send,
) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("build-files".to_owned());
        let spawned = thread.spawn_scoped(scope, || {
            private_mounts().map_err(|error| format!("cannot mount: {error}"))?;
            work(&Views { scratch })
        });
        let spawned = spawned.map_err(|error| format!("cannot start a thread: {error}"))?;
        spawned
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn private_mounts() -> io::Result<()> {
    mounts::own_namespace()?;
    // Nothing that is mounted here shows outside.
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change("/", flags)?)
}
