//! Old manifests, their v1 form, and the way back.

use super::*;

const OLD: &str = "serving.knative.dev/v1alpha1";
const NEW: &str = "serving.knative.dev/v1";

fn object(kind: &str, api_version: &str, spec: Value) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "hello", "namespace": "default"},
        "spec": spec,
    })
}

/// The old spec becomes the new one, and comes back as it was.
#[track_caller]
fn check(kind: &str, old: Value, new: &Value) {
    let old = object(kind, OLD, old);
    let up = convert(old.clone(), NEW).unwrap();
    assert_eq!(&up["spec"], new);
    assert_eq!(up["apiVersion"], NEW);
    assert_eq!(convert(up, OLD).unwrap(), old);
}

#[test]
fn run_latest() {
    let container = json!({"image": "ddiiwoong/hello-python:latest", "env": [{"name": "TARGET", "value": "x"}]});
    let new = json!({
        "template": {"spec": {"containers": [container]}},
        "traffic": [{"latestRevision": true, "percent": 100}],
    });
    let configuration = json!({"revisionTemplate": {"spec": {"container": container}}});
    check(
        "Service",
        json!({"runLatest": {"configuration": configuration}}),
        &new,
    );
    // The concurrency of that time.
    let configuration = json!({
        "revisionTemplate": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"container": container, "concurrencyModel": "Single"},
        },
    });
    let new = json!({
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [container], "containerConcurrency": 1},
        },
        "traffic": [{"latestRevision": true, "percent": 100}],
    });
    check(
        "Service",
        json!({"runLatest": {"configuration": configuration}}),
        &new,
    );
}

/// A build is kept in the template, so that another build makes another Revision.
#[test]
fn a_build_before_it() {
    let build = json!({
        "source": {"git": {"url": "https://example.com/a.git", "revision": "main"}},
        "steps": [{"image": "builder", "args": ["--destination=x"]}],
    });
    let container = json!({"image": "x"});
    let new = json!({"template": {
        "metadata": {"annotations": {BUILD: build.to_string()}},
        "spec": {"containers": [container]},
    }});
    let old = json!({
        "build": build,
        "revisionTemplate": {"spec": {"container": container}},
    });
    check("Configuration", old.clone(), &new);
    let mut new = new;
    new["traffic"] = json!([{"latestRevision": true, "percent": 100}]);
    check(
        "Service",
        json!({"runLatest": {"configuration": old}}),
        &new,
    );
    let reference =
        json!({"apiVersion": "build.knative.dev/v1alpha1", "kind": "Build", "name": "b"});
    let new = json!({"template": {
        "metadata": {"annotations": {BUILD_REF: reference.to_string()}},
        "spec": {"containers": [container]},
    }});
    for (field, value) in [("buildName", json!("b")), ("buildRef", reference)] {
        let old = json!({"template": {"spec": {"container": container, field: value}}});
        check("Configuration", old, &new);
    }
}

#[test]
fn manual_manages_nothing() {
    check("Service", json!({"manual": {}}), &json!({}));
    let up = convert(object("Service", OLD, json!({"manual": {}})), NEW).unwrap();
    assert!(is_manual(&up));
    let mut written = up;
    written["spec"]["template"]["spec"]["containers"] = json!([{"image": "x"}]);
    assert!(!is_manual(&written), "a template ends it");
    let back = convert(written, OLD).unwrap();
    assert!(back["spec"].get("manual").is_none());
}

#[test]
fn pinned_and_release() {
    let configuration = json!({"template": {"spec": {"container": {"image": "x"}}}});
    let template = json!({"spec": {"containers": [{"image": "x"}]}});
    check(
        "Service",
        json!({"pinned": {"revisionName": "hello-00001", "configuration": configuration}}),
        &json!({
            "template": template,
            "traffic": [{"revisionName": "hello-00001", "percent": 100}],
        }),
    );
    check(
        "Service",
        json!({"release": {
            "revisions": ["hello-00001", "@latest"],
            "rolloutPercent": 20,
            "configuration": configuration,
        }}),
        &json!({
            "template": template,
            "traffic": [
                {"revisionName": "hello-00001", "tag": "current", "percent": 80},
                {"latestRevision": true, "tag": "candidate", "percent": 20},
                {"latestRevision": true, "tag": "latest", "percent": 0},
            ],
        }),
    );
}

#[test]
fn the_later_shape_is_that_of_v1() {
    let spec = json!({
        "template": {"metadata": {"name": "hello-a"}, "spec": {"containers": [{"image": "x"}]}},
        "traffic": [{"tag": "current", "revisionName": "hello-a", "percent": 100}],
    });
    check("Service", spec.clone(), &spec);
    let up = convert(object("Service", OLD, spec.clone()), NEW).unwrap();
    assert!(up["metadata"].get("annotations").is_none());
    let beta = convert(
        object("Service", "serving.knative.dev/v1beta1", spec.clone()),
        NEW,
    )
    .unwrap();
    assert_eq!(beta, object("Service", NEW, spec));
}

#[test]
fn routes_configurations_and_revisions() {
    check(
        "Route",
        json!({"traffic": [{"configurationName": "hello", "name": "v2", "percent": 100}]}),
        &json!({"traffic": [{"configurationName": "hello", "tag": "v2", "percent": 100}]}),
    );
    check(
        "Configuration",
        json!({"revisionTemplate": {"spec": {"container": {"image": "x"}}}}),
        &json!({"template": {"spec": {"containers": [{"image": "x"}]}}}),
    );
    check(
        "Revision",
        json!({"container": {"image": "x"}, "servingState": "Active"}),
        &json!({"containers": [{"image": "x"}]}),
    );
}

#[test]
fn a_shape_that_no_longer_fits_is_given_up() {
    let old = json!({"runLatest": {"configuration": {"revisionTemplate": {"spec": {"container": {"image": "x"}}}}}});
    let mut new = convert(object("Service", OLD, old), NEW).unwrap();
    new["spec"]["traffic"] = json!([{"revisionName": "hello-00001", "percent": 100}]);
    new["spec"]["template"]["spec"]["timeoutSeconds"] = json!(300);
    let back = convert(new, OLD).unwrap();
    let expected = json!({
        "revisionTemplate": {"spec": {"container": {"image": "x"}, "timeoutSeconds": 300}},
        "traffic": [{"revisionName": "hello-00001", "percent": 100}],
    });
    assert_eq!(back["spec"], expected);
}

#[test]
fn the_status_has_what_tools_of_the_time_look_for() {
    let mut new = object("Service", NEW, json!({}));
    new["status"] = json!({
        "url": "http://hello.default.localhost:8080",
        "address": {"url": "http://hello.default.svc.cluster.local"},
    });
    let old = convert(new.clone(), OLD).unwrap();
    assert_eq!(old["status"]["domain"], "hello.default.localhost");
    assert_eq!(
        old["status"]["address"]["hostname"],
        "hello.default.svc.cluster.local"
    );
    assert_eq!(convert(old, NEW).unwrap(), new);
}

#[test]
fn errors_say_what_to_do() {
    #[track_caller]
    fn check(spec: Value, to: &str, expected: &str) {
        let error = convert(object("Service", OLD, spec), to).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    check(
        json!({"manual": {}, "template": {}}),
        NEW,
        "spec.manual, spec.template",
    );
    check(
        json!({"release": {"revisions": ["a", "b"], "rolloutPercent": 100}}),
        NEW,
        "expected 0 <= 100 <= 99: spec.release.rolloutPercent",
    );
    check(
        json!({"release": {"revisions": ["a"], "rolloutPercent": 10}}),
        NEW,
        "needs a second entry in spec.release.revisions",
    );
    check(
        json!({"traffic": [{"name": "a", "tag": "a"}]}),
        NEW,
        "spec.traffic[0].name, spec.traffic[0].tag",
    );
    check(
        json!({"runLatest": {}, "pinned": {}}),
        NEW,
        "spec.runLatest, spec.pinned",
    );
    check(
        json!({"release": {"revisions": []}}),
        NEW,
        "spec.release.revisions",
    );
    check(json!({}), "serving.knative.dev/v7", "no such version");
}

mod round_trip;
