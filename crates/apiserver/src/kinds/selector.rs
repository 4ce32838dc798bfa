//! What is valid in a label selector (`matchLabels`, `matchExpressions`), for every kind that has
//! one.

use serde_json::Value;

use super::{Errors, items, text};
use crate::field::{self, Error};

/// Checks the selector at `field`; one that is absent is valid.
pub(super) fn validate(selector: &Value, field: &str, errors: &mut Errors) {
    let labels = format!("{field}.matchLabels");
    super::metadata::labels(&selector["matchLabels"], &labels, errors);
    let expressions = items(&selector["matchExpressions"]);
    for (index, expression) in expressions.iter().enumerate() {
        requirement(
            expression,
            &format!("{field}.matchExpressions[{index}]"),
            errors,
        );
    }
}

fn requirement(requirement: &Value, field: &str, errors: &mut Errors) {
    let values = items(&requirement["values"]);
    match text(&requirement["operator"]) {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(Error::required(format!("{field}.values"), detail));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(Error::forbidden(format!("{field}.values"), detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => {
            let detail = "not a valid selector operator";
            errors.push(Error::invalid(
                format!("{field}.operator"),
                &other.into(),
                detail,
            ));
        }
    }
    let key = text(&requirement["key"]);
    for wrong in field::qualified_name(key) {
        errors.push(Error::invalid(format!("{field}.key"), &key.into(), &wrong));
    }
    for (index, value) in values.iter().enumerate() {
        for wrong in field::label_value(text(value)) {
            errors.push(Error::invalid(
                format!("{field}.values[{index}]"),
                value,
                &wrong,
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operators_have_the_values_they_need() {
        let says = |expression: Value, expected: &str| {
            let mut errors = Errors::new();
            validate(&json!({"matchExpressions": [expression]}), "s", &mut errors);
            let said = match errors.is_empty() {
                true => String::new(),
                false => field::join(&errors),
            };
            assert_eq!(said, expected);
        };
        says(json!({"key": "a", "operator": "In", "values": ["b"]}), "");
        says(json!({"key": "a", "operator": "Exists"}), "");
        says(
            json!({"key": "a", "operator": "In"}),
            "s.matchExpressions[0].values: Required value: must be specified when `operator` is \
             'In' or 'NotIn'",
        );
        says(
            json!({"key": "a", "operator": "DoesNotExist", "values": ["b"]}),
            "s.matchExpressions[0].values: Forbidden: may not be specified when `operator` is \
             'Exists' or 'DoesNotExist'",
        );
        says(
            json!({"key": "a", "operator": "Near"}),
            "s.matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator",
        );
    }
}
