//! A plan while it is being worked out: the object it is about, what is wanted of its children,
//! and its new status. Every planner begins with [`Draft::of`] and ends with [`Draft::finish`].

mod child;

pub use child::{Agree, equal, quantity};

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::conditions::{Conditions, Set};
use crate::object::ObjectExt;
use crate::world::{Action, Context, Fact, Key, Kind, Plan, World};
use jiff::Timestamp;
use serde_json::{Value, json};

use child::merged;

/// What became of a child the plan wants.
pub enum Child {
    /// It exists and agrees, or soon will: the object as it is now.
    Have(Arc<Value>),
    /// It did not exist; the plan creates it.
    Created,
    /// Something of this name exists and has another controller. Nothing was done.
    Foreign,
}

/// The plan for one object so far.
pub struct Draft<'a> {
    /// The installation.
    pub cx: &'a Context,
    /// What is known.
    pub world: &'a World,
    /// The object the plan is about.
    pub object: Arc<Value>,
    /// `status` as it will be. [`Draft::finish`] writes it if it differs.
    pub status: Value,
    actions: Vec<Action>,
}

impl<'a> Draft<'a> {
    /// Begins a plan, unless the object is gone or going (its children are then collected).
    pub fn of(cx: &'a Context, world: &'a World, kind: Kind, key: &Key) -> Option<Self> {
        let object = world.get(kind, &key.namespace, &key.name)?;
        if object.is_terminating() {
            return None;
        }
        Some(Self {
            cx,
            world,
            status: object["status"].clone(),
            object,
            actions: Vec::new(),
        })
    }

    /// The conditions of the object, to be marked and handed to [`Draft::finish`].
    pub fn conditions(&self, set: Set) -> Conditions {
        Conditions::of(&self.object, set, self.now())
    }

    /// The time of this plan.
    pub fn now(&self) -> Timestamp {
        self.world.now()
    }

    /// The namespace of the object.
    pub fn namespace(&self) -> &str {
        self.object.namespace()
    }

    /// The name of the object.
    pub fn name(&self) -> &str {
        self.object.name()
    }

    /// Reads an object of the plan's own namespace.
    pub fn get(&self, kind: Kind, name: &str) -> Option<Arc<Value>> {
        self.world.get(kind, self.namespace(), name)
    }

    /// Metadata for a child of the object: it goes when the object goes.
    pub fn child_meta(&self, name: &str, labels: Value, annotations: Value) -> Value {
        let mut meta = json!({
            "name": name,
            "namespace": self.namespace(),
            "ownerReferences": [controller_reference(&self.object)],
        });
        for (key, value) in [("labels", labels), ("annotations", annotations)] {
            if value.as_object().is_some_and(|map| !map.is_empty()) {
                meta[key] = value;
            }
        }
        meta
    }

    /// Sees to it that the child `want` exists and agrees.
    pub fn ensure(&mut self, kind: Kind, mut want: Value, agree: Agree) -> Child {
        let Some(have) = self.get(kind, want.name()) else {
            remove_nulls(&mut want);
            self.actions.push(Action::Create(want));
            return Child::Created;
        };
        let owner = have.controller_owner();
        if owner.is_none_or(|owner| owner["uid"] != *self.object.uid()) {
            return Child::Foreign;
        }
        if let Some(new) = merged(&have, &want, agree) {
            self.actions.push(Action::Update(new));
        }
        Child::Have(have)
    }

    /// Creates the child `want` if nothing of its name exists.
    pub fn ensure_exists(&mut self, kind: Kind, want: Value) {
        if self.get(kind, want.name()).is_none() {
            self.actions.push(Action::Create(want));
        }
    }

    /// Deletes a child.
    pub fn delete(&mut self, kind: Kind, object: &Value) {
        if !object.is_terminating() {
            self.actions.push(Action::Delete {
                kind,
                namespace: object.namespace().to_owned(),
                name: object.name().to_owned(),
                uid: object.uid().to_owned(),
            });
        }
    }

    /// Adds any action.
    pub fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Asks for a fact; `None` until it is known.
    pub fn need(&mut self, fact: Fact) -> Option<Arc<Value>> {
        let known = self.world.fact(&fact);
        if known.is_none() {
            self.actions.push(Action::Need(fact));
        }
        known
    }

    /// A Kubernetes Event about the object.
    pub fn event(&mut self, event_type: &'static str, reason: &str, message: String) {
        let event = Action::event(&self.object, event_type, reason, message);
        self.actions.push(event);
    }

    /// Ends the plan: the status, if it changed, is written after everything else.
    pub fn finish(mut self, conditions: Conditions) -> Plan {
        self.status["conditions"] = conditions.render();
        self.status["observedGeneration"] = json!(self.object.generation());
        if self.status != self.object["status"] {
            let mut object = (*self.object).clone();
            object["status"] = self.status;
            self.actions.push(Action::Status(object));
        }
        Plan {
            actions: self.actions,
        }
    }

    /// Ends a plan of a kind whose status is another planner's to write.
    pub fn finish_without_status(self) -> Plan {
        Plan {
            actions: self.actions,
        }
    }
}

/// A `null` says what must not be there; what is not there need not say so.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(remove_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// Writes a sentence for each name that belongs to somebody else.
pub fn not_owned(kind: &str, name: &str) -> String {
    format!("There is an existing {kind} {name:?} that we do not own.")
}

/// Sets `object[key]`, or removes the key when there is nothing to say.
pub fn set_or_remove(object: &mut Value, key: &str, value: Option<Value>) {
    match value {
        Some(value) => object[key] = value,
        None => {
            if let Some(map) = object.as_object_mut() {
                map.remove(key);
            }
        }
    }
}

/// The reference that makes `owner` the controller of a child.
pub fn controller_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner.api_version(),
        "kind": owner.kind(),
        "name": owner.name(),
        "uid": owner.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Labels or annotations of `object` without the `excluded` keys, and with `extra` on top.
pub fn strings(source: &Value, excluded: &[&str], extra: &[(&str, &str)]) -> Value {
    let kept = source
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !excluded.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()));
    let extra = extra
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)));
    let all: BTreeMap<_, _> = kept.chain(extra).collect();
    all.into_iter().collect()
}
