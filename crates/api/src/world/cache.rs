//! A bounded set of parsed objects, so that what is looked at often is parsed once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::Kind;
use super::table::Slot;

/// Parsed objects kept at most; beyond it the one parsed longest ago goes. A parsed object takes
/// some ten times its encoded size, so this is about 40 MB of large Pods, 10 MB as a rule.
const PARSED_MAX: usize = 1024;

#[derive(Default, Debug)]
pub(super) struct Cache {
    objects: HashMap<(Kind, Slot), Arc<Value>>,
    /// In order of insertion; may name objects that have been forgotten since.
    order: VecDeque<(Kind, Slot)>,
}

impl Cache {
    pub(super) fn get(&self, kind: Kind, slot: Slot) -> Option<Arc<Value>> {
        self.objects.get(&(kind, slot)).cloned()
    }

    pub(super) fn put(&mut self, kind: Kind, slot: Slot, object: Arc<Value>) {
        self.objects.insert((kind, slot), object);
        self.order.push_back((kind, slot));
        while self.order.len() > PARSED_MAX {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.objects.remove(&oldest);
        }
    }

    pub(super) fn forget(&mut self, kind: Kind, slot: Slot) {
        self.objects.remove(&(kind, slot));
    }
}
