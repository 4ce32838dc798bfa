//! Subscription. The rules of Knative's
//! `pkg/apis/messaging/v1/subscription_{defaults,validation}.go`.

use serde_json::{Value, json};

use super::super::diff;
use super::super::errors::Errors;
use super::super::kinds::Subject;
use super::delivery::{self, Scope};
use super::{own, without};
use crate::object::ObjectExt;

pub(super) fn fill(subject: &mut Subject<'_>) {
    let namespace = subject.object.namespace().to_owned();
    let spec = &mut subject.object["spec"];
    delivery::fill(spec, &namespace);
    subject.note_user();
}

pub(super) fn check(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    let mut errors = check_spec(subject, spec).via_field("spec");
    errors.add(own::check_consumer(&subject.object));
    if let Some(old) = &subject.old {
        let fixed = |spec: &Value| without(spec, &["subscriber", "reply", "delivery"]);
        let (old, new) = (fixed(&old["spec"]), fixed(spec));
        let changed = diff::short("SubscriptionSpec", false, &old, &new);
        if !changed.is_empty() {
            let message = "Immutable fields changed (-old +new)";
            errors.add(Errors::detailed(message, &["spec"], changed));
        }
    }
    errors
}

fn check_spec(subject: &Subject<'_>, spec: &Value) -> Errors {
    let channel = &spec["channel"];
    if channel.as_object().is_none_or(serde_json::Map::is_empty) {
        let why = "the Subscription must reference a channel";
        return Errors::detailed("missing field(s)", &["channel"], why);
    }
    let features = subject.features();
    let scope = Scope::anywhere(features);
    let mut errors = delivery::check_reference(channel, scope);
    let elsewhere = channel["namespace"]
        .as_str()
        .is_some_and(|namespace| !features.cross_namespace_event_links && !namespace.is_empty());
    if elsewhere {
        let why = "only name, apiVersion and kind are supported fields";
        errors.add(Errors::detailed(
            "must not set the field(s)",
            &["namespace"],
            why,
        ));
    }
    let mut errors = errors.via_field("channel");
    let is_set = |field: &str| !spec[field].is_null() && spec[field] != json!({});
    if is_set("subscriber") {
        let found = delivery::check_destination(&spec["subscriber"], scope);
        errors.add(found.via_field("subscriber"));
    } else {
        let why = "the Subscription must reference a subscriber";
        errors.add(Errors::detailed("missing field(s)", &["subscriber"], why));
    }
    if is_set("reply") {
        let found = delivery::check_destination(&spec["reply"], scope);
        errors.add(found.via_field("reply"));
    }
    errors.also(delivery::check(&spec["delivery"], scope).via_field("delivery"))
}
