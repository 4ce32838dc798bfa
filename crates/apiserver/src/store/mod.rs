//! The durable object store under the API: a journal on disk, ordered maps in memory, one global
//! revision, events for watchers. `docs/store.md` describes the files byte by byte.
//!
//! Called by `crate::rest` and the components beside it. Knows bytes and paths, not JSON, kinds or
//! requests.
//!
//! A write goes: writer lock, check of the expectation, append to the journal (`write(2)`, so a
//! killed process loses nothing), change in memory, events. Reads never wait for the disk.

mod entry;
mod error;
mod history;
mod journal;
mod record;
mod recover;
mod repair;
mod state;
mod sync;
#[cfg(test)]
mod tests;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;

pub use entry::{Change, Entry, Event, Meta, ResourceId};
pub use error::Error;
pub use history::Watch;
pub use repair::{Loss, Repair, repair};
pub use state::Page;

use entry::Body;
use journal::Journal;
use record::Record;
use state::State;
use sync::Syncer;

/// When a write is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// After `write(2)`; the medium has it within this interval. A killed process loses nothing,
    /// a power failure at most the interval.
    Interval(Duration),
    /// After `fdatasync`; writes at the same time share one.
    EveryWrite,
}

impl Default for Durability {
    fn default() -> Self {
        Self::Interval(Duration::from_millis(5))
    }
}

/// What must be stored at a path for a write to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// An object of exactly this revision.
    Revision(u64),
}

/// The journal may grow to this size plus twice the live bytes before a snapshot replaces it.
const JOURNAL_SLACK_BYTES: u64 = 32 << 20;

/// The store. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    writer: Mutex<Writer>,
    state: RwLock<State>,
    syncer: Syncer,
    durability: Durability,
    dir: PathBuf,
    compacting: AtomicBool,
    _lock: File,
}

struct Writer {
    journal: Journal,
    frame: Vec<u8>,
}

impl Store {
    /// Opens the store in `dir`, which is made if it does not exist, and recovers its content.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, [`Error::Format`] and
    /// [`Error::Corrupt`] for files this program cannot take over.
    pub fn open(dir: &Path, durability: Durability) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
        let lock = lock(dir)?;
        let mut state = State::default();
        let journal = recover::recover(dir, &mut state)?;
        let interval = match durability {
            Durability::Interval(interval) => interval,
            Durability::EveryWrite => Duration::ZERO,
        };
        let syncer = Syncer::start(Arc::clone(&journal.file), state.revision, interval);
        let store = Self(Arc::new(Inner {
            writer: Mutex::new(Writer {
                journal,
                frame: Vec::new(),
            }),
            state: RwLock::new(state),
            syncer,
            durability,
            dir: dir.to_owned(),
            compacting: AtomicBool::new(false),
            _lock: lock,
        }));
        Ok(store)
    }

    /// The number of resource `name` (`apps/deployments`, `/pods`), given on first use.
    pub fn resource(&self, name: &str) -> ResourceId {
        if let Some(id) = self.state().known_id(name) {
            return id;
        }
        self.0
            .state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .id(name)
    }

    /// The name behind a resource number.
    pub fn resource_name(&self, id: ResourceId) -> Arc<str> {
        self.state().name(id)
    }

    /// The revision of the last change.
    pub fn revision(&self) -> u64 {
        self.state().revision
    }

    /// How many objects of a resource there are.
    pub fn count(&self, id: ResourceId) -> usize {
        self.state().count(id)
    }

    /// Every resource that has ever had objects, with their present number.
    pub fn counts(&self) -> Vec<(String, usize)> {
        self.state()
            .resources()
            .map(|(name, count)| (name.to_owned(), count))
            .collect()
    }

    /// One object.
    pub fn get(&self, id: ResourceId, path: &str) -> Option<Arc<Entry>> {
        self.state().get(id, path).cloned()
    }

    /// The objects whose paths start with `prefix` and come after `after`, at most `limit`.
    pub fn page(&self, id: ResourceId, prefix: &str, after: &str, limit: usize) -> Page {
        self.state().page(id, prefix, after, limit)
    }

    /// All objects of a resource whose paths start with `prefix`.
    pub fn list(&self, id: ResourceId, prefix: &str) -> Vec<Arc<Entry>> {
        self.page(id, prefix, "", usize::MAX).entries
    }

    /// The object with this UID.
    pub fn by_uid(&self, uid: u128) -> Option<Arc<Entry>> {
        self.state().by_uid(uid).cloned()
    }

    /// Why writes are refused, once they are.
    pub fn failure(&self) -> Option<String> {
        self.0.syncer.failure()
    }

    /// The objects that name `owner` among their owners.
    pub fn dependents(&self, owner: u128) -> Vec<Arc<Entry>> {
        self.state().dependents(owner)
    }

    /// Whether all changes of a resource after `revision` are still known.
    pub fn reaches_back_to(&self, id: ResourceId, revision: u64) -> bool {
        self.state().history.reaches_back_to(Some(id), revision)
    }

    /// Subscribes to the changes of a resource, or of all, after `revision`.
    /// `None` when they are no longer all known: the caller has to list again.
    pub fn watch(&self, id: Option<ResourceId>, revision: u64) -> Option<Watch> {
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        let reachable = state.history.reaches_back_to(id, revision);
        reachable.then(|| state.history.watch(id, revision))
    }

    /// The present objects of a resource and a subscription to what comes after, without a gap.
    pub fn list_and_watch(&self, id: Option<ResourceId>, prefix: &str) -> (Page, Watch) {
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        let revision = state.revision;
        let page = match id {
            Some(id) => state.page(id, prefix, "", usize::MAX),
            None => Page {
                entries: state.all(),
                revision,
                remaining: 0,
            },
        };
        let watch = state.history.watch(id, revision);
        (page, watch)
    }

    /// Stores an object. `encode` gets the revision of this write and gives the bytes.
    ///
    /// # Errors
    /// [`Error::Conflict`] when `expect` does not hold; the others when the disk refuses.
    pub fn put(
        &self,
        (id, path): (ResourceId, &str),
        expect: Expect,
        meta: Meta,
        encode: impl FnOnce(u64) -> Vec<u8>,
    ) -> Result<Arc<Entry>, Error> {
        let mut writer = self.writer()?;
        let (revision, current) = self.expected(id, path, expect)?;
        let path = current.map_or_else(|| path.into(), |current| Arc::clone(&current.path));
        let body = Body::Plain(Bytes::from(encode(revision).into_boxed_slice()));
        let entry = Arc::new(Entry {
            resource: id,
            path,
            revision,
            meta,
            body,
        });
        self.append(&mut writer, &entry, true)?;
        self.0
            .state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .put(Arc::clone(&entry));
        self.compact_if_due(writer);
        Ok(entry)
    }

    /// Removes the object of exactly `revision`. `encode` gives its last state under the revision
    /// of the deletion, which watchers receive.
    ///
    /// # Errors
    /// As for [`Store::put`].
    pub fn delete(
        &self,
        (id, path): (ResourceId, &str),
        revision: u64,
        encode: impl FnOnce(u64, &Entry) -> Vec<u8>,
    ) -> Result<Arc<Entry>, Error> {
        let mut writer = self.writer()?;
        let (revision, current) = self.expected(id, path, Expect::Revision(revision))?;
        let Some(current) = current else {
            return Err(Error::Conflict { current: None });
        };
        let body = Body::Plain(Bytes::from(encode(revision, &current).into_boxed_slice()));
        let (path, meta) = (Arc::clone(&current.path), current.meta.clone());
        let last = Arc::new(Entry {
            resource: id,
            path,
            revision,
            meta,
            body,
        });
        self.append(&mut writer, &last, false)?;
        self.0
            .state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .delete(Arc::clone(&last));
        self.compact_if_due(writer);
        Ok(last)
    }

    /// Waits until a write may be acknowledged as durable; at once under
    /// [`Durability::Interval`].
    ///
    /// # Errors
    /// [`Error::Failed`] when the medium refused.
    pub async fn acknowledged(&self, revision: u64) -> Result<(), Error> {
        match self.0.durability {
            Durability::Interval(_) => Ok(()),
            Durability::EveryWrite => self.synced(revision).await,
        }
    }

    /// Waits until everything up to `revision` is on the medium.
    ///
    /// # Errors
    /// [`Error::Failed`] when the medium refused.
    pub async fn synced(&self, revision: u64) -> Result<(), Error> {
        self.0
            .syncer
            .wait(revision)
            .await
            .map_err(|why| Error::Failed { why })
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> Result<MutexGuard<'_, Writer>, Error> {
        if let Some(why) = self.0.syncer.failure() {
            return Err(Error::Failed { why });
        }
        Ok(self.0.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The revision of the coming write and the present object, if the expectation holds.
    fn expected(
        &self,
        id: ResourceId,
        path: &str,
        expect: Expect,
    ) -> Result<(u64, Option<Arc<Entry>>), Error> {
        let state = self.state();
        let current = state.get(id, path);
        let holds = match expect {
            Expect::Absent => current.is_none(),
            Expect::Revision(revision) => current.is_some_and(|c| c.revision == revision),
        };
        let current = current.cloned();
        if holds {
            Ok((state.revision + 1, current))
        } else {
            Err(Error::Conflict { current })
        }
    }

    fn append(&self, writer: &mut Writer, entry: &Entry, put: bool) -> Result<(), Error> {
        let Writer { journal, frame } = writer;
        record::encode(
            &record_of(
                &self.resource_name(entry.resource),
                entry,
                &entry.bytes(),
                put,
                self.0.syncer.synced(),
            ),
            frame,
        );
        journal.append(frame)?;
        self.0.syncer.appended(&journal.file, entry.revision);
        Ok(())
    }

    /// Starts a snapshot in the background once the journal has outgrown the live objects.
    fn compact_if_due(&self, writer: MutexGuard<'_, Writer>) {
        let due = JOURNAL_SLACK_BYTES + 2 * self.state().live_bytes;
        if writer.journal.len <= due || self.0.compacting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (store, rotated) = (self.clone(), self.rotate(writer));
        std::thread::spawn(move || {
            if let Err(error) = rotated.and_then(|snapshot| store.write_snapshot(&snapshot)) {
                tracing::error!(%error, "the store could not be compacted; it goes on growing");
            }
            store.0.compacting.store(false, Ordering::Release);
        });
    }

    /// Replaces the journal by an empty one and a snapshot. Waits for the disk.
    ///
    /// # Errors
    /// Those of the files written.
    pub fn compact(&self) -> Result<(), Error> {
        let snapshot = self.rotate(self.writer()?)?;
        self.write_snapshot(&snapshot)
    }

    /// Begins a new journal; gives the state it builds on.
    fn rotate(&self, mut writer: MutexGuard<'_, Writer>) -> Result<Snapshot, Error> {
        let Writer { journal, .. } = &mut *writer;
        journal
            .file
            .sync_all()
            .map_err(|e| Error::io("sync", &journal.path, e))?;
        let state = self.state();
        let (revision, entries) = (state.revision, state.all());
        drop(state);
        *journal = Journal::create(&self.0.dir, revision + 1)?;
        Ok(Snapshot { revision, entries })
    }

    fn write_snapshot(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let Snapshot { revision, entries } = snapshot;
        let name = |entry: &Entry| self.resource_name(entry.resource);
        let frames = snapshot_frames(*revision, entries, name);
        recover::write_snapshot(&self.0.dir, *revision, frames)
    }
}

struct Snapshot {
    revision: u64,
    entries: Vec<Arc<Entry>>,
}

/// The frames of a snapshot: the objects, then the record that closes it.
fn snapshot_frames(
    revision: u64,
    entries: &[Arc<Entry>],
    name: impl Fn(&Entry) -> Arc<str>,
) -> impl Iterator<Item = Vec<u8>> {
    let count = entries.len() as u64;
    let frames = entries.iter().map(move |entry| {
        let mut frame = Vec::new();
        let bytes = entry.bytes();
        record::encode(
            &record_of(&name(entry), entry, &bytes, true, revision),
            &mut frame,
        );
        frame
    });
    let mut end = Vec::new();
    record::encode(&Record::End { revision, count }, &mut end);
    frames.chain([end])
}

fn record_of<'a>(
    resource: &'a str,
    entry: &'a Entry,
    bytes: &'a [u8],
    put: bool,
    synced: u64,
) -> Record<'a> {
    let (revision, path, meta) = (entry.revision, &*entry.path, entry.meta.clone());
    if put {
        Record::Put {
            revision,
            synced,
            resource,
            path,
            meta,
            bytes,
        }
    } else {
        Record::Delete {
            revision,
            synced,
            resource,
            path,
            meta,
            bytes,
        }
    }
}

/// Takes the exclusive lock that lives as long as the returned file.
fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(|e| Error::io("create", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            path: dir.to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", &path, e)),
    }
}
