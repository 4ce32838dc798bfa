//! Sums over all objects of a kind, kept up to date: asking again costs what has changed since, not
//! what there is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Kind;
use super::table::Slot;

/// What one object adds to the sums, by name.
pub type Share = fn(&Value) -> Vec<(String, i128)>;

/// The sums of one kind and one way to count.
#[derive(Debug)]
pub(super) struct Tally {
    kind: Kind,
    share: Share,
    shares: BTreeMap<Slot, Box<[(String, i128)]>>,
    sums: BTreeMap<String, i128>,
    /// Put or gone since the sums were right.
    due: BTreeSet<Slot>,
}

impl Tally {
    /// Sums of objects of `kind`, of which those in `slots` are there.
    pub(super) fn new(kind: Kind, share: Share, slots: impl Iterator<Item = Slot>) -> Self {
        Self {
            kind,
            share,
            shares: BTreeMap::new(),
            sums: BTreeMap::new(),
            due: slots.collect(),
        }
    }

    pub(super) fn is(&self, kind: Kind, share: Share) -> bool {
        self.kind == kind && std::ptr::fn_addr_eq(self.share, share)
    }

    /// The object in `slot` has changed, has come or has gone.
    pub(super) fn touch(&mut self, kind: Kind, slot: Slot) {
        if self.kind == kind {
            self.due.insert(slot);
        }
    }

    /// The sums as they are now; `object` gives what is in a slot. No name has the sum 0.
    pub(super) fn sums<V: AsRef<Value>>(
        &mut self,
        object: impl Fn(Slot) -> Option<V>,
    ) -> BTreeMap<String, i128> {
        for slot in std::mem::take(&mut self.due) {
            for (name, amount) in self.shares.remove(&slot).into_iter().flatten() {
                add(&mut self.sums, name, -amount);
            }
            let Some(object) = object(slot) else {
                continue;
            };
            let share = (self.share)(object.as_ref());
            for (name, amount) in &share {
                add(&mut self.sums, name.clone(), *amount);
            }
            if !share.is_empty() {
                self.shares.insert(slot, share.into());
            }
        }
        self.sums.clone()
    }
}

fn add(sums: &mut BTreeMap<String, i128>, name: String, amount: i128) {
    let sum = sums.entry(name.clone()).or_default();
    *sum += amount;
    if *sum == 0 {
        sums.remove(&name);
    }
}
