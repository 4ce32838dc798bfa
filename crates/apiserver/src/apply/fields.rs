//! Unknown and duplicate fields in request bodies: refused, warned about, or dropped in silence.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::resource::Resource;
use crate::status::{Result, Status};
use crate::write::{Call, FieldValidation};

/// Checks the fields of an object that came as a body, and drops those nobody knows.
pub(crate) fn check_fields(
    call: &Call<'_>,
    headers: &HeaderMap,
    body: &Bytes,
    object: &mut Value,
) -> Result<()> {
    let Some(schema) = call.resource.schema() else {
        return Ok(());
    };
    if call.local {
        // Nobody reads warnings about what this program writes itself; types are judged when the
        // object is complete.
        schema.prune(object);
        return Ok(());
    }
    // A field of the wrong type is reported before an unknown one.
    if let Some(why) = call.resource.row.and_then(|_| schema.decode_error(object)) {
        return Err(undecodable(call.resource, &why));
    }
    if call.field_validation != FieldValidation::Ignore {
        let media_type = headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok());
        let json = media_type.is_none_or(|media_type| media_type.contains("json"));
        let mut wrong = if json { duplicates(body) } else { Vec::new() };
        let unknown = schema.unknown_fields(object);
        wrong.extend(
            unknown
                .iter()
                .map(|path| format!("unknown field \"{path}\"")),
        );
        report(call, wrong)?;
    }
    schema.prune(object);
    Ok(())
}

/// Checks the fields a patch has brought into an object, and drops those nobody knows.
pub(super) fn check_patched(call: &Call<'_>, object: &mut Value) -> Result<()> {
    let Some(schema) = call.resource.schema() else {
        return Ok(());
    };
    if call.field_validation != FieldValidation::Ignore && !call.local {
        let unknown = schema.unknown_fields(object);
        report(
            call,
            unknown
                .iter()
                .map(|path| format!("unknown field \"{path}\""))
                .collect(),
        )?;
    }
    schema.prune(object);
    Ok(())
}

fn report(call: &Call<'_>, wrong: Vec<String>) -> Result<()> {
    if wrong.is_empty() {
        return Ok(());
    }
    if call.field_validation == FieldValidation::Strict {
        let why = format!("strict decoding error: {}", wrong.join(", "));
        return Err(undecodable(call.resource, &why));
    }
    wrong.into_iter().for_each(|warning| call.warn(warning));
    Ok(())
}

/// The body cannot become an object of its kind.
pub(crate) fn undecodable(resource: &Resource, why: &str) -> Status {
    let (kind, version) = (&resource.kind, &resource.version);
    Status::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
    ))
}

/// The fields that occur twice in one JSON object.
fn duplicates(body: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(body);
    let seed = Keys {
        path: String::new(),
        found: &mut found,
    };
    // A body that does not parse has been refused before.
    drop(serde::de::DeserializeSeed::deserialize(seed, &mut reader));
    found
}

struct Keys<'a> {
    path: String,
    found: &'a mut Vec<String>,
}

impl<'de> serde::de::DeserializeSeed<'de> for Keys<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0;
        loop {
            let path = format!("{}[{index}]", self.path);
            if list
                .next_element_seed(Keys {
                    path,
                    found: &mut *self.found,
                })?
                .is_none()
            {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(Key(key)) = map.next_key()? {
            let path = match &*self.path {
                "" => key.clone(),
                parent => format!("{parent}.{key}"),
            };
            if !seen.insert(key) {
                self.found.push(format!("duplicate field \"{path}\""));
            }
            map.next_value_seed(Keys {
                path,
                found: &mut *self.found,
            })?;
        }
        Ok(())
    }
}

struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn duplicates_are_named_by_path() {
        let body = br#"{"a":1,"b":{"c":[{"d":1,"d":2}]},"a":3}"#;
        let expected = ["duplicate field \"b.c[0].d\"", "duplicate field \"a\""];
        assert_eq!(super::duplicates(body), expected);
    }
}
