//! A custom resource with a field of every sort: unknown fields, pruning, defaults, validation.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Schema;
use crate::testing::arbitrary_json;

/// A custom resource with one field of every sort.
fn widget() -> Schema {
    let schema = json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "metadata": {"type": "object", "properties": {
                "name": {"type": "string", "maxLength": 8},
            }},
            "spec": {
                "type": "object",
                "required": ["size"],
                "properties": {
                    "size": {"type": "integer", "minimum": 1, "maximum": 9},
                    "ratio": {"type": "number", "exclusiveMaximum": true, "maximum": 1.5},
                    "mode": {"type": "string", "enum": ["fast", "safe"], "default": "safe"},
                    "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                    "port": {"x-kubernetes-int-or-string": true},
                    "when": {"type": "string", "format": "date-time", "nullable": true},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "tags": {"type": "array", "x-kubernetes-list-type": "set",
                        "items": {"type": "string"}, "maxItems": 2},
                    "parts": {"type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "required": ["name"], "properties": {
                            "name": {"type": "string"},
                            "weight": {"type": "integer", "default": 1},
                        }}},
                    "template": {"type": "object", "x-kubernetes-embedded-resource": true,
                        "properties": {"spec": {"type": "object", "properties": {}}}},
                    "target": {"type": "object",
                        "properties": {"ref": {"type": "string"}, "uri": {"type": "string"}},
                        "oneOf": [{"required": ["ref"]}, {"required": ["uri"]}]},
                },
            },
        },
    });
    Schema::from_crd(&schema).expect("the schema is structural")
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "x/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec})
}

fn check_errors(spec: Value, expected: Expect) {
    let errors = widget().validate(&object(spec), None);
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn violations_read_as_kubernetes_words_them() {
    check_errors(
        json!({"size": 3, "mode": "fast", "name": "ab", "when": null}),
        expect![""],
    );
    check_errors(json!({}), expect!["spec.size: Required value"]);
    check_errors(
        json!({"size": "three"}),
        expect![[
            r#"spec.size: Invalid value: "string": spec.size in body must be of type integer: "string""#
        ]],
    );
    check_errors(
        json!({"size": 0, "ratio": 1.5}),
        expect![[r#"
            spec.ratio: Invalid value: 1.5: spec.ratio in body should be less than 1.5
            spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"#]],
    );
    check_errors(
        json!({"size": 1, "mode": "slow", "name": "TOO LONG"}),
        expect![[r#"
            spec.mode: Unsupported value: "slow": supported values: "fast", "safe"
            spec.name: Too long: may not be more than 5 bytes
            spec.name: Invalid value: "TOO LONG": spec.name in body should match '^[a-z]+$'"#]],
    );
    check_errors(
        json!({"size": 1, "port": true, "when": "noon", "labels": {"a": 1}}),
        expect![[r#"
            spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type string: "integer"
            spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"
            spec.when: Invalid value: "noon": spec.when in body must be of type date-time: "noon""#]],
    );
    check_errors(
        json!({"size": 1, "tags": ["a", "a", "b"], "parts": [{"name": "p"}, {"name": "p"}, {}]}),
        expect![[r#"
            spec.parts[2].name: Required value
            spec.parts[1]: Duplicate value: map[string]interface {}{"name":"p"}
            spec.tags: Too many: 3: must have at most 2 items
            spec.tags[1]: Duplicate value: "a""#]],
    );
    check_errors(
        json!({"size": 1, "target": {}}),
        expect![[r#"
        <nil>: Invalid value: "": "spec.target" must validate one and only one schema (oneOf). Found none valid
        spec.target.ref: Required value"#]],
    );
    check_errors(
        json!({"size": 1, "target": {"ref": "r", "uri": "u"}}),
        expect![[
            r#"<nil>: Invalid value: "": "spec.target" must validate one and only one schema (oneOf). Found 2 valid alternatives"#
        ]],
    );
}

#[test]
fn names_can_be_restricted() {
    let mut long = object(json!({"size": 1}));
    long["metadata"]["name"] = "much-too-long".into();
    let errors = widget().validate(&long, None);
    assert_eq!(
        errors[0].to_string(),
        "metadata.name: Too long: may not be more than 8 bytes"
    );
}

#[test]
fn what_did_not_change_is_not_validated_again() {
    let old = object(json!({"size": 0, "parts": [{"name": "p", "weight": "heavy"}]}));
    let mut new = old.clone();
    new["spec"]["mode"] = "safe".into();
    assert_eq!(widget().validate(&new, Some(&old)), []);
    new["spec"]["size"] = json!(-1);
    assert_eq!(widget().validate(&new, Some(&old)).len(), 1);
}

fn check_unknown(spec: Value, unknown: &[&str], pruned: Value) {
    let mut object = object(spec);
    assert_eq!(widget().unknown_fields(&object), unknown);
    widget().prune(&mut object);
    assert_eq!(object["spec"], pruned);
}

#[test]
fn unknown_fields_are_found_and_pruned() {
    check_unknown(
        json!({"size": 1, "colour": "red", "free": {"any": {"thing": 1}}}),
        &["spec.colour"],
        json!({"size": 1, "free": {"any": {"thing": 1}}}),
    );
    check_unknown(
        json!({"parts": [{"name": "p", "extra": {}}], "labels": {"any": "thing"}}),
        &["spec.parts[0].extra"],
        json!({"parts": [{"name": "p"}], "labels": {"any": "thing"}}),
    );
    check_unknown(
        json!({"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "nam": "b"},
            "status": {}}}),
        &["spec.template.metadata.nam", "spec.template.status"],
        json!({"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}}),
    );
}

#[test]
fn defaults_fill_gaps_and_nulls() {
    let mut object =
        object(json!({"size": null, "mode": null, "when": null, "parts": [{"name": "p"}]}));
    widget().default(&mut object);
    let expected = json!({"mode": "safe", "when": null, "parts": [{"name": "p", "weight": 1}]});
    assert_eq!(object["spec"], expected);
}

#[test]
fn a_schema_that_is_not_structural_is_refused() {
    let schema = json!({"type": "object", "properties": {
        "spec": {"properties": {"a": {"type": "string"}}},
        "list": {"type": "array"},
        "text": {"type": "string", "pattern": "["},
        "both": {"type": "object", "properties": {"a": {"type": "string"}},
            "additionalProperties": {"type": "string"}},
    }});
    let errors = Schema::from_crd(&schema).expect_err("four rules are broken");
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    expect![[r#"
        properties[both].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive
        properties[list].items: Required value: must be specified
        properties[spec].type: Required value: must not be empty for specified object fields
        properties[text].pattern: Invalid value: "[": must be a valid regular expression, but isn't: regex parse error:
            [
            ^
        error: unclosed character class"#]]
    .assert_eq(&lines.join("\n"));
}

proptest! {
    #[test]
    fn pruning_twice_is_pruning_once(spec in arbitrary_json()) {
        let mut once = object(spec);
        widget().prune(&mut once);
        let mut twice = once.clone();
        widget().prune(&mut twice);
        prop_assert_eq!(&once, &twice);
        prop_assert_eq!(widget().unknown_fields(&once), Vec::<String>::new());
    }
}
