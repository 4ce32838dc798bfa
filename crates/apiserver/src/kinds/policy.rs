//! PodDisruptionBudgets and PriorityClasses.

use serde_json::Value;

use super::{Errors, NONE, Rules, set, text};
use crate::field::Error;

pub(super) const DISRUPTION_BUDGET: Rules = Rules {
    validate: budget_validate,
    ..NONE
};
pub(super) const PRIORITY_CLASS: Rules = Rules {
    default: |class| set(class, "preemptionPolicy", "PreemptLowerPriority"),
    validate: class_validate,
    ..NONE
};

/// The highest value of a PriorityClass that is not the system's.
const USER_PRIORITY_MAX: i64 = 1_000_000_000;
const SYSTEM_PREFIX: &str = "system-";
/// The system's own, with their values.
const SYSTEM_CLASSES: [(&str, i64); 2] = [
    ("system-node-critical", 2_000_001_000),
    ("system-cluster-critical", 2_000_000_000),
];

fn budget_validate(object: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    let bounds = ["minAvailable", "maxUnavailable"];
    if bounds.iter().all(|bound| !spec[*bound].is_null()) {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(Error::invalid("spec", spec, detail));
    }
    for bound in bounds {
        number_or_percent(&spec[bound], &format!("spec.{bound}"), errors);
    }
    super::selector::validate(&spec["selector"], "spec.selector", errors);
    let policy = &spec["unhealthyPodEvictionPolicy"];
    let allowed = ["AlwaysAllow", "IfHealthyBudget"];
    if policy.is_string() && !allowed.contains(&text(policy)) {
        let field = "spec.unhealthyPodEvictionPolicy";
        errors.push(Error::not_supported(field, policy, &allowed));
    }
}

/// A number of Pods, or a share of them.
fn number_or_percent(value: &Value, field: &str, errors: &mut Errors) {
    let Some(percent) = value.as_str() else {
        if value.as_i64().is_some_and(|number| number < 0) {
            let detail = "must be greater than or equal to 0";
            errors.push(Error::invalid(field, value, detail));
        }
        return;
    };
    let digits = percent.strip_suffix('%').unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let detail = "a valid percent string must be a numeric string followed by an ending '%' \
                      (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
        errors.push(Error::invalid(field, value, detail));
    } else if digits.parse::<u64>().is_ok_and(|share| share > 100) {
        let detail = "must not be greater than 100%";
        errors.push(Error::invalid(field, value, detail));
    }
}

fn class_validate(class: &Value, old: Option<&Value>, errors: &mut Errors) {
    let name = text(&class["metadata"]["name"]);
    let value = class["value"].as_i64().unwrap_or(0);
    if name.starts_with(SYSTEM_PREFIX) {
        if let Some(wrong) = system_class(name, value, class["globalDefault"] == true) {
            let detail = format!(
                "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use \
                 only. error: {wrong}"
            );
            errors.push(Error::forbidden("metadata.name", &detail));
        }
    } else if value > USER_PRIORITY_MAX {
        let detail =
            format!("maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}");
        errors.push(Error::forbidden("value", &detail));
    }
    let policy = &class["preemptionPolicy"];
    let allowed = ["PreemptLowerPriority", "Never"];
    if policy.is_string() && !allowed.contains(&text(policy)) {
        errors.push(Error::not_supported("preemptionPolicy", policy, &allowed));
    }
    let Some(old) = old else {
        return;
    };
    if old["value"].as_i64().unwrap_or(0) != value {
        errors.push(Error::forbidden(
            "value",
            "may not be changed in an update.",
        ));
    }
    let before = &old["preemptionPolicy"];
    if !before.is_null() && before != policy {
        errors.push(Error::invalid(
            "preemptionPolicy",
            policy,
            "field is immutable",
        ));
    }
}

fn system_class(name: &str, value: i64, is_default: bool) -> Option<String> {
    let Some((_, right)) = SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if value != *right {
        return Some(format!("value of {name} PriorityClass must be {right}"));
    }
    is_default.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::check;
    use super::*;

    #[test]
    fn budgets_have_one_bound_in_pods_or_percent() {
        let says = |spec: Value, expected: &str| {
            check(budget_validate, &json!({"spec": spec}), None, expected);
        };
        says(json!({"minAvailable": 1}), "");
        says(json!({"maxUnavailable": "50%"}), "");
        says(
            json!({"minAvailable": "101%"}),
            "spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%",
        );
        says(
            json!({"maxUnavailable": -1}),
            "spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0",
        );
        says(
            json!({"maxUnavailable": "half"}),
            "spec.maxUnavailable: Invalid value: \"half\": a valid percent string must be a \
             numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for \
             validation is '[0-9]+%')",
        );
        says(
            json!({"minAvailable": 1, "maxUnavailable": 1}),
            "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and \
             maxUnavailable cannot be both set",
        );
    }

    #[test]
    fn priorities_are_bounded_and_stay() {
        let class = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value});
        let says = |class: &Value, old: Option<&Value>, expected: &str| {
            check(class_validate, class, old, expected);
        };
        says(&class("high", 1_000_000_000), None, "");
        says(&class("system-node-critical", 2_000_001_000), None, "");
        says(
            &class("high", 1_000_000_001),
            None,
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
        );
        says(
            &class("system-mine", 1),
            None,
            "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved \
             for system use only. error: system-mine is not a known system priority class",
        );
        says(
            &class("high", 2),
            Some(&class("high", 1)),
            "value: Forbidden: may not be changed in an update.",
        );
    }
}
