//! Whether the object in a request's body is the one its URL speaks of.

use rand::Rng;
use serde_json::Value;

use crate::meta;
use crate::resource::Resource;
use crate::status::{Result, Status};

/// Characters of generated names: no vowels, so that no words come of it.
const NAME_CHARACTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many of them are appended.
const SUFFIX_LEN: usize = 5;
/// Longer prefixes are cut, so that the name fits a label.
const PREFIX_LEN_MAX: usize = 63 - SUFFIX_LEN;

/// Checks `apiVersion`, `kind` and namespace of a body, and fills in what it may leave out.
pub(crate) fn check_identity(
    resource: &Resource,
    namespace: &str,
    object: &mut Value,
) -> Result<()> {
    if !object.is_object() {
        return Err(Status::bad_request(
            "the object provided is not a JSON object",
        ));
    }
    check_type(resource, object)?;
    let metadata = meta::of(object);
    if !resource.namespaced {
        metadata.remove("namespace");
        return Ok(());
    }
    match metadata.get("namespace").and_then(Value::as_str) {
        Some(stated) if !stated.is_empty() && stated != namespace => Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
        _ => {
            metadata.insert("namespace".into(), namespace.into());
            Ok(())
        }
    }
}

fn check_type(resource: &Resource, object: &mut Value) -> Result<()> {
    let expected = resource.api_version();
    match (object["apiVersion"].as_str(), object["kind"].as_str()) {
        (None | Some(""), None | Some("")) => {
            object["apiVersion"] = expected.into();
            object["kind"] = resource.kind.as_str().into();
            Ok(())
        }
        (Some(version), _) if version != expected && !version.is_empty() => {
            Err(Status::bad_request(format!(
                "the API version in the data ({version}) does not match the expected API version \
                 ({expected})"
            )))
        }
        (_, Some(kind)) if kind != resource.kind => {
            let (stated, wanted) = (kind, &resource.kind);
            Err(Status::bad_request(format!(
                "{stated} in version \"{}\" cannot be handled as a {wanted}: converting \
                 ({stated}) to ({wanted}): unknown conversion",
                resource.version
            )))
        }
        _ => {
            object["apiVersion"] = expected.into();
            object["kind"] = resource.kind.as_str().into();
            Ok(())
        }
    }
}

/// The name of a new object; generated when only `generateName` is given.
pub(crate) fn name_or_generate(object: &mut Value) -> String {
    let metadata = meta::of(object);
    let text = |key: &str| {
        metadata
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if !text("name").is_empty() || text("generateName").is_empty() {
        return text("name").to_owned();
    }
    let prefix: String = text("generateName").chars().take(PREFIX_LEN_MAX).collect();
    let name = prefix + &random_suffix();
    metadata.insert("name".into(), name.as_str().into());
    name
}

/// What a generated name ends in.
pub(crate) fn random_suffix() -> String {
    let mut random = rand::rng();
    let suffix = (0..SUFFIX_LEN).map(|_| {
        let index = random.random_range(0..NAME_CHARACTERS.len());
        char::from(NAME_CHARACTERS[index])
    });
    suffix.collect()
}
