//! What is valid in `metadata`, for every kind.

use serde_json::Value;

use super::{Errors, items, text};
use crate::field::{self, Error};
use crate::resource::Resource;

/// All annotations of an object together (bytes).
const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;

/// Checks name, labels, annotations, owners, finalizers.
pub(super) fn validate(
    resource: &Resource,
    object: &Value,
    old: Option<&Value>,
    errors: &mut Errors,
) {
    let metadata = &object["metadata"];
    if old.is_none() {
        name(resource, metadata, errors);
    }
    labels(&metadata["labels"], "metadata.labels", errors);
    annotations(&metadata["annotations"], errors);
    owners(&metadata["ownerReferences"], errors);
    for (index, finalizer) in items(&metadata["finalizers"]).iter().enumerate() {
        let field = format!("metadata.finalizers[{index}]");
        for wrong in field::qualified_name(text(finalizer)) {
            errors.push(Error::invalid(&*field, finalizer, &wrong));
        }
    }
    let Some(old) = old.filter(|old| old["metadata"]["deletionTimestamp"].is_string()) else {
        return;
    };
    let before = items(&old["metadata"]["finalizers"]);
    let added: Vec<_> = items(&metadata["finalizers"])
        .iter()
        .filter(|f| !before.contains(f))
        .collect();
    if !added.is_empty() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{}}}",
            added
                .iter()
                .map(|f| f.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        );
        errors.push(Error::forbidden("metadata.finalizers", &detail));
    }
}

fn name(resource: &Resource, metadata: &Value, errors: &mut Errors) {
    let name = text(&metadata["name"]);
    if name.is_empty() {
        errors.push(Error::required(
            "metadata.name",
            "name or generateName is required",
        ));
        return;
    }
    let rule = resource
        .row
        .map_or(field::dns_subdomain as fn(&str) -> _, |row| row.name_errors);
    for wrong in rule(name) {
        errors.push(Error::invalid("metadata.name", &metadata["name"], &wrong));
    }
}

/// Checks keys and values of labels at `field`.
pub(super) fn labels(labels: &Value, field: &str, errors: &mut Errors) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        for wrong in field::qualified_name(key) {
            errors.push(Error::invalid(field, &key.as_str().into(), &wrong));
        }
        for wrong in field::label_value(text(value)) {
            errors.push(Error::invalid(field, value, &wrong));
        }
    }
}

fn annotations(annotations: &Value, errors: &mut Errors) {
    let mut total = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        total += key.len() + text(value).len();
        for wrong in field::qualified_name(&key.to_lowercase()) {
            errors.push(Error::invalid(
                "metadata.annotations",
                &key.as_str().into(),
                &wrong,
            ));
        }
    }
    if total > ANNOTATIONS_BYTES_MAX {
        errors.push(Error::too_long(
            "metadata.annotations",
            ANNOTATIONS_BYTES_MAX,
        ));
    }
}

fn owners(owners: &Value, errors: &mut Errors) {
    let field = "metadata.ownerReferences";
    for owner in items(owners) {
        for key in ["apiVersion", "kind", "name", "uid"] {
            if text(&owner[key]).is_empty() {
                let detail = match key {
                    "apiVersion" => "version must not be empty".to_owned(),
                    other => format!("{other} must not be empty"),
                };
                errors.push(Error::invalid(
                    format!("{field}.{key}"),
                    &owner[key],
                    &detail,
                ));
            }
        }
    }
    let controllers: Vec<_> = items(owners)
        .iter()
        .filter(|o| o["controller"] == true)
        .collect();
    if let [first, second, ..] = &*controllers {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for \
             {} and {}",
            text(&first["name"]),
            text(&second["name"])
        );
        errors.push(Error::invalid(field, owners, &detail));
    }
}
