//! The World as watches and the answers to our own writes keep it.
//!
//! Our writes are in the World before the watch brings them; what the watch then brings late is
//! recognised by its resource version, or, for an object we deleted, by its UID.

use std::collections::{BTreeMap, BTreeSet};

use api::object::ObjectExt;
use api::world::{Key, Kind, World};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::watch::Update;

/// UIDs remembered of deleted objects whose last watch event has not come; beyond it they are
/// forgotten, at the price of a short-lived ghost.
const DELETED_MAX: usize = 4096;

/// What a change concerns: the object of this kind and key.
pub(crate) type Touched = (Kind, Key);

#[derive(Default)]
pub(crate) struct Mirror {
    pub(crate) world: World,
    kinds: BTreeMap<Kind, Phase>,
    /// UIDs of objects the server has confirmed gone, until their watch event comes.
    deleted: BTreeSet<String>,
}

/// How far the watch of a kind has come.
#[derive(Default)]
struct Phase {
    synced: bool,
    /// The objects put since the watch began anew; `None` once it is through.
    seen: Option<BTreeSet<Key>>,
}

impl Mirror {
    /// Registers kinds that are watched.
    pub(crate) fn expect(&mut self, kinds: impl IntoIterator<Item = Kind>) {
        for kind in kinds {
            self.kinds.entry(kind).or_default();
        }
    }

    /// Whether every kind has been read in once.
    pub(crate) fn is_synced(&self) -> bool {
        self.kinds.values().all(|phase| phase.synced)
    }

    /// Takes in what a watch tells; answers the objects that differ now.
    pub(crate) fn take(&mut self, kind: Kind, update: Update) -> Vec<Touched> {
        match update {
            Update::Restarted => {
                self.kinds.entry(kind).or_default().seen = Some(BTreeSet::new());
                Vec::new()
            }
            Update::Put(objects) => {
                let put = |object: Bytes| self.put(kind, &object, true);
                objects.into_iter().filter_map(put).collect()
            }
            Update::Gone(object) => self.gone(kind, &object).into_iter().collect(),
            Update::Synced { version } => self.synced(kind, version),
            Update::NotServed => self.synced(kind, u64::MAX),
        }
    }

    /// Takes in an object as a write or read of ours returned it.
    pub(crate) fn wrote(&mut self, kind: Kind, object: &[u8]) -> Option<Touched> {
        self.put(kind, object, false)
    }

    /// A delete of ours was answered: with the object if it lingers, with a Status if not.
    pub(crate) fn deleted(
        &mut self,
        kind: Kind,
        key: Key,
        uid: &str,
        answer: &[u8],
    ) -> Vec<Touched> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            kind: String,
        }
        let lingers = serde_json::from_slice::<Answer>(answer).is_ok_and(|a| a.kind == kind.kind);
        if lingers {
            return self.wrote(kind, answer).into_iter().collect();
        }
        if self.deleted.len() >= DELETED_MAX {
            self.deleted.clear();
        }
        self.deleted.insert(uid.to_owned());
        self.forget(kind, key).into_iter().collect()
    }

    /// The server says the object does not exist.
    pub(crate) fn forget(&mut self, kind: Kind, key: Key) -> Option<Touched> {
        self.world.version(kind, &key.namespace, &key.name)?;
        self.world.remove(kind, &key.namespace, &key.name);
        Some((kind, key))
    }

    /// A scale of ours, guarded by the version in the World, was answered with this Scale.
    pub(crate) fn scaled(&mut self, kind: Kind, key: Key, scale: &[u8]) -> Option<Touched> {
        let scale: Value = serde_json::from_slice(scale).ok()?;
        let object = self.world.get(kind, &key.namespace, &key.name)?;
        let mut object = (*object).clone();
        object["spec"]["replicas"] = scale["spec"]["replicas"].clone();
        object["metadata"]["generation"] = json!(object.generation() + 1);
        object["metadata"]["resourceVersion"] = json!(scale.resource_version());
        self.world.insert(kind, object);
        Some((kind, key))
    }

    fn put(&mut self, kind: Kind, object: &[u8], watched: bool) -> Option<Touched> {
        let phase = self.kinds.entry(kind).or_default();
        if !self.deleted.is_empty() && self.deleted.contains(&uid_of(object)) {
            return None;
        }
        match self.world.insert_raw(kind, object) {
            Ok(changed) => {
                if let Some(seen) = phase.seen.as_mut().filter(|_| watched) {
                    seen.insert(changed.key.clone());
                }
                changed.changed.then_some((kind, changed.key))
            }
            Err(error) => {
                tracing::error!(kind = kind.plural, %error, "not an object; ignored");
                None
            }
        }
    }

    fn gone(&mut self, kind: Kind, object: &[u8]) -> Option<Touched> {
        let last: Value = serde_json::from_slice(object).ok()?;
        self.deleted.remove(last.uid());
        let version = last.resource_version().parse().unwrap_or(u64::MAX);
        let known = self.world.version(kind, last.namespace(), last.name())?;
        if known > version {
            return None;
        }
        self.forget(kind, Key::new(last.namespace(), last.name()))
    }

    /// Everything up to `version` has been put: what has not been, and is no newer, is gone.
    fn synced(&mut self, kind: Kind, version: u64) -> Vec<Touched> {
        let phase = self.kinds.entry(kind).or_default();
        phase.synced = true;
        let seen = phase.seen.take().unwrap_or_default();
        let stale = |key: &Key| {
            let known = self.world.version(kind, &key.namespace, &key.name);
            !seen.contains(key) && known.is_some_and(|known| known <= version)
        };
        let stale: Vec<_> = self.world.keys(kind).into_iter().filter(stale).collect();
        let forget = |key| self.forget(kind, key);
        stale.into_iter().filter_map(forget).collect()
    }
}

fn uid_of(object: &[u8]) -> String {
    #[derive(Deserialize, Default)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(Deserialize, Default)]
    struct Metadata {
        #[serde(default)]
        uid: String,
    }
    let object: Object = serde_json::from_slice(object).unwrap_or_default();
    object.metadata.uid
}

#[cfg(test)]
mod tests {
    use api::world::POD;

    use super::*;

    fn pod(name: &str, version: u64) -> Bytes {
        let metadata = json!({
            "namespace": "a", "name": name, "uid": name, "resourceVersion": version.to_string(),
        });
        Bytes::from(json!({"kind": "Pod", "metadata": metadata}).to_string())
    }

    fn synced(objects: Vec<Bytes>, version: u64) -> Mirror {
        let mut mirror = Mirror::default();
        mirror.expect([POD]);
        mirror.take(POD, Update::Restarted);
        mirror.take(POD, Update::Put(objects));
        assert!(!mirror.is_synced());
        mirror.take(POD, Update::Synced { version });
        assert!(mirror.is_synced());
        mirror
    }

    fn names(mirror: &Mirror) -> Vec<String> {
        let keys = mirror.world.keys(POD).into_iter();
        keys.map(|key| key.name).collect()
    }

    #[test]
    fn a_resync_forgets_what_is_gone_but_not_what_is_newer() {
        let mut mirror = synced(vec![pod("x", 1), pod("y", 2)], 2);
        mirror.wrote(POD, &pod("z", 9));
        mirror.take(POD, Update::Restarted);
        mirror.take(POD, Update::Put(vec![pod("y", 2)]));
        let touched = mirror.take(POD, Update::Synced { version: 8 });
        assert_eq!(touched, [(POD, Key::new("a", "x"))]);
        assert_eq!(names(&mirror), ["y", "z"]);
    }

    #[test]
    fn late_events_do_not_revive_or_undo_our_writes() {
        let mut mirror = synced(vec![pod("x", 1)], 1);
        let status = br#"{"kind":"Status","status":"Success"}"#;
        mirror.deleted(POD, Key::new("a", "x"), "x", status);
        assert!(mirror.take(POD, Update::Put(vec![pod("x", 2)])).is_empty());
        assert!(names(&mirror).is_empty());
        assert!(mirror.take(POD, Update::Gone(pod("x", 3))).is_empty());
        assert!(mirror.wrote(POD, &pod("x", 5)).is_some(), "made anew");
        assert!(mirror.take(POD, Update::Gone(pod("x", 4))).is_empty());
        assert_eq!(names(&mirror), ["x"]);
    }

    #[test]
    fn an_object_that_lingers_stays() {
        let mut mirror = synced(vec![pod("x", 1)], 1);
        let touched = mirror.deleted(POD, Key::new("a", "x"), "x", &pod("x", 2));
        assert_eq!(touched.len(), 1);
        assert_eq!(mirror.world.version(POD, "a", "x"), Some(2));
    }
}
