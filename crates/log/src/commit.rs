//! The group commit: everything that was appended while the disk was busy goes out in one write and
//! one sync, and everyone who waits is told together.
//!
//! A log has at most one such job at a time; `Open::is_busy` says whether it has.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::append::{Append, Encoded, Group, Pending};
use crate::cache::Chunk;
use crate::error::Error;
use crate::index::Entry;
use crate::log::{Inner, lock};
use crate::positions::Table;
use crate::segment::Sealed;
use crate::writer::{self, Failure};

/// What one round writes.
struct Work {
    id: u64,
    chunks: Vec<Encoded>,
    bytes: usize,
    group: Arc<Group>,
    must_roll: bool,
}

/// Where to write.
struct Place {
    base: u64,
    path: PathBuf,
    data_end: u64,
    reserved: u64,
}

impl Inner {
    pub(crate) fn append<P: AsRef<[u8]>>(
        self: &Arc<Self>,
        arrival_ms: u64,
        payloads: &[P],
        bytes: usize,
    ) -> Result<Append, Error> {
        let mut open = self.lock_open()?;
        if let Some(why) = &open.failed {
            return Err(Error::Failed {
                name: self.name.clone(),
                why: why.clone(),
            });
        }
        let pending_bytes = self
            .shared
            .pending_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        // One that is larger than the limit may pass alone.
        if pending_bytes > 0 && pending_bytes + bytes > self.shared.options.pending_bytes_max {
            self.shared
                .pending_bytes
                .fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::Busy {
                name: self.name.clone(),
                pending_bytes,
            });
        }
        let first = open.next;
        open.last_ms = open.last_ms.max(arrival_ms);
        let arrival_ms = open.last_ms;
        for payload in payloads {
            let offset = open.next;
            open.pending.push(offset, arrival_ms, payload.as_ref());
            open.next += 1;
        }
        let append = Append::new(open.pending.group(), first);
        let was_busy = std::mem::replace(&mut open.is_busy, true);
        drop(open);
        if !was_busy {
            self.schedule_commit();
        }
        Ok(append)
    }

    fn schedule_commit(self: &Arc<Self>) {
        let inner = self.clone();
        self.shared.pool.run(Box::new(move || inner.commit()));
    }

    fn commit(self: Arc<Self>) {
        while let Some(work) = self.take_work() {
            let written = self.write(&work);
            self.finish(work, written);
            if !self.shared.pool.is_quiet() {
                // Other logs wait: this one goes behind them.
                return self.schedule_commit();
            }
        }
    }

    fn take_work(&self) -> Option<Work> {
        let mut state = lock(&self.state);
        let open = state.open.as_mut()?;
        let pending = std::mem::take(&mut open.pending);
        let Some(group) = pending.group else {
            open.is_busy = false;
            self.calm.notify_all();
            return None;
        };
        Some(Work {
            id: open.id,
            chunks: pending.chunks,
            bytes: pending.bytes,
            group,
            must_roll: open.active.data_end >= self.shared.options.segment_bytes
                && !open.active.is_empty(),
        })
    }

    fn write(&self, work: &Work) -> Result<u64, Failure> {
        if work.must_roll {
            self.roll()?;
        }
        let place = {
            let state = lock(&self.state);
            let active = &state.open.as_ref().expect("busy keeps it open").active;
            Place {
                base: active.base,
                path: active.path.clone(),
                data_end: active.data_end,
                reserved: active.reserved,
            }
        };
        let file = self.shared.files.get((work.id, place.base), &place.path);
        let file = file.map_err(|e| Failure {
            error: Error::io("open", &place.path, e),
            is_unknown: true,
        })?;
        let parts: Vec<IoSlice<'_>> = work.chunks.iter().map(|c| IoSlice::new(&c.bytes)).collect();
        let ends = (place.data_end, place.reserved);
        writer::append(&*file, &place.path, ends, &parts)
    }

    fn finish(&self, work: Work, written: Result<u64, Failure>) {
        self.shared
            .pending_bytes
            .fetch_sub(work.bytes, Ordering::Relaxed);
        match written {
            Ok(reserved) => {
                self.publish(work.id, work.chunks, reserved);
                work.group.finish(Ok(()));
                self.wake_waiting();
            }
            Err(failure) => {
                tracing::warn!(log = %self.name, error = failure.error.chain(), "an append failed");
                let behind = self.refuse(&failure);
                self.shared
                    .pending_bytes
                    .fetch_sub(behind.bytes, Ordering::Relaxed);
                work.group.finish(Err(failure.error.clone()));
                if let Some(group) = behind.group {
                    group.finish(Err(failure.error));
                }
            }
        }
    }

    /// Shows durable records to readers.
    fn publish(&self, id: u64, chunks: Vec<Encoded>, reserved: u64) {
        let mut state = lock(&self.state);
        let active = &mut state.open.as_mut().expect("busy keeps it open").active;
        active.reserved = reserved;
        for mut chunk in chunks {
            if active.is_empty() {
                active.first_ms = chunk.first_ms;
            }
            active.index.note(Entry {
                offset: chunk.first,
                position: active.data_end,
                arrival_ms: chunk.first_ms,
            });
            active.data_end += chunk.bytes.len() as u64;
            active.end += u64::from(chunk.count);
            active.last_ms = chunk.last_ms;
            if chunk.bytes.capacity() > 2 * chunk.bytes.len() {
                chunk.bytes.shrink_to_fit();
            }
            let chunk = Chunk {
                first: chunk.first,
                end: active.end,
                bytes: Bytes::from(chunk.bytes),
            };
            self.shared.cache.put(id, chunk);
        }
        self.end.store(active.end, Ordering::Release);
    }

    /// Takes back the offsets of what was not written and of everything behind it, which is
    /// returned to be refused too: their places would have a gap in front.
    fn refuse(&self, failure: &Failure) -> Pending {
        let mut state = lock(&self.state);
        let open = state.open.as_mut().expect("busy keeps it open");
        open.next = open.active.end;
        if failure.is_unknown {
            open.failed = Some(failure.error.chain());
        } else {
            open.active.reserved = open.active.data_end;
        }
        std::mem::take(&mut open.pending)
    }

    /// Seals the active segment and begins the next. Called by whoever made the log busy.
    pub(crate) fn roll(&self) -> Result<(), Failure> {
        let (end, last_ms) = {
            let state = lock(&self.state);
            let active = &state.open.as_ref().expect("busy keeps it open").active;
            (active.end, active.last_ms)
        };
        let disk = &*self.shared.files.disk;
        let next = writer::create(disk, &self.dir, end, last_ms).map_err(|error| Failure {
            is_unknown: !error.is_retryable(),
            error,
        })?;
        let (id, old, index) = {
            let mut state = lock(&self.state);
            let open = state.open.as_mut().expect("busy keeps it open");
            let mut old = std::mem::replace(&mut open.active, next);
            let index = Arc::new(std::mem::take(&mut old.index));
            let unsealed = Sealed::new(old.foot(), old.path.clone(), Some(index.clone()));
            open.sealed_bytes += unsealed.bytes();
            open.sealed.push_back(Arc::new(unsealed));
            (open.id, old, index)
        };
        let unknown = |error| Failure {
            error,
            is_unknown: true,
        };
        let file = self.shared.files.get((id, old.base), &old.path);
        let file = file.map_err(|e| unknown(Error::io("open", &old.path, e)))?;
        let sealed = writer::seal(&*file, &old.path, old.foot(), index).map_err(unknown)?;
        let mut state = lock(&self.state);
        let open = state.open.as_mut().expect("busy keeps it open");
        if let Some(last) = open.sealed.back_mut() {
            open.sealed_bytes += sealed.bytes() - last.bytes();
            *last = Arc::new(sealed);
        }
        Ok(())
    }

    /// Lets others write again, beginning with what was appended meanwhile.
    pub(crate) fn end_exclusive(self: &Arc<Self>) {
        // Busy stays set until there is nothing to commit.
        self.schedule_commit();
        if self.shared.pool.is_manual() {
            self.shared.pool.run_all();
        }
    }

    /// Has the positions written: at once, if that was not done a moment ago.
    pub(crate) fn schedule_positions(self: &Arc<Self>, mut table: MutexGuard<'_, Table>) {
        if std::mem::replace(&mut table.is_scheduled, true) {
            return;
        }
        let gap = self.shared.options.position_gap;
        let written = table.written.map_or(gap, |at| at.elapsed());
        drop(table);
        // Weak: what is not written when the last handle goes is written then.
        let inner = Arc::downgrade(self);
        let job = Box::new(move || {
            if let Some(inner) = inner.upgrade() {
                inner.write_positions();
            }
        });
        match gap.saturating_sub(written) {
            Duration::ZERO => self.shared.pool.run(job),
            rest => self.shared.pool.run_after(rest, job),
        }
    }

    fn write_positions(self: &Arc<Self>) {
        let mut table = lock(&self.table);
        table.is_scheduled = false;
        table.written = Some(Instant::now());
        drop(table);
        let delay = self.shared.options.position_sync;
        if let Err(error) = self.flush_positions(false) {
            tracing::warn!(log = %self.name, error = error.chain(), "positions were not written; trying again");
        }
        let mut table = lock(&self.table);
        if std::mem::replace(&mut table.is_sync_due, true) {
            return;
        }
        drop(table);
        let inner = Arc::downgrade(self);
        let job = move || {
            if let Some(inner) = inner.upgrade() {
                inner.sync_positions_late();
            }
        };
        self.shared.pool.run_after(delay, Box::new(job));
    }

    fn sync_positions_late(&self) {
        lock(&self.table).is_sync_due = false;
        if let Err(error) = self.flush_positions(true) {
            tracing::warn!(log = %self.name, error = error.chain(), "positions were not synced");
        }
    }
}
