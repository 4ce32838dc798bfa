//! Sequence and Parallel. The rules of Knative's `pkg/apis/flows/v1`.

use serde_json::Value;

use super::super::diff;
use super::super::errors::Errors;
use super::super::kinds::Subject;
use super::channel::check_template;
use super::delivery::{self, Scope};
use crate::object::ObjectExt;

pub(super) fn fill_sequence(subject: &mut Subject<'_>) {
    fill(subject, "steps", |step, namespace| {
        delivery::fill_destination(Some(step), namespace);
    });
}

pub(super) fn fill_parallel(subject: &mut Subject<'_>) {
    fill(subject, "branches", |branch, namespace| {
        for field in ["filter", "subscriber", "reply"] {
            delivery::fill_destination(branch.get_mut(field), namespace);
        }
    });
}

fn fill(subject: &mut Subject<'_>, list: &str, fill_item: impl Fn(&mut Value, &str)) {
    let namespace = subject.object.namespace().to_owned();
    let defaults = &subject.configs.eventing.channel_defaults;
    let spec = &mut subject.object["spec"];
    if spec["channelTemplate"].is_null()
        && let Some(template) = defaults.template(&namespace)
    {
        spec["channelTemplate"] = template;
    }
    for item in spec[list].as_array_mut().into_iter().flatten() {
        fill_item(item, &namespace);
    }
    delivery::fill_destination(spec.get_mut("reply"), &namespace);
    subject.note_user();
}

pub(super) fn check_sequence(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    let scope = Scope::anywhere(subject.features());
    let mut errors = Errors::NONE;
    let steps = items(spec, "steps");
    if steps.is_empty() {
        errors.add(Errors::missing(&["steps"]));
    }
    for (index, step) in steps.iter().enumerate() {
        let found = delivery::check_destination(step, scope)
            .also(delivery::check(&step["delivery"], scope).via_field("delivery"));
        if found != Errors::NONE {
            let shown = diff::brief("SequenceStep", step);
            errors.add(Errors::invalid(shown, "").via_field_index("steps", index));
        }
    }
    errors.add(check_template(&spec["channelTemplate"]));
    errors.add(check_optional(&spec["reply"], scope).via_field("reply"));
    errors.via_field("spec")
}

pub(super) fn check_parallel(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    let scope = Scope::anywhere(subject.features());
    let mut errors = Errors::NONE;
    let branches = items(spec, "branches");
    if branches.is_empty() {
        errors.add(Errors::missing(&["branches"]));
    }
    for (index, branch) in branches.iter().enumerate() {
        for (field, is_optional) in [("filter", true), ("subscriber", false), ("reply", true)] {
            let found = if is_optional {
                check_optional(&branch[field], scope)
            } else {
                delivery::check_destination(&branch[field], scope)
            };
            if found != Errors::NONE {
                let shown = diff::brief("ParallelBranch", branch);
                let path = format!("branches.{field}");
                errors.add(Errors::invalid(shown, "").via_field_index(&path, index));
            }
        }
    }
    let template = check_template(&spec["channelTemplate"]);
    errors.add(template);
    if !spec["channelTemplate"].is_null() {
        errors.add(check_optional(&spec["reply"], scope).via_field("reply"));
    }
    errors.via_field("spec")
}

fn items<'a>(spec: &'a Value, list: &str) -> &'a [Value] {
    spec[list].as_array().map_or(&[], Vec::as_slice)
}

fn check_optional(destination: &Value, scope: Scope<'_>) -> Errors {
    if destination.is_null() {
        return Errors::NONE;
    }
    delivery::check_destination(destination, scope)
}
