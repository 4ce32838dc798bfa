//! Reading and writing `metadata` of objects, encoded or not.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::store::Meta;

/// The labels of an encoded object. Stops reading once they are found.
pub(crate) fn labels_of(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    // An error is the normal end: the visitor stops the parser once it has what it wants.
    drop(
        Path {
            keys: &["metadata", "labels"],
            found: &mut found,
        }
        .deserialize(&mut reader),
    );
    found.unwrap_or_default()
}

/// Descends along `keys`, reads the string map there, then stops the parser.
struct Path<'a> {
    keys: &'a [&'a str],
    found: &'a mut Option<BTreeMap<String, String>>,
}

impl<'de> DeserializeSeed<'de> for Path<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.keys.is_empty() {
            *self.found = Some(de::Deserialize::deserialize(deserializer)?);
            return Err(de::Error::custom("found"));
        }
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Path<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == self.keys[0] {
                let keys = &self.keys[1..];
                map.next_value_seed(Path {
                    keys,
                    found: &mut *self.found,
                })?;
                return Err(de::Error::custom("not below this key"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// `metadata` as a map, made when it is missing.
pub(crate) fn of(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata
        .as_object_mut()
        .expect("it was made an object above")
}

/// What the store keeps beside the bytes.
pub(crate) fn for_store(object: &Value) -> Meta {
    let metadata = &object["metadata"];
    let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    let owners = owners
        .map(|owner| uid_number(&owner["uid"]))
        .filter(|uid| *uid != 0);
    Meta {
        uid: uid_number(&metadata["uid"]),
        owners: owners.collect(),
    }
}

/// A UID as a number. Those that are not UUIDs get a number by hashing.
pub(crate) fn uid_number(uid: &Value) -> u128 {
    let Some(text) = uid.as_str().filter(|text| !text.is_empty()) else {
        return 0;
    };
    if let Ok(uuid) = uuid::Uuid::parse_str(text) {
        return uuid.as_u128();
    }
    let digest = <sha2::Sha256 as sha2::Digest>::digest(text.as_bytes());
    digest[..16]
        .iter()
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// Now, in the whole seconds `metav1.Time` has.
pub(crate) fn now() -> String {
    format_seconds(Timestamp::now())
}

/// A time in whole seconds, RFC 3339.
pub(crate) fn format_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The strings of a list such as `metadata.finalizers`.
pub(crate) fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Whether the object has this finalizer.
pub(crate) fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    strings(&object["metadata"]["finalizers"]).any(|f| f == finalizer)
}

/// Takes a finalizer away; the list goes with its last entry.
pub(crate) fn remove_finalizer(object: &mut Value, finalizer: &str) {
    let metadata = of(object);
    let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) else {
        return;
    };
    finalizers.retain(|f| f != finalizer);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    }
}

/// Adds a finalizer unless it is there.
pub(crate) fn add_finalizer(object: &mut Value, finalizer: &str) {
    if has_finalizer(object, finalizer) {
        return;
    }
    let list = of(object)
        .entry("finalizers")
        .or_insert_with(|| Value::Array(Vec::new()));
    match list.as_array_mut() {
        Some(list) => list.push(finalizer.into()),
        None => *list = Value::Array(vec![finalizer.into()]),
    }
}

/// Encodes an object under the revision it is stored with.
pub(crate) fn encode(object: &mut Value, revision: u64) -> Vec<u8> {
    of(object).insert("resourceVersion".into(), revision.to_string().into());
    serde_json::to_vec(object).expect("a JSON value always encodes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_from_encoded_objects() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let expected = expected
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect();
            assert_eq!(labels_of(text.as_bytes()), expected, "{text}");
        };
        check(
            r#"{"data":{"metadata":{"labels":{"x":"y"}}},"metadata":{"labels":{"a":"b"}}}"#,
            &[("a", "b")],
        );
        check(
            r#"{"metadata":{"name":"n"},"spec":{"labels":{"x":"y"}}}"#,
            &[],
        );
        check(r#"{"metadata":{"labels":null}}"#, &[]);
        check(
            r#"{"metadata":{"labels":{"q":"with \"quotes\""}}}"#,
            &[("q", "with \"quotes\"")],
        );
    }
}
