//! Conversion between the API versions of `serving.knative.dev`. Called by an embedded API server
//! for every read and write in a version that is not the stored one, and by the conversion
//! webhook in a cluster.
//!
//! v1 is stored. v1beta1 has its shape. v1alpha1 had several shapes from 2018 to 2020; which one a
//! user wrote is kept in an annotation, so that it reads back as it was written (and `kubectl
//! apply` finds the fields it looks for), as long as v1 was not changed to something that the old
//! shape cannot say.

mod down;
mod up;

use serde_json::{Map, Value, json};

use crate::object::ObjectExt;
use crate::serving::GROUP;

/// The annotation that keeps the old shape.
pub const FORM: &str = "rekindle.dev/v1alpha1";

/// Converts an object to another version of its kind.
///
/// # Errors
/// A sentence for the user: the version is not known, or says something no other version can.
pub fn convert(mut object: Value, to_api_version: &str) -> Result<Value, String> {
    let from = object.api_version().to_owned();
    if from == to_api_version {
        return Ok(object);
    }
    let version = |api_version: &str| {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        match (group, version) {
            (GROUP, "v1" | "v1beta1") => Ok(false),
            (GROUP, "v1alpha1") => Ok(true),
            _ => Err(format!(
                "cannot convert {} from {from} to {to_api_version}: no such version is served",
                object.kind()
            )),
        }
    };
    match (version(&from)?, version(to_api_version)?) {
        (true, false) => up::to_v1(&mut object)?,
        (false, true) => down::to_v1alpha1(&mut object),
        _ => {}
    }
    object["apiVersion"] = json!(to_api_version);
    Ok(object)
}

/// The shape of a v1alpha1 object, beyond what v1 says. Empty for the shape that v1 has too.
type Form = Map<String, Value>;

fn read_form(object: &Value) -> Form {
    object
        .annotation(FORM)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn write_form(object: &mut Value, form: Form) {
    if !form.is_empty() {
        let text = Value::Object(form).to_string();
        object["metadata"]["annotations"][FORM] = json!(text);
        return;
    }
    if let Some(metadata) = object["metadata"].as_object_mut()
        && let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
    {
        annotations.remove(FORM);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

/// Takes a field out of an object.
fn take(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut()?.remove(field)
}

/// Moves the fields that are there into `to`.
fn take_all(object: &mut Value, fields: &[&str]) -> Map<String, Value> {
    fields
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), take(object, field)?)))
        .collect()
}

#[cfg(test)]
mod tests;
