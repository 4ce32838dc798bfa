//! `metadata.managedFields`: who owns which fields of an object.

use serde_json::{Map, Value, json};

use super::Operation;
use super::set::Set;

/// The most entries of ordinary writers an object keeps; the oldest beyond are merged into one
/// per version.
const UPDATERS_MAX: usize = 10;

/// The manager the merged entries go to.
const ANCIENT: &str = "ancient-changes";

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) manager: String,
    /// By server-side apply; by an ordinary write otherwise.
    pub(super) applied: bool,
    pub(super) api_version: String,
    pub(super) subresource: String,
    /// RFC 3339.
    pub(super) time: Option<String>,
    pub(super) set: Set,
}

impl Entry {
    pub(super) fn new(operation: &Operation<'_>, applied: bool, set: Set) -> Self {
        Self {
            manager: operation.manager.to_owned(),
            applied,
            api_version: operation.api_version.to_owned(),
            subresource: operation.subresource.to_owned(),
            time: Some(operation.time.to_owned()),
            set,
        }
    }

    /// Whether both are of the same manager doing the same thing. Who applies is one whatever the
    /// version.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.applied == other.applied
            && self.subresource == other.subresource
            && (self.applied || self.api_version == other.api_version)
    }

    /// The manager as conflicts name it.
    pub(super) fn describe(&self) -> String {
        let mut text = crate::field::go_quote(&self.manager);
        if !self.subresource.is_empty() {
            text.push_str(" with subresource ");
            text.push_str(&crate::field::go_quote(&self.subresource));
        }
        if !self.applied {
            text.push_str(" using ");
            text.push_str(&self.api_version);
        }
        text
    }

    fn decode(entry: &Value) -> Option<Self> {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let fields = &entry["fieldsV1"];
        Some(Self {
            manager: text("manager"),
            applied: match entry["operation"].as_str()? {
                "Apply" => true,
                "Update" => false,
                _ => return None,
            },
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: entry["time"].as_str().map(ToOwned::to_owned),
            set: match fields.is_null() {
                true => Set::default(),
                false => Set::decode(fields)?,
            },
        })
    }

    fn encode(&self) -> Value {
        let mut entry = json!({
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.set.encode(),
            "manager": self.manager,
            "operation": if self.applied { "Apply" } else { "Update" },
        });
        if let Some(time) = &self.time {
            entry["time"] = time.as_str().into();
        }
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.as_str().into();
        }
        entry
    }
}

/// The entries of `object`; none when they cannot be read.
pub(super) fn decode(object: &Value) -> Vec<Entry> {
    object["metadata"]["managedFields"]
        .as_array()
        .and_then(|entries| entries.iter().map(Entry::decode).collect())
        .unwrap_or_default()
}

/// Whether the client asks to forget who owns what: an empty list, or one empty entry.
pub(super) fn is_reset(object: &Value) -> bool {
    let entries = object["metadata"]["managedFields"].as_array();
    entries.is_some_and(|entries| match entries.as_slice() {
        [] => true,
        [only] => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    })
}

/// Takes the entries off `object`.
pub(super) fn strip(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
    }
}

/// Puts the entries into `object` in Kubernetes' order.
pub(super) fn encode(object: &mut Value, mut entries: Vec<Entry>) {
    strip(object);
    entries.retain(|entry| !entry.set.is_empty());
    if entries.is_empty() {
        return;
    }
    entries.sort_by(|left, right| order(left).cmp(&order(right)));
    object["metadata"]["managedFields"] = entries.iter().map(Entry::encode).collect();
}

fn order(entry: &Entry) -> (bool, &str, &str, &str, &str) {
    (
        !entry.applied,
        entry.time.as_deref().unwrap_or_default(),
        &entry.manager,
        &entry.api_version,
        &entry.subresource,
    )
}

/// Merges the oldest entries of ordinary writers until there are few enough.
pub(super) fn cap(entries: &mut Vec<Entry>) {
    let mut oldest: Vec<Entry> = entries.iter().filter(|it| !it.applied).cloned().collect();
    let mut count = oldest.len();
    if count <= UPDATERS_MAX {
        return;
    }
    entries.retain(|entry| entry.applied);
    oldest.sort_by(|left, right| (&left.time, &left.manager).cmp(&(&right.time, &right.manager)));
    let mut merged: Vec<Entry> = Vec::new();
    for entry in oldest {
        let version = |other: &&mut Entry| other.api_version == entry.api_version;
        match merged.iter_mut().find(version) {
            Some(bucket) if count > UPDATERS_MAX => {
                ANCIENT.clone_into(&mut bucket.manager);
                bucket.subresource.clear();
                bucket.set = bucket.set.union(&entry.set);
                bucket.time = entry.time;
                count -= 1;
            }
            _ => merged.push(entry),
        }
    }
    entries.append(&mut merged);
}
