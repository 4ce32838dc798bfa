//! Channel and InMemoryChannel. The rules of Knative's
//! `pkg/apis/messaging/v1/{,in_memory_}channel_{defaults,validation}.go`.

use serde_json::{Value, json};

use super::super::diff;
use super::super::errors::Errors;
use super::super::kinds::Subject;
use super::delivery::{self, Scope};
use super::{own, set_default, without};
use crate::config::eventing::SYSTEM_NAMESPACE;
use crate::object::ObjectExt;

/// Annotation: which form of `subscribers` the channel understands.
const SUBSCRIBABLE: &str = "messaging.knative.dev/subscribable";
/// Annotation: who keeps the channel, the cluster or the namespace.
const SCOPE: &str = "eventing.knative.dev/scope";
/// The account of Knative's own controller.
const CONTROLLER: &str = "eventing-controller";
/// The user as whom this project's controllers write.
const OWN_CONTROLLER: &str = "system:rekindle";

pub(super) fn fill(subject: &mut Subject<'_>) {
    set_default(&mut subject.object, "annotations", SUBSCRIBABLE, "v1");
    let namespace = subject.object.namespace().to_owned();
    let defaults = &subject.configs.eventing.channel_defaults;
    let spec = &mut subject.object["spec"];
    if spec["channelTemplate"].is_null() {
        if let Some(template) = defaults.template(&namespace) {
            spec["channelTemplate"] = template;
        }
        delivery::fill(spec, &namespace);
    }
    subject.note_user();
}

pub(super) fn check(subject: &Subject<'_>) -> Errors {
    let object = &subject.object;
    let spec = &object["spec"];
    let mut errors = check_template(&spec["channelTemplate"]);
    if !spec["subscribers"].is_null() && spec["subscribers"] != json!([]) {
        errors.add(Errors::disallowed(&["subscribers"]).via_field("subscribable"));
    }
    let scope = Scope::anywhere(subject.features()).within(object.namespace());
    errors.add(delivery::check(&spec["delivery"], scope).via_field("delivery"));
    let mut errors = errors.via_field("spec");
    errors.add(own::check_keeper(object));
    if let Some(old) = &subject.old {
        let fixed = |object: &Value| without(&object["spec"], &["subscribers"]);
        let changed = diff::short("ChannelSpec", false, &fixed(old), &fixed(object));
        if !changed.is_empty() {
            let message = "Immutable fields changed (-old +new)";
            errors.add(Errors::detailed(message, &["spec"], changed));
        }
    }
    errors
}

/// Checks the template of channels; the path is that of its holder.
pub(super) fn check_template(template: &Value) -> Errors {
    if template.is_null() {
        return Errors::missing(&["channelTemplate"]);
    }
    let mut errors = Errors::NONE;
    for field in ["kind", "apiVersion"] {
        if template[field].is_null() {
            errors.add(Errors::missing(&[field]));
        }
    }
    errors.via_field("channelTemplate")
}

pub(super) fn fill_in_memory(subject: &mut Subject<'_>) {
    set_default(&mut subject.object, "annotations", SUBSCRIBABLE, "v1");
    let namespace = subject.object.namespace().to_owned();
    delivery::fill(&mut subject.object["spec"], &namespace);
    subject.note_user();
}

pub(super) fn check_in_memory(subject: &Subject<'_>) -> Errors {
    let object = &subject.object;
    let mut errors = Errors::NONE;
    let subscribers = object["spec"]["subscribers"].as_array();
    for (index, subscriber) in subscribers.into_iter().flatten().enumerate() {
        if subscriber["replyUri"].is_null() && subscriber["subscriberUri"].is_null() {
            let why = "expected at least one of, got none";
            let paths = ["replyURI", "subscriberURI"];
            let found = Errors::detailed("missing field(s)", &paths, why);
            let found = found.via_field_index("subscriber", index);
            errors.add(found.via_field("subscribable"));
        }
    }
    let mut errors = errors.via_field("spec");
    errors.add(own::check_keeper(object));
    if let Some(scope) = object
        .annotation(SCOPE)
        .filter(|scope| !matches!(*scope, "cluster" | "namespace"))
    {
        let why = "expected either 'cluster' or 'namespace'";
        let found = Errors::invalid_because(scope, "", why).via_key(SCOPE);
        errors.add(found.via_field("annotations").via_field("metadata"));
    }
    if let Some(old) = &subject.old {
        errors.add(check_subscribers(subject, old));
    }
    errors
}

/// Subscribers come from Subscriptions, by the hand of the controller.
fn check_subscribers(subject: &Subject<'_>, old: &Value) -> Errors {
    let controller = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{CONTROLLER}");
    if subject.user == controller || subject.user == OWN_CONTROLLER {
        return Errors::NONE;
    }
    let [was, is] = [old, &subject.object].map(|object| &object["spec"]["subscribers"]);
    let changed = diff::list("SubscriberSpec", was, is);
    if changed.is_empty() {
        return Errors::NONE;
    }
    let message = format!(
        "Channel.Spec.Subscribers changed by user {} which was not the {controller} service account",
        subject.user
    );
    Errors::detailed(message, &["spec.subscribers"], changed)
}
