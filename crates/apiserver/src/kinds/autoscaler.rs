//! HorizontalPodAutoscalers.

use api::quantity::Quantity;
use serde_json::{Value, json};

use super::{Errors, NONE, Rules, items, kind_and_name, set, text};
use crate::field::Error;

pub(super) const RULES: Rules = Rules {
    default,
    validate,
    ..NONE
};

const METRIC_TYPES: [&str; 5] = [
    "ContainerResource",
    "External",
    "Object",
    "Pods",
    "Resource",
];
/// Where a metric of a type says what it is, in the order they are looked at.
const SOURCES: [&str; 5] = [
    "object",
    "external",
    "pods",
    "resource",
    "containerResource",
];
const STABILIZATION_S_MAX: i64 = 3600;
const PERIOD_S_MAX: i64 = 1800;

fn default(object: &mut Value) {
    let v1 = object["apiVersion"] == "autoscaling/v1";
    let Some(spec) = object.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    set(spec, "minReplicas", 1);
    if !v1 {
        let metric = json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 80}}});
        set(spec, "metrics", json!([metric]));
    }
}

fn validate(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    let (min, max) = (
        spec["minReplicas"].as_i64().unwrap_or(1),
        spec["maxReplicas"].as_i64().unwrap_or(0),
    );
    let before = old.map(|old| &old["spec"]["minReplicas"]);
    let least = i64::from(before.is_none_or(|before| *before != 0));
    if min < least {
        let detail = format!("must be greater than or equal to {least}");
        errors.push(Error::invalid("spec.minReplicas", &min.into(), &detail));
    }
    if max < 1 {
        let detail = "must be greater than 0";
        errors.push(Error::invalid("spec.maxReplicas", &max.into(), detail));
    }
    if max < min {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(Error::invalid("spec.maxReplicas", &max.into(), detail));
    }
    kind_and_name(&spec["scaleTargetRef"], "spec.scaleTargetRef", errors);
    for (index, one) in items(&spec["metrics"]).iter().enumerate() {
        metric(one, &format!("spec.metrics[{index}]"), errors);
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = &spec["behavior"][direction];
        if rules.is_object() {
            scaling(rules, &format!("spec.behavior.{direction}"), errors);
        }
    }
}

fn metric(metric: &Value, field: &str, errors: &mut Errors) {
    let kind = text(&metric["type"]);
    if kind.is_empty() {
        let detail = "must specify a metric source type";
        errors.push(Error::required(format!("{field}.type"), detail));
    }
    if !METRIC_TYPES.contains(&kind) {
        let field = format!("{field}.type");
        errors.push(Error::not_supported(field, &kind.into(), &METRIC_TYPES));
    }
    let given: Vec<&str> = SOURCES
        .into_iter()
        .filter(|key| metric[*key].is_object())
        .collect();
    if let Some(first) = given.first() {
        source(first, &metric[*first], &format!("{field}.{first}"), errors);
    }
    let lower = kind.chars().next().map(|first| first.to_ascii_lowercase());
    let expected: String = lower.into_iter().chain(kind.chars().skip(1)).collect();
    if METRIC_TYPES.contains(&kind) && !given.contains(&&*expected) {
        let detail = "must populate information for the given metric source";
        errors.push(Error::required(format!("{field}.{expected}"), detail));
    }
    if given.len() != 1 {
        for other in given.iter().filter(|key| **key != expected) {
            let detail = "must populate the given metric source only";
            errors.push(Error::forbidden(format!("{field}.{other}"), detail));
        }
    }
}

fn source(kind: &str, source: &Value, field: &str, errors: &mut Errors) {
    let of_resource = matches!(kind, "resource" | "containerResource");
    if kind == "object" {
        kind_and_name(
            &source["describedObject"],
            &format!("{field}.describedObject"),
            errors,
        );
    }
    let named = match of_resource {
        true => &source["name"],
        false => &source["metric"]["name"],
    };
    if text(named).is_empty() {
        let (at, what) = match of_resource {
            true => ("name", "resource"),
            false => ("metric.name", "metric"),
        };
        let detail = format!("must specify a {what} name");
        errors.push(Error::required(format!("{field}.{at}"), &detail));
    }
    if kind == "containerResource" && text(&source["container"]).is_empty() {
        let detail = "must specify a container";
        errors.push(Error::required(format!("{field}.container"), detail));
    }
    let (goal, at) = (&source["target"], format!("{field}.target"));
    target(goal, &at, errors);
    let has = |key: &str| !goal[key].is_null();
    let required = |key: &str, detail: &str| Error::required(format!("{at}.{key}"), detail);
    let forbidden = |key: &str, detail: &str| Error::forbidden(format!("{at}.{key}"), detail);
    let (utilization, average) = ("averageUtilization", "averageValue");
    match kind {
        "object" if !has("value") && !has(average) => {
            let detail = "must set either a target value or averageValue";
            errors.push(required(average, detail));
        }
        "external" if !has("value") && !has(average) => {
            let detail = "must set either a target value for metric or a per-pod target";
            errors.push(required(average, detail));
        }
        "external" if has("value") && has(average) => {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.push(forbidden("value", detail));
        }
        "pods" if !has(average) => {
            let detail = "must specify a positive target averageValue";
            errors.push(required(average, detail));
        }
        _ if of_resource && !has(utilization) && !has(average) => {
            let detail = "must set either a target raw value or a target utilization";
            errors.push(required(utilization, detail));
        }
        _ if of_resource && has(utilization) && has(average) => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.push(forbidden(average, detail));
        }
        _ => {}
    }
}

fn target(target: &Value, field: &str, errors: &mut Errors) {
    let at = |key: &str| format!("{field}.{key}");
    let kind = text(&target["type"]);
    if kind.is_empty() {
        errors.push(Error::required(
            at("type"),
            "must specify a metric target type",
        ));
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(Error::invalid(at("type"), &kind.into(), detail));
    }
    for key in ["value", "averageValue"] {
        let value = &target[key];
        let is_positive = match value {
            Value::Number(number) => number.as_f64() > Some(0.0),
            other => Quantity::parse(text(other)).is_ok_and(|value| value.as_f64() > 0.0),
        };
        if !value.is_null() && !is_positive {
            errors.push(Error::invalid(at(key), value, "must be positive"));
        }
    }
    let share = &target["averageUtilization"];
    if share.as_i64().is_some_and(|share| share < 1) {
        let detail = "must be greater than 0";
        errors.push(Error::invalid(at("averageUtilization"), share, detail));
    }
}

fn scaling(rules: &Value, field: &str, errors: &mut Errors) {
    let window = &rules["stabilizationWindowSeconds"];
    let mut wrong = |detail: &str| {
        let field = format!("{field}.stabilizationWindowSeconds");
        errors.push(Error::invalid(field, window, detail));
    };
    match window.as_i64() {
        Some(..0) => wrong("must be greater than or equal to zero"),
        Some(seconds) if seconds > STABILIZATION_S_MAX => {
            wrong(&format!(
                "must be less than or equal to {STABILIZATION_S_MAX}"
            ));
        }
        _ => {}
    }
    let select = &rules["selectPolicy"];
    let allowed = ["Disabled", "Max", "Min"];
    if select.is_string() && !allowed.contains(&text(select)) {
        let field = format!("{field}.selectPolicy");
        errors.push(Error::not_supported(field, select, &allowed));
    }
    let field = format!("{field}.policies");
    // Those that are left out are the usual ones.
    if rules["policies"].is_array() && items(&rules["policies"]).is_empty() {
        let detail = "must specify at least one Policy";
        errors.push(Error::required(&*field, detail));
    }
    for (index, one) in items(&rules["policies"]).iter().enumerate() {
        policy(one, &format!("{field}[{index}]"), errors);
    }
}

fn policy(policy: &Value, field: &str, errors: &mut Errors) {
    let kind = text(&policy["type"]);
    let allowed = ["Percent", "Pods"];
    if !allowed.contains(&kind) {
        let field = format!("{field}.type");
        errors.push(Error::not_supported(field, &kind.into(), &allowed));
    }
    for key in ["value", "periodSeconds"] {
        let number = policy[key].as_i64().unwrap_or(0);
        let field = format!("{field}.{key}");
        if number <= 0 {
            let detail = "must be greater than zero";
            errors.push(Error::invalid(field, &number.into(), detail));
        } else if key == "periodSeconds" && number > PERIOD_S_MAX {
            let detail = format!("must be less than or equal to {PERIOD_S_MAX}");
            errors.push(Error::invalid(field, &number.into(), &detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    fn says(more: Value, expected: &str) {
        let target = json!({"kind": "Deployment", "name": "web"});
        let mut spec = json!({"maxReplicas": 2, "scaleTargetRef": target});
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        let mut object = json!({"apiVersion": "autoscaling/v2", "spec": spec});
        default(&mut object);
        check(validate, &object, None, expected);
    }

    #[test]
    fn sizes_and_targets_make_sense() {
        says(json!({}), "");
        says(
            json!({"minReplicas": 0}),
            "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
        );
        says(
            json!({"minReplicas": 3}),
            "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`",
        );
        says(
            json!({"scaleTargetRef": {"kind": "Deployment"}}),
            "spec.scaleTargetRef.name: Required value",
        );
    }

    #[test]
    fn metrics_have_one_source_and_a_goal() {
        let goal = json!({"type": "Utilization", "averageUtilization": 0});
        says(
            json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": goal}}]}),
            "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be \
             greater than 0",
        );
        says(
            json!({"metrics": [{"type": "Resource"}]}),
            "spec.metrics[0].resource: Required value: must populate information for the given \
             metric source",
        );
        says(
            json!({"metrics": [{"type": "Pods", "pods": {"metric": {"name": "m"},
                "target": {"type": "Value", "value": "1"}}}]}),
            "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive \
             target averageValue",
        );
        says(
            json!({"metrics": [{"type": "Moon"}]}),
            "spec.metrics[0].type: Unsupported value: \"Moon\": supported values: \
             \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"",
        );
    }

    #[test]
    fn behavior_has_bounds() {
        let up = |rules: Value| json!({"behavior": {"scaleUp": rules}});
        says(up(json!({"stabilizationWindowSeconds": 60})), "");
        says(
            up(json!({"stabilizationWindowSeconds": 3601})),
            "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less \
             than or equal to 3600",
        );
        says(
            up(json!({"policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]})),
            "[spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than \
             zero, spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be \
             less than or equal to 1800]",
        );
    }
}
