//! All logs of a process: one directory, one pool of threads, one cache, one bound on open files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::cache::Cache;
use crate::disk::Disk;
use crate::error::Error;
use crate::files::Files;
use crate::log::{Inner, Log};
use crate::pool::Pool;

/// Names of deleted logs whose files are still being removed begin so.
const DELETED_PREFIX: &str = ".deleted-";
/// The longest name of a log, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Limits. The defaults suit a machine that does other things too.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment that has reached this size is sealed, in bytes. It is what a start reads of each
    /// log at most, and what retention drops at once.
    pub segment_bytes: u64,
    /// Records kept in memory for readers of all logs together, in bytes.
    pub cache_bytes: usize,
    /// Records waiting for the disk in all logs together, in bytes; beyond it appends are refused
    /// with [`Error::Busy`].
    pub pending_bytes_max: usize,
    /// Files open at once.
    pub files_max: usize,
    /// Threads that write; each log is written by one at a time. With 0 nothing is written until
    /// [`Logs::run`] is called.
    pub threads_max: usize,
    /// Positions are written at once, but not again before this time has passed: a killed process
    /// repeats at most what consumers did within it. Each time costs as much as an append.
    pub position_gap: Duration,
    /// Positions are synced so long after they are written: a power failure repeats at most what
    /// consumers did within it.
    pub position_sync: Duration,
    /// A log's file of positions may grow to this size before it is written anew, in bytes. Each
    /// time costs three syncs, which appends then wait for.
    pub position_file_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            cache_bytes: 16 << 20,
            pending_bytes_max: 32 << 20,
            files_max: 256,
            threads_max: 4,
            position_gap: Duration::from_millis(2),
            position_sync: Duration::from_millis(100),
            position_file_bytes: 4 << 20,
        }
    }
}

/// A directory of logs. Clones are the same; the directory is free again when all clones, all
/// [`Log`]s and what they were writing are gone.
#[derive(Clone)]
pub struct Logs {
    shared: Arc<Shared>,
}

/// What the logs of a directory share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) files: Files,
    pub(crate) cache: Cache,
    pub(crate) pool: Pool,
    pub(crate) pending_bytes: AtomicUsize,
    root: PathBuf,
    /// Weak, because each of them holds this value.
    logs: Mutex<BTreeMap<String, Weak<Inner>>>,
    ids: AtomicU64,
    _lock: Box<dyn Send + Sync>,
}

impl Shared {
    /// A number that no other opening of a log in this process has.
    pub(crate) fn new_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

impl Logs {
    /// Opens the directory `root`, which is made if need be. Waits for the disk.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open; [`Error::Io`].
    pub fn open(disk: Arc<dyn Disk>, root: &Path, options: Options) -> Result<Self, Error> {
        disk.make_dir(root)
            .map_err(|e| Error::io("make the directory", root, e))?;
        let lock = disk.lock(&root.join("lock")).map_err(|e| match e.kind() {
            std::io::ErrorKind::WouldBlock => Error::Locked {
                path: root.to_owned(),
            },
            _ => Error::io("lock", root, e),
        })?;
        let logs = Self {
            shared: Arc::new(Shared {
                files: Files::new(disk, options.files_max),
                cache: Cache::new(options.cache_bytes),
                pool: Pool::new(options.threads_max),
                pending_bytes: AtomicUsize::new(0),
                root: root.to_owned(),
                logs: Mutex::default(),
                ids: AtomicU64::new(0),
                options,
                _lock: lock,
            }),
        };
        for name in logs.list()? {
            if name.starts_with(DELETED_PREFIX) {
                logs.remove_files(&root.join(name))?;
            }
        }
        Ok(logs)
    }

    /// The log of this name. It is read, or made, by the first call that needs it.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn log(&self, name: &str) -> Result<Log, Error> {
        let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
        if !fits || name.starts_with('.') || name == "lock" || !name.bytes().all(is_good) {
            return Err(Error::Name {
                name: name.to_owned(),
            });
        }
        let mut logs = self.lock();
        if let Some(inner) = logs.get(name).and_then(Weak::upgrade) {
            return Ok(Log(inner));
        }
        let dir = self.shared.root.join(name);
        let inner = Arc::new(Inner::new(name, dir, self.shared.clone()));
        logs.retain(|_, log| log.strong_count() > 0);
        logs.insert(name.to_owned(), Arc::downgrade(&inner));
        Ok(Log(inner))
    }

    /// The names of the logs on the disk, rising. Waits for the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let mut names = self.list()?;
        names.retain(|name| !name.starts_with('.') && name != "lock");
        names.sort();
        Ok(names)
    }

    /// Deletes a log with its positions; no error when there is none. Appends that wait are
    /// finished; every later use of a [`Log`] of that name taken before fails with
    /// [`Error::Deleted`]; one taken afterwards is a new, empty log. Waits for the disk.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Io`].
    pub fn delete(&self, name: &str) -> Result<(), Error> {
        let log = self.log(name)?;
        let mut logs = self.lock();
        log.0.delete();
        logs.remove(name);
        let dir = self.shared.root.join(name);
        let id = self.shared.new_id();
        let gone = self
            .shared
            .root
            .join(format!("{DELETED_PREFIX}{id}-{name}"));
        let disk = &self.shared.files.disk;
        match disk.rename(&dir, &gone) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("rename", &dir, error)),
        }
        drop(logs);
        let root = &self.shared.root;
        disk.sync_dir(root)
            .map_err(|e| Error::io("sync", root, e))?;
        self.remove_files(&gone)
    }

    /// Writes what waits, gives back reserved space, syncs positions, and closes all logs; each is
    /// opened again by its next use. For an orderly end, and to get rid of idle logs' memory.
    /// Waits for the disk.
    pub fn close(&self) {
        self.run();
        let logs: Vec<Arc<Inner>> = self.lock().values().filter_map(Weak::upgrade).collect();
        for log in logs {
            log.close();
        }
    }

    /// Writes what waits, in this thread: only with [`Options::threads_max`] 0, otherwise it is
    /// done without being asked for.
    pub fn run(&self) {
        if self.shared.pool.is_manual() {
            self.shared.pool.run_all();
        }
    }

    /// Bytes of records in memory: those cached for readers and those waiting for the disk.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.shared.cache.bytes() + self.shared.pending_bytes.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Weak<Inner>>> {
        self.shared
            .logs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> Result<Vec<String>, Error> {
        let root = &self.shared.root;
        let names = self.shared.files.disk.list(root);
        names.map_err(|e| Error::io("list", root, e))
    }

    fn remove_files(&self, dir: &Path) -> Result<(), Error> {
        let disk = &self.shared.files.disk;
        let removed = disk.list(dir).and_then(|names| {
            for name in names {
                disk.remove_file(&dir.join(name))?;
            }
            disk.remove_dir(dir)
        });
        removed.map_err(|e| Error::io("remove", dir, e))
    }
}
