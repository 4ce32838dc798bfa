//! Label selectors of Kubernetes as objects carry them. Used by plans that look for what is
//! selected, and by admission.

use serde_json::Value;

use crate::object::ObjectExt;

/// Whether `labels` of an object satisfy a Kubernetes label selector (`matchLabels`,
/// `matchExpressions`).
pub fn selects(selector: &Value, object: &Value) -> bool {
    let label = |key: &str| object.label(key);
    let exact = selector["matchLabels"].as_object().into_iter().flatten();
    let mut exact = exact.map(|(key, value)| label(key) == value.as_str());
    let expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten();
    let mut expressions = expressions.map(|expression| {
        let have = label(expression["key"].as_str().unwrap_or_default());
        let listed = have.is_some_and(|have| {
            let values = expression["values"].as_array();
            values.is_some_and(|values| values.iter().any(|value| value == have))
        });
        match expression["operator"].as_str().unwrap_or_default() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => have.is_some(),
            "DoesNotExist" => have.is_none(),
            _ => false,
        }
    });
    exact.all(|holds| holds) && expressions.all(|holds| holds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_and_expressions_must_all_hold() {
        let object = json!({"metadata": {"labels": {"a": "1", "b": "2"}}});
        let is = |key: &str, operator: &str, values: &[&str]| {
            let expression = json!({"key": key, "operator": operator, "values": values});
            json!({"matchExpressions": [expression]})
        };
        for (selector, expected) in [
            (json!({}), true),
            (json!({"matchLabels": {"a": "1", "b": "2"}}), true),
            (json!({"matchLabels": {"a": "1", "b": "3"}}), false),
            (json!({"matchLabels": {"c": "1"}}), false),
            (is("a", "In", &["0", "1"]), true),
            (is("c", "In", &["1"]), false),
            (is("a", "NotIn", &["1"]), false),
            (is("c", "NotIn", &["1"]), true),
            (is("a", "Exists", &[]), true),
            (is("c", "Exists", &[]), false),
            (is("c", "DoesNotExist", &[]), true),
            (is("a", "DoesNotExist", &[]), false),
        ] {
            assert_eq!(selects(&selector, &object), expected, "{selector}");
        }
    }
}
