//! The rules of the kinds of 2018 (`channels.knative.dev`, `feeds.knative.dev` and Flow), after
//! `pkg/apis` of Knative Eventing v0.1, and of those of 2019 that moved, after v0.5. Called by `kinds`.

mod moved;

use serde_json::Value;

use super::EVENTING;
use super::diff;
use super::errors::Errors;
use super::kinds::{Kind, Subject};
use super::metadata;
use super::names;
use crate::object::ObjectExt;

/// The rules for a kind.
type Check = fn(&Subject<'_>) -> Errors;

const ROWS: [(&str, &str, Check); 16] = [
    ("channels.knative.dev", "Bus", check_bus),
    ("channels.knative.dev", "ClusterBus", check_bus),
    ("channels.knative.dev", "Channel", check_channel),
    ("channels.knative.dev", "Subscription", check_subscription),
    ("feeds.knative.dev", "Feed", check_feed),
    ("feeds.knative.dev", "EventType", check_event_type),
    ("feeds.knative.dev", "ClusterEventType", check_nothing),
    ("feeds.knative.dev", "EventSource", check_nothing),
    ("feeds.knative.dev", "ClusterEventSource", check_nothing),
    ("flows.knative.dev", "Flow", check_flow),
    ("eventing.knative.dev", "Channel", moved::check_channel),
    (
        "eventing.knative.dev",
        "Subscription",
        moved::check_subscription,
    ),
    (
        "eventing.knative.dev",
        "ClusterChannelProvisioner",
        check_nothing,
    ),
    ("messaging.knative.dev", "Choice", moved::check_choice),
    ("messaging.knative.dev", "Sequence", moved::check_sequence),
    ("messaging.knative.dev", "Parallel", moved::check_parallel),
];

/// The rules for objects of `api_version` and `kind`, if there are any.
pub(super) fn find(api_version: &str, kind: &str) -> Option<Kind> {
    let (group, version) = api_version.split_once('/')?;
    let mut rows = ROWS.iter().filter(|_| version == "v1alpha1");
    let (_, _, check) = rows.find(|row| row.0 == group && row.1 == kind)?;
    Some(Kind {
        webhooks: EVENTING,
        shape: "Historic",
        fill,
        check: *check,
    })
}

fn fill(subject: &mut Subject<'_>) {
    let group = subject.object.api_version().split('/').next();
    let group = group.unwrap_or_default().to_owned();
    moved::fill(&mut subject.object);
    let changed = subject.spec_changed();
    metadata::set_user(&mut subject.object, &group, subject.user, changed);
}

fn check_nothing(_: &Subject<'_>) -> Errors {
    Errors::NONE
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// Names of parameters are keys of a ConfigMap.
fn check_bus(subject: &Subject<'_>) -> Errors {
    let parameters = &subject.object["spec"]["parameters"];
    let mut errors = Errors::NONE;
    for of in ["channel", "subscription"] {
        let list = parameters[of].as_array().into_iter().flatten();
        for (index, parameter) in list.enumerate() {
            let name = text(parameter, "name");
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            if name.is_empty() || name.len() > 253 || !name.chars().all(allowed) {
                let why =
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
                let found = Errors::invalid_key(name, "name", why);
                errors.add(found.via_field_index(of, index));
            }
        }
    }
    errors.via_field("parameters").via_field("spec")
}

/// Exactly one of two fields, a name as labels have it.
fn check_one_of(object: &Value, fields: [&str; 2]) -> Errors {
    let set: Vec<&str> = fields
        .into_iter()
        .filter(|field| !text(object, field).is_empty())
        .collect();
    match set.as_slice() {
        [] => Errors::none_of(&fields),
        [field] => {
            let name = text(object, field);
            let problems = names::qualified_name(name);
            if problems.is_empty() {
                Errors::NONE
            } else {
                Errors::invalid_key(name, field, &problems.join(", "))
            }
        }
        _ => Errors::several_of(&fields),
    }
}

/// What may not change, but for `free` fields.
fn check_fixed(subject: &Subject<'_>, of: &'static str, free: &[&str]) -> Errors {
    let Some(old) = &subject.old else {
        return Errors::NONE;
    };
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|field, _| !free.contains(&field.as_str()));
        }
        spec
    };
    let changed = diff::short(of, false, &fixed(old), &fixed(&subject.object));
    if changed.is_empty() {
        return Errors::NONE;
    }
    Errors::detailed("Immutable fields changed (-old +new)", &["spec"], changed)
}

fn check_channel(subject: &Subject<'_>) -> Errors {
    check_one_of(&subject.object["spec"], ["bus", "clusterBus"])
        .via_field("spec")
        .also(check_fixed(subject, "HistoricChannelSpec", &["arguments"]))
}

fn check_subscription(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    let mut errors = Errors::NONE;
    if text(spec, "channel").is_empty() {
        let why = "the Subscription must reference a Channel";
        errors.add(Errors::detailed("missing field(s)", &["channel"], why));
    }
    let free = ["subscriber", "arguments"];
    errors
        .via_field("spec")
        .also(check_fixed(subject, "HistoricSubscriptionSpec", &free))
}

fn check_event_type(subject: &Subject<'_>) -> Errors {
    let source = text(&subject.object["spec"], "eventSource");
    let errors = match source {
        "" => Errors::missing(&["eventSource"]),
        name if !names::qualified_name(name).is_empty() => Errors::invalid(name, "eventSource"),
        _ => Errors::NONE,
    };
    let old = subject.old.as_ref();
    let changed = old.is_some_and(|old| text(&old["spec"], "eventSource") != source);
    if changed {
        return Errors::new("Immutable fields changed", &["spec.eventSource"]);
    }
    errors.via_field("spec")
}

fn check_feed(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    let trigger = check_one_of(&spec["trigger"], ["eventType", "clusterEventType"]);
    let host = text(&spec["action"], "dnsName");
    let mut action = Errors::NONE;
    if !host.is_empty() {
        let problems = names::dns_1123_subdomain(host);
        if !problems.is_empty() {
            action = Errors::invalid_because(host, "dnsName", &problems.join(", "));
        }
    }
    trigger
        .via_field("trigger")
        .also(action.via_field("action"))
        .via_field("spec")
}

fn check_flow(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    if spec["trigger"].is_null() && spec["action"].is_null() {
        return Errors::missing(&["trigger", "action"]).via_field("spec");
    }
    let trigger = check_one_of(&spec["trigger"], ["eventType", "clusterEventType"]);
    let resource = match text(&spec["trigger"], "resource") {
        "" => Errors::missing(&["resource"]),
        _ => Errors::NONE,
    };
    let action = check_action(&spec["action"]).via_field("action");
    trigger
        .also(resource)
        .via_field("trigger")
        .also(action)
        .via_field("spec")
}

fn check_action(action: &Value) -> Errors {
    let fields = ["target", "targetURI"];
    match (action["target"].is_object(), action["targetURI"].as_str()) {
        (true, Some(_)) => Errors::several_of(&fields),
        (false, None) => Errors::none_of(&fields),
        (true, None) => {
            let name = text(&action["target"], "name");
            if names::qualified_name(name).is_empty() {
                Errors::NONE
            } else {
                Errors::invalid(name, "name").via_field("target")
            }
        }
        (false, Some(uri)) => {
            if uri.contains("://") || uri.starts_with('/') {
                Errors::NONE
            } else {
                Errors::invalid(uri, "targetURI")
            }
        }
    }
}

#[cfg(test)]
mod tests;
