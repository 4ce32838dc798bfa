//! The documents hold what kubectl looks for.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::builtin_kinds;

const VERBS: [&str; 7] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
];

fn resource<'a>(group: &'a str, kind: &'a str, plural: &'a str) -> Resource<'a> {
    Resource {
        group,
        version: "v1",
        kind,
        plural,
        namespaced: true,
        verbs: VERBS.to_vec(),
        schema: None,
    }
}

fn custom_schema() -> Value {
    json!({
        "type": "object",
        "description": "A widget.",
        "properties": {
            "spec": {"type": "object", "properties": {
                "size": {"type": "integer"},
                "maybe": {"type": "string", "nullable": true, "description": "May be null."},
                "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }},
        },
    })
}

fn references<'a>(document: &'a Value, found: &mut Vec<&'a str>) {
    match document {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn check_references(document: &Value) {
    let mut found = Vec::new();
    references(document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("references are local");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn references_lead_somewhere() {
    let schema = custom_schema();
    let mut resources: Vec<Resource<'_>> = builtin_kinds()
        .map(|(group, version, kind)| Resource {
            version,
            ..resource(group, kind, "things")
        })
        .collect();
    resources.push(Resource {
        schema: Some(&schema),
        ..resource("example.com", "Widget", "widgets")
    });
    check_references(&v2(&resources, "v1.36.0"));
    for (path, _) in v3_index(&resources)["paths"]
        .as_object()
        .expect("an object")
    {
        let parts: Vec<&str> = path.split('/').collect();
        let (group, version) = match parts.as_slice() {
            ["api", version] => ("", *version),
            ["apis", group, version] => (*group, *version),
            other => panic!("{other:?}"),
        };
        check_references(&v3(&resources, group, version, "v1.36.0").expect("it is in the index"));
    }
    assert_eq!(v3(&resources, "nobody.example.com", "v1", ""), None);
}

fn check_part(document: &Value, pointer: &str, expected: Expect) {
    let part = document.pointer(pointer).unwrap_or(&Value::Null);
    expected.assert_eq(&part.to_string());
}

#[test]
fn kubectl_finds_what_it_looks_for() {
    let resources = [resource("apps", "Deployment", "deployments")];
    let v2 = v2(&resources, "v1.36.0");
    let v3 = v3(&resources, "apps", "v1", "v1.36.0").expect("the group is served");
    check_part(
        &v3,
        "/components/schemas/io.k8s.api.apps.v1.Deployment/x-kubernetes-group-version-kind",
        expect![[r#"[{"group":"apps","kind":"Deployment","version":"v1"}]"#]],
    );
    let item = "/paths/~1apis~1apps~1v1~1namespaces~1{namespace}~1deployments~1{name}";
    check_part(
        &v3,
        &format!("{item}/patch/x-kubernetes-group-version-kind"),
        expect![[r#"{"group":"apps","kind":"Deployment","version":"v1"}"#]],
    );
    check_part(
        &v3,
        &format!("{item}/patch/parameters/2"),
        expect![[
            r#"{"in":"query","name":"fieldValidation","schema":{"type":"string","uniqueItems":true}}"#
        ]],
    );
    check_part(
        &v2,
        &format!("{item}/patch/parameters/2"),
        expect![[r#"{"in":"query","name":"fieldValidation","type":"string","uniqueItems":true}"#]],
    );
    check_part(
        &v2,
        "/definitions/io.k8s.api.core.v1.PodSpec/properties/containers/x-kubernetes-patch-merge-key",
        expect![[r#""name""#]],
    );
    check_part(
        &v3,
        "/components/schemas/io.k8s.api.apps.v1.DeploymentSpec/properties/selector/allOf",
        expect![[
            r##"[{"$ref":"#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"}]"##
        ]],
    );
    check_part(
        &v3,
        "/components/schemas/io.k8s.api.apps.v1.DeploymentList/properties/items/items",
        expect![[r##"{"$ref":"#/components/schemas/io.k8s.api.apps.v1.Deployment"}"##]],
    );
}

#[test]
fn custom_resources_lose_in_v2_what_it_cannot_say() {
    let schema = custom_schema();
    let widget = Resource {
        schema: Some(&schema),
        ..resource("example.com", "Widget", "widgets")
    };
    let resources = [widget];
    let v2 = v2(&resources, "v1.36.0");
    check_part(
        &v2,
        "/definitions/com.example.v1.Widget/properties/spec/properties",
        expect![[
            r#"{"free":{"x-kubernetes-preserve-unknown-fields":true},"maybe":{"description":"May be null."},"port":{"x-kubernetes-int-or-string":true},"size":{"type":"integer"}}"#
        ]],
    );
    let v3 = v3(&resources, "example.com", "v1", "v1.36.0").expect("the group is served");
    check_part(
        &v3,
        "/components/schemas/com.example.v1.Widget/properties/spec/properties/maybe",
        expect![[r#"{"description":"May be null.","nullable":true,"type":"string"}"#]],
    );
}

#[test]
fn the_index_changes_with_what_it_lists() {
    let one = v3_index(&[resource("apps", "Deployment", "deployments")]);
    let same = v3_index(&[resource("apps", "Deployment", "deployments")]);
    let schema = custom_schema();
    let other = v3_index(&[Resource {
        schema: Some(&schema),
        ..resource("apps", "Deployment", "deployments")
    }]);
    assert_eq!(one, same);
    assert_ne!(one, other);
    let url = one["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str();
    assert!(url.is_some_and(|url| url.starts_with("/openapi/v3/apis/apps/v1?hash=")));
}

/// Follows field numbers through encoded messages to the first match.
fn follow<'a>(message: &'a [u8], path: &[u32]) -> Option<&'a [u8]> {
    let [first, rest @ ..] = path else {
        return Some(message);
    };
    let mut at = message;
    while !at.is_empty() {
        let tag = varint(&mut at);
        match tag & 7 {
            0 => {
                varint(&mut at);
            }
            1 => at = &at[8..],
            _ => {
                let length = usize::try_from(varint(&mut at)).expect("it fits");
                let (body, left) = at.split_at(length);
                at = left;
                if tag >> 3 == u64::from(*first)
                    && let Some(found) = follow(body, rest)
                {
                    return Some(found);
                }
            }
        }
    }
    None
}

fn varint(at: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let byte = at[0];
        *at = &at[1..];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

fn check_encoded(document: Value, path: &[u32], expected: &str) {
    let encoded = encode_v2(&document);
    let found = follow(&encoded, path).expect("the field is there");
    assert_eq!(String::from_utf8_lossy(found), expected);
}

#[test]
fn the_v2_document_encodes_as_gnostic_has_it() {
    let schema = |schema: Value| json!({"definitions": {"a.B": schema}});
    check_encoded(json!({"swagger": "2.0"}), &[1], "2.0");
    check_encoded(schema(json!({})), &[9, 1, 1], "a.B");
    check_encoded(schema(json!({"$ref": "#/x"})), &[9, 1, 2, 1], "#/x");
    check_encoded(
        schema(json!({"type": "object"})),
        &[9, 1, 2, 22, 1],
        "object",
    );
    let property = json!({"properties": {"p": {"description": "d"}}});
    check_encoded(schema(property), &[9, 1, 2, 25, 1, 2, 4], "d");
    let list = json!({"items": {"format": "f"}});
    check_encoded(schema(list), &[9, 1, 2, 23, 1, 2], "f");
    let map = json!({"additionalProperties": {"format": "f"}});
    check_encoded(schema(map), &[9, 1, 2, 21, 1, 2], "f");
    let extended = json!({"x-kubernetes-patch-merge-key": "name"});
    check_encoded(schema(extended), &[9, 1, 2, 31, 2, 2], "\"name\"");
    let operation = json!({
        "parameters": [{"in": "query", "name": "fieldValidation", "type": "string"}],
        "responses": {"200": {"description": "OK", "schema": {"$ref": "#/x"}}},
        "x-kubernetes-action": "patch",
    });
    let paths = |operation: &Value| json!({"paths": {"/a": {"patch": operation}}});
    check_encoded(paths(&operation), &[8, 2, 1], "/a");
    check_encoded(
        paths(&operation),
        &[8, 2, 2, 8, 8, 1, 2, 3, 4],
        "fieldValidation",
    );
    check_encoded(
        paths(&operation),
        &[8, 2, 2, 8, 13, 1],
        "x-kubernetes-action",
    );
    check_encoded(paths(&operation), &[8, 2, 2, 8, 9, 1, 2, 1, 2, 1, 1], "#/x");
}
