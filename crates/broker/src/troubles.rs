//! What keeps ingresses, handlers and sources from their work: told, when it changes, to whoever
//! shows it in the objects' conditions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::delivery::Key;
use tracing::{info, warn};

/// Who shows it. Called on the broker's threads and on its teller's: must not block.
pub trait Report: Send + Sync + 'static {
    /// What keeps `key` from its work; nothing does any more without `why`.
    fn trouble(&self, key: &Key, why: Option<&str>);
}

/// Nobody.
pub struct NoReport;

impl Report for NoReport {
    fn trouble(&self, _: &Key, _: Option<&str>) {}
}

/// Where a trouble comes from: what goes with one cause stays for the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Cause {
    /// It could not be done what was told.
    Told,
    /// Its log has failed since.
    Log,
}

/// What does not work now.
pub(crate) struct Troubles {
    report: Arc<dyn Report>,
    known: Mutex<BTreeMap<(Key, Cause), String>>,
}

impl Troubles {
    pub(crate) fn new(report: Arc<dyn Report>) -> Self {
        Self {
            report,
            known: Mutex::default(),
        }
    }

    /// The last word on one cause.
    pub(crate) fn tell(&self, key: &Key, cause: Cause, why: Option<String>) {
        let mut known = self.known();
        let place = (key.clone(), cause);
        if known.get(&place) == why.as_ref() {
            return;
        }
        let name = format!("{} {}/{}", key.kind.kind, key.namespace, key.name);
        match why {
            Some(why) => {
                warn!(%name, %why, "an object of Eventing is not served");
                known.insert(place, why);
            }
            None => {
                info!(%name, "an object of Eventing is served again");
                known.remove(&place);
            }
        }
        let left = [Cause::Told, Cause::Log]
            .into_iter()
            .find_map(|cause| known.get(&(key.clone(), cause)).cloned());
        // Reported in the order in which it came true.
        self.report.trouble(key, left.as_deref());
    }

    /// Whether there is one of this cause.
    pub(crate) fn has(&self, key: &Key, cause: Cause) -> bool {
        self.known().contains_key(&(key.clone(), cause))
    }

    /// What was told of a source that has not changed since.
    pub(crate) fn standing<T>(&self, key: &Key) -> Result<(), (String, Option<T>)> {
        match self.known().get(&(key.clone(), Cause::Told)) {
            Some(why) => Err((why.clone(), None)),
            None => Ok(()),
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<(Key, Cause), String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
