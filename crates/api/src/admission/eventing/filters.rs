//! Filters of Triggers, policies and sources: attributes, and the dialects of the Subscriptions
//! API. After Knative's `pkg/apis/eventing/v1/trigger_validation.go`.

use cloudevents::cesql::Expression;
use serde_json::Value;

use super::super::errors::Errors;

const DIALECTS: [&str; 7] = ["all", "any", "not", "exact", "prefix", "suffix", "cesql"];

/// Checks the older filter: `attributes` alone.
pub(super) fn check_attributes(filter: &Value) -> Errors {
    check_names(&filter["attributes"]).via_field("attributes")
}

/// Checks a list of filters.
pub(super) fn check_list(filters: &Value) -> Errors {
    let mut errors = Errors::NONE;
    for (index, filter) in filters.as_array().into_iter().flatten().enumerate() {
        // Knative puts the index in front of what the filters before had to say, too.
        errors = errors.also(check(filter)).via_index(index);
    }
    errors
}

fn check(filter: &Value) -> Errors {
    let is_set = |dialect: &&&str| match &filter[**dialect] {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty() || **dialect == "not",
        other => other.as_str().is_none_or(|text| !text.is_empty()),
    };
    let mut errors = Errors::NONE;
    if DIALECTS.iter().filter(is_set).count() > 1 {
        let message = "multiple dialects found, filters can have only one dialect set";
        errors.add(Errors::new(message, &[]));
    }
    for dialect in ["exact", "prefix", "suffix"] {
        errors.add(check_names(&filter[dialect]).via_field(dialect));
    }
    for dialect in ["all", "any"] {
        errors.add(check_list(&filter[dialect]).via_field(dialect));
    }
    if filter["not"].is_object() {
        errors.add(check(&filter["not"]).via_field("not"));
    }
    if let Some(expression) = filter["cesql"].as_str().filter(|text| !text.is_empty())
        && let Err(why) = Expression::parse(expression)
    {
        errors.add(Errors::invalid_because(
            expression,
            "cesql",
            &why.to_string(),
        ));
    }
    errors
}

fn check_names(attributes: &Value) -> Errors {
    let why = "Attribute name must start with a letter and can only contain lowercase alphanumeric";
    let mut errors = Errors::NONE;
    for (name, _) in attributes.as_object().into_iter().flatten() {
        if !is_attribute(name) {
            errors.add(Errors::invalid_key(name, "", why).via_key(name));
        }
    }
    errors
}

/// Whether `name` can be the name of an attribute.
pub(super) fn is_attribute(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}
