//! Recent events and those who wait for the next ones.
//!
//! Part of the store's state; events enter in revision order under its lock, so a watch that
//! starts from a backlog misses nothing and sees nothing twice. What leaves again is what was not
//! changed lately: the state packs it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::entry::{Event, ResourceId};

/// At most so many events are kept for watches that resume.
const EVENTS_MAX: usize = 16_384;
/// The objects in those events may take so many bytes.
const EVENT_BYTES_MAX: usize = 8 << 20;
/// A watcher that lags behind by more events than this is cut off and has to list again.
const PENDING_MAX: usize = 32_768;

/// A live subscription. Ends (`recv` gives `None`) when the watcher fell too far behind.
pub type Watch = mpsc::Receiver<Arc<Event>>;

#[derive(Default)]
pub(super) struct History {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Per resource the revision of the newest event that is no longer kept.
    floors: BTreeMap<ResourceId, u64>,
    /// Before this revision nothing is known at all (the snapshot recovery began with).
    floor: u64,
    watchers: BTreeMap<Option<ResourceId>, Vec<mpsc::Sender<Arc<Event>>>>,
}

impl History {
    /// Forgets everything up to `revision`.
    pub(super) fn start_at(&mut self, revision: u64) {
        self.floor = revision;
    }

    /// Whether events of `resource` after `revision` are all still here.
    pub(super) fn reaches_back_to(&self, resource: Option<ResourceId>, revision: u64) -> bool {
        let floor = match resource {
            Some(resource) => self.floors.get(&resource).copied(),
            None => self.floors.values().max().copied(),
        };
        revision >= self.floor.max(floor.unwrap_or_default())
    }

    /// Takes in the newest event and hands it to everybody concerned.
    pub(super) fn push(&mut self, event: Event) {
        let event = Arc::new(event);
        for scope in [Some(event.entry.resource), None] {
            if let Some(watchers) = self.watchers.get_mut(&scope) {
                watchers.retain(|watcher| watcher.try_send(Arc::clone(&event)).is_ok());
            }
        }
        self.bytes += weight(&event);
        self.events.push_back(event);
    }

    /// Takes out the oldest event, while there are too many.
    pub(super) fn pop_surplus(&mut self) -> Option<Arc<Event>> {
        if self.events.len() <= EVENTS_MAX && self.bytes <= EVENT_BYTES_MAX {
            return None;
        }
        let oldest = self.events.pop_front()?;
        self.bytes -= weight(&oldest);
        let floor = (oldest.entry.resource, oldest.entry.revision);
        self.floors.insert(floor.0, floor.1);
        Some(oldest)
    }

    /// Subscribes to the events of `resource` (or all) after `revision`; the kept ones among them
    /// come first.
    pub(super) fn watch(&mut self, resource: Option<ResourceId>, revision: u64) -> Watch {
        let (sender, receiver) = mpsc::channel(PENDING_MAX);
        let concerned =
            |event: &&Arc<Event>| resource.is_none_or(|resource| event.entry.resource == resource);
        let first = self
            .events
            .partition_point(|event| event.entry.revision <= revision);
        for event in self.events.range(first..).filter(concerned) {
            // Never full: fewer events are kept than the channel holds.
            drop(sender.try_send(Arc::clone(event)));
        }
        let watchers = self.watchers.entry(resource).or_default();
        watchers.retain(|watcher| !watcher.is_closed());
        watchers.push(sender);
        receiver
    }
}

/// What an event costs. The object before the change is that of an earlier event, or packed.
fn weight(event: &Event) -> usize {
    event.entry.len() + 128
}
