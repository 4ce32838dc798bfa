//! Which names the store's images have: `index.json`, which makes the store an OCI layout.
//!
//! Several processes may use one store (`rekindle image load` beside `rekindle up`): every look-up
//! checks whether the file changed, every change happens under a file lock and by rename.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::FlockOperation;

use super::error::Error;
use super::manifest::{self, Descriptor, Index, OCI_INDEX};

pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
const ORIGIN: &str = "dev.rekindle.origin";
const ORIGIN_LOADED: &str = "loaded";

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    /// The manifest or index.
    pub(super) target: Descriptor,
    /// Brought by hand rather than pulled: no registry knows better.
    pub(super) loaded: bool,
}

pub(super) type Names = BTreeMap<String, Named>;

#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    lock: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stamp: Option<Stamp>,
    names: Names,
}

/// Changes whenever the file is replaced.
type Stamp = (u64, i64, i64, u64);

impl Table {
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let layout = root.join("oci-layout");
        fs::write(&layout, r#"{"imageLayoutVersion":"1.0.0"}"#)
            .map_err(Error::file("write", &layout))?;
        let lock = root.join("index.lock");
        File::options()
            .create(true)
            .append(true)
            .open(&lock)
            .map_err(Error::file("open", &lock))?;
        let table = Self {
            path: root.join("index.json"),
            lock,
            state: Mutex::default(),
        };
        drop(table.current()?);
        Ok(table)
    }

    pub(super) fn find(&self, name: &str) -> Result<Option<Named>, Error> {
        Ok(self.current()?.names.get(name).cloned())
    }

    pub(super) fn all(&self) -> Result<Names, Error> {
        Ok(self.current()?.names.clone())
    }

    /// Changes the names; what `change` returns comes back once the change is on disk.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Names) -> T) -> Result<T, Error> {
        let lock = File::open(&self.lock).map_err(Error::file("open", &self.lock))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .map_err(|error| Error::file("lock", &self.lock)(error.into()))?;
        let mut state = self.current()?;
        let mut names = state.names.clone();
        let result = change(&mut names);
        if names != state.names {
            self.write(&names)?;
            state.names = names;
            state.stamp = stamp(&self.path)?;
        }
        Ok(result)
    }

    /// The names, read again if the file is not the one read last.
    fn current(&self) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.path)?;
        if stamp != state.stamp {
            let bytes = fs::read(&self.path).map_err(Error::file("read", &self.path))?;
            state.names = read(&bytes)?;
            state.stamp = stamp;
        }
        Ok(state)
    }

    fn write(&self, names: &Names) -> Result<(), Error> {
        let index = Index {
            schema_version: 2,
            media_type: OCI_INDEX.to_owned(),
            manifests: names
                .iter()
                .map(|(name, named)| descriptor(name, named))
                .collect(),
        };
        let bytes = serde_json::to_vec(&index).map_err(|source| Error::Json {
            what: "table of names",
            source,
        })?;
        let new = self.path.with_extension("new");
        fs::write(&new, bytes).map_err(Error::file("write", &new))?;
        File::open(&new)
            .and_then(|file| file.sync_data())
            .map_err(Error::file("sync", &new))?;
        fs::rename(&new, &self.path).map_err(Error::file("write", &self.path))
    }
}

fn descriptor(name: &str, named: &Named) -> Descriptor {
    let mut descriptor = named.target.clone();
    descriptor.annotations = BTreeMap::from([(REF_NAME.to_owned(), name.to_owned())]);
    if named.loaded {
        descriptor
            .annotations
            .insert(ORIGIN.to_owned(), ORIGIN_LOADED.to_owned());
    }
    descriptor
}

fn read(bytes: &[u8]) -> Result<Names, Error> {
    let index: Index = manifest::parse("table of names", bytes)?;
    let named = index.manifests.into_iter().filter_map(|mut target| {
        let annotations = std::mem::take(&mut target.annotations);
        let name = annotations.get(REF_NAME)?.clone();
        let loaded = annotations
            .get(ORIGIN)
            .is_some_and(|origin| origin == ORIGIN_LOADED);
        Some((name, Named { target, loaded }))
    });
    Ok(named.collect())
}

fn stamp(path: &Path) -> Result<Option<Stamp>, Error> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some((
            found.ino(),
            found.mtime(),
            found.mtime_nsec(),
            found.size(),
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("look at", path)(error)),
    }
}
