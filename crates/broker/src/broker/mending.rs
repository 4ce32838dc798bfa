//! What does not work is tried again: logs that could not be opened, and those that have failed
//! since. The broker's tidying calls [`mend`] again and again; it waits for the disk.

use std::sync::{Arc, MutexGuard, PoisonError};

use api::delivery::{Change, Key};

use super::{Broker, Failed, Running, Shared};
use crate::topic::Topic;
use crate::troubles::Cause;

/// Tries what has failed, and looks for what has failed since.
pub(super) fn mend(broker: &Broker) {
    let shared = &broker.shared;
    let _turn = shared.turn();
    let failed = std::mem::take(&mut shared.state().failed);
    for change in failed.into_values() {
        broker.take(change);
    }
    for (key, topic, change) in running(shared) {
        let Some(why) = topic.trouble() else {
            if shared.troubles.has(&key, Cause::Log) {
                shared.troubles.tell(&key, Cause::Log, None);
            }
            continue;
        };
        // Told even if it is mended at once: it stands until the next look finds nothing.
        shared.troubles.tell(&key, Cause::Log, Some(why));
        if topic.journal().mend().is_ok() {
            drop(topic);
            anew(broker, change);
        }
    }
}

/// Begins from what is on the disk: what reads the log ends with it.
fn anew(broker: &Broker, change: Change) {
    broker.take(change.taken_back());
    broker.take(change);
}

/// All that has a log, and how it was told.
fn running(shared: &Shared) -> Vec<(Key, Arc<Topic>, Change)> {
    let state = shared.state();
    let topic = |running: &Running| Arc::clone(&running.topic);
    let ingresses = state.ingresses.iter().map(|(key, running)| {
        let change = Change::Ingress(key.clone(), Some(Arc::clone(&running.spec)));
        (key.clone(), topic(running), change)
    });
    let outboxes = state.outboxes.iter().filter_map(|(key, running)| {
        let (source, _) = state.sources.get(key)?;
        let change = Change::Source(key.clone(), Some(Arc::clone(source)));
        Some((key.clone(), topic(running), change))
    });
    ingresses.chain(outboxes).collect()
}

impl Shared {
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a change went.
    pub(super) fn note(&self, key: &Key, done: Result<(), Failed>) {
        let (why, again) = match done {
            Ok(()) => (None, None),
            Err((why, again)) => (Some(why), again),
        };
        let mut state = self.state();
        match again {
            Some(again) => drop(state.failed.insert(key.clone(), *again)),
            None => drop(state.failed.remove(key)),
        }
        drop(state);
        if why.is_some() || self.troubles.has(key, Cause::Told) {
            self.troubles.tell(key, Cause::Told, why);
        }
    }
}
