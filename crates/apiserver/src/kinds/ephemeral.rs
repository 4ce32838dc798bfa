//! What is valid of ephemeral containers, and what a write of `pods/ephemeralcontainers` may
//! change: it adds some.

use serde_json::Value;

use super::{Errors, items, text};
use crate::field::Error;

/// What other containers may have, and these not.
const NOT_THEIRS: [&str; 8] = [
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "startupProbe",
];

/// Checks what only ephemeral containers must not have, in the specification at `field`.
pub(super) fn validate_spec(spec: &Value, field: &str, errors: &mut Errors) {
    let targets = || {
        items(&spec["initContainers"])
            .iter()
            .chain(items(&spec["containers"]))
    };
    for (index, one) in items(&spec["ephemeralContainers"]).iter().enumerate() {
        let at = |key: &str| format!("{field}.ephemeralContainers[{index}].{key}");
        let target = &one["targetContainerName"];
        let known = targets().any(|container| container["name"] == *target);
        if !text(target).is_empty() && !known {
            errors.push(Error::not_found(at("targetContainerName"), target));
        }
        for key in NOT_THEIRS {
            let is_empty = match &one[key] {
                Value::Null => true,
                Value::Object(map) => map.is_empty(),
                Value::Array(list) => list.is_empty(),
                _ => false,
            };
            if !is_empty {
                let detail = "cannot be set for an Ephemeral Container";
                errors.push(Error::forbidden(at(key), detail));
            }
        }
    }
}

/// Checks a write of the subresource.
pub(super) fn validate(pod: &Value, old: Option<&Value>, errors: &mut Errors) {
    super::pod::validate_spec(&pod["spec"], "spec", errors);
    let now = items(&pod["spec"]["ephemeralContainers"]);
    let before = old.map(|old| items(&old["spec"]["ephemeralContainers"]));
    for one in before.into_iter().flatten() {
        let name = &one["name"];
        let what = match now.iter().find(|new| new["name"] == *name) {
            Some(new) if new == one => continue,
            Some(_) => "changed",
            None => "removed",
        };
        let field = "spec.ephemeralContainers";
        let detail = format!("existing ephemeral containers {name} may not be {what}\n");
        errors.push(Error::forbidden(field, &detail));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::check;
    use super::*;

    #[test]
    fn they_are_added_and_stay() {
        let pod = |ephemeral: Value| {
            let containers = json!([{"name": "main", "image": "a"}]);
            json!({"spec": {"containers": containers, "ephemeralContainers": ephemeral}})
        };
        let none = pod(json!([]));
        let one = pod(json!([{"name": "look", "image": "b", "targetContainerName": "main"}]));
        check(validate, &one, Some(&none), "");
        check(
            validate,
            &none,
            Some(&one),
            "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"look\" may not \
             be removed\n",
        );
        check(
            validate,
            &pod(json!([{"name": "look", "image": "b", "targetContainerName": "other"}])),
            None,
            "spec.ephemeralContainers[0].targetContainerName: Not found: \"other\"",
        );
        check(
            validate,
            &pod(json!([{"name": "main", "image": "b", "ports": [{"containerPort": 80}]}])),
            None,
            "[spec.ephemeralContainers[0].name: Duplicate value: \"main\", \
             spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container]",
        );
    }
}
