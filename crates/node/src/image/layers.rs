//! Unpacked layers: `layers/<hex of the DiffID>/fs`, each a lower directory for overlay mounts,
//! shared by every image that has it.
//!
//! A layer appears whole or not at all (unpacked beside, then renamed). Its files are not synced on
//! the way, which would make a pull wait for the disk: a note with the boot's id stays with the
//! layer until a sync in the background is through, and a layer whose note names another boot is
//! unpacked again from its blob.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::blobs::Blobs;
use super::digest::Digest;
use super::error::Error;
use super::unpack;

const UNSYNCED: &str = "unsynced";
/// Behind the boot's id in the note of a layer whose archive is not synced either.
const BUILT: &str = " built";
const TEMPORARY: &str = "tmp-";

#[derive(Debug)]
pub(super) struct Layers {
    directory: PathBuf,
    blobs: Blobs,
    /// One lock per layer being unpacked: who comes second waits and finds it done.
    unpacking: Mutex<HashMap<Digest, Arc<Mutex<()>>>>,
}

impl Layers {
    /// Opens the directory and removes what a power failure may have spoiled.
    pub(super) fn open(root: &Path, blobs: Blobs) -> Result<Self, Error> {
        let directory = root.join("layers");
        fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
        let boot = boot_id();
        let entries = fs::read_dir(&directory).map_err(Error::file("list", &directory))?;
        for entry in entries.flatten() {
            let Ok(note) = fs::read_to_string(entry.path().join(UNSYNCED)) else {
                continue;
            };
            let is_built = note.ends_with(BUILT);
            if note.trim_end_matches(BUILT) != boot {
                tracing::info!(layer = %entry.file_name().display(), "unsynced at power failure");
                let _ = fs::remove_dir_all(entry.path());
                // Its archive, were it made here, was written at the same time.
                let digest = format!("sha256:{}", entry.file_name().display());
                if let (true, Ok(digest)) = (is_built, digest.parse()) {
                    blobs.remove(&digest);
                }
            }
        }
        Ok(Self {
            directory,
            blobs,
            unpacking: Mutex::default(),
        })
    }

    /// The lower directory of a layer, whether it is there or not.
    pub(super) fn path(&self, diff_id: &Digest) -> PathBuf {
        self.directory.join(diff_id.hex()).join("fs")
    }

    pub(super) fn contains(&self, diff_id: &Digest) -> bool {
        self.path(diff_id).exists()
    }

    /// Unpacks a layer from its blob, unless it is there.
    pub(super) fn ensure(&self, diff_id: &Digest, blob: &Digest) -> Result<(), Error> {
        if self.contains(diff_id) {
            return Ok(());
        }
        let lock = {
            let mut unpacking = self
                .unpacking
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(unpacking.entry(diff_id.clone()).or_default())
        };
        let outcome = {
            let _alone = lock.lock().unwrap_or_else(PoisonError::into_inner);
            if self.contains(diff_id) {
                Ok(())
            } else {
                self.unpack(diff_id, blob)
            }
        };
        self.unpacking
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(diff_id);
        outcome
    }

    fn unpack(&self, diff_id: &Digest, blob: &Digest) -> Result<(), Error> {
        let scratch = Scratch::make(&self.directory)?;
        let tree = scratch.0.join("fs");
        fs::create_dir(&tree).map_err(Error::file("create", &tree))?;
        let found = unpack::unpack(self.blobs.open_blob(blob)?, &tree).map_err(|failure| {
            Error::Unpack {
                layer: blob.clone(),
                entry: failure.entry,
                source: failure.source,
            }
        })?;
        if found != *diff_id {
            return Err(Error::DigestMismatch {
                expected: diff_id.clone(),
                found,
            });
        }
        self.appear(diff_id, scratch, boot_id())
    }

    /// Takes a directory that is not written to any more as the layer it is.
    pub(super) fn install(&self, diff_id: &Digest, directory: &Path) -> Result<(), Error> {
        if self.contains(diff_id) {
            return Ok(());
        }
        let scratch = Scratch::make(&self.directory)?;
        let tree = scratch.0.join("fs");
        fs::rename(directory, &tree).map_err(Error::file("move", directory))?;
        self.appear(diff_id, scratch, boot_id() + BUILT)
    }

    fn appear(&self, diff_id: &Digest, scratch: Scratch, text: String) -> Result<(), Error> {
        let note = scratch.0.join(UNSYNCED);
        fs::write(&note, text).map_err(Error::file("write", &note))?;
        let target = self.directory.join(diff_id.hex());
        match fs::rename(&scratch.0, &target) {
            Ok(()) => {}
            // Another process was quicker; the scratch directory goes.
            Err(_) if self.contains(diff_id) => return Ok(()),
            Err(error) => return Err(Error::file("create", &target)(error)),
        }
        sync_in_background(target);
        Ok(())
    }

    /// Every layer there is.
    pub(super) fn list(&self) -> Vec<Digest> {
        let entries = fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter_map(|entry| {
                format!("sha256:{}", entry.file_name().display())
                    .parse()
                    .ok()
            })
            .collect()
    }

    /// Removes a layer. It vanishes at once; its files follow.
    pub(super) fn remove(&self, diff_id: &Digest) -> Result<(), Error> {
        let scratch = Scratch::name(&self.directory);
        let path = self.directory.join(diff_id.hex());
        match fs::rename(&path, &scratch.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::file("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes directories that a crash left half unpacked. Only when nobody unpacks.
    pub(super) fn remove_scratch(&self) {
        for entry in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(TEMPORARY.as_bytes())
            {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// A directory that is removed with all its files, unless it was renamed.
struct Scratch(PathBuf);

impl Scratch {
    fn name(directory: &Path) -> Self {
        Self(directory.join(format!("{TEMPORARY}{}", uuid::Uuid::new_v4().simple())))
    }

    fn make(directory: &Path) -> Result<Self, Error> {
        let scratch = Self::name(directory);
        fs::create_dir(&scratch.0).map_err(Error::file("create", &scratch.0))?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// If the process ends before the sync does, the note stays, and with it the doubt; that costs an
/// unpacking after the next boot.
fn sync_in_background(layer: PathBuf) {
    let sync = move || {
        let synced = File::open(&layer).and_then(|d| Ok(rustix::fs::syncfs(d)?));
        if synced.is_ok() {
            let _ = fs::remove_file(layer.join(UNSYNCED));
        }
    };
    if let Err(error) = std::thread::Builder::new()
        .name("layer-sync".to_owned())
        .spawn(sync)
    {
        tracing::debug!(%error, "no thread to sync a layer");
    }
}
