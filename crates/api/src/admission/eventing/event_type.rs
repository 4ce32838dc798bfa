//! EventType. The rules of Knative's `pkg/apis/eventing/v1beta3`.

use super::super::errors::Errors;
use super::super::kinds::Subject;
use super::delivery::fill_reference;
use crate::object::ObjectExt;

pub(super) fn fill(subject: &mut Subject<'_>) {
    let namespace = subject.object.namespace().to_owned();
    let reference = subject.object["spec"].get_mut("reference");
    fill_reference(reference, &namespace);
    subject.note_user();
}

pub(super) fn check(subject: &Subject<'_>) -> Errors {
    let attributes = subject.object["spec"]["attributes"].as_array();
    let names: Vec<&str> = attributes
        .into_iter()
        .flatten()
        .filter_map(|attribute| attribute["name"].as_str())
        .collect();
    let required = ["type", "source", "specversion", "id"];
    let missing: Vec<&str> = required
        .into_iter()
        .filter(|name| !names.contains(name))
        .collect();
    if missing.is_empty() {
        return Errors::NONE;
    }
    Errors::missing(&missing)
        .via_field("attributes")
        .via_field("spec")
}
