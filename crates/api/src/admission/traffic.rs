//! Traffic targets of a Route, or of a Service, whose Configuration is a given. The rules of
//! Knative's `pkg/apis/serving/v1/route_validation.go`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::errors::Errors;
use super::names;
use super::pod::items;
use crate::gotext::quote;

/// Checks the list of targets; `within_service` when the Configuration is a given.
pub(super) fn validate(traffic: &Value, within_service: bool) -> Errors {
    let mut first_with: BTreeMap<&str, usize> = BTreeMap::new();
    let mut errors = Errors::NONE;
    let mut sum = 0i64;
    for (index, target) in items(traffic).iter().enumerate() {
        errors.add(validate_target(target, within_service).via_index(index));
        sum = sum.saturating_add(target["percent"].as_i64().unwrap_or(0));
        let tag = text(target, "tag");
        if tag.is_empty() {
            continue;
        }
        let problems = names::dns_1035_label(tag);
        if !problems.is_empty() {
            let why = format!("not a DNS 1035 label: [{}]", problems.join(" "));
            errors.add(Errors::invalid(why, &format!("tag[{index}]")));
        }
        let first = *first_with.entry(tag).or_insert(index);
        if first != index {
            let message = format!("Multiple definitions for {}", quote(tag));
            let paths = [format!("[{index}].tag"), format!("[{first}].tag")];
            errors.add(Errors::new(message, &[&paths[0], &paths[1]]));
        }
    }
    if sum != 100 {
        let message = format!("Traffic targets sum to {sum}, want 100");
        errors.add(Errors::new(message, &[""]));
    }
    errors
}

fn text<'a>(target: &'a Value, field: &str) -> &'a str {
    target[field].as_str().unwrap_or_default()
}

fn validate_target(target: &Value, within_service: bool) -> Errors {
    let mut errors = validate_latest(target);
    errors.add(validate_destination(target, within_service));
    if let Some(percent) = target["percent"]
        .as_i64()
        .filter(|p| !(0..=100).contains(p))
    {
        errors.add(Errors::out_of_bounds(percent, 0, 100, "percent"));
    }
    if !text(target, "url").is_empty() {
        errors.add(Errors::disallowed(&["url"]));
    }
    errors
}

fn validate_latest(target: &Value) -> Errors {
    let revision = text(target, "revisionName");
    match target["latestRevision"].as_bool() {
        Some(latest) if latest != revision.is_empty() => {
            let revision = quote(revision);
            let message =
                format!("may not set revisionName {revision} when latestRevision is {latest}");
            Errors::new(message, &["latestRevision"])
        }
        _ => Errors::NONE,
    }
}

fn validate_destination(target: &Value, within_service: bool) -> Errors {
    let (revision, configuration) = (
        text(target, "revisionName"),
        text(target, "configurationName"),
    );
    let both = ["revisionName", "configurationName"];
    match (revision, configuration) {
        (_, configuration) if within_service && !configuration.is_empty() => {
            Errors::disallowed(&["configurationName"])
        }
        ("", "") if within_service => Errors::NONE,
        ("", "") => Errors::none_of(&both),
        ("", configuration) => validate_reference(configuration, "configurationName"),
        (revision, "") => validate_reference(revision, "revisionName"),
        _ => Errors::several_of(&both),
    }
}

fn validate_reference(name: &str, path: &str) -> Errors {
    let problems = names::qualified_name(name);
    if problems.is_empty() {
        Errors::NONE
    } else {
        Errors::invalid_key(name, path, &problems.join(", "))
    }
}
