//! The rules of Knative Build's kinds, after its `pkg/apis/build/v1alpha1`. What depends on other
//! objects (templates, Secrets) is found out by the Build's plan.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::BUILD;
use super::errors::Errors;
use super::kinds::{Kind, Subject};
use crate::gotext::parse_duration;
use crate::object::ObjectExt;

const API_VERSION: &str = "build.knative.dev/v1alpha1";
/// How long a Build may take unless it says otherwise.
const TIMEOUT: &str = "10m0s";
/// How long a Build may say it takes, in nanoseconds.
const TIMEOUT_MAX_NANOS: i64 = 24 * 3600 * 1_000_000_000;
/// A Build's name is the value of a label.
const NAME_LEN_MAX: usize = 63;
const TEMPLATE_KINDS: [&str; 2] = ["BuildTemplate", "ClusterBuildTemplate"];
const GCS_TYPES: [&str; 2] = ["Archive", "Manifest"];

/// The rules for objects of `api_version` and `kind`, if there are any.
pub(super) fn find(api_version: &str, kind: &str) -> Option<Kind> {
    if api_version != API_VERSION {
        return None;
    }
    let build = Kind {
        webhooks: BUILD,
        shape: "Build",
        fill: fill_build,
        check: check_build,
    };
    if kind == build.shape {
        return Some(build);
    }
    let shape = TEMPLATE_KINDS.into_iter().find(|name| *name == kind)?;
    Some(Kind {
        shape,
        fill: |_| {},
        check: check_template,
        ..build
    })
}

fn fill_build(subject: &mut Subject<'_>) {
    let spec = &mut subject.object["spec"];
    if spec["serviceAccountName"].is_null() {
        spec["serviceAccountName"] = json!("default");
    }
    if spec["timeout"].is_null() {
        spec["timeout"] = json!(TIMEOUT);
    }
    if spec["template"].is_object() && spec["template"]["kind"].is_null() {
        spec["template"]["kind"] = json!(TEMPLATE_KINDS[0]);
    }
    // Clients of Go write the field without a name of its own, in capitals.
    if let Some(status) = spec.as_object_mut().and_then(|spec| spec.remove("Status")) {
        spec["status"] = status;
    }
}

fn check_build(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    check_name(&subject.object).also(check_spec(spec).via_field("spec"))
}

fn check_template(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    let parameters = unique(items(&spec["parameters"]), |name| {
        Errors::invalid_key(name, "parameters", "the name of another parameter")
    });
    let found = check_steps(spec)
        .also(check_volumes(spec))
        .also(parameters)
        .via_field("spec");
    check_name(&subject.object).also(found)
}

fn check_name(object: &Value) -> Errors {
    let name = object.name();
    let wrong = if name.contains('.') {
        "Invalid resource name: special character . must not be present"
    } else if name.len() > NAME_LEN_MAX {
        "Invalid resource name: length must be no more than 63 characters"
    } else {
        return Errors::NONE;
    };
    Errors::new(wrong, &["name"]).via_field("metadata")
}

fn check_spec(spec: &Value) -> Errors {
    let has_steps = !items(&spec["steps"]).is_empty();
    match (spec["template"].is_object(), has_steps) {
        (false, false) => return Errors::none_of(&["template", "steps"]),
        (true, true) => return Errors::several_of(&["template", "steps"]),
        _ => {}
    }
    check_template_reference(&spec["template"])
        .also(check_sources(spec))
        .also(check_volumes(spec))
        .also(check_timeout(&spec["timeout"]))
        .also(check_steps(spec))
}

fn check_template_reference(template: &Value) -> Errors {
    if template.is_null() {
        return Errors::NONE;
    }
    let mut errors = Errors::NONE;
    if text(&template["name"]).is_empty() {
        errors.add(Errors::missing(&["name"]));
    }
    let kind = text(&template["kind"]);
    if !TEMPLATE_KINDS.contains(&kind) {
        errors.add(Errors::invalid(kind, "kind"));
    }
    errors.via_field("template")
}

fn check_timeout(timeout: &Value) -> Errors {
    let given = text(timeout);
    match parse_duration(given) {
        Err(why) => Errors::invalid_because(given, "timeout", &why),
        Ok(nanos) if nanos > TIMEOUT_MAX_NANOS => {
            Errors::invalid(format!("{given} should be < 24h"), "timeout")
        }
        Ok(nanos) if nanos < 0 => Errors::invalid(format!("{given} should be > 0"), "timeout"),
        Ok(_) => Errors::NONE,
    }
}

fn check_steps(spec: &Value) -> Errors {
    let steps = items(&spec["steps"]);
    let mut errors = Errors::NONE;
    for (index, step) in steps.iter().enumerate() {
        if text(&step["image"]).is_empty() {
            errors.add(Errors::missing(&["image"]).via_field_index("steps", index));
        }
    }
    errors.also(unique(steps, |_| {
        Errors::several_of(&["name"]).via_field("steps")
    }))
}

fn check_volumes(spec: &Value) -> Errors {
    unique(items(&spec["volumes"]), |_| {
        Errors::several_of(&["name"]).via_field("volumes")
    })
}

fn check_sources(spec: &Value) -> Errors {
    let (one, several) = (&spec["source"], items(&spec["sources"]));
    if !one.is_null() && !several.is_empty() {
        return Errors::several_of(&["source", "sources"]);
    }
    if !one.is_null() {
        return check_source(one).via_field("source");
    }
    let mut errors = Errors::NONE;
    for (index, source) in several.iter().enumerate() {
        errors.add(check_source(source).via_field_index("sources", index));
    }
    let has_sub_path = |source: &&Value| !text(&source["subPath"]).is_empty();
    if let Some(second) = several.iter().filter(has_sub_path).nth(1) {
        let path = text(&second["subPath"]);
        errors.add(Errors::invalid(path, "subPath").via_field("sources"));
    }
    let mut names = BTreeSet::new();
    if several
        .iter()
        .any(|source| !names.insert(text(&source["name"])))
    {
        errors.add(Errors::several_of(&["name"]).via_field("sources"));
    }
    errors.also(check_target_paths(several))
}

fn check_source(source: &Value) -> Errors {
    let kinds = ["git", "gcs", "custom"];
    let given = kinds
        .iter()
        .filter(|kind| !source[**kind].is_null())
        .count();
    if given != 1 {
        return match given {
            0 => Errors::none_of(&kinds),
            _ => Errors::several_of(&kinds),
        };
    }
    let mut errors = Errors::NONE;
    if source["git"].is_object() && text(&source["git"]["url"]).is_empty() {
        errors.add(Errors::missing(&["git.url"]));
    }
    if source["gcs"].is_object() {
        let kind = text(&source["gcs"]["type"]);
        if !kind.is_empty() && !GCS_TYPES.contains(&kind) {
            errors.add(Errors::invalid(kind, "gcs.type"));
        }
        if text(&source["gcs"]["location"]).is_empty() {
            errors.add(Errors::missing(&["gcs.location"]));
        }
    }
    if !source["custom"].is_null() && !text(&source["targetPath"]).is_empty() {
        errors.add(Errors::invalid(text(&source["targetPath"]), "targetPath"));
    }
    for field in ["subPath", "targetPath"] {
        let path = text(&source[field]);
        if path.split('/').any(|part| part == "..") {
            errors.add(Errors::invalid_because(
                path,
                field,
                "it leads out of /workspace",
            ));
        }
    }
    errors
}

/// No source may write into the directory of another; one alone may have all of `/workspace`.
fn check_target_paths(sources: &[Value]) -> Errors {
    let fetched = sources.iter().filter(|source| source["custom"].is_null());
    let paths: Vec<&str> = fetched
        .map(|source| text(&source["targetPath"]).trim_matches('/'))
        .collect();
    let empty = paths.iter().filter(|path| path.is_empty()).count();
    if empty > 1 {
        return Errors::invalid("Empty Target Path", "targetPath").via_field("sources");
    }
    let within = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let overlaps = paths.iter().enumerate().any(|(index, path)| {
        let others = paths
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index);
        !path.is_empty()
            && others
                .into_iter()
                .any(|(_, other)| !other.is_empty() && within(path, other))
    });
    match overlaps {
        true => Errors::several_of(&["targetPath"]).via_field("sources"),
        false => Errors::NONE,
    }
}

/// An error for the first name that comes twice; empty names do not count.
fn unique(list: &[Value], twice: impl FnOnce(&str) -> Errors) -> Errors {
    let mut seen = BTreeSet::new();
    let mut names = list.iter().map(|item| text(&item["name"]));
    let again = names.find(|name| !name.is_empty() && !seen.insert(*name));
    again.map_or(Errors::NONE, twice)
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
