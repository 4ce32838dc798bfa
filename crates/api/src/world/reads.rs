//! What plans read, and whom a change therefore concerns.
//!
//! Every read is a key hashed to 32 bits; every change touches the keys whose answer it may have
//! altered. Two keys with one hash cost a needless planning, never a missed one.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use super::meta::Meta;
use super::{Fact, Kind};

/// One (planner, key) pair; the driver gives out the numbers.
pub type PlanId = u32;

/// What a plan read, sorted and without repetitions.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Reads(Box<[u32]>);

impl Reads {
    pub(super) fn new(mut hashes: Vec<u32>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        Self(hashes.into_boxed_slice())
    }

    /// How many distinct questions the plan asked.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the plan asked nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A question to the World.
#[derive(Hash)]
pub(super) enum Read<'a> {
    Get(Kind, &'a str, &'a str),
    List(Kind, &'a str),
    Label(Kind, &'a str, &'a str, &'a str),
    Owner(Kind, &'a str, &'a str),
    Fact(&'a Fact),
}

/// A 32-bit hash that is the same in every run of one build.
pub(super) fn hash<T: Hash>(value: &T) -> u32 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    let full = hasher.finish();
    (full ^ (full >> 32)) as u32
}

/// Who read what, and who has been concerned by a change since last asked.
#[derive(Default, Debug)]
pub(super) struct Readers {
    by_read: BTreeSet<(u32, PlanId)>,
    by_plan: BTreeMap<PlanId, Reads>,
    woken: BTreeSet<PlanId>,
}

impl Readers {
    pub(super) fn subscribe(&mut self, plan: PlanId, reads: Reads) {
        let old = match self.by_plan.get(&plan) {
            Some(old) if *old == reads => return,
            _ => self.by_plan.remove(&plan).unwrap_or_default(),
        };
        for read in &old.0 {
            self.by_read.remove(&(*read, plan));
        }
        if reads.is_empty() {
            return;
        }
        self.by_read
            .extend(reads.0.iter().map(|read| (*read, plan)));
        self.by_plan.insert(plan, reads);
    }

    pub(super) fn touch(&mut self, read: &Read<'_>) {
        let read = hash(read);
        let concerned = self.by_read.range((read, 0)..=(read, PlanId::MAX));
        self.woken.extend(concerned.map(|(_, plan)| *plan));
    }

    /// Whether a plan's last planning asked this.
    pub(super) fn is_read(&self, read: &Read<'_>) -> bool {
        let read = hash(read);
        let mut readers = self.by_read.range((read, 0)..=(read, PlanId::MAX));
        readers.next().is_some()
    }

    /// Touches every question whose answer an object with this metadata is part of.
    pub(super) fn touch_object(&mut self, kind: Kind, meta: &Meta) {
        if self.by_read.is_empty() {
            return;
        }
        self.touch(&Read::Get(kind, &meta.namespace, &meta.name));
        let scopes = [meta.namespace.as_str(), ""];
        let scopes = if meta.namespace.is_empty() {
            &scopes[..1]
        } else {
            &scopes[..]
        };
        for scope in scopes {
            self.touch(&Read::List(kind, scope));
            for (key, value) in &meta.labels {
                self.touch(&Read::Label(kind, scope, key, value));
            }
            for uid in &meta.owners {
                self.touch(&Read::Owner(kind, scope, uid));
            }
        }
    }

    pub(super) fn take_woken(&mut self) -> BTreeSet<PlanId> {
        std::mem::take(&mut self.woken)
    }
}
