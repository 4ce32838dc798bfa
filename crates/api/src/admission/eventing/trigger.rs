//! Trigger. The rules of Knative's `pkg/apis/eventing/v1/trigger_{defaults,validation}.go`.

use serde_json::{Value, json};

use super::super::diff;
use super::super::errors::Errors;
use super::super::kinds::Subject;
use super::delivery::{self, Scope};
use super::{filters, own};
use crate::gotext::quote;
use crate::object::ObjectExt;

const BROKER_LABEL: &str = "eventing.knative.dev/broker";
/// Annotation: a source, as JSON, that must be ready before.
const DEPENDENCY: &str = "knative.dev/dependency";
/// Annotation: make the Broker.
const INJECTION: &str = "eventing.knative.dev/injection";

pub(super) fn fill(subject: &mut Subject<'_>) {
    let namespace = subject.object.namespace().to_owned();
    let spec = &mut subject.object["spec"];
    if spec["filter"].is_null() {
        spec["filter"] = json!({});
    }
    delivery::fill_destination(spec.get_mut("subscriber"), &namespace);
    delivery::fill(spec, &namespace);
    if let Some(broker) = spec["broker"].as_str().map(str::to_owned) {
        let labels = &mut subject.object["metadata"]["labels"];
        if !labels.is_object() {
            *labels = json!({});
        }
        labels[BROKER_LABEL] = json!(broker);
    }
    subject.note_user();
}

pub(super) fn check(subject: &Subject<'_>) -> Errors {
    let object = &subject.object;
    let spec = &object["spec"];
    let scope = Scope::anywhere(subject.features());
    let mut errors = check_broker(subject)
        .also(filters::check_attributes(&spec["filter"]).via_field("filter"))
        .also(filters::check_list(&spec["filters"]).via_field("filters"))
        .also(delivery::check_destination(&spec["subscriber"], scope).via_field("subscriber"))
        .also(delivery::check(&spec["delivery"], scope).via_field("delivery"))
        .via_field("spec")
        .also(own::check_consumer(object));
    for (key, check) in [
        (DEPENDENCY, check_dependency as fn(&Value, &str) -> Errors),
        (INJECTION, check_injection),
    ] {
        if let Some(value) = object.annotation(key) {
            let found = check(object, value);
            errors.add(found.via_field(&format!("metadata.annotations[{key}]")));
        }
    }
    if let Some(old) = &subject.old {
        errors.add(check_unchanged(spec, &old["spec"]));
    }
    errors
}

fn check_broker(subject: &Subject<'_>) -> Errors {
    let spec = &subject.object["spec"];
    match (spec["broker"].is_string(), spec["brokerRef"].is_object()) {
        (true, true) => Errors::several_of(&["broker", "brokerRef"]),
        (true, false) => Errors::NONE,
        (false, true) if subject.features().cross_namespace_event_links => Errors::NONE,
        (false, _) => Errors::missing(&["broker"]),
    }
}

fn check_unchanged(spec: &Value, old: &Value) -> Errors {
    let name = |spec: &Value| spec["broker"].as_str().unwrap_or_default().to_owned();
    let mut changed = diff::strings(&name(old), &name(spec));
    if changed.is_empty() {
        changed = diff::short("KReference", true, &old["brokerRef"], &spec["brokerRef"]);
    }
    if changed.is_empty() {
        return Errors::NONE;
    }
    let message = "Immutable fields changed (-old +new)";
    Errors::detailed(message, &["spec", "broker"], changed)
}

fn check_dependency(object: &Value, annotation: &str) -> Errors {
    let reference: Value = match serde_json::from_str(annotation) {
        Ok(reference) => reference,
        Err(error) => {
            let shown = quote(annotation);
            let message =
                format!("The provided annotation was not a corev1.ObjectReference: {shown}");
            // A text that ends too early is the one mistake Go words in a few words of its own.
            let why = match error.is_eof() {
                true => "unexpected end of JSON input".to_owned(),
                false => error.to_string(),
            };
            return Errors::detailed(message, &[""], why);
        }
    };
    let namespace = reference["namespace"].as_str().unwrap_or_default();
    let mut errors = Errors::NONE;
    if !namespace.is_empty() && namespace != object.namespace() {
        let own = quote(object.namespace());
        let message = format!("Namespace must be empty or equal to the trigger namespace {own}");
        errors.add(Errors::new(message, &["namespace"]));
    }
    for field in ["kind", "name", "apiVersion"] {
        if reference[field].as_str().unwrap_or_default().is_empty() {
            errors.add(Errors::missing(&[field]));
        }
    }
    errors
}

fn check_injection(object: &Value, annotation: &str) -> Errors {
    if !matches!(annotation, "enabled" | "disabled") {
        let message = format!(
            "The provided injection annotation value can only be \"enabled\" or \"disabled\", not {}",
            quote(annotation)
        );
        return Errors::new(message, &[""]);
    }
    let broker = object["spec"]["broker"].as_str().unwrap_or_default();
    if broker == "default" {
        return Errors::NONE;
    }
    let message = format!(
        "The provided injection annotation is only used for default broker, but non-default \
         broker specified here: {}",
        quote(broker)
    );
    Errors::new(message, &[""])
}
