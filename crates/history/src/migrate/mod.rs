//! Manifests of earlier years as manifests of today, with comments that say what changed and why.
//! Called by `rekindle migrate`, which reads the files and prints the outcome.
//!
//! [`Catalog`] first takes in every document, because an old kind may mean what another document
//! says (a Feed its EventType); then [`Catalog::migrate`] rewrites one text. A document that needs
//! no change is passed on as it was written, comments and all. `document` takes texts apart and
//! prints; `serving`, `eventing`, `sources` and `early` know the kinds.

mod document;
mod early;
mod eventing;
mod serving;
mod sources;

use std::collections::BTreeMap;

use api::object::ObjectExt;
use serde_json::{Value, json};

use document::Document;

/// Everything that is migrated together.
#[derive(Default, Debug)]
pub struct Catalog {
    /// By kind with its group, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
}

/// A text of today.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Migrated {
    /// YAML.
    pub text: String,
    /// How many documents are different now, or gone.
    pub changed: usize,
    /// What has no equivalent: a sentence each, which names the object and the replacement.
    pub refused: Vec<String>,
}

/// What becomes of a document.
#[derive(Clone, PartialEq, Debug)]
enum Outcome {
    /// It is of today.
    Same,
    /// It is these objects now.
    Changed(Vec<Value>, Vec<String>),
    /// It is nothing any more.
    Gone(Vec<String>),
    /// It has no equivalent; the sentence names what to use instead.
    Refused(String),
}

impl Catalog {
    /// Takes in the documents of a text.
    ///
    /// # Errors
    /// The text is no YAML; the sentence says where.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        for document in document::split(text) {
            if let Some(object) = document.object()? {
                let key = key(&kind(&object), object.namespace(), object.name());
                self.objects.insert(key, object);
            }
        }
        Ok(())
    }

    /// The text as one of today.
    ///
    /// # Errors
    /// The text is no YAML; the sentence says where.
    pub fn migrate(&self, text: &str) -> Result<Migrated, String> {
        let mut migrated = Migrated::default();
        let mut parts = Vec::new();
        for document in document::split(text) {
            let part = self.rewrite(&document, &mut migrated)?;
            if !part.trim().is_empty() {
                parts.push(part);
            }
        }
        migrated.text = parts.join("---\n");
        Ok(migrated)
    }

    fn rewrite(&self, document: &Document<'_>, migrated: &mut Migrated) -> Result<String, String> {
        let Some(object) = document.object()? else {
            return Ok(document.as_written());
        };
        Ok(match self.outcome(&object) {
            Outcome::Same => document.as_written(),
            Outcome::Changed(objects, notes) => {
                migrated.changed += 1;
                document.changed(&objects, &notes)?
            }
            Outcome::Gone(notes) => {
                migrated.changed += 1;
                document.gone(&object, &notes)
            }
            Outcome::Refused(why) => {
                let name = format!("{} {:?}", kind(&object), object.name());
                migrated.refused.push(format!("{name}: {why}"));
                document.refused(&name, &why)
            }
        })
    }

    fn outcome(&self, object: &Value) -> Outcome {
        if object.kind().ends_with("List") && object["items"].is_array() {
            return self.list(object);
        }
        let by = [
            early::outcome,
            serving::outcome,
            eventing::outcome,
            sources::outcome,
        ];
        let mut outcomes = by.iter().map(|outcome| outcome(self, object));
        outcomes
            .find(|outcome| *outcome != Outcome::Same)
            .unwrap_or(Outcome::Same)
    }

    /// The items of a List, each by itself.
    fn list(&self, list: &Value) -> Outcome {
        let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
        let (mut objects, mut notes) = (Vec::new(), Vec::new());
        for item in items {
            match self.outcome(item) {
                Outcome::Same => objects.push(item.clone()),
                Outcome::Changed(new, why) => {
                    objects.extend(new);
                    notes.extend(why);
                }
                Outcome::Gone(why) => notes.extend(why),
                Outcome::Refused(why) => return Outcome::Refused(why),
            }
        }
        if notes.is_empty() {
            return Outcome::Same;
        }
        let mut new = list.clone();
        new["items"] = json!(objects);
        Outcome::Changed(vec![new], notes)
    }

    /// An object of the texts by its kind (`Kind.group`), if one of that name is there; without a
    /// namespace on either side the name alone counts.
    fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        let own = self.objects.get(&key(kind, namespace, name));
        own.or_else(|| self.objects.get(&key(kind, "", name)))
            .or_else(|| {
                let mut all = self.objects.iter();
                let same =
                    |(known, _, its): &(String, String, String)| known == kind && its == name;
                all.find(|(key, _)| namespace.is_empty() && same(key))
                    .map(|(_, object)| object)
            })
    }
}

fn key(kind: &str, namespace: &str, name: &str) -> (String, String, String) {
    (kind.to_owned(), namespace.to_owned(), name.to_owned())
}

/// `Kind.group`, as kubectl spells it.
fn kind(object: &Value) -> String {
    match object.api_version().split_once('/') {
        Some((group, _)) => format!("{}.{group}", object.kind()),
        None => object.kind().to_owned(),
    }
}

/// Takes the annotations out in which conversion keeps old words, and what the API server wrote.
fn clean(object: &mut Value) {
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.retain(|key, _| {
            !key.starts_with("rekindle.dev/")
                && key != "kubectl.kubernetes.io/last-applied-configuration"
        });
        if annotations.is_empty() {
            remove(&mut object["metadata"], &["annotations"]);
        }
    }
    // Looking has left a null.
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|_, value| !value.is_null());
    }
    let of_server = [
        "creationTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    ];
    remove(&mut object["metadata"], &of_server);
    remove(object, &["status"]);
}

fn remove(object: &mut Value, fields: &[&str]) {
    if let Some(map) = object.as_object_mut() {
        map.retain(|field, _| !fields.contains(&field.as_str()));
    }
}

/// What the old version of an object kept in an annotation of the new one.
fn form(object: &Value, version: &str) -> Value {
    let text = object.annotation(&format!("rekindle.dev/{version}"));
    let parsed = text.and_then(|text| serde_json::from_str(text).ok());
    parsed.unwrap_or_else(|| json!({}))
}

#[cfg(test)]
mod tests;
