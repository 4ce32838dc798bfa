//! Broker. The rules of Knative's `pkg/apis/eventing/v1/broker_{defaults,validation}.go`.

use serde_json::{Value, json};

use super::super::diff;
use super::super::errors::Errors;
use super::super::kinds::Subject;
use super::delivery::{self, Scope};
use super::{own, without};
use crate::object::ObjectExt;

/// Annotation: which controller answers for a Broker.
const CLASS: &str = "eventing.knative.dev/broker.class";

pub(super) fn fill(subject: &mut Subject<'_>) {
    let namespace = subject.object.namespace().to_owned();
    let defaults = &subject.configs.eventing.broker_defaults;
    let class = subject.object.annotation(CLASS).map(str::to_owned);
    if let Some(config) = defaults.config(&namespace, class.as_deref()) {
        fill_config(&mut subject.object["spec"], config);
    }
    if class.is_none()
        && let Some(class) = defaults.class(&namespace)
    {
        super::set_default(&mut subject.object, "annotations", CLASS, class);
    }
    let spec = &mut subject.object["spec"];
    delivery::fill_reference(spec.get_mut("config"), &namespace);
    delivery::fill(spec, &namespace);
    subject.note_user();
}

fn fill_config(spec: &mut Value, config: &Value) {
    const REFERENCE: [&str; 6] = [
        "apiVersion",
        "kind",
        "name",
        "namespace",
        "group",
        "address",
    ];
    const DELIVERY: [&str; 4] = ["deadLetterSink", "retry", "backoffPolicy", "backoffDelay"];
    let copy = |from: &Value, fields: &[&str]| -> Value {
        let set = fields.iter().filter(|field| !from[**field].is_null());
        set.map(|field| ((*field).to_owned(), from[*field].clone()))
            .collect()
    };
    let reference = copy(config, &REFERENCE);
    if spec["config"].is_null() && reference != json!({}) {
        spec["config"] = reference;
    }
    if spec["delivery"].is_null() && config["delivery"].is_object() {
        spec["delivery"] = copy(&config["delivery"], &DELIVERY);
    }
}

pub(super) fn check(subject: &Subject<'_>) -> Errors {
    let object = &subject.object;
    let mut errors = Errors::NONE;
    if object.annotation(CLASS).unwrap_or_default().is_empty() {
        errors.add(Errors::missing(&[CLASS]));
    }
    errors.add(own::check_keeper(object));
    let namespace = object.namespace();
    let kept = subject
        .configs
        .eventing
        .broker_defaults
        .disallows_other_namespaces(namespace);
    // The configuration is common to many Brokers, and so in the system's namespace as a rule.
    let scope = Scope::anywhere(subject.features());
    let spec = &object["spec"];
    let mut found = Errors::NONE;
    if !spec["config"].is_null() {
        let of_config = if kept { scope.within(namespace) } else { scope };
        found.add(delivery::check_reference(&spec["config"], of_config).via_field("config"));
    }
    found.add(delivery::check(&spec["delivery"], scope).via_field("delivery"));
    errors.add(found.via_field("spec"));
    if let Some(old) = &subject.old {
        errors.add(check_unchanged(object, old));
    }
    errors
}

fn check_unchanged(object: &Value, old: &Value) -> Errors {
    let fixed = |object: &Value| without(&object["spec"], &["delivery"]);
    let changed = diff::short("BrokerSpec", false, &fixed(old), &fixed(object));
    if !changed.is_empty() {
        return Errors::detailed("Immutable fields changed (-old +new)", &["spec"], changed);
    }
    let class = |object: &'_ Value| object.annotation(CLASS).unwrap_or_default().to_owned();
    let changed = diff::strings(&class(old), &class(object));
    if changed.is_empty() {
        return Errors::NONE;
    }
    Errors::detailed(
        "Immutable annotations changed (-old +new)",
        &["annotations"],
        changed,
    )
}
