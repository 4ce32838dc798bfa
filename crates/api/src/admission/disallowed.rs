//! Which fields of a type users may set: Knative's field masks. A field that is set and not
//! allowed is reported by name; what is inside allowed fields is others' business.

use serde_json::Value;

use super::errors::Errors;

/// An error for the fields of `value` that are not among `allowed`.
pub(super) fn check(value: &Value, allowed: &[&str]) -> Errors {
    let Some(entries) = value.as_object() else {
        return Errors::NONE;
    };
    let set: Vec<&str> = entries
        .iter()
        .filter(|(key, _)| !allowed.contains(&key.as_str()))
        .map(|(key, _)| key.as_str())
        .collect();
    if set.is_empty() {
        Errors::NONE
    } else {
        Errors::disallowed(&set)
    }
}
