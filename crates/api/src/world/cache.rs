//! A bounded set of parsed objects, so that what is looked at often is parsed once.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::Kind;
use super::table::Slot;

/// Parsed objects kept at most; beyond it one goes that has not been looked at for the longest. A
/// parsed object takes some ten times its encoded size, so this is about 10 MB, 20 MB of Pods.
const PARSED_MAX: usize = 512;

#[derive(Debug)]
struct Parsed {
    object: Arc<Value>,
    /// Its place in the order; an older one of the same slot is void.
    turn: u64,
    /// Looked at since its turn last came.
    used: Cell<bool>,
}

#[derive(Default, Debug)]
pub(super) struct Cache {
    objects: HashMap<(Kind, Slot), Parsed>,
    /// Whose turn to go is when; may name objects that have been forgotten since.
    order: VecDeque<(Kind, Slot, u64)>,
    turns: u64,
}

impl Cache {
    pub(super) fn get(&self, kind: Kind, slot: Slot) -> Option<Arc<Value>> {
        let parsed = self.objects.get(&(kind, slot))?;
        parsed.used.set(true);
        Some(Arc::clone(&parsed.object))
    }

    pub(super) fn put(&mut self, kind: Kind, slot: Slot, object: Arc<Value>) {
        self.turns += 1;
        let parsed = Parsed {
            object,
            turn: self.turns,
            used: Cell::new(false),
        };
        self.objects.insert((kind, slot), parsed);
        self.order.push_back((kind, slot, self.turns));
        while self.order.len() > PARSED_MAX {
            self.pass();
        }
    }

    pub(super) fn forget(&mut self, kind: Kind, slot: Slot) {
        self.objects.remove(&(kind, slot));
    }

    /// The first in the order goes, or goes to its end if it was looked at.
    fn pass(&mut self) {
        let Some((kind, slot, turn)) = self.order.pop_front() else {
            return;
        };
        let Some(parsed) = self.objects.get(&(kind, slot)).filter(|p| p.turn == turn) else {
            return;
        };
        if parsed.used.take() {
            self.order.push_back((kind, slot, turn));
        } else {
            self.objects.remove(&(kind, slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world::POD;

    #[test]
    fn what_is_looked_at_stays_and_what_is_parsed_anew_counts_once() {
        let mut cache = Cache::default();
        let put = |cache: &mut Cache, slot| cache.put(POD, slot, Arc::new(json!(slot)));
        put(&mut cache, 0);
        put(&mut cache, 1);
        put(&mut cache, 1);
        for slot in 2..PARSED_MAX as Slot {
            assert!(cache.get(POD, 0).is_some());
            put(&mut cache, slot);
        }
        assert!(cache.get(POD, 1).is_some(), "only its older turn has come");
        put(&mut cache, 5000);
        let there = [0, 1, 2, 3].map(|slot| cache.get(POD, slot).is_some());
        assert_eq!(there, [true, true, false, true]);
    }
}
