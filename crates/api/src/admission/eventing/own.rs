//! The annotations that are this project's own: a value that means nothing is refused, or a user
//! would believe that events are kept, or come in order. Called for the kinds that have them.

use serde_json::Value;

use super::super::errors::Errors;
use crate::gotext::Period;
use crate::object::ObjectExt;
use crate::quantity::Quantity;

/// Annotation, what is good, the words for it.
type Row = (&'static str, fn(&str) -> bool, &'static str);

/// Of Brokers and channels: how long and how much they keep.
const KEPT: [Row; 2] = [
    (
        "eventing.rekindle.dev/retention",
        |text| Period::parse(text).is_some_and(|period| !period.is_negative()),
        "expected a duration of ISO 8601, like P7D",
    ),
    (
        "eventing.rekindle.dev/retention-bytes",
        |text| Quantity::parse(text).is_ok_and(|bytes| bytes.as_f64() >= 1.0),
        "expected a quantity of bytes, like 1Gi",
    ),
];

/// Of Triggers and Subscriptions: how events are delivered.
const DELIVERED: [Row; 2] = [
    (
        "eventing.rekindle.dev/delivery-order",
        |text| matches!(text, "ordered" | "unordered"),
        "expected ordered or unordered",
    ),
    (
        "eventing.rekindle.dev/parallelism",
        |text| text.trim().parse::<u32>().is_ok(),
        "expected a number of requests at once; 0 leaves it to the broker",
    ),
];

/// Of what keeps events.
pub(super) fn check_keeper(object: &Value) -> Errors {
    check(&KEPT, object)
}

/// Of what takes them.
pub(super) fn check_consumer(object: &Value) -> Errors {
    check(&DELIVERED, object)
}

fn check(rows: &[Row], object: &Value) -> Errors {
    let mut errors = Errors::NONE;
    for (key, is_good, why) in rows {
        if let Some(text) = object.annotation(key).filter(|text| !is_good(text)) {
            errors.add(Errors::invalid_because(text, "", why).via_key(key));
        }
    }
    errors.via_field("annotations").via_field("metadata")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admission::errors::Level;

    #[test]
    fn values_that_mean_nothing_are_refused() {
        for (key, good, bad) in [
            ("retention", "P7D", "5days"),
            ("retention-bytes", "1Gi", "lots"),
            ("delivery-order", "unordered", "foo"),
            ("parallelism", "7", "-1"),
        ] {
            let key = format!("eventing.rekindle.dev/{key}");
            let said = |value: &str| {
                let object = json!({"metadata": {"annotations": {(key.as_str()): value}}});
                let mut errors = check_keeper(&object);
                errors.add(check_consumer(&object));
                errors.texts(Level::Error).join("\n")
            };
            assert_eq!(said(good), "", "{key}");
            let expected = format!("invalid value: {bad}: metadata.annotations.[{key}]\nexpected ");
            assert!(said(bad).starts_with(&expected), "{}", said(bad));
        }
    }
}
