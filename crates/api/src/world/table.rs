//! All objects of one kind: their bytes, and where to find them by name, label and owner.
//!
//! Objects are kept encoded, since ten thousand Services are some 180,000 objects of which few
//! are looked at; [`super::World`] parses on read, and has those packed that were not changed
//! lately. Index entries are hashes: a collision is sorted out by looking at the object.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use stdx::{Kin, Packed, Packer};

use super::meta::Meta;
use super::reads::hash;

/// Names one object of a table; reused after removal.
pub(super) type Slot = u32;

#[derive(Default, Debug)]
pub(super) struct Table {
    slots: Vec<Option<Entry>>,
    free: Vec<Slot>,
    names: BTreeMap<Box<str>, BTreeMap<Box<str>, Slot>>,
    labels: BTreeSet<(u32, Slot)>,
    owners: BTreeSet<(u32, Slot)>,
    kin: Kin,
}

#[derive(Debug)]
pub(super) struct Entry {
    raw: Raw,
    pub(super) version: u64,
}

#[derive(Debug)]
enum Raw {
    Plain(Box<[u8]>),
    Packed(Packed),
}

impl Entry {
    /// The encoded object.
    pub(super) fn raw(&self) -> Cow<'_, [u8]> {
        match &self.raw {
            Raw::Plain(raw) => Cow::Borrowed(raw),
            Raw::Packed(packed) => Cow::Owned(packed.bytes()),
        }
    }
}

impl Table {
    pub(super) fn slot(&self, namespace: &str, name: &str) -> Option<Slot> {
        self.names.get(namespace)?.get(name).copied()
    }

    pub(super) fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn version_max(&self) -> u64 {
        let entries = self.slots.iter().flatten();
        entries.map(|entry| entry.version).max().unwrap_or_default()
    }

    /// Namespaces, names and slots, ordered; all of them when `namespace` is empty.
    pub(super) fn range<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str, Slot)> {
        let everywhere = namespace.is_empty();
        let all = everywhere.then_some(&self.names).into_iter().flatten();
        let one = self
            .names
            .get_key_value(namespace)
            .filter(|_| !everywhere)
            .into_iter();
        all.chain(one).flat_map(|(namespace, names)| {
            names
                .iter()
                .map(move |(name, slot)| (namespace.as_ref(), name.as_ref(), *slot))
        })
    }

    /// Slots of objects that may carry the label.
    pub(super) fn labelled(&self, key: &str, value: &str) -> impl Iterator<Item = Slot> {
        matching(&self.labels, hash(&(key, value)))
    }

    /// Slots of objects that may have the owner.
    pub(super) fn owned(&self, uid: &str) -> impl Iterator<Item = Slot> {
        matching(&self.owners, hash(&uid))
    }

    /// Puts an object in; answers its slot. `old` is the metadata of the object it replaces.
    pub(super) fn put(&mut self, old: Option<&Meta>, new: &Meta, raw: Box<[u8]>) -> Slot {
        let slot = match old {
            Some(old) => self.unindex(old),
            None => None,
        };
        let slot = slot.unwrap_or_else(|| self.vacant());
        for (key, value) in &new.labels {
            self.labels
                .insert((hash(&(key.as_str(), value.as_str())), slot));
        }
        for uid in &new.owners {
            self.owners.insert((hash(&uid.as_str()), slot));
        }
        if old.is_none() {
            self.names
                .entry(new.namespace.as_str().into())
                .or_default()
                .insert(new.name.as_str().into(), slot);
        }
        let (raw, version) = (Raw::Plain(raw), new.version);
        self.slots[slot as usize] = Some(Entry { raw, version });
        slot
    }

    /// Keeps the object in less memory, if it still is of this version.
    pub(super) fn pack(&mut self, slot: Slot, version: u64, packer: &mut Packer) {
        let entry = self.slots.get_mut(slot as usize).and_then(Option::as_mut);
        let Some(entry) = entry.filter(|entry| entry.version == version) else {
            return;
        };
        if let Raw::Plain(plain) = &entry.raw
            && let Some(packed) = packer.pack(&mut self.kin, plain)
        {
            entry.raw = Raw::Packed(packed);
        }
    }

    /// Takes an object out, whose metadata is `old`.
    pub(super) fn take(&mut self, old: &Meta) -> Option<Slot> {
        let slot = self.unindex(old)?;
        let names = self.names.get_mut(old.namespace.as_str())?;
        names.remove(old.name.as_str());
        if names.is_empty() {
            self.names.remove(old.namespace.as_str());
        }
        self.slots[slot as usize] = None;
        self.free.push(slot);
        Some(slot)
    }

    fn unindex(&mut self, old: &Meta) -> Option<Slot> {
        let slot = self.slot(&old.namespace, &old.name)?;
        for (key, value) in &old.labels {
            self.labels
                .remove(&(hash(&(key.as_str(), value.as_str())), slot));
        }
        for uid in &old.owners {
            self.owners.remove(&(hash(&uid.as_str()), slot));
        }
        Some(slot)
    }

    fn vacant(&mut self) -> Slot {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot::try_from(self.slots.len() - 1).expect("fewer than 2^32 objects of a kind")
        })
    }
}

fn matching(index: &BTreeSet<(u32, Slot)>, wanted: u32) -> impl Iterator<Item = Slot> {
    index
        .range((wanted, 0)..=(wanted, Slot::MAX))
        .map(|(_, slot)| *slot)
}
