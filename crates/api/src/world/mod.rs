//! The world plans look at: the objects that are watched, and the facts gathered about them.
//!
//! A [`World`] is a value that tests make from YAML and the driver keeps from watches. While a
//! plan runs it records what was read, so that the driver knows whom a change concerns.

mod kind;
mod plan;

pub use kind::*;
pub use plan::{Action, Fact, Plan};

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::object::ObjectExt;

/// An in-memory copy of the cluster, as far as plans care.
#[derive(Default, Debug)]
pub struct World {
    objects: BTreeMap<(Kind, String, String), Arc<Value>>,
    facts: BTreeMap<Fact, Arc<Value>>,
    now: Timestamp,
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

    /// Takes in an object as a watch delivered it.
    pub fn insert(&mut self, kind: Kind, object: Value) {
        let key = (
            kind,
            object.namespace().to_owned(),
            object.name().to_owned(),
        );
        self.objects.insert(key, Arc::new(object));
    }

    /// Forgets an object.
    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) {
        self.objects
            .remove(&(kind, namespace.to_owned(), name.to_owned()));
    }

    /// Learns a fact.
    pub fn learn(&mut self, fact: Fact, value: Value) {
        self.facts.insert(fact, Arc::new(value));
    }

    /// One object, if it exists.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.objects
            .get(&(kind, namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    /// All objects of a kind in `namespace`, or everywhere when it is empty, ordered by name.
    pub fn list(&self, kind: Kind, namespace: &str) -> Vec<Arc<Value>> {
        self.of(kind, namespace).collect()
    }

    /// The objects of a kind that carry the label `key: value`.
    pub fn labelled(&self, kind: Kind, namespace: &str, key: &str, value: &str) -> Vec<Arc<Value>> {
        self.of(kind, namespace)
            .filter(|object| object.label(key) == Some(value))
            .collect()
    }

    /// The objects of a kind that name `owner_uid` among their owners.
    pub fn owned(&self, kind: Kind, namespace: &str, owner_uid: &str) -> Vec<Arc<Value>> {
        let owns = |owner: &Value| owner["uid"] == *owner_uid;
        self.of(kind, namespace)
            .filter(|o| o.owner_references().iter().any(owns))
            .collect()
    }

    /// What is known about `fact`.
    pub fn fact(&self, fact: &Fact) -> Option<Arc<Value>> {
        self.facts.get(fact).cloned()
    }

    fn of(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = Arc<Value>> {
        self.objects
            .iter()
            .filter(move |((k, ns, _), _)| *k == kind && (namespace.is_empty() || ns == namespace))
            .map(|(_, object)| Arc::clone(object))
    }
}
