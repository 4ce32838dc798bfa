//! Which objects belong to an owner that selects by labels, as Kubernetes' ControllerRefManager
//! decides it: those it controls and selects; orphans it selects are adopted, and what it controls
//! but no longer selects is released. Asked by every plan that keeps Pods or ReplicaSets.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::object::ObjectExt;
use api::selector::selects;
use api::world::{Action, Kind, World};
use serde_json::{Value, json};

use crate::pods::owner_reference;

/// What an owner has, and the changes that make it so.
pub(crate) struct Claimed {
    /// Its objects, ordered by name; those about to be adopted among them.
    pub(crate) objects: Vec<Arc<Value>>,
    /// Adoptions and releases.
    pub(crate) actions: Vec<Action>,
}

/// The objects of `kind` that are `owner`'s by its `spec.selector`. An owner that is being deleted
/// neither adopts nor releases.
pub(crate) fn claim(kind: Kind, owner: &Value, world: &World) -> Claimed {
    let selector = &owner["spec"]["selector"];
    let (mut objects, mut actions) = (Vec::new(), Vec::new());
    for (_, object) in candidates(kind, owner, selector, world) {
        let is_selected = !selector.is_object() || selects(selector, &object);
        match controller(&object) {
            Some(uid) if uid != owner.uid() => {}
            Some(_) if is_selected => objects.push(object),
            Some(_) if owner.is_terminating() => {}
            Some(_) => actions.push(release(&object, owner)),
            None if !is_selected || owner.is_terminating() || object.is_terminating() => {}
            None => {
                let adopted = adopt(&object, owner);
                actions.push(Action::Update(adopted.clone()));
                objects.push(Arc::new(adopted));
            }
        }
    }
    Claimed { objects, actions }
}

/// What is owned already and what might be adopted, by name.
fn candidates(
    kind: Kind,
    owner: &Value,
    selector: &Value,
    world: &World,
) -> BTreeMap<String, Arc<Value>> {
    let namespace = owner.namespace();
    let mut found = world.owned(kind, namespace, owner.uid());
    if selector.is_object() && !owner.is_terminating() {
        let labels = selector["matchLabels"].as_object().into_iter().flatten();
        let mut labels = labels.filter_map(|(key, value)| Some((key, value.as_str()?)));
        // One label narrows the search; the selector as a whole is asked of each that is found.
        found.extend(match labels.next_back() {
            Some((key, value)) => world.labelled(kind, namespace, key, value),
            None => world.list(kind, namespace),
        });
    }
    let named = found.into_iter();
    named.map(|one| (one.name().to_owned(), one)).collect()
}

/// The UID of the owner that controls the object.
fn controller(object: &Value) -> Option<&str> {
    let mut owners = object.owner_references().iter();
    let controller = owners.find(|owner| owner["controller"] == true)?;
    Some(controller["uid"].as_str().unwrap_or_default())
}

fn adopt(object: &Value, owner: &Value) -> Value {
    let mut adopted = object.clone();
    let owners = &mut adopted["metadata"]["ownerReferences"];
    let reference = owner_reference(owner);
    match owners.as_array_mut() {
        Some(owners) => {
            owners.retain(|one| one["uid"] != reference["uid"]);
            owners.push(reference);
        }
        None => *owners = json!([reference]),
    }
    adopted
}

fn release(object: &Value, owner: &Value) -> Action {
    let mut released = object.clone();
    if let Some(owners) = released["metadata"]["ownerReferences"].as_array_mut() {
        owners.retain(|one| one["uid"] != owner.uid());
    }
    Action::Update(released)
}
