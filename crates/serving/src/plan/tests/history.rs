//! Services and Configurations as they were written until 2020.

use api::object::ObjectExt;
use api::world::{self as kinds, CONFIGURATION, KNATIVE_SERVICE, REVISION, ROUTE};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::cluster::{Cluster, service_yaml};

fn check(actual: impl AsRef<str>, expected: &Expect) {
    expected.assert_eq(actual.as_ref());
}

/// An object of v1alpha1 as it is stored.
fn apply(cluster: &mut Cluster, kind: &str, name: &str, spec: &Value) {
    let old = json!({
        "apiVersion": "serving.knative.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default", "annotations": {"made-by-user": ""}},
        "spec": spec,
    });
    let new = api::convert(old, "serving.knative.dev/v1").unwrap();
    cluster.apply(&new.to_string());
}

#[test]
fn a_manual_service_leaves_its_children_alone() {
    let mut cluster = Cluster::new();
    apply(&mut cluster, "Service", "by-hand", &json!({"manual": {}}));
    check(
        cluster.status(KNATIVE_SERVICE, "by-hand", &[]),
        &expect![[r#"
            ConfigurationsReady Unknown Manual The Service is manual: it leaves Configuration and Route alone.
            Ready Unknown Manual The Service is manual: it leaves Configuration and Route alone.
            RoutesReady Unknown Manual The Service is manual: it leaves Configuration and Route alone.
        "#]],
    );
    assert!(
        cluster
            .world
            .get(CONFIGURATION, "default", "by-hand")
            .is_none()
    );

    // One that becomes manual keeps what it made, and what is changed there stays.
    cluster.service("hello", "example/hello");
    apply(&mut cluster, "Service", "hello", &json!({"manual": {}}));
    let mut route = cluster.get(ROUTE, "hello");
    route["spec"]["traffic"] = json!([{"revisionName": "hello-00001", "percent": 100}]);
    cluster.apply(&route.to_string());
    let traffic = &cluster.get(ROUTE, "hello")["spec"]["traffic"];
    assert_eq!(traffic[0]["revisionName"], "hello-00001");
    cluster.apply(&service_yaml("hello", "example/hello", ""));
    let traffic = &cluster.get(ROUTE, "hello")["spec"]["traffic"];
    assert_eq!(traffic[0]["latestRevision"], true, "managed again");
}

fn with_build(steps: &str) -> Value {
    let container = json!({"name": "user-container", "image": "example/hello"});
    json!({
        "build": {"serviceAccountName": "builder", "steps": [{"image": steps}]},
        "revisionTemplate": {"spec": {"container": container}},
    })
}

fn builds(cluster: &Cluster) -> Vec<Value> {
    let builds = cluster.world.list(kinds::BUILD, "default");
    builds.iter().map(|build| (**build).clone()).collect()
}

fn set_succeeded(cluster: &mut Cluster, build: &Value, condition: &Value) {
    let mut build = build.clone();
    build["status"] = json!({"conditions": [condition]});
    cluster.world.insert(kinds::BUILD, build);
    cluster.settle();
}

#[test]
fn a_revision_waits_for_its_build() {
    let mut cluster = Cluster::new();
    let service = json!({"runLatest": {"configuration": with_build("kaniko")}});
    apply(&mut cluster, "Service", "hello", &service);
    let made = builds(&cluster);
    let [build] = made.as_slice() else {
        panic!("{made:#?}")
    };
    assert_eq!(build["spec"], with_build("kaniko")["build"]);
    let owner = build.controller_owner().unwrap();
    assert_eq!(owner["kind"], "Configuration");
    let status = |cluster: &Cluster| cluster.status(REVISION, "hello-00001", &[]);
    let text = status(&cluster).replace(build.name(), "NAME");
    check(
        text,
        &expect![[r#"
            BuildSucceeded Unknown Building Build "NAME" is still running.
            ContainerHealthy Unknown
            Ready Unknown Building Build "NAME" is still running.
            ResourcesAvailable Unknown
        "#]],
    );
    assert!(cluster.world.keys(kinds::DEPLOYMENT).is_empty());
    let old = api::convert(
        cluster.get(REVISION, "hello-00001"),
        "serving.knative.dev/v1alpha1",
    );
    assert_eq!(old.unwrap()["spec"]["buildRef"]["name"], *build.name());

    let done = json!({"type": "Succeeded", "status": "True"});
    set_succeeded(&mut cluster, build, &done);
    check(
        status(&cluster),
        &expect![[r#"
            Active True
            BuildSucceeded True
            ContainerHealthy True
            Ready True
            ResourcesAvailable True
        "#]],
    );
    let pods = cluster.world.list(kinds::POD, "default");
    let annotations = pods[0]["metadata"]["annotations"].to_string();
    assert!(!annotations.contains("rekindle.dev"), "{annotations}");

    // The same words are built once; other words are another Revision.
    let mut same = service.clone();
    same["runLatest"]["configuration"]["revisionTemplate"]["spec"]["timeoutSeconds"] = json!(10);
    apply(&mut cluster, "Service", "hello", &same);
    assert_eq!(builds(&cluster).len(), 1);
    let other = json!({"runLatest": {"configuration": with_build("broken")}});
    apply(&mut cluster, "Service", "hello", &other);
    let made = builds(&cluster);
    assert_eq!(made.len(), 2);
    let failed = json!({
        "type": "Succeeded",
        "status": "False",
        "reason": "BuildStepFailed",
        "message": "the step ended with 1",
    });
    let newest = made.iter().find(|build| build["status"].is_null()).unwrap();
    set_succeeded(&mut cluster, newest, &failed);
    check(
        cluster.status(KNATIVE_SERVICE, "hello", &["latestReadyRevisionName"]),
        &expect![[r#"
            ConfigurationsReady False RevisionFailed Revision "hello-00003" failed with message: the step ended with 1.
            Ready False RevisionFailed Revision "hello-00003" failed with message: the step ended with 1.
            RoutesReady True
            latestReadyRevisionName: "hello-00002"
        "#]],
    );
}
