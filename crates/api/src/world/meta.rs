//! The little of an object that indexes need, taken from its bytes without building a tree.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Kind;
use crate::object::ObjectExt;

/// Name, version, labels and owners of one object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// `metadata.resourceVersion` as a number; 0 when absent.
    pub(super) version: u64,
    pub(super) labels: Vec<(String, String)>,
    /// UIDs of all owners.
    pub(super) owners: Vec<String>,
}

#[derive(Deserialize)]
struct Envelope {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
    resource_version: String,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<Owner>>,
}

#[derive(Deserialize)]
struct Owner {
    #[serde(default)]
    uid: String,
}

impl Meta {
    /// Reads the metadata of an encoded object; everything else is skipped.
    pub(super) fn of_bytes(raw: &[u8]) -> Result<Self, serde_json::Error> {
        let Envelope { metadata } = serde_json::from_slice(raw)?;
        Ok(Self {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            version: metadata.resource_version.parse().unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default().into_iter().collect(),
            owners: metadata
                .owner_references
                .unwrap_or_default()
                .into_iter()
                .map(|owner| owner.uid)
                .collect(),
        })
    }

    /// The same of a parsed object.
    pub(super) fn of_value(object: &Value) -> Self {
        let label = |(key, value): (&String, &Value)| (key.clone(), text(value));
        Self {
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
            version: object.resource_version().parse().unwrap_or_default(),
            labels: object.labels().into_iter().flatten().map(label).collect(),
            owners: object
                .owner_references()
                .iter()
                .map(|owner| text(&owner["uid"]))
                .collect(),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Whether the bytes name their kind, as whole objects of the API server do, and hold no
/// `managedFields`. May say no where yes would be right.
fn is_compact(raw: &[u8]) -> bool {
    let named = || {
        let rest = raw.strip_prefix(br#"{"apiVersion":""#)?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        Some(rest[end..].starts_with(br#"","kind":""#))
    };
    let has_fields = |text: &str| text.contains("\"managedFields\"");
    named() == Some(true) && str::from_utf8(raw).is_ok_and(|text| !has_fields(text))
}

/// The bytes worth keeping of an object: without `managedFields`, which no plan reads and which
/// the API server keeps when an update leaves them out, and with the `apiVersion` and `kind`
/// that items of a list lack.
pub(super) fn compact(kind: Kind, raw: &[u8]) -> Result<Box<[u8]>, serde_json::Error> {
    if is_compact(raw) {
        return Ok(raw.into());
    }
    let mut object: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(raw)?;
    let api_version = serde_json::value::to_raw_value(&kind.api_version())?;
    let kind_name = serde_json::value::to_raw_value(kind.kind)?;
    object.entry("apiVersion".into()).or_insert(&api_version);
    object.entry("kind".into()).or_insert(&kind_name);
    let stripped;
    if let Some(metadata) = object.get_mut("metadata") {
        let mut fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(metadata.get())?;
        fields.remove("managedFields");
        stripped = serde_json::value::to_raw_value(&fields)?;
        *metadata = &stripped;
    }
    Ok(serde_json::to_vec(&object)?.into_boxed_slice())
}
