//! The rules of the kinds of 2019 that another group has today: those of Knative Eventing's
//! `pkg/apis/eventing/v1alpha1` of v0.5 and `pkg/apis/messaging/v1alpha1` of v0.8. What an object
//! says beyond them is judged when it is made into one of today.

use serde_json::{Value, json};

use super::super::errors::Errors;
use super::super::kinds::Subject;
use super::text;
use crate::object::ObjectExt;

/// What a Channel that names no provisioner was given.
const PROVISIONER: &str = "in-memory";

/// A Channel without a provisioner gets the default one.
pub(super) fn fill(object: &mut Value) {
    let is_channel = object.kind() == "Channel" && object.api_version().starts_with("eventing.");
    if is_channel && object["spec"]["provisioner"].is_null() {
        object["spec"]["provisioner"] = json!({
            "apiVersion": object["apiVersion"],
            "kind": "ClusterChannelProvisioner",
            "name": PROVISIONER,
        });
    }
}

fn is_set(spec: &Value, field: &str) -> bool {
    !spec[field].is_null() && spec[field] != json!({})
}

pub(super) fn check_channel(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    let old = subject.old.as_ref();
    if old.is_some_and(|old| old["spec"]["provisioner"] != spec["provisioner"]) {
        return Errors::new("Immutable fields changed", &["spec.provisioner"]);
    }
    let mut errors = Errors::NONE;
    let subscribers = spec["subscribable"]["subscribers"].as_array();
    for (index, subscriber) in subscribers.into_iter().flatten().enumerate() {
        if text(subscriber, "replyURI").is_empty() && text(subscriber, "subscriberURI").is_empty() {
            let why = "expected at least one of, got none";
            let paths = ["replyURI", "subscriberURI"];
            let found = Errors::detailed("missing field(s)", &paths, why);
            errors.add(found.via_field_index("subscriber", index));
        }
    }
    errors.via_field("subscribable").via_field("spec")
}

pub(super) fn check_subscription(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    let old = subject.old.as_ref();
    if old.is_some_and(|old| old["spec"]["channel"] != spec["channel"]) {
        return Errors::new("Immutable fields changed", &["spec.channel"]);
    }
    check_ends(spec).via_field("spec")
}

fn check_ends(spec: &Value) -> Errors {
    if !is_set(spec, "channel") {
        let why = "the Subscription must reference a channel";
        return Errors::detailed("missing field(s)", &["channel"], why);
    }
    let mut errors = check_reference(&spec["channel"]).via_field("channel");
    if !is_set(spec, "subscriber") && !is_set(spec, "reply") {
        let why = "the Subscription must reference at least one of (reply or a subscriber)";
        let paths = ["reply", "subscriber"];
        errors.add(Errors::detailed("missing field(s)", &paths, why));
    }
    let subscriber = &spec["subscriber"];
    let ways: Vec<&str> = ["dnsName", "ref", "uri"]
        .into_iter()
        .filter(|way| is_set(subscriber, way))
        .collect();
    if ways.len() > 1 {
        errors.add(Errors::several_of(&ways).via_field("subscriber"));
    }
    if is_set(subscriber, "ref") {
        let found = check_reference(&subscriber["ref"]).via_field("ref");
        errors.add(found.via_field("subscriber"));
    }
    if is_set(&spec["reply"], "channel") {
        let found = check_reference(&spec["reply"]["channel"]).via_field("channel");
        errors.add(found.via_field("reply"));
    }
    errors
}

fn check_reference(reference: &Value) -> Errors {
    let missing = ["name", "apiVersion", "kind"]
        .into_iter()
        .filter(|field| text(reference, field).is_empty());
    missing.fold(Errors::NONE, |errors, field| {
        errors.also(Errors::missing(&[field]))
    })
}

pub(super) fn check_sequence(subject: &Subject<'_>) -> Errors {
    check_list(subject, "steps")
}

pub(super) fn check_parallel(subject: &Subject<'_>) -> Errors {
    check_list(subject, "branches")
}

pub(super) fn check_choice(subject: &Subject<'_>) -> Errors {
    check_list(subject, "cases")
}

/// There must be something to go through, and channels between.
fn check_list(subject: &Subject<'_>, of: &str) -> Errors {
    let spec = &subject.object["spec"];
    let mut errors = Errors::NONE;
    if spec[of].as_array().is_none_or(Vec::is_empty) {
        errors.add(Errors::missing(&[of]));
    }
    if is_set(spec, "channelTemplate") {
        let template = &spec["channelTemplate"];
        for field in ["apiVersion", "kind"] {
            if text(template, field).is_empty() {
                errors.add(Errors::missing(&[field]).via_field("channelTemplate"));
            }
        }
    }
    errors.via_field("spec")
}
