//! JSON merge patch (RFC 7386).

use serde_json::{Map, Value};

use super::Error;

/// Applies a JSON merge patch.
///
/// # Errors
/// When the patch is no JSON object.
pub fn merge_patch(object: &mut Value, patch: Value) -> Result<(), Error> {
    if !patch.is_object() {
        return Err(Error::Decode(format!(
            "a merge patch must be a JSON object, not {patch}"
        )));
    }
    merge(object, patch);
    Ok(())
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}
