//! Trust bundles for the Pods of sources: the ConfigMaps of the system's namespace whose certificates
//! are trusted are copied into the namespace of a SinkBinding, from where `api::binding` puts them
//! into its subjects. The rules of Knative's `pkg/eventingtls`: a copy is owned by all bindings of
//! its namespace, and beside the copies there is one of all certificates together.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::binding::BUNDLE_LABEL;
use api::draft::Draft;
use api::names::child_name;
use api::object::ObjectExt;
use api::world::{Action, CONFIG_MAP, SINK_BINDING, World};
use serde_json::{Map, Value, json};

use super::config::SYSTEM_NAMESPACE;

/// A copy's name is that of the bundle with this behind it.
const SUFFIX: &str = "kne-bundle";
/// The bundle of all certificates, which is there as a copy alone.
const COMBINED: &str = "kn-combined-kne-bundle";
/// The most bytes of it: no ConfigMap holds more than 1 MiB.
const COMBINED_BYTES_MAX: usize = 1_000_000;

/// The bundles of a namespace.
fn labelled(world: &World, namespace: &str) -> Vec<Arc<Value>> {
    world.labelled(CONFIG_MAP, namespace, BUNDLE_LABEL, "true")
}

/// What the copies are to be, by name; without namespace and owners.
fn copies(world: &World) -> BTreeMap<String, Value> {
    let bundles = labelled(world, SYSTEM_NAMESPACE);
    let combined = combined(&bundles);
    let combined = (!combined.is_empty()).then(|| {
        let file = format!("{COMBINED}.pem");
        json!({
            "metadata": {"name": COMBINED, "labels": {BUNDLE_LABEL: "true"}},
            "data": {file: combined},
        })
    });
    let copy = |bundle: &Value| {
        let name = child_name(bundle.name(), SUFFIX);
        let mut copy = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "labels": bundle["metadata"]["labels"]},
        });
        for field in ["data", "binaryData"] {
            if !bundle[field].is_null() {
                copy[field] = bundle[field].clone();
            }
        }
        (name, copy)
    };
    let own = bundles.iter().map(|bundle| copy(bundle));
    own.chain(combined.as_ref().map(copy)).collect()
}

/// All certificates of `bundles`, one behind the other.
fn combined(bundles: &[Arc<Value>]) -> String {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut all = String::new();
    let data = bundles
        .iter()
        .filter_map(|bundle| bundle["data"].as_object());
    for text in data.flat_map(Map::values).filter_map(Value::as_str) {
        let mut rest = text;
        while let Some(begin) = rest.find(BEGIN)
            && let Some(length) = rest[begin..].find(END)
        {
            let end = begin + length + END.len();
            let certificate = &rest[begin..end];
            if all.len() + certificate.len() >= COMBINED_BYTES_MAX {
                return all;
            }
            all.push_str(certificate);
            all.push('\n');
            rest = &rest[end..];
        }
    }
    all
}

/// The names of the bundles that Pods of `namespace` get, as soon as they are there.
pub(super) fn names(world: &World, namespace: &str) -> Vec<String> {
    let there = labelled(world, namespace);
    if namespace == SYSTEM_NAMESPACE {
        return there.iter().map(|map| map.name().to_owned()).collect();
    }
    let copies = copies(world);
    // Copies whose original is gone go, too.
    let stays = there.iter().filter(|map| !owners(map).any(is_binding));
    let mut names: Vec<String> = stays.map(|map| map.name().to_owned()).collect();
    names.extend(copies.into_keys());
    names.sort();
    names.dedup();
    names
}

fn owners(map: &Value) -> impl Iterator<Item = &Value> {
    let owners = map["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten()
}

fn is_binding(owner: &Value) -> bool {
    owner["kind"] == SINK_BINDING.kind
}

/// Sees to the copies in the namespace of the draft's object, which owns them with others.
pub(super) fn propagate(draft: &mut Draft<'_>) {
    let namespace = draft.namespace().to_owned();
    if namespace == SYSTEM_NAMESPACE {
        // They are here.
        return;
    }
    let copies = copies(draft.world);
    let owner = json!({
        "apiVersion": draft.object["apiVersion"],
        "kind": draft.object["kind"],
        "name": draft.name(),
        "uid": draft.object.uid(),
    });
    for there in labelled(draft.world, &namespace) {
        let is_own = owners(&there).any(|known| known["uid"] == owner["uid"]);
        if is_own && !copies.contains_key(there.name()) {
            draft.push(Action::Delete {
                kind: CONFIG_MAP,
                namespace: namespace.clone(),
                name: there.name().to_owned(),
                uid: there.uid().to_owned(),
            });
        }
    }
    for (name, copy) in copies {
        match draft.world.get(CONFIG_MAP, &namespace, &name) {
            None => {
                let mut new = copy;
                new["metadata"]["namespace"] = json!(namespace);
                new["metadata"]["ownerReferences"] = json!([owner]);
                draft.push(Action::Create(new));
            }
            Some(have) => {
                let new = renewed(&have, &copy, &owner);
                if new != *have {
                    draft.push(Action::Update(new));
                }
            }
        }
    }
}

/// `have` with what `copy` holds, and owned by `owner` too.
fn renewed(have: &Value, copy: &Value, owner: &Value) -> Value {
    let mut new = have.clone();
    for field in ["data", "binaryData"] {
        let fields = new.as_object_mut().into_iter();
        fields.for_each(|fields| drop(fields.remove(field)));
        if !copy[field].is_null() {
            new[field] = copy[field].clone();
        }
    }
    for (key, value) in copy["metadata"]["labels"].as_object().into_iter().flatten() {
        new["metadata"]["labels"][key] = value.clone();
    }
    if !owners(have).any(|known| known["uid"] == owner["uid"]) {
        let owners = owners(have).chain([owner]).cloned();
        new["metadata"]["ownerReferences"] = owners.collect();
    }
    new
}
