//! Open files, a bounded number for all logs together: ten thousand idle logs hold none.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile};

/// A file of one opening of one log: segments by their base.
pub(crate) type Key = (u64, u64);

/// The file of positions, as a key.
pub(crate) const POSITIONS: u64 = u64::MAX;

/// Files that stay open, the longest unused closed first.
pub(crate) struct Files {
    pub(crate) disk: Arc<dyn Disk>,
    open: Mutex<Open>,
    max: usize,
}

#[derive(Default)]
struct Open {
    files: BTreeMap<Key, (Arc<dyn DiskFile>, u64)>,
    uses: u64,
}

impl Files {
    pub(crate) fn new(disk: Arc<dyn Disk>, max: usize) -> Self {
        Self {
            disk,
            open: Mutex::default(),
            max,
        }
    }

    /// The file at `path`, which belongs to `key`.
    pub(crate) fn get(&self, key: Key, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.lock().touch(key) {
            return Ok(file);
        }
        let file = self.disk.open(path, false)?;
        self.lock().insert(key, file.clone(), self.max);
        Ok(file)
    }

    /// Forgets a file that was removed or replaced.
    pub(crate) fn forget(&self, key: Key) {
        self.lock().files.remove(&key);
    }

    /// Forgets all files of a log that was closed or deleted.
    pub(crate) fn forget_log(&self, id: u64) {
        self.lock().files.retain(|key, _| key.0 != id);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn touch(&mut self, key: Key) -> Option<Arc<dyn DiskFile>> {
        self.uses += 1;
        let (file, used) = self.files.get_mut(&key)?;
        *used = self.uses;
        Some(file.clone())
    }

    fn insert(&mut self, key: Key, file: Arc<dyn DiskFile>, max: usize) {
        while self.files.len() >= max.max(1) {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used);
            let Some(key) = oldest.map(|(key, _)| *key) else {
                break;
            };
            self.files.remove(&key);
        }
        self.files.insert(key, (file, self.uses));
    }
}
