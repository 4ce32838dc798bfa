//! What every definition must satisfy, and what the schemas let through.

use ::schema::Schema;

use super::*;

/// The compiled schema of one version of one kind.
fn schema_of(plural: &str, version: &str) -> Schema {
    let all = crds();
    let crd = all
        .iter()
        .find(|crd| crd["spec"]["names"]["plural"] == plural)
        .unwrap();
    let versions = crd["spec"]["versions"].as_array().unwrap();
    let version = versions.iter().find(|v| v["name"] == version).unwrap();
    Schema::from_crd(&version["schema"]["openAPIV3Schema"]).unwrap()
}

#[test]
fn schemas_are_structural() {
    for crd in crds() {
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let schema = &version["schema"]["openAPIV3Schema"];
            let violations = Schema::from_crd(schema).err();
            assert!(
                violations.is_none(),
                "{}: {violations:?}",
                crd["metadata"]["name"]
            );
        }
    }
}

/// Fields the schema of Service does not know, and what it finds wrong.
fn complaints(version: &str, spec: Value) -> Vec<String> {
    let schema = schema_of("services", version);
    let object = json!({
        "apiVersion": format!("serving.knative.dev/{version}"),
        "kind": "Service",
        "metadata": {"name": "hello"},
        "spec": spec,
    });
    let mut all = schema.unknown_fields(&object);
    let violations = schema.validate(&object, None);
    all.extend(violations.iter().map(|violation| format!("{violation:?}")));
    all
}

#[test]
fn what_users_write_is_let_through() {
    let container = json!({
        "image": "x",
        "command": ["a"],
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "envFrom": [{"configMapRef": {"name": "c"}}],
        "ports": [{"name": "h2c", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 0},
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": 1}},
        "securityContext": {"runAsUser": 1, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true}],
    });
    let spec = json!({
        "template": {
            "metadata": {"name": "hello-a", "annotations": {"a": "b"}, "creationTimestamp": null},
            "spec": {
                "containers": [container],
                "containerConcurrency": 10,
                "timeoutSeconds": 60,
                "serviceAccountName": "sa",
                "imagePullSecrets": [{"name": "s"}],
                "nodeSelector": {"a": "b"},
                "tolerations": [{"key": "a"}],
                "affinity": {"podAffinity": {}},
                "initContainers": [{"image": "y", "name": "i"}],
                "volumes": [
                    {"name": "v", "emptyDir": {"sizeLimit": "1Gi"}},
                    {"name": "w", "projected": {"sources": [{"secret": {"name": "s"}}]}},
                    {"name": "x", "persistentVolumeClaim": {"claimName": "c"}},
                ],
            },
        },
        "traffic": [{"latestRevision": true, "percent": 100, "tag": "t"}],
    });
    assert_eq!(complaints("v1", spec), Vec::<String>::new());
    let old = json!({"runLatest": {"configuration": {"revisionTemplate": {
        "spec": {"container": {"image": "x"}},
    }}}});
    assert_eq!(complaints("v1alpha1", old), Vec::<String>::new());
}

#[test]
fn what_is_no_part_of_knative_is_found() {
    let spec = json!({"template": {"spec": {
        "containers": [{"image": "x", "lifecycle": {}, "imag": "y"}],
        "restartPolicy": "Never",
    }}});
    expect_test::expect![[r#"
        [
            "spec.template.spec.containers[0].imag",
            "spec.template.spec.containers[0].lifecycle",
            "spec.template.spec.restartPolicy",
        ]
    "#]]
    .assert_debug_eq(&complaints("v1", spec));
}

#[test]
fn every_kind_is_there() {
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
            "brokers.eventing.knative.dev",
            "triggers.eventing.knative.dev",
            "eventtypes.eventing.knative.dev",
            "eventpolicies.eventing.knative.dev",
            "eventtransforms.eventing.knative.dev",
            "requestreplies.eventing.knative.dev",
            "channels.messaging.knative.dev",
            "inmemorychannels.messaging.knative.dev",
            "subscriptions.messaging.knative.dev",
            "sequences.flows.knative.dev",
            "parallels.flows.knative.dev",
            "apiserversources.sources.knative.dev",
            "containersources.sources.knative.dev",
            "sinkbindings.sources.knative.dev",
            "pingsources.sources.knative.dev",
            "integrationsources.sources.knative.dev",
            "githubsources.sources.knative.dev",
            "jobsinks.sinks.knative.dev",
            "integrationsinks.sinks.knative.dev",
            "buses.channels.knative.dev",
            "clusterbuses.channels.knative.dev",
            "channels.channels.knative.dev",
            "subscriptions.channels.knative.dev",
            "feeds.feeds.knative.dev",
            "eventtypes.feeds.knative.dev",
            "clustereventtypes.feeds.knative.dev",
            "eventsources.feeds.knative.dev",
            "clustereventsources.feeds.knative.dev",
            "flows.flows.knative.dev",
            "channels.eventing.knative.dev",
            "subscriptions.eventing.knative.dev",
            "clusterchannelprovisioners.eventing.knative.dev",
            "choices.messaging.knative.dev",
            "sequences.messaging.knative.dev",
            "parallels.messaging.knative.dev",
            "builds.build.knative.dev",
            "buildtemplates.build.knative.dev",
            "clusterbuildtemplates.build.knative.dev",
            "cronjobsources.sources.eventing.knative.dev",
            "apiserversources.sources.eventing.knative.dev",
            "kuberneteseventsources.sources.eventing.knative.dev",
            "containersources.sources.eventing.knative.dev",
            "githubsources.sources.eventing.knative.dev",
            "sinkbindings.sources.eventing.knative.dev",
            "awssqssources.sources.eventing.knative.dev",
            "gcppubsubsources.sources.eventing.knative.dev",
            "kafkasources.sources.eventing.knative.dev",
            "camelsources.sources.eventing.knative.dev",
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
