//! Rules and objects, and what is said.

use serde_json::{Value, json};

use crate::Schema;

/// A schema whose `spec` has these properties and rules.
fn schema(properties: Value, rules: Value) -> Value {
    json!({
        "type": "object",
        "properties": {"spec": {
            "type": "object", "properties": properties, "x-kubernetes-validations": rules,
        }},
    })
}

fn sizes() -> Value {
    json!({
        "min": {"type": "integer"},
        "max": {"type": "integer"},
        "names": {"type": "array", "items": {"type": "string"}, "maxItems": 10},
        "in-use": {"type": "boolean"},
        "share": {"type": "number"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    })
}

/// Judges `spec` by one rule.
#[track_caller]
fn check(rule: Value, spec: Value, old: Option<Value>, expected: &[&str]) {
    let schema = schema(sizes(), json!([rule]));
    let schema = Schema::from_crd(&schema).expect("structural");
    assert_eq!(schema.broken_rules(), [], "the rule is well");
    let old = old.map(|old| json!({"spec": old}));
    let errors = schema.validate(&json!({"spec": spec}), old.as_ref());
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(said, expected);
}

/// What is said of a rule itself.
#[track_caller]
fn refused(rule: Value, expected: &str) {
    let schema = Schema::from_crd(&schema(sizes(), json!([rule]))).expect("structural");
    let said: Vec<String> = schema
        .broken_rules()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(said.join("; "), expected);
}

#[test]
fn what_breaks_a_rule_is_said_in_kubernetes_words() {
    let rule = |text: &str| json!({"rule": text});
    let order = "self.min <= self.max";
    check(rule(order), json!({"min": 1, "max": 2}), None, &[]);
    check(
        rule(order),
        json!({"min": 3, "max": 2}),
        None,
        &["spec: Invalid value: \"object\": failed rule: self.min <= self.max"],
    );
    check(
        rule(order),
        json!({"min": 3}),
        None,
        &[
            "spec: Invalid value: \"object\": no such key: max evaluating rule: self.min <= self.max",
        ],
    );
    check(
        rule("!has(self.max) || self.max > 1"),
        json!({"min": 3}),
        None,
        &[],
    );
    check(
        json!({"rule": order, "message": "min is too much", "reason": "FieldValueForbidden",
            "fieldPath": ".min"}),
        json!({"min": 3, "max": 2}),
        None,
        &["spec.min: Forbidden: min is too much"],
    );
    check(
        json!({"rule": order, "message": "not said",
            "messageExpression": "'at most ' + string(self.max)"}),
        json!({"min": 3, "max": 2}),
        None,
        &["spec: Invalid value: \"object\": at most 2"],
    );
}

#[test]
fn lists_maps_and_odd_names_are_seen() {
    let rule = |text: &str| json!({"rule": text});
    let spec = json!({"names": ["a", "bb"], "in-use": true, "share": 1, "labels": {"x-y": "1"}});
    for holds in [
        "self.names.all(n, n.size() < 3)",
        "self.names.exists(n, n.startsWith('b'))",
        "self.names.isSorted() && self.names.map(n, n.size()).sum() == 3",
        "self.in__dash__use",
        "self.share > 0.5",
        "'x-y' in self.labels && self.labels['x-y'].matches('^[0-9]+$')",
        "self.names[1].find('b+') == 'bb'",
        "self.names.map(n, n.size()).max() == 2",
    ] {
        check(rule(holds), spec.clone(), None, &[]);
    }
    check(
        rule("self.names.all(n, n != 'bb')"),
        spec,
        None,
        &["spec: Invalid value: \"object\": failed rule: self.names.all(n, n != 'bb')"],
    );
}

#[test]
fn changes_are_judged_by_what_was() {
    let grows = json!({"rule": "self.max >= oldSelf.max", "message": "only grows"});
    check(grows.clone(), json!({"max": 1}), None, &[]);
    check(
        grows.clone(),
        json!({"max": 2}),
        Some(json!({"max": 1})),
        &[],
    );
    check(
        grows,
        json!({"max": 1}),
        Some(json!({"max": 2})),
        &["spec: Invalid value: \"object\": only grows"],
    );
    let optional = json!({"optionalOldSelf": true, "message": "begins with 1",
        "rule": "oldSelf.hasValue() || self.max == 1"});
    check(optional.clone(), json!({"max": 1}), None, &[]);
    check(
        optional.clone(),
        json!({"max": 3}),
        Some(json!({"max": 2})),
        &[],
    );
    check(
        optional,
        json!({"max": 2}),
        None,
        &["spec: Invalid value: \"object\": begins with 1"],
    );
    // What breaks a new rule may stay as it is.
    let small = json!({"rule": "self.max < 5"});
    check(small, json!({"max": 9}), Some(json!({"max": 9})), &[]);
}

#[test]
fn mistakes_are_found_before_any_object_comes() {
    let at = "properties[spec].x-kubernetes-validations[0].rule";
    let shown = |what: &str, line: &str, column: usize| {
        let dots = ".".repeat(column - 1);
        format!(
            "{at}: Invalid value: \"{line}\": compilation failed: ERROR: <input>:1:{column}: \
             {what}\n | {line}\n | {dots}^"
        )
    };
    refused(
        json!({"rule": "self.least > 1"}),
        &shown("undefined field 'least'", "self.least > 1", 5),
    );
    refused(
        json!({"rule": "spec.max > 1"}),
        &shown(
            "undeclared reference to 'spec' (in container '')",
            "spec.max > 1",
            1,
        ),
    );
    refused(
        json!({"rule": "self.max"}),
        &format!("{at}: Invalid value: \"self.max\": cel expression must evaluate to a bool"),
    );
    refused(
        json!({"rule": ""}),
        &format!("{at}: Required value: rule is not specified"),
    );
    let schema = schema(sizes(), json!([{"rule": "self.max > "}]));
    let schema = Schema::from_crd(&schema).expect("structural");
    let said = schema.broken_rules()[0].to_string();
    assert!(
        said.contains("compilation failed: ERROR: <input>:1:"),
        "{said}"
    );
    // What there is in Kubernetes and not here is kept and not asked.
    check(
        json!({"rule": "quantity('1Gi').isGreaterThan(quantity('2Gi'))"}),
        json!({}),
        None,
        &[],
    );
}

#[test]
fn loops_within_loops_have_a_bound() {
    let names: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let mut properties = sizes();
    properties["names"]["maxItems"] = json!(1000);
    let twice = json!([{"rule": "self.names.all(a, self.names.all(b, self.names.all(c, true)))"}]);
    let schema = Schema::from_crd(&schema(properties, twice)).expect("structural");
    let errors = schema.validate(&json!({"spec": {"names": names}}), None);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("running out of cost budget"));
}

#[test]
fn rules_wait_until_the_types_are_right() {
    let schema = schema(sizes(), json!([{"rule": "self.max > 1"}]));
    let schema = Schema::from_crd(&schema).expect("structural");
    let errors = schema.validate(&json!({"spec": {"max": "many"}}), None);
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[1].contains("some validation rules were not checked"),
        "{said:?}"
    );
}
