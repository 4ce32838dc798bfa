//! The three patches, case by case.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::testing::arbitrary_json;
use crate::{Schema, builtin};

fn pods() -> std::sync::Arc<Schema> {
    builtin("", "v1", "Pod").expect("Kubernetes has Pods")
}

fn check_strategic(original: Value, patch: Value, expected: Result<Value, &str>) {
    let mut object = json!({"spec": original});
    let result = strategic_merge(&pods(), &mut object, json!({"spec": patch}))
        .map(|()| object["spec"].take())
        .map_err(|error| error.to_string());
    assert_eq!(result, expected.map_err(ToOwned::to_owned));
}

#[test]
fn keyed_lists_are_merged_by_key() {
    check_strategic(
        json!({"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}),
        json!({"containers": [{"name": "b", "image": "z"}]}),
        Ok(json!({"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "z"}]})),
    );
    // A new element comes first, as Kubernetes has it.
    check_strategic(
        json!({"containers": [{"name": "a"}]}),
        json!({"containers": [{"name": "n", "command": null, "args": ["x"]}]}),
        Ok(json!({"containers": [{"name": "n", "args": ["x"]}, {"name": "a"}]})),
    );
    check_strategic(
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "old"}]}]}),
        json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "new"}]}]}),
        Ok(json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "new"}]}]})),
    );
    check_strategic(
        json!({"containers": [{"name": "a"}]}),
        json!({"containers": [{"image": "x"}]}),
        Err(r#"map: {"image":"x"} does not contain declared merge key: name"#),
    );
}

#[test]
fn other_lists_are_replaced() {
    check_strategic(
        json!({"tolerations": [{"key": "a"}], "containers": [{"name": "a", "args": ["1", "2"]}]}),
        json!({"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["3"]}]}),
        Ok(json!({"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["3"]}]})),
    );
}

#[test]
fn directives_delete_and_replace() {
    check_strategic(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
        Ok(json!({"containers": [{"name": "b"}]})),
    );
    check_strategic(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
        Ok(json!({"containers": [{"name": "c"}]})),
    );
    check_strategic(
        json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}, "nodeName": "n"}),
        json!({"securityContext": {"$patch": "replace", "runAsUser": 3}}),
        Ok(json!({"securityContext": {"runAsUser": 3}, "nodeName": "n"})),
    );
    check_strategic(
        json!({"securityContext": {"runAsUser": 1}}),
        json!({"securityContext": {"$patch": "delete"}}),
        Ok(json!({"securityContext": {}})),
    );
    check_strategic(
        json!({}),
        json!({"$patch": "shred"}),
        Err(r#"unknown patch type: "shred" in map: {}"#),
    );
    check_strategic(
        json!({}),
        json!({"containers": [{"name": "a", "$setElementOrder/env": [], "image": "x"},
            {"name": "b", "$patch": "delete"}]}),
        Ok(json!({"containers": [{"name": "a", "image": "x"}]})),
    );
}

#[test]
fn nulls_remove() {
    check_strategic(
        json!({"nodeName": "n", "nodeSelector": {"a": "1", "b": "2"}}),
        json!({"nodeName": null, "nodeSelector": {"a": null}, "hostname": null}),
        Ok(json!({"nodeSelector": {"b": "2"}})),
    );
}

#[test]
fn retained_keys_are_all_that_stays() {
    check_strategic(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}),
        Ok(json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})),
    );
    check_strategic(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {}}]}),
        Err(
            r#"patch field "hostPath" is not listed in its $retainKeys: list it there or leave it out"#,
        ),
    );
}

#[test]
fn element_orders_are_set() {
    let named =
        |names: &[&str]| -> Value { names.iter().map(|name| json!({"name": name})).collect() };
    check_strategic(
        json!({"containers": named(&["a", "b", "c"])}),
        json!({"$setElementOrder/containers": named(&["c", "n", "a"]), "containers": named(&["n"])}),
        Ok(json!({"containers": named(&["b", "c", "n", "a"])})),
    );
    check_strategic(
        json!({"containers": named(&["a", "b"])}),
        json!({"$setElementOrder/containers": named(&["b"]),
            "containers": [{"name": "a", "$patch": "delete"}]}),
        Ok(json!({"containers": named(&["b"])})),
    );
    check_strategic(
        json!({"containers": named(&["a"])}),
        json!({"$setElementOrder/containers": named(&["a"]), "containers": named(&["b"])}),
        Err(
            "The order in patch list:\n[{\"name\":\"b\"}]\n doesn't match $setElementOrder list:\n[{\"name\":\"a\"}]\n",
        ),
    );
}

#[test]
fn primitive_lists_are_sets() {
    let mut object = json!({"metadata": {"finalizers": ["a", "b", "c"]}});
    let patch = json!({"metadata": {
        "$deleteFromPrimitiveList/finalizers": ["b"],
        "$setElementOrder/finalizers": ["c", "d", "a"],
        "finalizers": ["d"],
    }});
    strategic_merge(&pods(), &mut object, patch).expect("the patch is well formed");
    assert_eq!(object["metadata"]["finalizers"], json!(["c", "d", "a"]));
}

fn check_json(patch: Value, expected: Result<Value, &str>) {
    let mut object = json!({"a": {"b": [1, 2]}, "c~/d": 1});
    let result = json_patch(&mut object, &patch)
        .map(|()| object)
        .map_err(|error| error.to_string());
    assert_eq!(result, expected.map_err(ToOwned::to_owned));
}

#[test]
fn json_patches_apply_or_say_why_not() {
    check_json(
        json!([{"op": "add", "path": "/a/b/-", "value": 3}, {"op": "remove", "path": "/c~0~1d"}]),
        Ok(json!({"a": {"b": [1, 2, 3]}})),
    );
    check_json(
        json!([{"op": "move", "from": "/a/b", "path": "/e"}, {"op": "copy", "from": "/e/0", "path": "/a/f"}]),
        Ok(json!({"a": {"f": 1}, "e": [1, 2], "c~/d": 1})),
    );
    check_json(
        json!([{"op": "test", "path": "/a/b/0", "value": 1}, {"op": "replace", "path": "/a", "value": 0}]),
        Ok(json!({"a": 0, "c~/d": 1})),
    );
    let refusals = [
        (
            json!({"op": "test", "path": "/a", "value": 1}),
            "testing value /a failed: test failed",
        ),
        (
            json!({"op": "remove", "path": "/z"}),
            "error in remove for path: '/z': Unable to remove nonexistent key: z: missing value",
        ),
        (
            json!({"op": "replace", "path": "/z", "value": 1}),
            "replace operation does not apply: doc is missing key: /z: missing value",
        ),
        (
            json!({"op": "add", "path": "/x/y", "value": 1}),
            "add operation does not apply: doc is missing path: \"/x/y\": missing value",
        ),
        (
            json!({"op": "add", "path": "/a/b/9", "value": 1}),
            "error in add for path: '/a/b/9': Unable to access invalid index: 9: invalid index referenced",
        ),
    ];
    for (operation, text) in refusals {
        check_json(json!([operation]), Err(text));
    }
}

#[test]
fn merge_patches_remove_with_null() {
    let mut object = json!({"a": {"b": 1, "c": 2}, "d": [1]});
    merge_patch(
        &mut object,
        json!({"a": {"b": null, "e": {"f": null}}, "d": [2]}),
    )
    .expect("the patch is an object");
    assert_eq!(object, json!({"a": {"c": 2, "e": {}}, "d": [2]}));
}

proptest! {
    #[test]
    fn an_empty_strategic_patch_changes_nothing(spec in arbitrary_json()) {
        let object = json!({"spec": spec});
        let mut patched = object.clone();
        strategic_merge(&pods(), &mut patched, json!({})).expect("an empty patch is well formed");
        prop_assert_eq!(patched, object);
    }
}
