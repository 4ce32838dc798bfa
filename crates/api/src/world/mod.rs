//! The world plans look at: the objects that are watched, and the facts gathered about them.
//!
//! A [`World`] is a value that tests make from YAML and the driver keeps from watches. While a
//! plan runs under [`World::observe`] it records what was read, so that the driver knows whom a
//! change concerns ([`World::subscribe`], [`World::take_woken`]).

mod cache;
mod fresh;
mod kind;
mod meta;
mod plan;
mod planner;
mod reads;
mod rehearse;
mod table;
mod tally;
#[cfg(test)]
mod tests;

pub use kind::*;
pub use plan::{Action, Fact, Plan};
pub use planner::{Context, Key, Planner};
pub use reads::{PlanId, Reads};
pub use rehearse::Refusal;
pub use tally::Share;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::object::ObjectExt;
use cache::Cache;
use fresh::Fresh;
use meta::Meta;
use reads::{Read, Readers};
use table::{Slot, Table};
use tally::Tally;

/// An in-memory copy of the cluster, as far as plans care.
#[derive(Default, Debug)]
pub struct World {
    tables: BTreeMap<Kind, Table>,
    facts: BTreeMap<Fact, Arc<Value>>,
    now: Timestamp,
    readers: Readers,
    /// The hashes read so far while a plan is observed.
    recording: RefCell<Option<Vec<u32>>>,
    parsed: RefCell<Cache>,
    fresh: Fresh,
    tallies: RefCell<Vec<Tally>>,
}

/// What an insertion or removal did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// The object.
    pub key: Key,
    /// Its UID, before and after.
    pub uid: String,
    /// Whether the World is different now.
    pub changed: bool,
}

impl World {
    /// An empty world at the time `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            ..Self::default()
        }
    }

    /// The time, as the driver or the test set it.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Moves the time.
    pub fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Takes in an object, whatever its `resourceVersion`.
    pub fn insert(&mut self, kind: Kind, mut object: Value) {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        let raw = object.to_string().into_bytes().into_boxed_slice();
        let new = Meta::of_value(&object);
        let old = self.meta(kind, &new.namespace, &new.name);
        let slot = self.put(kind, old.as_ref(), &new, raw);
        self.parsed.get_mut().put(kind, slot, Arc::new(object));
    }

    /// Takes in an object as a watch or a write's response delivered it, unless what is known is
    /// as new. An error means the bytes are no object.
    pub fn insert_raw(&mut self, kind: Kind, raw: &[u8]) -> Result<Changed, serde_json::Error> {
        let new = Meta::of_bytes(raw)?;
        let key = Key::new(&new.namespace, &new.name);
        let version = self.version(kind, &key.namespace, &key.name);
        let changed = version.is_none_or(|known| new.version == 0 || new.version > known);
        if changed {
            let raw = meta::compact(kind, raw)?;
            let old = self.meta(kind, &key.namespace, &key.name);
            self.put(kind, old.as_ref(), &new, raw);
        }
        let uid = new.uid;
        Ok(Changed { key, uid, changed })
    }

    /// Forgets an object.
    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) {
        let Some(old) = self.meta(kind, namespace, name) else {
            return;
        };
        let table = self.tables.entry(kind).or_default();
        if let Some(slot) = table.take(&old) {
            self.parsed.get_mut().forget(kind, slot);
            self.recount(kind, slot);
        }
        self.readers.touch_object(kind, &old);
    }

    /// Learns a fact.
    pub fn learn(&mut self, fact: Fact, value: Value) {
        if self.facts.get(&fact).is_some_and(|known| **known == value) {
            return;
        }
        self.readers.touch(&Read::Fact(&fact));
        self.facts.insert(fact, Arc::new(value));
    }

    /// Forgets a fact, so that whoever wants it asks again.
    pub fn unlearn(&mut self, fact: &Fact) {
        if self.facts.remove(fact).is_some() {
            self.readers.touch(&Read::Fact(fact));
        }
    }

    /// One object, if it exists.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.record(&Read::Get(kind, namespace, name));
        let table = self.tables.get(&kind)?;
        self.parse(kind, table, table.slot(namespace, name)?)
    }

    /// All objects of a kind in `namespace`, or everywhere when it is empty, ordered by name.
    pub fn list(&self, kind: Kind, namespace: &str) -> Vec<Arc<Value>> {
        self.record(&Read::List(kind, namespace));
        let Some(table) = self.tables.get(&kind) else {
            return Vec::new();
        };
        let slots = table.range(namespace).map(|(_, _, slot)| slot);
        slots
            .filter_map(|slot| self.parse(kind, table, slot))
            .collect()
    }

    /// The objects of a kind that carry the label `key: value`, ordered by name.
    pub fn labelled(&self, kind: Kind, namespace: &str, key: &str, value: &str) -> Vec<Arc<Value>> {
        self.record(&Read::Label(kind, namespace, key, value));
        self.indexed(kind, namespace, |table| {
            table.labelled(key, value).collect()
        })
        .filter(|object| object.label(key) == Some(value))
        .collect()
    }

    /// The objects of a kind that name `owner_uid` among their owners, ordered by name.
    pub fn owned(&self, kind: Kind, namespace: &str, owner_uid: &str) -> Vec<Arc<Value>> {
        self.record(&Read::Owner(kind, namespace, owner_uid));
        let owns = |owner: &Value| owner["uid"] == *owner_uid;
        self.indexed(kind, namespace, |table| table.owned(owner_uid).collect())
            .filter(|object| object.owner_references().iter().any(owns))
            .collect()
    }

    /// The sums of what the objects of a kind add to them, everywhere, by name; recorded as the
    /// list it stands for.
    pub fn tally(&self, kind: Kind, share: Share) -> BTreeMap<String, i128> {
        self.record(&Read::List(kind, ""));
        let Some(table) = self.tables.get(&kind) else {
            return BTreeMap::new();
        };
        let mut tallies = self.tallies.borrow_mut();
        let known = tallies.iter().position(|tally| tally.is(kind, share));
        let at = known.unwrap_or_else(|| {
            let slots = table.range("").map(|(_, _, slot)| slot);
            tallies.push(Tally::new(kind, share, slots));
            tallies.len() - 1
        });
        tallies[at].sums(|slot| self.parse(kind, table, slot))
    }

    /// What is known about `fact`.
    pub fn fact(&self, fact: &Fact) -> Option<Arc<Value>> {
        self.record(&Read::Fact(fact));
        self.facts.get(fact).cloned()
    }

    /// Whether a fact is known; not recorded.
    pub fn knows(&self, fact: &Fact) -> bool {
        self.facts.contains_key(fact)
    }

    /// Whether the last planning of some subscribed plan asked for `fact`.
    pub fn is_wanted(&self, fact: &Fact) -> bool {
        self.readers.is_read(&Read::Fact(fact))
    }

    /// Whether an object exists, and its `resourceVersion`; not recorded.
    pub fn version(&self, kind: Kind, namespace: &str, name: &str) -> Option<u64> {
        let table = self.tables.get(&kind)?;
        Some(table.entry(table.slot(namespace, name)?)?.version)
    }

    /// The keys of all objects of a kind, ordered; not recorded, nothing is parsed.
    pub fn keys(&self, kind: Kind) -> Vec<Key> {
        let table = self.tables.get(&kind).into_iter();
        table
            .flat_map(|table| table.range(""))
            .map(|(namespace, name, _)| Key::new(namespace, name))
            .collect()
    }

    /// Runs `plan` and tells what it read.
    pub fn observe<T>(&self, plan: impl FnOnce(&Self) -> T) -> (T, Reads) {
        let outer = self.recording.replace(Some(Vec::new()));
        let result = plan(self);
        let hashes = self.recording.replace(outer).unwrap_or_default();
        (result, Reads::new(hashes))
    }

    /// Reads without leaving a trace: for a choice whose outcome is written down at once, so that
    /// later changes do not concern the plan (on which node to create a Pod).
    pub fn unrecorded<T>(&self, choose: impl FnOnce(&Self) -> T) -> T {
        let outer = self.recording.take();
        let result = choose(self);
        self.recording.replace(outer);
        result
    }

    /// From now on a change to anything in `reads` wakes `plan`; replaces what it read before.
    pub fn subscribe(&mut self, plan: PlanId, reads: Reads) {
        self.readers.subscribe(plan, reads);
    }

    /// The plans concerned by changes since the last call.
    pub fn take_woken(&mut self) -> BTreeSet<PlanId> {
        self.readers.take_woken()
    }

    fn record(&self, read: &Read<'_>) {
        if let Some(hashes) = self.recording.borrow_mut().as_mut() {
            hashes.push(reads::hash(read));
        }
    }

    fn put(&mut self, kind: Kind, old: Option<&Meta>, new: &Meta, raw: Box<[u8]>) -> Slot {
        let len = raw.len();
        let slot = self.tables.entry(kind).or_default().put(old, new, raw);
        self.pack_what_is_old((kind, slot, new.version), len);
        self.parsed.get_mut().forget(kind, slot);
        self.recount(kind, slot);
        if let Some(old) = old {
            self.readers.touch_object(kind, old);
        }
        self.readers.touch_object(kind, new);
        slot
    }

    fn recount(&mut self, kind: Kind, slot: Slot) {
        for tally in self.tallies.get_mut() {
            tally.touch(kind, slot);
        }
    }

    /// Notes an object of `len` bytes; packs those that were put longest ago.
    fn pack_what_is_old(&mut self, object: (Kind, Slot, u64), len: usize) {
        self.fresh.push(object, len);
        while let Some((kind, slot, version)) = self.fresh.pop_surplus() {
            if let Some(table) = self.tables.get_mut(&kind) {
                table.pack(slot, version, self.fresh.packer());
            }
        }
    }

    fn meta(&self, kind: Kind, namespace: &str, name: &str) -> Option<Meta> {
        let table = self.tables.get(&kind)?;
        let slot = table.slot(namespace, name)?;
        let bytes = || Meta::of_bytes(&table.entry(slot)?.raw()).ok();
        match self.parsed.borrow().get(kind, slot) {
            Some(object) => Some(Meta::of_value(&object)),
            None => bytes(),
        }
    }

    fn indexed(
        &self,
        kind: Kind,
        namespace: &str,
        slots: impl FnOnce(&Table) -> Vec<Slot>,
    ) -> impl Iterator<Item = Arc<Value>> {
        let table = self.tables.get(&kind);
        let slots = table.map(slots).unwrap_or_default();
        let mut objects: Vec<_> = slots
            .into_iter()
            .filter_map(|slot| self.parse(kind, table?, slot))
            .filter(|object| namespace.is_empty() || object.namespace() == namespace)
            .collect();
        objects.sort_by(|a, b| (a.namespace(), a.name()).cmp(&(b.namespace(), b.name())));
        objects.into_iter()
    }

    fn parse(&self, kind: Kind, table: &Table, slot: Slot) -> Option<Arc<Value>> {
        let mut cache = self.parsed.borrow_mut();
        if let Some(object) = cache.get(kind, slot) {
            return Some(object);
        }
        let entry = table.entry(slot)?;
        let object: Value = serde_json::from_slice(&entry.raw()).expect("valid JSON when taken in");
        let object = Arc::new(object);
        cache.put(kind, slot, Arc::clone(&object));
        Some(object)
    }
}
