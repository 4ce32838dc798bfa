//! Conversion between the API versions of a kind. Called by an embedded API server for every read
//! and write in a version that is not the stored one, and by the conversion webhook in a cluster.
//! Knative Serving's kinds are converted here, Knative Eventing's in `eventing`.
//!
//! v1 is stored. v1beta1 has its shape. v1alpha1 had several shapes from 2018 to 2020; which one a
//! user wrote is kept in an annotation, so that it reads back as it was written (and `kubectl
//! apply` finds the fields it looks for), as long as v1 was not changed to something that the old
//! shape cannot say.

mod down;
mod eventing;
mod up;

use serde_json::{Map, Value, json};

use crate::object::ObjectExt;
use crate::serving::GROUP;

/// The annotation that keeps the old shape.
pub const FORM: &str = "rekindle.dev/v1alpha1";

/// The entry of [`FORM`] that says which style of rollout a Service was written in.
const MODE: &str = "mode";
/// The style of a Service that manages nothing.
const MANUAL: &str = "manual";

/// The annotation of a template that keeps the build a Configuration of 2018 began with, as JSON:
/// the spec of a Build, or a whole object.
pub const BUILD: &str = "rekindle.dev/build";
/// The annotation of a Revision, or of its template, that keeps the object whose success it waits
/// for, as JSON: `apiVersion`, `kind` and `name`.
pub const BUILD_REF: &str = "rekindle.dev/build-ref";

/// Whether a Service, in its stored version, is of the style `manual`: it has neither template nor
/// traffic, and manages nothing.
pub fn is_manual(service: &Value) -> bool {
    let spec = &service["spec"];
    let says_nothing = spec["template"]["spec"]["containers"].is_null()
        && spec["traffic"].as_array().is_none_or(Vec::is_empty);
    says_nothing
        && read_form(service, FORM)
            .get(MODE)
            .is_some_and(|mode| mode == MANUAL)
}

/// Converts an object to another version of its kind.
///
/// # Errors
/// A sentence for the user: the version is not known, or says something no other version can.
pub fn convert(mut object: Value, to_api_version: &str) -> Result<Value, String> {
    let from = object.api_version().to_owned();
    if from == to_api_version {
        return Ok(object);
    }
    if let Some(converted) = eventing::convert(&mut object, &from, to_api_version) {
        converted?;
        object["apiVersion"] = json!(to_api_version);
        return Ok(object);
    }
    let version = |api_version: &str| {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        match (group, version) {
            (GROUP, "v1" | "v1beta1") => Ok(false),
            (GROUP, "v1alpha1") => Ok(true),
            _ => Err(not_served(&object, to_api_version)),
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

/// The `apiVersion` a kind is stored under, which the rules of admission are written for; `None` for
/// kinds that are not converted.
pub fn stored(api_version: &str, kind: &str) -> Option<String> {
    let of_serving = api_version.split('/').next() == Some(GROUP);
    // DomainMapping has no v1.
    if of_serving && kind != "DomainMapping" {
        return Some(format!("{GROUP}/v1"));
    }
    eventing::stored(api_version, kind)
}

fn not_served(object: &Value, to_api_version: &str) -> String {
    let (kind, from) = (object.kind(), object.api_version());
    format!("cannot convert {kind} from {from} to {to_api_version}: no such version is served")
}

/// The shape of a v1alpha1 object, beyond what v1 says. Empty for the shape that v1 has too.
type Form = Map<String, Value>;

fn read_form(object: &Value, key: &str) -> Form {
    object
        .annotation(key)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn write_form(object: &mut Value, key: &str, form: Form) {
    if !form.is_empty() {
        let text = Value::Object(form).to_string();
        object["metadata"]["annotations"][key] = json!(text);
        return;
    }
    if let Some(metadata) = object["metadata"].as_object_mut()
        && let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
    {
        annotations.remove(key);
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
