//! One log: what its users call, and the state behind it.
//!
//! `commit.rs` is the part that writes; `reader.rs` the part that reads.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::ops::Bound;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::append::{Append, Pending};
use crate::error::Error;
use crate::files::POSITIONS;
use crate::logs::Shared;
use crate::position::Position;
use crate::positions::{PositionFile, Table};
use crate::reader::Reader;
use crate::record::{HEAD_BYTES, PAYLOAD_BYTES_MAX};
use crate::recover;
use crate::retain::{self, Facts, Retention};
use crate::segment::Sealed;
use crate::writer::Active;

/// A segment that everyone has passed is not sealed before it has this size, in bytes: a small one
/// costs less than its replacement.
const SEAL_PASSED_BYTES_MIN: u64 = 1 << 20;

/// One log of a [`crate::Logs`]. Clones are the same log. The first call that needs its files
/// reads them, which waits for the disk; [`Log::open`] does nothing else.
#[derive(Clone)]
pub struct Log(pub(crate) Arc<Inner>);

/// What a log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The first record that is kept.
    pub first: u64,
    /// The offset behind the last durable record.
    pub end: u64,
    /// The arrival of the last record, in milliseconds since 1970.
    pub last_ms: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Files of records.
    pub segments: usize,
    /// Why writes are refused, if they are.
    pub failed: Option<String>,
}

pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: Mutex<State>,
    /// Told when [`Open::is_busy`] ends.
    pub(crate) calm: Condvar,
    /// The durable end, for those who only look.
    pub(crate) end: AtomicU64,
    waiting: Mutex<Waiting>,
    pub(crate) table: Mutex<Table>,
    position_file: Mutex<Option<PositionFile>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) open: Option<Open>,
    is_deleted: bool,
}

/// A log whose files were read.
pub(crate) struct Open {
    /// Of this opening: nothing remembered of an earlier one is taken for this one's.
    pub(crate) id: u64,
    pub(crate) sealed: VecDeque<Arc<Sealed>>,
    /// The sum of their sizes: producers ask for it at every event.
    pub(crate) sealed_bytes: u64,
    pub(crate) active: Active,
    /// The offset of the next append.
    pub(crate) next: u64,
    pub(crate) last_ms: u64,
    pub(crate) pending: Pending,
    /// Somebody writes or changes the segments.
    pub(crate) is_busy: bool,
    pub(crate) failed: Option<String>,
}

#[derive(Default)]
struct Waiting {
    wakers: BTreeMap<u64, Waker>,
    number: u64,
}

impl Log {
    /// The name it was asked for by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Reads the log's files, or makes them. Waits for the disk unless it was done before.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Format`], [`Error::Io`], [`Error::Full`], [`Error::Deleted`].
    pub fn open(&self) -> Result<(), Error> {
        self.0.lock_open().map(drop)
    }

    /// Takes `payloads` for the next commit: acknowledged together, in this order and without
    /// another's in between. What a crash finds unacknowledged it may keep in part. `arrival_ms` is raised to that of the record before if it is
    /// less. Does not wait for the disk when the log is open.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::TooLarge`], [`Error::Failed`], [`Error::Deleted`], and those of
    /// [`Log::open`]. What the disk says comes from the [`Append`]: a full disk is
    /// [`Error::Full`], after which the log goes on; after any other the log takes nothing more
    /// until [`Log::reopen`].
    pub fn append<P: AsRef<[u8]>>(&self, arrival_ms: u64, payloads: &[P]) -> Result<Append, Error> {
        let mut bytes = 0;
        for payload in payloads {
            let payload = payload.as_ref().len();
            if payload > PAYLOAD_BYTES_MAX {
                return Err(Error::TooLarge {
                    bytes: payload,
                    max: PAYLOAD_BYTES_MAX,
                });
            }
            bytes += HEAD_BYTES + payload;
        }
        self.0.append(arrival_ms, payloads, bytes)
    }

    /// A reader that begins at `offset`; see [`Log::stats`] for the first there is.
    #[must_use]
    pub fn reader(&self, offset: u64) -> Reader {
        Reader::new(self.clone(), offset)
    }

    /// The offset of the first record that arrived at `time_ms` or later; the end if none did.
    /// Waits for the disk.
    ///
    /// # Errors
    /// Those of [`Log::open`] and of reading.
    pub fn offset_at(&self, time_ms: u64) -> Result<u64, Error> {
        let Some(start) = self.0.search_start(time_ms)? else {
            return Ok(self.0.end.load(Ordering::Acquire));
        };
        let mut reader = self.reader(start);
        while let Some(record) = reader.read()? {
            if record.arrival_ms >= time_ms {
                return Ok(record.offset);
            }
        }
        Ok(reader.offset())
    }

    /// Resolves when a record at `offset` is durable and so can be read. It costs nothing while
    /// the log is quiet.
    #[must_use]
    pub fn grown(&self, offset: u64) -> Grown {
        Grown {
            log: self.clone(),
            offset,
            key: None,
        }
    }

    /// What it holds. Waits for the disk unless the log is open.
    ///
    /// # Errors
    /// Those of [`Log::open`].
    pub fn stats(&self) -> Result<Stats, Error> {
        let open = self.0.lock_open()?;
        Ok(Stats {
            first: open.first(),
            end: open.active.end,
            last_ms: open.active.last_ms,
            bytes: open.active.reserved + open.sealed_bytes,
            segments: open.sealed.len() + 1,
            failed: open.failed.clone(),
        })
    }

    /// All consumers and how far they are.
    ///
    /// # Errors
    /// Those of [`Log::open`].
    pub fn positions(&self) -> Result<Vec<(String, Position)>, Error> {
        self.positions_of("")
    }

    /// The consumers whose names begin with `prefix`, and how far they are.
    ///
    /// # Errors
    /// Those of [`Log::open`].
    pub fn positions_of(&self, prefix: &str) -> Result<Vec<(String, Position)>, Error> {
        self.open()?;
        let table = lock(&self.0.table);
        let from = (Bound::Included(prefix), Bound::Unbounded);
        Ok(table
            .all
            .range::<str, _>(from)
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, position)| (name.clone(), position.clone()))
            .collect())
    }

    /// How far `consumer` is, if it ever said.
    ///
    /// # Errors
    /// Those of [`Log::open`].
    pub fn position(&self, consumer: &str) -> Result<Option<Position>, Error> {
        self.open()?;
        Ok(lock(&self.0.table).all.get(consumer).cloned())
    }

    /// Notes what `consumer` has done with; only what was delivered and answered may be in it.
    /// Written in the background within [`crate::Options::position_gap`], in one batch with all that
    /// are noted meanwhile, so that a killed process repeats next to nothing; synced after
    /// [`crate::Options::position_sync`].
    /// Does not wait for the disk when the log is open.
    ///
    /// # Errors
    /// [`Error::Ahead`] of the durable end, and those of [`Log::open`].
    pub fn set_position(&self, consumer: &str, position: Position) -> Result<(), Error> {
        self.open()?;
        let end = self.0.end.load(Ordering::Acquire);
        let next = position.done.last().map_or(position.next, |range| range.1);
        if next.max(position.next) > end {
            return Err(Error::Ahead {
                name: self.0.name.clone(),
                consumer: consumer.to_owned(),
                next: next.max(position.next),
                end,
            });
        }
        let mut table = lock(&self.0.table);
        table.set(consumer, position);
        self.0.schedule_positions(table);
        Ok(())
    }

    /// Forgets a consumer, which then holds no record back any more.
    ///
    /// # Errors
    /// Those of [`Log::open`].
    pub fn remove_position(&self, consumer: &str) -> Result<(), Error> {
        self.open()?;
        let mut table = lock(&self.0.table);
        table.remove(consumer);
        self.0.schedule_positions(table);
        Ok(())
    }

    /// Makes all positions durable. A new consumer's first position should be before anything is
    /// promised to it. Waits for the disk.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Full`] (the positions stay in memory and are written later), and
    /// those of [`Log::open`].
    pub fn sync_positions(&self) -> Result<(), Error> {
        self.open()?;
        self.0.flush_positions(true)
    }

    /// Drops the oldest segments that `retention` lets go, and returns how many. Waits for the
    /// disk.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Full`], and those of [`Log::open`].
    pub fn retain(&self, now_ms: u64, retention: &Retention) -> Result<usize, Error> {
        // Not before it is durable that they were passed.
        self.sync_positions()?;
        self.0.begin_exclusive()?;
        let dropped = self.0.drop_segments(now_ms, retention);
        self.0.end_exclusive();
        dropped
    }

    /// Closes the log and reads its files again: what an operator does after mending the disk.
    /// Waits for the disk.
    ///
    /// # Errors
    /// Those of [`Log::open`].
    pub fn reopen(&self) -> Result<(), Error> {
        self.0.close();
        self.open()
    }
}

/// The future of [`Log::grown`].
pub struct Grown {
    log: Log,
    offset: u64,
    key: Option<u64>,
}

impl Future for Grown {
    /// The durable end.
    type Output = Result<u64, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = self.log.0.clone();
        // Registered before looking, so that no growth in between is missed.
        let mut waiting = lock(&inner.waiting);
        let key = self.key.unwrap_or_else(|| {
            waiting.number += 1;
            waiting.number
        });
        waiting.wakers.insert(key, cx.waker().clone());
        drop(waiting);
        self.key = Some(key);
        if let Err(error) = self.log.open() {
            return Poll::Ready(Err(error));
        }
        let end = inner.end.load(Ordering::Acquire);
        if end > self.offset {
            return Poll::Ready(Ok(end));
        }
        Poll::Pending
    }
}

impl Drop for Grown {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            lock(&self.log.0.waiting).wakers.remove(&key);
        }
    }
}

/// The state of an open log, locked.
pub(crate) struct OpenGuard<'a>(MutexGuard<'a, State>);

impl Deref for OpenGuard<'_> {
    type Target = Open;

    fn deref(&self) -> &Open {
        self.0.open.as_ref().expect("made only from an open state")
    }
}

impl DerefMut for OpenGuard<'_> {
    fn deref_mut(&mut self) -> &mut Open {
        self.0.open.as_mut().expect("made only from an open state")
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Open {
    /// The first record that is kept.
    pub(crate) fn first(&self) -> u64 {
        self.sealed
            .front()
            .map_or(self.active.base, |segment| segment.foot.base)
    }

    fn facts(&self) -> Vec<Facts> {
        let mut facts: Vec<Facts> = self
            .sealed
            .iter()
            .map(|segment| Facts {
                end: segment.foot.end,
                last_ms: segment.foot.last_ms,
                bytes: segment.bytes(),
            })
            .collect();
        facts.push(Facts {
            end: self.active.end,
            last_ms: self.active.last_ms,
            bytes: self.active.data_end,
        });
        facts
    }
}

impl Inner {
    pub(crate) fn new(name: &str, dir: PathBuf, shared: Arc<Shared>) -> Self {
        Self {
            name: name.to_owned(),
            dir,
            shared,
            state: Mutex::default(),
            calm: Condvar::new(),
            end: AtomicU64::new(0),
            waiting: Mutex::default(),
            table: Mutex::default(),
            position_file: Mutex::default(),
        }
    }

    /// Locks the state and sees to it that the log is open.
    pub(crate) fn lock_open(&self) -> Result<OpenGuard<'_>, Error> {
        let mut state = lock(&self.state);
        if state.is_deleted {
            return Err(Error::Deleted {
                name: self.name.clone(),
            });
        }
        if state.open.is_none() {
            state.open = Some(self.recover()?);
        }
        Ok(OpenGuard(state))
    }

    fn recover(&self) -> Result<Open, Error> {
        let files = &self.shared.files;
        let id = self.shared.new_id();
        let recovered = recover::open(&*files.disk, &self.dir)?;
        let (mut file, table) = PositionFile::open(
            files,
            &self.dir,
            (id, POSITIONS),
            self.shared.options.position_file_bytes,
        )?;
        let end = recovered.active.end;
        *lock(&self.table) = table;
        lock(&self.table).clamp(end);
        if lock(&self.table).is_dirty() {
            // A power failure took what they had passed. Durable before another record gets the
            // same offset, which it would hide from them.
            tracing::warn!(log = %self.name, end, "positions behind the end were taken back to it");
            file.flush(files, || lock(&self.table), true)?;
        }
        *lock(&self.position_file) = Some(file);
        self.end.store(end, Ordering::Release);
        Ok(Open {
            id,
            sealed_bytes: recovered.sealed.iter().map(|s| s.bytes()).sum(),
            sealed: recovered.sealed,
            next: end,
            last_ms: recovered.active.last_ms,
            active: recovered.active,
            pending: Pending::default(),
            is_busy: false,
            failed: None,
        })
    }

    /// Where to begin looking for the first record of `time_ms` or later, if there is one.
    fn search_start(&self, time_ms: u64) -> Result<Option<u64>, Error> {
        let open = self.lock_open()?;
        let found = open.sealed.partition_point(|s| s.foot.last_ms < time_ms);
        let Some(segment) = open.sealed.get(found).cloned() else {
            let active = &open.active;
            let is_in = !active.is_empty() && active.last_ms >= time_ms;
            return Ok(active.index.before(time_ms).filter(|_| is_in));
        };
        let id = open.id;
        drop(open);
        let files = &self.shared.files;
        let file = files
            .get((id, segment.foot.base), &segment.path)
            .map_err(|e| Error::io("open", &segment.path, e))?;
        Ok(segment.index(&*file)?.before(time_ms))
    }

    /// Tells everyone who waits in a [`Grown`].
    pub(crate) fn wake_waiting(&self) {
        let wakers: Vec<Waker> = lock(&self.waiting).wakers.values().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn flush_positions(&self, sync: bool) -> Result<(), Error> {
        match &mut *lock(&self.position_file) {
            Some(file) => file.flush(&self.shared.files, || lock(&self.table), sync),
            None => Ok(()),
        }
    }

    /// Waits until nobody writes, and keeps others from it until [`Inner::end_exclusive`].
    fn begin_exclusive(&self) -> Result<(), Error> {
        if self.shared.pool.is_manual() {
            self.shared.pool.run_all();
        }
        let mut open = self.lock_open()?;
        while open.is_busy {
            let woken = self.calm.wait(open.0);
            drop(woken.unwrap_or_else(PoisonError::into_inner));
            open = self.lock_open()?;
        }
        open.is_busy = true;
        Ok(())
    }

    fn drop_segments(&self, now_ms: u64, retention: &Retention) -> Result<usize, Error> {
        let open = self.lock_open()?;
        let facts = open.facts();
        let passed = lock(&self.table).passed(open.active.end);
        let mut count = retain::droppable(&facts, passed, now_ms, retention);
        let is_whole = count == facts.len();
        let is_worth = open.active.data_end >= SEAL_PASSED_BYTES_MIN && open.failed.is_none();
        drop(open);
        if is_whole && is_worth {
            self.roll().map_err(|failure| failure.error)?;
        } else if is_whole {
            count -= 1;
        }
        for n in 0..count {
            let mut open = self.lock_open()?;
            let (id, oldest) = (open.id, open.sealed.pop_front());
            let Some(oldest) = oldest else {
                return Ok(n);
            };
            open.sealed_bytes -= oldest.bytes();
            drop(open);
            self.shared.files.forget((id, oldest.foot.base));
            if let Err(error) = self.shared.files.disk.remove_file(&oldest.path) {
                let path = oldest.path.clone();
                let mut open = self.lock_open()?;
                open.sealed_bytes += oldest.bytes();
                open.sealed.push_front(oldest);
                return Err(Error::io("remove", &path, error));
            }
        }
        Ok(count)
    }

    /// Finishes what waits and forgets the log's state; its next use reads the files.
    pub(crate) fn close(&self) {
        let _ = self.sync_before_close();
        let mut state = self.lock_calm();
        let Some(open) = state.open.take() else {
            return;
        };
        if open.failed.is_none() {
            let key = (open.id, open.active.base);
            // The reserved space is given back; failing that, the next opening does it.
            let file = self.shared.files.get(key, &open.active.path);
            let _ = file.and_then(|file| file.set_len(open.active.data_end));
        }
        self.forget(open.id);
    }

    fn sync_before_close(&self) -> Result<(), Error> {
        self.flush_positions(true)
            .inspect_err(|error| tracing::warn!(log = %self.name, error = error.chain(), "positions were not written"))
    }

    /// Ends all use of this value.
    pub(crate) fn delete(&self) {
        lock(&self.state).is_deleted = true;
        let mut state = self.lock_calm();
        if let Some(open) = state.open.take() {
            self.forget(open.id);
        }
        drop(state);
        *lock(&self.position_file) = None;
        self.wake_waiting();
    }

    fn lock_calm(&self) -> MutexGuard<'_, State> {
        if self.shared.pool.is_manual() {
            self.shared.pool.run_all();
        }
        let mut state = lock(&self.state);
        while state.open.as_ref().is_some_and(|open| open.is_busy) {
            let woken = self.calm.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    fn forget(&self, id: u64) {
        self.shared.cache.forget(id);
        self.shared.files.forget_log(id);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if lock(&self.table).is_dirty()
            && let Err(error) = self.flush_positions(false)
        {
            tracing::warn!(log = %self.name, error = error.chain(), "positions were not written");
        }
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = state.open.take() {
            self.forget(open.id);
        }
    }
}
