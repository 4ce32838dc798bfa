//! EventPolicy. The rules of Knative's
//! `pkg/apis/eventing/v1alpha1/eventpolicy_{defaults,validation}.go`.

use serde_json::Value;

use super::super::errors::Errors;
use super::super::kinds::Subject;
use super::delivery::fill_reference;
use super::filters;
use crate::object::ObjectExt;

pub(super) fn fill(subject: &mut Subject<'_>) {
    let namespace = subject.object.namespace().to_owned();
    let senders = &mut subject.object["spec"]["from"];
    for sender in senders.as_array_mut().into_iter().flatten() {
        fill_reference(sender.get_mut("ref"), &namespace);
    }
    subject.note_user();
}

pub(super) fn check(subject: &Subject<'_>) -> Errors {
    if !subject.features().authentication_oidc {
        return Errors::new("oidc-authentication feature not enabled", &[]);
    }
    let spec = &subject.object["spec"];
    let list = |field: &str| spec[field].as_array().map_or(&[][..], Vec::as_slice);
    let mut errors = Errors::NONE;
    for (index, sender) in list("from").iter().enumerate() {
        errors.add(check_sender(sender).via_field_index("from", index));
    }
    for (index, target) in list("to").iter().enumerate() {
        let found = one_of(target, "selector", target["selector"].is_object())
            .also(check_reference(&target["ref"]).via_field("ref"));
        errors.add(found.via_field_index("to", index));
    }
    errors.add(filters::check_list(&spec["filters"]).via_field("filters"));
    errors.via_field("spec")
}

fn check_sender(sender: &Value) -> Errors {
    let sub = sender["sub"].as_str();
    let mut errors = one_of(sender, "sub", sub.is_some_and(|sub| !sub.is_empty()))
        .also(check_reference(&sender["ref"]).via_field("ref"));
    let sub = sub.unwrap_or_default();
    if sub.find('*').is_some_and(|at| at + 1 < sub.len()) {
        errors.add(Errors::invalid_because(
            sub,
            "sub",
            "'*' is only allowed as suffix",
        ));
    }
    errors
}

/// Either `ref` or `other`.
fn one_of(object: &Value, other: &str, is_set: bool) -> Errors {
    match (object["ref"].is_object(), is_set) {
        (false, false) => Errors::none_of(&["ref", other]),
        (true, true) => Errors::several_of(&["ref", other]),
        _ => Errors::NONE,
    }
}

fn check_reference(reference: &Value) -> Errors {
    let mut errors = Errors::NONE;
    if reference.is_object() {
        for field in ["kind", "apiVersion", "name"] {
            if reference[field].is_null() {
                errors.add(Errors::missing(&[field]));
            }
        }
    }
    errors
}
