//! The objects in memory: ordered maps by resource and path, and the owner index. An object that no
//! recent event is about is kept packed.
//!
//! Owned by [`super::Store`] behind a lock; recovery fills it, writes change it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use stdx::{Kin, Packer};

use super::entry::{Body, Change, Entry, Event, ResourceId};
use super::history::History;
use super::record::Record;

/// Everything the store knows.
#[derive(Default)]
pub(super) struct State {
    pub(super) revision: u64,
    pub(super) history: History,
    names: Vec<Arc<str>>,
    ids: BTreeMap<Arc<str>, ResourceId>,
    objects: BTreeMap<ResourceId, BTreeMap<Arc<str>, Arc<Entry>>>,
    dependents: BTreeSet<(u128, ResourceId, Arc<str>)>,
    by_uid: HashMap<u128, (ResourceId, Arc<str>)>,
    packer: Packer,
    kin: BTreeMap<ResourceId, Kin>,
    len: usize,
    /// The size of all objects' bytes: what a snapshot would have to write.
    pub(super) live_bytes: u64,
}

/// One page of a list.
pub struct Page {
    /// The objects, ordered by path.
    pub entries: Vec<Arc<Entry>>,
    /// The store's revision when the page was read.
    pub revision: u64,
    /// How many objects follow behind this page.
    pub remaining: usize,
}

impl State {
    pub(super) fn id(&mut self, name: &str) -> ResourceId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = ResourceId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.ids.insert(name, id);
        id
    }

    pub(super) fn known_id(&self, name: &str) -> Option<ResourceId> {
        self.ids.get(name).copied()
    }

    pub(super) fn name(&self, id: ResourceId) -> Arc<str> {
        Arc::clone(&self.names[id.0 as usize])
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn count(&self, id: ResourceId) -> usize {
        self.objects.get(&id).map_or(0, BTreeMap::len)
    }

    pub(super) fn resources(&self) -> impl Iterator<Item = (&str, usize)> {
        self.objects
            .iter()
            .map(|(id, of)| (&*self.names[id.0 as usize], of.len()))
    }

    pub(super) fn get(&self, id: ResourceId, path: &str) -> Option<&Arc<Entry>> {
        self.objects.get(&id)?.get(path)
    }

    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.objects
            .values()
            .flat_map(|of| of.values().cloned())
            .collect()
    }

    /// The objects whose paths start with `prefix`, those after `after`, at most `limit`.
    pub(super) fn page(&self, id: ResourceId, prefix: &str, after: &str, limit: usize) -> Page {
        let revision = self.revision;
        let Some(objects) = self.objects.get(&id) else {
            return Page {
                entries: Vec::new(),
                revision,
                remaining: 0,
            };
        };
        let start = if after > prefix {
            Bound::Excluded(after)
        } else {
            Bound::Included(prefix)
        };
        let mut range = objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(prefix))
            .map(|(_, entry)| entry);
        let entries: Vec<_> = range.by_ref().take(limit).cloned().collect();
        let remaining = if limit == usize::MAX {
            0
        } else {
            range.count()
        };
        Page {
            entries,
            revision,
            remaining,
        }
    }

    /// The object with this UID.
    pub(super) fn by_uid(&self, uid: u128) -> Option<&Arc<Entry>> {
        let (id, path) = self.by_uid.get(&uid)?;
        self.get(*id, path)
    }

    /// The objects that name `owner` among their owners.
    pub(super) fn dependents(&self, owner: u128) -> Vec<Arc<Entry>> {
        let first = (owner, ResourceId(0), Arc::from(""));
        self.dependents
            .range(first..)
            .take_while(|(of, ..)| *of == owner)
            .filter_map(|(_, id, path)| self.get(*id, path).cloned())
            .collect()
    }

    /// Makes `entry` the current state of its path and tells the watchers.
    pub(super) fn put(&mut self, entry: Arc<Entry>) {
        let previous = self.insert(Arc::clone(&entry));
        let change = if previous.is_some() {
            Change::Modified
        } else {
            Change::Added
        };
        self.revision = entry.revision;
        self.happened(Event {
            change,
            entry,
            previous,
        });
    }

    /// Tells the watchers; packs what has not been changed for as long as events are kept.
    fn happened(&mut self, event: Event) {
        self.history.push(event);
        while let Some(old) = self.history.pop_surplus() {
            self.pack(&old.entry);
        }
    }

    /// Keeps an object in less memory, if it is still as in `entry`.
    fn pack(&mut self, entry: &Arc<Entry>) {
        let objects = self.objects.get_mut(&entry.resource);
        let stored = objects.and_then(|objects| objects.get_mut(&entry.path));
        let (Some(stored), Body::Plain(plain)) = (stored, &entry.body) else {
            return;
        };
        if !Arc::ptr_eq(stored, entry) {
            return;
        }
        let kin = self.kin.entry(entry.resource).or_default();
        if let Some(packed) = self.packer.pack(kin, plain) {
            *stored = Arc::new(Entry {
                resource: entry.resource,
                path: Arc::clone(&entry.path),
                revision: entry.revision,
                meta: entry.meta.clone(),
                body: Body::Packed(packed),
            });
        }
    }

    /// Removes the object at `last.path`; `last` is its last state with the deletion's revision.
    pub(super) fn delete(&mut self, last: Arc<Entry>) {
        let objects = self.objects.get_mut(&last.resource);
        let previous = objects.and_then(|objects| objects.remove(&last.path));
        if let Some(previous) = &previous {
            self.unindex(previous);
        }
        self.revision = last.revision;
        self.happened(Event {
            change: Change::Deleted,
            entry: last,
            previous,
        });
    }

    /// Takes in a record of a snapshot: no event comes of it. `false` when it does not fit.
    pub(super) fn restore(&mut self, record: Record<'_>) -> bool {
        let Record::Put { .. } = record else {
            return false;
        };
        let Some(entry) = self.entry(record) else {
            return false;
        };
        self.insert(Arc::clone(&entry));
        self.pack(&entry);
        true
    }

    /// Takes in a record of a journal, as when it was first written.
    pub(super) fn replay(&mut self, record: Record<'_>) -> bool {
        let put = matches!(record, Record::Put { .. });
        let Some(entry) = self.entry(record) else {
            return false;
        };
        if entry.revision != self.revision + 1 {
            return false;
        }
        self.apply(entry, put);
        true
    }

    /// Takes in a record of a damaged store, whatever is missing before it.
    pub(super) fn salvage(&mut self, record: Record<'_>) {
        let put = matches!(record, Record::Put { .. });
        if let Some(entry) = self.entry(record) {
            let revision = self.revision.max(entry.revision);
            self.apply(entry, put);
            self.revision = revision;
        }
    }

    fn apply(&mut self, entry: Arc<Entry>, put: bool) {
        if put {
            self.put(entry)
        } else {
            self.delete(entry)
        }
    }

    fn entry(&mut self, record: Record<'_>) -> Option<Arc<Entry>> {
        let (Record::Put {
            revision,
            resource,
            path,
            meta,
            bytes,
            ..
        }
        | Record::Delete {
            revision,
            resource,
            path,
            meta,
            bytes,
            ..
        }) = record
        else {
            return None;
        };
        let (resource, path) = (self.id(resource), path.into());
        let body = Body::Plain(Bytes::copy_from_slice(bytes));
        Some(Arc::new(Entry {
            resource,
            path,
            revision,
            meta,
            body,
        }))
    }

    fn insert(&mut self, entry: Arc<Entry>) -> Option<Arc<Entry>> {
        self.len += 1;
        self.live_bytes += entry.len() as u64;
        let objects = self.objects.entry(entry.resource).or_default();
        let previous = objects.insert(Arc::clone(&entry.path), Arc::clone(&entry));
        // Before the new state is indexed: both have the same UID as a rule.
        if let Some(previous) = &previous {
            self.unindex(previous);
        }
        let place = (entry.resource, Arc::clone(&entry.path));
        self.by_uid.insert(entry.meta.uid, place);
        for owner in &entry.meta.owners {
            self.dependents
                .insert((*owner, entry.resource, Arc::clone(&entry.path)));
        }
        previous
    }

    fn unindex(&mut self, entry: &Entry) {
        self.len -= 1;
        self.live_bytes -= entry.len() as u64;
        self.by_uid.remove(&entry.meta.uid);
        for owner in &entry.meta.owners {
            self.dependents
                .remove(&(*owner, entry.resource, Arc::clone(&entry.path)));
        }
    }
}
