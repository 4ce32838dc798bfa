//! EventTransform and RequestReply. The rules of Knative's `pkg/apis/eventing/v1alpha1`.

use serde_json::{Value, json};

use super::super::errors::Errors;
use super::super::kinds::Subject;
use super::delivery::{self, Scope};
use crate::gotext::Period;
use crate::object::ObjectExt;

const SUGGESTION: &str = "Suggestion: create a new transformation, migrate services to the new one, \
    and delete this transformation.";
const NO_CERTIFICATES: &str = "CACerts for the sink is not supported for JSONata transformations, to \
    propagate CA trust bundles use labeled ConfigMaps: \
    https://knative.dev/docs/eventing/features/transport-encryption/\
    #configure-additional-ca-trust-bundles";
const NO_CORE_ATTRIBUTE: &str = "must be non-empty and cannot be a core cloudevent attribute (id, \
    type, specversion, source)";

pub(super) fn fill_transform(subject: &mut Subject<'_>) {
    subject.note_user();
}

pub(super) fn check_transform(subject: &Subject<'_>) -> Errors {
    let object = &subject.object;
    let spec = &object["spec"];
    let scope = Scope::anywhere(subject.features()).within(object.namespace());
    let mut errors = Errors::NONE;
    if !spec["jsonata"].is_object() {
        errors.add(Errors::none_of(&["jsonata"]));
    }
    if spec["sink"].is_object() {
        errors.add(delivery::check_destination(&spec["sink"], scope).via_field("sink"));
        if !spec["sink"]["CACerts"].is_null() && spec["jsonata"].is_object() {
            errors.add(Errors::new(NO_CERTIFICATES, &["CACerts"]).via_field("sink"));
        }
    }
    errors.add(check_reply(spec).via_field("reply"));
    if let Some(old) = &subject.old {
        let [was, is] = [old, object].map(|object| object["spec"]["jsonata"].is_object());
        errors.add(check_type(was, is).via_field("jsonata"));
    }
    errors.via_field("spec")
}

fn check_reply(spec: &Value) -> Errors {
    let reply = &spec["reply"];
    if !reply.is_object() {
        return Errors::NONE;
    }
    if !spec["sink"].is_object() {
        return Errors::new("reply is set without spec.sink", &[""]);
    }
    if reply["jsonata"].is_object() && reply["discard"] == true {
        return Errors::several_of(&["jsonata", "discard"]);
    }
    Errors::NONE
}

fn check_type(was: bool, is: bool) -> Errors {
    let message = match (was, is) {
        (false, true) => {
            "Transformations types are immutable, jsonata transformation cannot be changed to a \
             different transformation type. "
        }
        (true, false) => {
            "Transformations types are immutable, transformation type cannot be changed to a \
             jsonata transformation. "
        }
        _ => return Errors::NONE,
    };
    Errors::new(format!("{message}{SUGGESTION}"), &[])
}

pub(super) fn fill_request_reply(subject: &mut Subject<'_>) {
    let timeout = subject.features().request_reply_timeout.clone();
    let namespace = subject.object.namespace().to_owned();
    let spec = &mut subject.object["spec"];
    if spec["timeout"].as_str().unwrap_or_default().is_empty() {
        spec["timeout"] = json!(timeout);
    }
    for (field, default) in [
        ("correlationAttribute", "correlationid"),
        ("replyAttribute", "replyid"),
    ] {
        if spec[field].is_null() {
            spec[field] = json!(default);
        }
    }
    delivery::fill(spec, &namespace);
    subject.note_user();
}

pub(super) fn check_request_reply(subject: &Subject<'_>) -> Errors {
    let object = &subject.object;
    let spec = &object["spec"];
    let scope = Scope::anywhere(subject.features()).within(object.namespace());
    let broker = &spec["brokerRef"];
    let mut found = delivery::check_reference(broker, scope);
    let kind = broker["kind"].as_str().unwrap_or_default();
    if !kind.eq_ignore_ascii_case("broker") {
        found.add(Errors::invalid_because(
            kind,
            "kind",
            "brokerRef kind must be Broker",
        ));
    }
    if !broker["namespace"].is_null() {
        found.add(Errors::disallowed(&["namespace"]));
    }
    let mut errors = found.via_field("brokerRef");
    errors.add(delivery::check(&spec["delivery"], scope).via_field("delivery"));
    if let Some(timeout) = spec["timeout"].as_str()
        && !Period::parse(timeout).is_some_and(|p| !p.is_zero() && !p.is_negative())
    {
        errors.add(Errors::invalid(timeout, "timeout"));
    }
    let fields = ["correlationAttribute", "replyAttribute"];
    for field in fields {
        let name = spec[field].as_str().unwrap_or_default();
        if matches!(name, "" | "id" | "source" | "specversion" | "type") {
            let field = field.to_lowercase();
            let why = format!("{field} {NO_CORE_ATTRIBUTE}");
            errors.add(Errors::invalid_because(name, &field, &why));
        }
    }
    if spec[fields[0]] == spec[fields[1]] {
        let why = "an answer could not be told from its request";
        let same = spec[fields[1]].as_str().unwrap_or_default();
        errors.add(Errors::invalid_because(same, "replyattribute", why));
    }
    errors.via_field("spec")
}
