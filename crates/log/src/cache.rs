//! Runs of whole, checked records in memory, shared by all readers of all logs and bounded in
//! bytes. What was just written is in it, so that a consumer at the end never reads the disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What an entry costs beside its bytes, roughly.
const ENTRY_COST_BYTES: usize = 128;

/// Records `first..end`, back to back.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) bytes: Bytes,
}

pub(crate) struct Cache {
    held: Mutex<Held>,
    bytes_max: usize,
}

#[derive(Default)]
struct Held {
    /// By log and first offset; with a mark of use since the last round.
    chunks: BTreeMap<(u64, u64), (Chunk, bool)>,
    /// Oldest first; a used one gets a second round.
    order: VecDeque<(u64, u64)>,
    bytes: usize,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            held: Mutex::default(),
            bytes_max,
        }
    }

    /// The chunk of log `id` in which record `offset` is.
    pub(crate) fn get(&self, id: u64, offset: u64) -> Option<Chunk> {
        let mut held = self.lock();
        let (_, (chunk, used)) = held.chunks.range_mut((id, 0)..=(id, offset)).next_back()?;
        if chunk.end <= offset {
            return None;
        }
        *used = true;
        Some(chunk.clone())
    }

    pub(crate) fn put(&self, id: u64, chunk: Chunk) {
        let key = (id, chunk.first);
        let cost = chunk.cost();
        if cost > self.bytes_max {
            return;
        }
        let mut held = self.lock();
        held.bytes += cost;
        match held.chunks.insert(key, (chunk, false)) {
            Some((old, _)) => held.bytes -= old.cost(),
            None => held.order.push_back(key),
        }
        while held.bytes > self.bytes_max {
            held.evict();
        }
    }

    /// Forgets everything of a log that was closed or deleted.
    pub(crate) fn forget(&self, id: u64) {
        let mut held = self.lock();
        let Held {
            chunks,
            order,
            bytes,
        } = &mut *held;
        order.retain(|key| key.0 != id);
        chunks.retain(|key, (chunk, _)| {
            if key.0 == id {
                *bytes -= chunk.cost();
            }
            key.0 != id
        });
    }

    /// Bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chunk {
    fn cost(&self) -> usize {
        self.bytes.len() + ENTRY_COST_BYTES
    }
}

impl Held {
    fn evict(&mut self) {
        let Some(key) = self.order.pop_front() else {
            return;
        };
        match self.chunks.get_mut(&key) {
            Some((_, used)) if *used => {
                *used = false;
                self.order.push_back(key);
            }
            _ => {
                if let Some((chunk, _)) = self.chunks.remove(&key) {
                    self.bytes -= chunk.cost();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(first: u64, end: u64) -> Chunk {
        let bytes = Bytes::from(vec![0; 1000 - ENTRY_COST_BYTES]);
        Chunk { first, end, bytes }
    }

    #[test]
    fn the_unused_go_first_and_the_bound_holds() {
        let cache = Cache::new(3_000);
        for n in 0..3 {
            cache.put(1, chunk(n * 10, n * 10 + 10));
        }
        assert!(cache.get(1, 5).is_some());
        cache.put(1, chunk(30, 40));
        assert!(cache.get(1, 5).is_some(), "used, so it stayed");
        assert!(cache.get(1, 15).is_none());
        assert!(cache.get(2, 5).is_none(), "another log");
        assert!(cache.get(1, 99).is_none());
        assert_eq!(cache.bytes(), 3_000);
        cache.forget(1);
        assert_eq!(cache.bytes(), 0);
    }
}
