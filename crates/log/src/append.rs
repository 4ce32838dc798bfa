//! Appends between the producer and the disk: encoded at once, collected while the disk is busy,
//! answered together after one sync.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::Error;
use crate::record::{self, HEAD_BYTES, Head};

/// A chunk is closed when the next record would make it larger, in bytes. It is what readers hold
/// on to while they use one of its records.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// Records that are written together.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) chunks: Vec<Encoded>,
    pub(crate) bytes: usize,
    pub(crate) count: u32,
    /// Those who wait; none until the first record.
    pub(crate) group: Option<Arc<Group>>,
}

/// Whole records, back to back.
pub(crate) struct Encoded {
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Pending {
    /// Adds one record at the end.
    pub(crate) fn push(&mut self, offset: u64, arrival_ms: u64, payload: &[u8]) {
        let more = HEAD_BYTES + payload.len();
        let behind = self.count;
        let chunk = self.chunk_with_room(more, offset, arrival_ms);
        let head = Head {
            payload_bytes: payload.len(),
            offset,
            arrival_ms,
            behind,
        };
        record::encode(&mut chunk.bytes, head, payload);
        chunk.count += 1;
        chunk.last_ms = arrival_ms;
        self.bytes += more;
        self.count += 1;
    }

    fn chunk_with_room(&mut self, more: usize, offset: u64, arrival_ms: u64) -> &mut Encoded {
        let has_room = |chunk: &Encoded| chunk.bytes.len() + more <= CHUNK_BYTES;
        if !self.chunks.last().is_some_and(has_room) {
            // A second chunk of a group means many records: it will be filled.
            let capacity = if self.chunks.is_empty() {
                more
            } else {
                CHUNK_BYTES.max(more)
            };
            self.chunks.push(Encoded {
                first: offset,
                count: 0,
                first_ms: arrival_ms,
                last_ms: arrival_ms,
                bytes: Vec::with_capacity(capacity),
            });
        }
        let last = self.chunks.len() - 1;
        &mut self.chunks[last]
    }

    /// The ones to tell, made on first use.
    pub(crate) fn group(&mut self) -> Arc<Group> {
        self.group.get_or_insert_default().clone()
    }
}

/// Everyone whose records share one sync.
#[derive(Default)]
pub(crate) struct Group {
    state: Mutex<GroupState>,
    done: Condvar,
}

#[derive(Default)]
struct GroupState {
    result: Option<Result<(), Error>>,
    wakers: Vec<Waker>,
}

impl Group {
    pub(crate) fn finish(&self, result: Result<(), Error>) {
        let mut state = self.lock();
        state.result = Some(result);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.done.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, GroupState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An append on its way to the disk: a future, or to be waited for by a thread. Dropping it does
/// not take the append back.
pub struct Append {
    group: Arc<Group>,
    first: u64,
    /// Where the waker of this future is in the group's list.
    slot: Option<usize>,
}

impl Append {
    pub(crate) const fn new(group: Arc<Group>, first: u64) -> Self {
        Self {
            group,
            first,
            slot: None,
        }
    }

    /// Blocks the thread until the records are durable. Returns the offset of the first.
    ///
    /// # Errors
    /// What kept them from being durable; none of them is in the log then, save after
    /// [`Error::Failed`] and [`Error::Io`], where nobody knows.
    pub fn wait(self) -> Result<u64, Error> {
        let mut state = self.group.lock();
        loop {
            if let Some(result) = &state.result {
                return result.clone().map(|()| self.first);
            }
            let woken = self.group.done.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The offset of the first record, which is its own only once this append has succeeded.
    #[must_use]
    pub const fn first_offset(&self) -> u64 {
        self.first
    }
}

impl Future for Append {
    type Output = Result<u64, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.group.lock();
        if let Some(result) = &state.result {
            return Poll::Ready(result.clone().map(|()| this.first));
        }
        match this.slot {
            Some(slot) => state.wakers[slot].clone_from(cx.waker()),
            None => {
                this.slot = Some(state.wakers.len());
                state.wakers.push(cx.waker().clone());
            }
        }
        Poll::Pending
    }
}
