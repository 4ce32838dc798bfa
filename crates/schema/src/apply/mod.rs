//! Server-side apply and field ownership.
//!
//! The API server calls `apply` for an apply patch and `update` for every other write, after the
//! object is otherwise final; both give the object with its `managedFields` kept. Semantics are
//! those of structured-merge-diff and Kubernetes' field manager. One thing is simpler: objects are
//! compared in the version they are written in, whatever version an owner used.

#[cfg(test)]
mod cases;
mod managed;
mod path;
mod set;
#[cfg(test)]
mod tests;
mod typed;

use std::fmt::{self, Display, Formatter};

use serde_json::{Map, Value};

use self::managed::Entry;
use self::path::Element;
use self::set::Set;
use self::typed::Comparison;
use crate::structural::Schema;

/// Owns what is in an object when it is applied to for the first time without any owners.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The manager of `kubectl apply --server-side`, whose client-side past is honoured.
const KUBECTL: &str = "kubectl";

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The most bytes of annotations an object may have.
const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;

/// Who writes, when and how.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The field manager: `fieldManager` of the request, or the user agent's first part.
    pub manager: &'a str,
    /// Now, RFC 3339 in whole seconds: `2024-05-01T12:00:00Z`.
    pub time: &'a str,
    /// The group and version of the request.
    pub api_version: &'a str,
    /// The subresource written (`status`, `scale`), or empty.
    pub subresource: &'a str,
}

impl Operation<'_> {
    /// Whether the endpoint leaves top-level field `name` as it was, whatever is sent: the status
    /// has an endpoint of its own. Nobody comes to own it by another. Of custom resources, whose
    /// status may be a field like others, that is known only where the status is written.
    fn resets(&self, schema: &Schema, name: &str) -> bool {
        match self.subresource {
            "" => name == "status" && schema.root.name.is_some(),
            "status" => name != "status" && name != "metadata",
            _ => false,
        }
    }

    fn filtered(&self, schema: &Schema, difference: Comparison) -> Comparison {
        let filter = |set: Set| set.without(|name| self.resets(schema, name));
        Comparison {
            added: filter(difference.added),
            modified: filter(difference.modified),
            removed: filter(difference.removed),
        }
    }
}

/// Why a configuration cannot be applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Others own fields with other values (409).
    #[error("{0}")]
    Conflicts(Conflicts),
    /// The configuration has `managedFields` (400).
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
    /// The configuration does not fit the schema (400).
    #[error("failed to create typed patch object ({object}): {}", errors.join("\n"))]
    Typed {
        /// Namespace, name, version and kind.
        object: String,
        /// What does not fit.
        errors: Vec<String>,
    },
}

/// Fields of an applied configuration that others own with other values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts {
    /// Sorted by manager.
    pub conflicts: Vec<Conflict>,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner, as messages show it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// The field: `.spec.replicas`.
    pub field: String,
}

impl Conflict {
    /// The message of the Status cause, whose reason is `FieldManagerConflict`.
    #[must_use]
    pub fn message(&self) -> String {
        format!("conflict with {}", self.manager)
    }
}

impl Display for Conflicts {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if let [only] = self.conflicts.as_slice() {
            let Conflict { manager, field } = only;
            return write!(
                out,
                "Apply failed with 1 conflict: conflict with {manager}: {field}"
            );
        }
        let mut lines = Vec::new();
        let mut last = "";
        for conflict in &self.conflicts {
            if conflict.manager != last {
                lines.push(format!("conflicts with {}:", conflict.manager));
                last = &conflict.manager;
            }
            lines.push(format!("- {}", conflict.field));
        }
        let count = self.conflicts.len();
        write!(
            out,
            "Apply failed with {count} conflicts: {}",
            lines.join("\n")
        )
    }
}

/// Merges the configuration `applied` into `live` (`None`: it is created) and gives the object
/// with `managedFields`. Fields only this manager owned and no longer applies go.
///
/// # Errors
/// When others own fields the configuration sets to other values, unless `force`; when it does
/// not fit the schema.
pub fn apply(
    schema: &Schema,
    live: Option<&Value>,
    applied: &Value,
    operation: &Operation<'_>,
    force: bool,
) -> Result<Value, Error> {
    let named = &applied["metadata"]["managedFields"];
    if named.as_array().is_some_and(|entries| !entries.is_empty()) {
        return Err(Error::ManagedFields);
    }
    let errors = typed::check(&schema.root, applied);
    if !errors.is_empty() {
        return Err(Error::Typed {
            object: describe(applied),
            errors,
        });
    }
    let mut attempt = Attempt::new(schema, live, applied, operation);
    let outcome = match attempt.run(force) {
        Err(conflicts) if operation.manager == KUBECTL => {
            let allowed = attempt.owned_by_client_side_apply();
            let rest: Vec<(Entry, Set)> = conflicts
                .into_iter()
                .map(|(entry, set)| (entry, set.difference(&allowed)))
                .filter(|(_, set)| !set.is_empty())
                .collect();
            match rest.is_empty() {
                true => attempt.run(true),
                false => Err(rest),
            }
        }
        outcome => outcome,
    };
    outcome.map_err(|conflicts| Error::Conflicts(describe_conflicts(conflicts)))
}

/// Gives `new` with `managedFields` that say what this write changed. `old` is the object before,
/// `None` when it is created. Writes to a subresource cannot set `managedFields` themselves.
#[must_use]
pub fn update(
    schema: &Schema,
    old: Option<&Value>,
    new: &Value,
    operation: &Operation<'_>,
) -> Value {
    let before = old.unwrap_or(&Value::Null);
    let entries = if !operation.subresource.is_empty() {
        managed::decode(before)
    } else if managed::is_reset(new) {
        Vec::new()
    } else {
        Some(managed::decode(new))
            .filter(|entries| !entries.is_empty())
            .unwrap_or_else(|| managed::decode(before))
    };
    let mut object = new.clone();
    managed::strip(&mut object);
    // Who owns what of an object that existed without owners is not known.
    if entries.is_empty() && before["metadata"]["uid"].is_string() {
        return object;
    }
    let mut before = before.clone();
    managed::strip(&mut before);
    let entries = take_ownership(schema, &before, &object, entries, operation);
    managed::encode(&mut object, entries);
    object
}

/// The entries after `new` took the place of `old` by an ordinary write.
fn take_ownership(
    schema: &Schema,
    old: &Value,
    new: &Value,
    mut entries: Vec<Entry>,
    operation: &Operation<'_>,
) -> Vec<Entry> {
    let empty = Value::Object(Map::new());
    let old = if old.is_null() { &empty } else { old };
    let difference = operation.filtered(schema, typed::compare(&schema.root, old, new));
    give_up(&mut entries, &difference, None);
    let taken = difference.added.union(&difference.modified);
    let mut entry = Entry::new(operation, false, taken.difference(&never_owned()));
    if !entry.set.is_empty() {
        if let Some(at) = entries.iter().position(|other| other.is_of(&entry)) {
            entry.set = entry.set.union(&entries.remove(at).set);
        }
        entries.push(entry);
    }
    entries.retain(|entry| !entry.set.is_empty());
    managed::cap(&mut entries);
    entries
}

/// Takes from every entry (but that of `except`) what changed, and gives what it lost to a change
/// of value.
fn give_up(
    entries: &mut [Entry],
    difference: &Comparison,
    except: Option<&Entry>,
) -> Vec<(Entry, Set)> {
    let changed = difference.modified.union(&difference.added);
    let mut lost = Vec::new();
    for entry in entries {
        if except.is_some_and(|own| own.is_of(entry)) {
            continue;
        }
        let conflict = entry.set.intersection(&changed);
        let rest = entry.set.difference(&conflict);
        entry.set = rest.difference(&difference.removed);
        if !conflict.is_empty() {
            lost.push((entry.clone(), conflict));
        }
    }
    lost
}

/// Metadata nobody owns: the server's, and what identifies the object.
fn never_owned() -> Set {
    let mut set = Set::default();
    let field = |name: &str| Element::Field(name.into());
    for name in ["apiVersion", "kind", "metadata"] {
        set.insert(&[field(name)]);
    }
    for name in [
        "clusterName",
        "creationTimestamp",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
        "uid",
    ] {
        set.insert(&[field("metadata"), field(name)]);
    }
    set
}

fn describe(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    format!(
        "{}/{}; {}, Kind={}",
        text(&metadata["namespace"]),
        text(&metadata["name"]),
        text(&object["apiVersion"]),
        text(&object["kind"])
    )
}

fn describe_conflicts(conflicts: Vec<(Entry, Set)>) -> Conflicts {
    let mut conflicts: Vec<Conflict> = conflicts
        .into_iter()
        .flat_map(|(entry, set)| {
            let manager = entry.describe();
            set.paths().into_iter().map(move |path| Conflict {
                manager: manager.clone(),
                field: path::display(&path),
            })
        })
        .collect();
    conflicts.sort_by(|left, right| left.manager.cmp(&right.manager));
    Conflicts { conflicts }
}

/// One apply request, which may run twice: kubectl's is forced when only its own client-side past
/// is in the way.
struct Attempt<'a> {
    schema: &'a Schema,
    /// Without `managedFields`.
    live: Value,
    exists: bool,
    applied: &'a Value,
    operation: &'a Operation<'a>,
    entries: Vec<Entry>,
}

impl<'a> Attempt<'a> {
    fn new(
        schema: &'a Schema,
        live: Option<&Value>,
        applied: &'a Value,
        operation: &'a Operation<'a>,
    ) -> Self {
        let empty = || Value::Object(Map::new());
        let mut stripped = live.cloned().unwrap_or_else(empty);
        let mut entries = managed::decode(&stripped);
        managed::strip(&mut stripped);
        if let Some(live) = live.filter(|_| entries.is_empty()) {
            let before = Operation {
                manager: BEFORE_FIRST_APPLY,
                subresource: "",
                ..*operation
            };
            let mut live = live.clone();
            managed::strip(&mut live);
            entries = take_ownership(schema, &Value::Null, &live, entries, &before);
        }
        Self {
            schema,
            live: stripped,
            exists: live.is_some(),
            applied,
            operation,
            entries,
        }
    }

    fn run(&mut self, force: bool) -> Result<Value, Vec<(Entry, Set)>> {
        let root = &self.schema.root;
        let mut entries = self.entries.clone();
        let set = typed::field_set(root, self.applied);
        let set = set.without(|field| self.operation.resets(self.schema, field));
        let mut own = Entry::new(self.operation, true, set);
        let last = entries.iter().position(|entry| entry.is_of(&own));
        let last = last.map(|at| entries.remove(at));
        let merged = typed::merge(root, Some(&self.live), Some(self.applied));
        let mut object = match &last {
            Some(last) if !last.set.is_empty() => {
                let pruned = self.prune(&merged, last, &own, &entries);
                // An empty map that is applied is there, however it came to be empty.
                typed::merge(root, Some(&pruned), Some(self.applied))
            }
            _ => merged,
        };
        managed::strip(&mut object);
        let difference = typed::compare(root, &self.live, &object);
        let difference = self.operation.filtered(self.schema, difference);
        let conflicts = give_up(&mut entries, &difference, Some(&own));
        if !force && !conflicts.is_empty() {
            return Err(conflicts);
        }
        own.set = own.set.difference(&never_owned());
        // The time stands while nothing changes.
        if let Some(last) = last
            && last.set == own.set
            && last.api_version == own.api_version
            && conflicts.is_empty()
            && self.exists
            && object == self.live
        {
            own.time = last.time;
        }
        entries.push(own);
        self.keep_last_applied(&mut object);
        managed::encode(&mut object, entries);
        Ok(object)
    }

    /// Takes from the merged object what this manager applied last time and does not now, unless
    /// others own it too.
    fn prune(&self, merged: &Value, last: &Entry, own: &Entry, others: &[Entry]) -> Value {
        let root = &self.schema.root;
        let whole = |set: &Set| set.with_named_fields(root);
        let left = |set: &Set| typed::remove(root, merged, set).unwrap_or_default();
        let last = whole(&last.set);
        let merged_set = whole(&typed::field_set(root, merged));
        let pruned = whole(&typed::field_set(root, &left(&last)));
        let owned = others
            .iter()
            .fold(own.set.clone(), |set, entry| set.union(&entry.set));
        // Add back what somebody owns, then what this manager never did.
        let pruned = left(&merged_set.difference(&pruned.union(&whole(&owned))));
        let pruned = whole(&typed::field_set(root, &pruned));
        left(&merged_set.difference(&pruned).intersection(&last))
    }

    /// What kubectl's client-side apply set last and nobody has changed since.
    fn owned_by_client_side_apply(&self) -> Set {
        let annotation = self.live["metadata"]["annotations"][LAST_APPLIED].as_str();
        let last: Option<Value> = annotation.and_then(|text| serde_json::from_str(text).ok());
        let Some(last) = last.filter(Value::is_object) else {
            return Set::default();
        };
        let root = &self.schema.root;
        let difference = typed::compare(root, &last, &self.live);
        typed::field_set(root, &last)
            .difference(&difference.modified)
            .difference(&difference.added)
            .difference(&difference.removed)
    }

    /// Keeps the annotation of client-side apply true, where there is one, so that kubectl can go
    /// back to it.
    fn keep_last_applied(&self, object: &mut Value) {
        let Some(annotations) = annotations_mut(object) else {
            return;
        };
        if self.operation.manager != KUBECTL || !annotations.contains_key(LAST_APPLIED) {
            return;
        }
        let mut configuration = self.applied.clone();
        if let Some(own) = annotations_mut(&mut configuration) {
            own.remove(LAST_APPLIED);
        }
        let text = format!("{configuration}\n");
        if text.len() <= ANNOTATIONS_BYTES_MAX {
            annotations.insert(LAST_APPLIED.to_owned(), text.into());
        } else {
            annotations.remove(LAST_APPLIED);
        }
    }
}

fn annotations_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let metadata = object.get_mut("metadata")?;
    metadata.get_mut("annotations")?.as_object_mut()
}
