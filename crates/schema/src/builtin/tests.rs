//! Every built-in kind compiles, and the table of facts fits it.

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

#[test]
fn every_kind_compiles() {
    for (group, version, kind) in builtin_kinds() {
        let schema = builtin(group, version, kind).expect("it is in the table");
        assert!(
            matches!(schema.root.kind, Kind::Struct(_)),
            "{group}/{version} {kind}"
        );
    }
}

#[test]
fn every_field_has_a_number() {
    let mut without = std::collections::BTreeSet::new();
    for (group, version, kind) in builtin_kinds() {
        let (_, definitions) = documents(group, version, kind).expect("it is in the table");
        for (name, definition) in &definitions {
            let properties = definition["properties"].as_object();
            let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
                continue;
            };
            let known = names(name);
            for property in properties.keys() {
                let type_meta = property == "apiVersion" || property == "kind";
                if !type_meta && !known.contains(property) {
                    let short = name.rsplit('.').next().unwrap_or_default();
                    without.insert(format!("{short}.{property}"));
                }
            }
        }
    }
    // Alpha fields newer than the numbers we have.
    expect![[r#"
        {
            "CSIDriverSpec.preventPodSchedulingIfMissing",
            "ImageVolumeStatus.imageRef",
            "ListMeta.shardInfo",
            "NodeAllocatableResourceClaimStatus.containers",
            "NodeAllocatableResourceClaimStatus.resourceClaimName",
            "NodeAllocatableResourceClaimStatus.resources",
            "PodSchedulingGroup.podGroupName",
            "PodSpec.schedulingGroup",
            "PodStatus.nodeAllocatableResourceClaimStatuses",
            "ResourceHealth.message",
            "ShardInfo.selector",
            "VolumeMountStatus.volumeStatus",
            "VolumeStatus.image",
        }
    "#]]
    .assert_debug_eq(&without);
}

fn names(message: &str) -> Vec<String> {
    let Some(message) = facts::message(message) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for fact in &message.fields {
        match &fact.content {
            facts::Content::Inline(inline) => found.extend(names(inline)),
            facts::Content::Field { name, .. } => found.push((*name).to_owned()),
        }
    }
    found
}

fn check_extensions(definition: &str, property: &str, expected: Expect) {
    let (_, definitions) = documents("apps", "v1", "Deployment").expect("it is in the table");
    let property = match property {
        "" => &definitions[definition],
        name => &definitions[definition]["properties"][name],
    };
    let extensions: Map<String, Value> = property
        .as_object()
        .expect("a schema is an object")
        .iter()
        .filter(|(name, _)| name.starts_with("x-kubernetes"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    expected.assert_eq(&json!(extensions).to_string());
}

#[test]
fn facts_become_extensions() {
    check_extensions(
        "io.k8s.api.core.v1.Container",
        "ports",
        expect![[
            r#"{"x-kubernetes-list-map-keys":["containerPort","protocol"],"x-kubernetes-list-type":"map","x-kubernetes-patch-merge-key":"containerPort","x-kubernetes-patch-strategy":"merge"}"#
        ]],
    );
    check_extensions(
        "io.k8s.api.core.v1.Container",
        "command",
        expect![[r#"{"x-kubernetes-list-type":"atomic"}"#]],
    );
    check_extensions(
        "io.k8s.api.apps.v1.DeploymentSpec",
        "strategy",
        expect![[r#"{"x-kubernetes-patch-strategy":"retainKeys"}"#]],
    );
    check_extensions(
        "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
        "",
        expect![[r#"{"x-kubernetes-map-type":"atomic"}"#]],
    );
}

#[test]
fn a_definition_may_contain_itself() {
    let schema = builtin("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
        .expect("it is in the table");
    let inner = json!({"type": "object", "properties": {"a": {"properties": {"b": {"tipe": 1}}}}});
    let object = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": inner}}]}});
    assert_eq!(
        schema.unknown_fields(&object),
        ["spec.versions[0].schema.openAPIV3Schema.properties.a.properties.b.tipe"]
    );
}

fn check_decode(kind: &str, mut object: Value, expected: Expect) {
    let group = if kind == "Deployment" { "apps" } else { "" };
    object["metadata"]["creationTimestamp"] = Value::Null;
    let schema = builtin(group, "v1", kind).expect("it is in the table");
    let error = schema.decode_error(&object).unwrap_or_default();
    expected.assert_eq(&error);
}

#[test]
fn undecodable_objects_read_as_go_words_them() {
    check_decode(
        "Deployment",
        json!({"spec": {"replicas": "two"}}),
        expect![
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
        ],
    );
    check_decode(
        "Deployment",
        json!({"spec": {"replicas": 5_000_000_000_i64}}),
        expect![
            "json: cannot unmarshal number 5000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"
        ],
    );
    check_decode(
        "Pod",
        json!({"spec": {"containers": {}}}),
        expect![
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"
        ],
    );
    check_decode(
        "Pod",
        json!({"spec": {"containers": [{"name": "a", "env": [{"name": "A", "value": 1}]}]}}),
        expect![
            "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string"
        ],
    );
    check_decode(
        "Pod",
        json!({"metadata": {"labels": {"a": true}}}),
        expect![
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string"
        ],
    );
    check_decode(
        "Pod",
        json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}}),
        expect![
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ],
    );
    check_decode(
        "Secret",
        json!({"data": {"a": "%%%"}}),
        expect!["illegal base64 data at input byte 0"],
    );
    let limits = json!({"cpu": "1500m", "memory": "2Gi", "a": 1.5, "b": "1e3", "c": "-.5"});
    check_decode(
        "Pod",
        json!({"spec": {"containers": [{"resources": {"limits": limits},
            "livenessProbe": {"httpGet": {"port": "http"}}}]}}),
        expect![""],
    );
}
