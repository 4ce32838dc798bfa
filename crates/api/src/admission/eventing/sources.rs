//! ApiServerSource, ContainerSource, SinkBinding and GitHubSource. The rules of Knative's
//! `pkg/apis/sources/v1`, and of the extension eventing-github.

use serde_json::{Value, json};

use super::super::errors::Errors;
use super::super::kinds::Subject;
use super::super::names;
use super::delivery::{self, Scope};
use super::filters;
use crate::object::ObjectExt;

/// Checks what all sources have; the path is that of the spec.
pub(super) fn check_source(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    let scope = Scope::anywhere(subject.features());
    delivery::check_destination(&spec["sink"], scope)
        .via_field("sink")
        .also(check_overrides(&spec["ceOverrides"]))
}

fn check_overrides(overrides: &Value) -> Errors {
    let names = overrides["extensions"].as_object().into_iter().flatten();
    for (name, _) in names {
        let why = if name.is_empty() {
            "keys MUST NOT be empty"
        } else if !name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        {
            "keys are expected to be alphanumeric"
        } else {
            continue;
        };
        return Errors::invalid_key(name, "ceOverrides.extensions", why);
    }
    Errors::NONE
}

pub(super) fn fill_api_server(subject: &mut Subject<'_>) {
    let spec = &mut subject.object["spec"];
    for (field, default) in [("mode", "Reference"), ("serviceAccountName", "default")] {
        if spec[field].is_null() {
            spec[field] = json!(default);
        }
    }
    subject.note_user();
}

pub(super) fn check_api_server(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    let mut errors = match spec["mode"].as_str() {
        Some("Reference" | "Resource") => Errors::NONE,
        mode => Errors::invalid(mode.unwrap_or_default(), "mode"),
    };
    let resources = spec["resources"].as_array().map_or(&[][..], Vec::as_slice);
    if resources.is_empty() {
        errors.add(Errors::missing(&["resources"]));
    }
    for (index, resource) in resources.iter().enumerate() {
        errors.add(check_kind(resource).via_field_index("resources", index));
    }
    if !spec["owner"].is_null() {
        errors.add(check_kind(&spec["owner"]).via_field("owner"));
    }
    errors.add(check_source(subject));
    let listed = &spec["filters"];
    if subject.features().api_server_source_filters {
        errors.add(filters::check_list(listed).via_field("filters"));
    } else if listed.as_array().is_some_and(|filters| !filters.is_empty()) {
        let message = "Filters is not empty but the NewAPIServerFilters feature is disabled.";
        errors.add(Errors::new(message, &[]));
    }
    errors.via_field("spec")
}

fn check_kind(kind: &Value) -> Errors {
    let mut errors = Errors::NONE;
    let api_version = kind["apiVersion"].as_str().unwrap_or_default();
    if api_version.matches('/').count() > 1 {
        errors.add(Errors::invalid(api_version, "apiVersion"));
    }
    if kind["kind"].as_str().unwrap_or_default().trim().is_empty() {
        errors.add(Errors::missing(&["kind"]));
    }
    errors
}

pub(super) fn fill_container(subject: &mut Subject<'_>) {
    let source = subject.object.name().to_owned();
    let containers = &mut subject.object["spec"]["template"]["spec"]["containers"];
    for (index, container) in containers.as_array_mut().into_iter().flatten().enumerate() {
        if container["name"].is_null() {
            container["name"] = json!(format!("{source}-{index}"));
        }
    }
    subject.note_user();
}

pub(super) fn check_container(subject: &Subject<'_>) -> Errors {
    let mut errors = check_source(subject);
    let containers = &subject.object["spec"]["template"]["spec"]["containers"];
    let containers = containers.as_array().map_or(&[][..], Vec::as_slice);
    if containers.is_empty() {
        errors.add(Errors::missing(&["containers"]));
    }
    for (index, container) in containers.iter().enumerate() {
        for field in ["name", "image"] {
            if container[field].is_null() {
                let missing = Errors::missing(&[field]);
                errors.add(missing.via_field_index("containers", index));
            }
        }
    }
    errors.via_field("spec")
}

pub(super) fn fill_binding(subject: &mut Subject<'_>) {
    let namespace = subject.object.namespace().to_owned();
    let spec = &mut subject.object["spec"];
    delivery::fill_reference(spec.get_mut("subject"), &namespace);
    delivery::fill_destination(spec.get_mut("sink"), &namespace);
    subject.note_user();
}

pub(super) fn check_binding(subject: &Subject<'_>) -> Errors {
    let object = &subject.object;
    let bound = &object["spec"]["subject"];
    let mut errors = check_subject(bound)
        .via_field("subject")
        .also(check_source(subject))
        .via_field("spec");
    let namespace = bound["namespace"].as_str().unwrap_or_default();
    if !namespace.is_empty() && namespace != object.namespace() {
        errors.add(Errors::invalid(namespace, "spec.subject.namespace"));
    }
    errors
}

/// What speaks against a name.
type NameRule = fn(&str) -> Vec<String>;

/// Checks a reference by name or selector. The rules of `knative.dev/pkg/tracker`.
fn check_subject(reference: &Value) -> Errors {
    let rules: [(&str, NameRule); 3] = [
        ("apiVersion", names::qualified_name),
        ("kind", names::c_identifier),
        ("namespace", names::dns_1123_label),
    ];
    let mut errors = Errors::NONE;
    for (field, problems) in rules {
        errors.add(check_name(reference, field, problems));
    }
    match (
        reference["selector"].is_object(),
        reference["name"].is_string(),
    ) {
        (true, true) => errors.add(Errors::several_of(&["selector", "name"])),
        (false, false) => errors.add(Errors::none_of(&["selector", "name"])),
        (false, true) => errors.add(check_name(reference, "name", names::dns_1123_label)),
        (true, false) => {}
    }
    errors
}

fn check_name(reference: &Value, field: &str, problems: NameRule) -> Errors {
    let Some(name) = reference[field].as_str() else {
        return Errors::missing(&[field]);
    };
    let problems = problems(name);
    if problems.is_empty() {
        Errors::NONE
    } else {
        Errors::invalid(problems.join(", "), field)
    }
}

pub(super) fn fill_github(subject: &mut Subject<'_>) {
    subject.note_user();
}

/// The extension has no webhook; its definition says as much as this.
pub(super) fn check_github(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    let mut errors = Errors::NONE;
    if spec["ownerAndRepository"]
        .as_str()
        .unwrap_or_default()
        .is_empty()
    {
        errors.add(Errors::missing(&["ownerAndRepository"]));
    }
    let events = spec["eventTypes"].as_array().map_or(&[][..], Vec::as_slice);
    if events.is_empty() {
        errors.add(Errors::missing(&["eventTypes"]));
    }
    for (index, event) in events.iter().enumerate() {
        let event = event.as_str().unwrap_or_default();
        if !crate::crds::GITHUB_EVENTS.contains(&event) {
            errors.add(Errors::invalid(event, "").via_field_index("eventTypes", index));
        }
    }
    for field in ["accessToken", "secretToken"] {
        let key = &spec[field]["secretKeyRef"];
        let path = format!("{field}.secretKeyRef");
        for part in ["name", "key"] {
            if key[part].as_str().unwrap_or_default().is_empty() {
                errors.add(Errors::missing(&[part]).via_field(&path));
            }
        }
    }
    errors.also(check_source(subject)).via_field("spec")
}
