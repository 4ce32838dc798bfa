//! Names, annotations and labels of Knative's objects. The rules of `knative.dev/pkg/apis` and of
//! `pkg/apis/serving/metadata_validation.go`.

use serde_json::{Value, json};

use super::errors::Errors;
use super::names;
use crate::annotation::{self, Key, serving};
use crate::gotext::{format_float, parse_duration, parse_float};
use crate::object::ObjectExt;
use crate::quantity::Quantity;

const CREATOR: &str = "serving.knative.dev/creator";
const MODIFIER: &str = "serving.knative.dev/lastModifier";
const SECOND: i64 = 1_000_000_000;
const QUEUE_PERCENTAGE: &Key = &[
    "queue.sidecar.serving.knative.dev/resource-percentage",
    "queue.sidecar.serving.knative.dev/resourcePercentage",
];
const QUEUE_RESOURCES: [&str; 6] = [
    "queue.sidecar.serving.knative.dev/cpu-resource-limit",
    "queue.sidecar.serving.knative.dev/cpu-resource-request",
    "queue.sidecar.serving.knative.dev/ephemeral-storage-resource-limit",
    "queue.sidecar.serving.knative.dev/ephemeral-storage-resource-request",
    "queue.sidecar.serving.knative.dev/memory-resource-limit",
    "queue.sidecar.serving.knative.dev/memory-resource-request",
];
const NETWORKING: &str = "networking.knative.dev";
const NETWORKING_ALLOWED: [&str; 9] = [
    "networking.knative.dev/certificate-class",
    "networking.knative.dev/certificate.class",
    "networking.knative.dev/disable-auto-tls",
    "networking.knative.dev/disable-external-domain-tls",
    "networking.knative.dev/disableAutoTLS",
    "networking.knative.dev/http-protocol",
    "networking.knative.dev/httpOption",
    "networking.knative.dev/ingress-class",
    "networking.knative.dev/ingress.class",
];

/// Checks the name; paths are seen from the metadata.
pub(super) fn validate_name(object: &Value) -> Errors {
    let name = object.name();
    let prefix = object["metadata"]["generateName"]
        .as_str()
        .unwrap_or_default();
    if !prefix.is_empty() {
        let problems = names::dns_1035_prefix(prefix);
        if !problems.is_empty() {
            let message = format!("not a DNS 1035 label prefix: [{}]", problems.join(" "));
            return Errors::new(message, &["generateName"]);
        }
    }
    if !name.is_empty() {
        let problems = names::dns_1035_label(name);
        if !problems.is_empty() {
            let message = format!("not a DNS 1035 label: [{}]", problems.join(" "));
            return Errors::new(message, &["name"]);
        }
    }
    if name.is_empty() && prefix.is_empty() {
        return Errors::new("name or generateName is required", &["name"]);
    }
    Errors::NONE
}

/// Notes who created and who last changed the object. `spec_changed` is `None` on creation.
/// The annotations are of `group`.
pub(super) fn set_user(object: &mut Value, group: &str, user: &str, spec_changed: Option<bool>) {
    if user.is_empty() {
        return;
    }
    let metadata = &mut object["metadata"];
    if !metadata["annotations"].is_object() {
        metadata["annotations"] = json!({});
    }
    let annotations = &mut metadata["annotations"];
    match spec_changed {
        Some(false) => return,
        Some(true) => {}
        None => annotations[format!("{group}/creator")] = json!(user),
    }
    annotations[format!("{group}/lastModifier")] = json!(user);
}

/// Checks that creator and last modifier were left alone; paths are seen from the annotations.
pub(super) fn validate_user(object: &Value, old: &Value, spec_changed: bool) -> Errors {
    let of = |object: &Value, key: &str| object.annotation(key).unwrap_or_default().to_owned();
    let mut errors = Errors::NONE;
    if of(object, CREATOR) != of(old, CREATOR) {
        errors.add(Errors::new("annotation value is immutable", &[CREATOR]));
    }
    let modifier = of(object, MODIFIER);
    if !spec_changed && modifier != of(old, MODIFIER) {
        errors.add(Errors::invalid(modifier, MODIFIER));
    }
    errors
}

/// Checks that the object of label `label` owns this one; paths are seen from the labels.
pub(super) fn validate_owner(object: &Value, label: &str, kind: &str) -> Errors {
    let Some(name) = object.label(label) else {
        return Errors::NONE;
    };
    let owned = object
        .owner_references()
        .iter()
        .any(|owner| owner["kind"] == kind && owner["name"] == name);
    if owned {
        Errors::NONE
    } else {
        Errors::missing(&[label])
    }
}

/// Checks the rollout duration; paths are seen from the annotations.
pub(super) fn validate_rollout(object: &Value) -> Errors {
    validate_span(object, serving::ROLLOUT_DURATION, "rollout-duration")
}

fn validate_span(object: &Value, key: &Key, name: &str) -> Errors {
    let Some((key, text)) = annotation::get(object, key).filter(|(_, text)| !text.is_empty())
    else {
        return Errors::NONE;
    };
    match parse_duration(text) {
        Err(_) => Errors::invalid(text, key),
        Ok(span) if span % SECOND != 0 => {
            Errors::new(format!("{name}={text} is not at second precision"), &[key])
        }
        Ok(span) if span < 0 => Errors::new(format!("{name}={text} must be positive"), &[key]),
        Ok(_) => Errors::NONE,
    }
}

/// Checks the annotations of a revision template other than autoscaling's; paths are seen from
/// the annotations.
pub(super) fn validate_template(template: &Value) -> Errors {
    let mut errors = validate_span(template, serving::PROGRESS_DEADLINE, "progress-deadline");
    if let Some((key, text)) = annotation::get(template, QUEUE_PERCENTAGE) {
        let message = "Queue proxy resource percentage annotation is deprecated. Please use the \
                       available annotations to explicitly set resource values per service";
        errors.add(Errors::new(message, &[]).warning());
        errors.add(validate_percentage(text).via_key(key));
    }
    for key in QUEUE_RESOURCES {
        let amount = template.annotation(key);
        if let Some(text) = amount.filter(|text| Quantity::parse(text).is_err()) {
            errors.add(Errors::invalid(text, "").via_key(key));
        }
    }
    for (key, _) in annotation::annotations(template).into_iter().flatten() {
        if key.starts_with(NETWORKING) && !NETWORKING_ALLOWED.contains(&key.as_str()) {
            errors.add(Errors::invalid_key(key, "", ""));
        }
    }
    errors
}

fn validate_percentage(text: &str) -> Errors {
    match parse_float(text) {
        Err(_) => Errors::invalid(text, ""),
        Ok(value) if !(0.1..=100.0).contains(&value) => {
            Errors::out_of_bounds(format_float(value), "0.1", "100", "")
        }
        Ok(_) => Errors::NONE,
    }
}
