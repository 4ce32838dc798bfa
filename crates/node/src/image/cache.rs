//! Layers that builds have made, by the key of the step that made them: `cache/<key>` names a
//! layer of the store. What is named here `prune` leaves alone; what has not been used for longest
//! goes first when there is too much of it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::Error;
use super::store::ImageStore;

const DIRECTORY: &str = "cache";
/// Where the directories of `RUN --mount=type=cache` are.
const MOUNTS: &str = "mounts";
/// Where the compressed twins of layers are noted, by DiffID.
const TWINS: &str = "twins";

/// A layer a step has made.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Record {
    /// None where the step changed nothing.
    pub(crate) layer: Option<Digest>,
    /// Bytes of its archive.
    pub(crate) size: u64,
    /// When, as the image's history says it.
    pub(crate) created: String,
}

/// The gzip form of a layer.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Twin {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl ImageStore {
    /// What the step of this key made before, if it is still here. Counts as used.
    pub(crate) fn cached(&self, key: &str) -> Option<Record> {
        let path = self.cache_path(key);
        let record: Record = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let here = |layer: &Digest| self.layer_is_here(layer);
        if !record.layer.as_ref().is_none_or(here) {
            return None;
        }
        let touched = fs::File::options().append(true).open(&path);
        let _ = touched.and_then(|file| file.set_modified(SystemTime::now()));
        Some(record)
    }

    /// Remembers what a step has made.
    pub(crate) fn remember(&self, key: &str, record: &Record) -> Result<(), Error> {
        let bytes = serde_json::to_vec(record).map_err(|source| Error::Json {
            what: "cache record",
            source,
        })?;
        self.write_note(&self.cache_path(key), &bytes)
    }

    /// Forgets the longest unused until at most so many bytes of layers are left, but none that was
    /// used within `age_min`; says how many went. Their files go with the next `prune`.
    pub fn trim_cache(&self, bytes_max: u64, age_min: Duration) -> usize {
        let mut found: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for path in self.cache_files() {
            let used = fs::metadata(&path).and_then(|found| found.modified());
            let record = fs::read(&path).ok();
            let record = record.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
            found.push((used, path, record.map_or(0, |record| record.size)));
        }
        found.sort();
        let mut sum: u64 = found.iter().map(|(_, _, size)| size).sum();
        let mut gone = 0;
        for (used, path, size) in found {
            if sum <= bytes_max || used.elapsed().is_ok_and(|age| age < age_min) {
                break;
            }
            sum -= size;
            gone += usize::from(fs::remove_file(path).is_ok());
        }
        gone
    }

    /// The directory of a cache that programs of builds keep, by its name's digest.
    pub(crate) fn cache_mount(&self, name: &Digest) -> PathBuf {
        self.root().join(DIRECTORY).join(MOUNTS).join(name.hex())
    }

    /// Removes these directories. Nobody may be building.
    pub(super) fn remove_cache_mounts(&self) {
        let _ = fs::remove_dir_all(self.root().join(DIRECTORY).join(MOUNTS));
    }

    /// Every layer a build may take again.
    pub(super) fn cached_layers(&self) -> Vec<Digest> {
        let records = self.cache_files().into_iter().filter_map(|path| {
            serde_json::from_slice::<Record>(&fs::read(path).ok()?)
                .ok()?
                .layer
        });
        records.collect()
    }

    /// The gzip form of a layer, if it was made and is here.
    pub(super) fn twin(&self, layer: &Digest) -> Option<Twin> {
        let bytes = fs::read(self.twin_path(layer)).ok()?;
        let twin: Twin = serde_json::from_slice(&bytes).ok()?;
        self.blobs().contains(&twin.digest).then_some(twin)
    }

    pub(super) fn note_twin(&self, layer: &Digest, twin: &Twin) -> Result<(), Error> {
        let bytes = serde_json::to_vec(twin).map_err(|source| Error::Json {
            what: "note of a compressed layer",
            source,
        })?;
        self.write_note(&self.twin_path(layer), &bytes)
    }

    pub(super) fn forget_twin(&self, layer: &Digest) {
        let _ = fs::remove_file(self.twin_path(layer));
    }

    fn cache_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root().join(DIRECTORY));
        let entries = entries.into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .collect()
    }

    fn cache_path(&self, key: &str) -> PathBuf {
        self.root().join(DIRECTORY).join(key)
    }

    fn twin_path(&self, layer: &Digest) -> PathBuf {
        self.root().join(DIRECTORY).join(TWINS).join(layer.hex())
    }

    /// Written beside and renamed: a note is whole or not there.
    fn write_note(&self, path: &PathBuf, bytes: &[u8]) -> Result<(), Error> {
        let directory = self.root().join(DIRECTORY).join(TWINS);
        fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
        let name = format!("note-{}", uuid::Uuid::new_v4().simple());
        let new = self.blobs().ingest_directory().join(name);
        fs::write(&new, bytes).map_err(Error::file("write", &new))?;
        fs::rename(&new, path).map_err(Error::file("write", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = ImageStore::open(dir.path()).expect("a store");
        let record = |size| Record {
            layer: None,
            size,
            created: "1970-01-01T00:00:00Z".to_owned(),
        };
        for (key, size) in [("a", 10), ("b", 20), ("c", 30)] {
            store.remember(key, &record(size)).expect("remember");
        }
        assert_eq!(store.cached("b"), Some(record(20)));
        for (key, age_s) in [("b", 10), ("c", 20), ("a", 30)] {
            let file = fs::File::options().append(true).open(store.cache_path(key));
            let then = SystemTime::now() - Duration::from_secs(age_s);
            file.and_then(|file| file.set_modified(then)).expect("time");
        }
        assert_eq!(store.cached("c"), Some(record(30)));
        assert_eq!(store.trim_cache(0, Duration::from_secs(3600)), 0);
        assert_eq!(store.trim_cache(55, Duration::ZERO), 1);
        assert_eq!(store.cached("a"), None);
        assert_eq!(store.trim_cache(30, Duration::ZERO), 1);
        assert_eq!(
            (store.cached("b"), store.cached("c")),
            (None, Some(record(30)))
        );
    }
}
