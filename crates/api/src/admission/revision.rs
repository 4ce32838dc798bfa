//! Revision templates and specs. The rules of Knative's
//! `pkg/apis/serving/v1/revision_validation.go`.

use serde_json::Value;

use super::autoscaling;
use super::diff;
use super::errors::Errors;
use super::metadata;
use super::names;
use super::pod;
use crate::config::Configs;
use crate::gotext::quote;
use crate::object::ObjectExt;

/// Checks a template of the object `parent`.
pub(super) fn validate_template(template: &Value, parent: &Value, configs: &Configs) -> Errors {
    let annotations = autoscaling::validate(template, &configs.autoscaler)
        .also(metadata::validate_template(template))
        .via_field("metadata.annotations");
    validate_spec(&template["spec"], configs)
        .via_field("spec")
        .also(annotations)
        .also(validate_name(template, parent))
}

/// Checks a RevisionSpec.
pub(super) fn validate_spec(spec: &Value, configs: &Configs) -> Errors {
    let defaults = &configs.defaults;
    let mut errors = pod::validate(spec, &configs.features);
    if let Some(timeout) = spec["timeoutSeconds"].as_i64()
        && timeout != 0
        && !(0..=defaults.timeout_max_s).contains(&timeout)
    {
        let most = defaults.timeout_max_s;
        errors.add(Errors::out_of_bounds(timeout, 0, most, "timeoutSeconds"));
    }
    let concurrency = validate_concurrency(&spec["containerConcurrency"], configs);
    errors.also(concurrency.via_field("containerConcurrency"))
}

/// Checks a `containerConcurrency`; the path is the field itself.
pub(super) fn validate_concurrency(concurrency: &Value, configs: &Configs) -> Errors {
    let least = i64::from(!configs.defaults.allow_container_concurrency_zero);
    let most = configs.defaults.container_concurrency_max;
    match concurrency.as_i64() {
        Some(value) if !(least..=most).contains(&value) => {
            Errors::out_of_bounds(value, least, most, "")
        }
        _ => Errors::NONE,
    }
}

fn validate_name(template: &Value, parent: &Value) -> Errors {
    let of = |object: &'_ Value| {
        object["metadata"]["generateName"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let prefix = of(template);
    if !prefix.is_empty() {
        let problems = names::dns_1035_prefix(&prefix);
        if !problems.is_empty() {
            let why = format!("not a DNS 1035 label prefix: [{}]", problems.join(" "));
            return Errors::invalid(why, "metadata.generateName");
        }
    }
    let name = template.name();
    if name.is_empty() {
        return Errors::NONE;
    }
    let problems = names::dns_1035_label(name);
    if !problems.is_empty() {
        let why = format!("not a DNS 1035 label: [{}]", problems.join(" "));
        return Errors::invalid(why, "metadata.name");
    }
    if parent.name().is_empty() && !of(parent).is_empty() {
        // One's own name needs the parent's to begin with, which is not made yet.
        return Errors::disallowed(&["metadata.name"]);
    }
    let prefix = format!("{}-", parent.name());
    if name.starts_with(&prefix) {
        Errors::NONE
    } else {
        let why = format!("{} must have prefix {}", quote(name), quote(&prefix));
        Errors::invalid(why, "metadata.name")
    }
}

/// Checks that a template with a name of the user's own got a new one when it changed.
pub(super) fn validate_renamed(template: &Value, old: &Value) -> Errors {
    if template.name().is_empty() || template.name() != old.name() {
        return Errors::NONE;
    }
    let diff = diff::short("RevisionTemplateSpec", true, old, template);
    if diff.is_empty() {
        return Errors::NONE;
    }
    let message = "Saw the following changes without a name change (-old +new)";
    Errors::detailed(message, &["metadata.name"], diff)
}

/// Checks that the spec of a Revision did not change.
pub(super) fn validate_unchanged(spec: &Value, old: &Value) -> Errors {
    let diff = diff::short("RevisionSpec", false, old, spec);
    if diff.is_empty() {
        return Errors::NONE;
    }
    Errors::detailed("Immutable fields changed (-old +new)", &["spec"], diff)
}
