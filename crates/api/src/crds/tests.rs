//! What every definition must satisfy, and what the schemas let through.

use super::*;

/// Walks a structural schema and complains about what an API server would refuse.
fn check_structural(schema: &Value, path: &str) {
    let Some(fields) = schema.as_object() else {
        panic!("{path} is no schema: {schema}")
    };
    let int_or_string = fields.contains_key("x-kubernetes-int-or-string");
    assert!(
        schema["type"].is_string() || int_or_string,
        "{path} has no type"
    );
    for forbidden in ["$ref", "$schema", "definitions", "oneOf", "title"] {
        assert!(!fields.contains_key(forbidden), "{path} has {forbidden}");
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        check_structural(inner, &format!("{path}.{name}"));
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = fields.get(key) {
            check_structural(inner, &format!("{path}{suffix}"));
        }
    }
    if schema["type"] == "array" {
        assert!(fields.contains_key("items"), "{path} has no items");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        assert!(
            !schema["properties"][name].is_null(),
            "{path} requires unknown {name}"
        );
    }
}

#[test]
fn schemas_are_structural() {
    for crd in crds() {
        let name = crd["metadata"]["name"].as_str().unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            check_structural(&version["schema"]["openAPIV3Schema"], name);
        }
    }
}

#[test]
fn every_kind_of_serving_is_there() {
    let all = crds();
    let names: Vec<_> = all
        .iter()
        .map(|c| c["metadata"]["name"].as_str().unwrap())
        .collect();
    expect_test::expect![[r#"
        [
            "services.serving.knative.dev",
            "configurations.serving.knative.dev",
            "revisions.serving.knative.dev",
            "routes.serving.knative.dev",
            "domainmappings.serving.knative.dev",
            "podautoscalers.autoscaling.internal.knative.dev",
            "metrics.autoscaling.internal.knative.dev",
            "ingresses.networking.internal.knative.dev",
            "serverlessservices.networking.internal.knative.dev",
            "certificates.networking.internal.knative.dev",
            "clusterdomainclaims.networking.internal.knative.dev",
            "images.caching.internal.knative.dev",
        ]
    "#]]
    .assert_debug_eq(&names);
}

fn fields(schema: &Value) -> Vec<&str> {
    let properties = schema["properties"].as_object().unwrap();
    properties.keys().map(String::as_str).collect()
}

#[test]
fn a_container_is_as_knative_has_it() {
    let spec = pod::revision_spec();
    let container = &spec["properties"]["containers"]["items"];
    assert!(!fields(container).contains(&"lifecycle"));
    let env = &container["properties"]["env"]["items"];
    assert!(fields(env).contains(&"valueFrom"));
    assert!(
        env["properties"]["name"]["description"]
            .as_str()
            .unwrap()
            .len()
            < 200
    );
    let cpu = &container["properties"]["resources"]["properties"]["limits"]["additionalProperties"];
    assert_eq!(cpu["x-kubernetes-int-or-string"], true);
    let port =
        &container["properties"]["livenessProbe"]["properties"]["httpGet"]["properties"]["port"];
    assert_eq!(port["x-kubernetes-int-or-string"], true);
    assert!(fields(&spec).contains(&"timeoutSeconds"));
    assert_eq!(
        spec["properties"]["volumes"]["items"]["required"],
        json!(["name"])
    );
}
