//! A Build from its Pod to its end: well, badly, too late, unwanted.

use api::world::{BUILD, POD};
use expect_test::expect;
use serde_json::{Value, json};

use super::{Cluster, done, name_of_pod};

#[test]
fn a_build_becomes_a_pod_of_steps_in_order() {
    let mut cluster = Cluster::new(
        "{serviceAccountName: bot, timeout: 1m, nodeSelector: {a: b},
          source: {git: {url: 'https://h/r.git', revision: main}, subPath: app},
          volumes: [{name: cache, emptyDir: {}}],
          steps: [{name: one, image: i, args: [x], volumeMounts: [{name: cache, mountPath: /workspace/}]},
                  {image: j, env: [{name: A, value: b}]}]}",
    );
    let secrets = json!([{"name": "s"}, {"name": "token"}]);
    cluster.serve("ServiceAccount", "bot", json!({"secrets": secrets}));
    let annotations = json!({"build.knative.dev/git-0": "https://h"});
    let secret =
        json!({"type": "kubernetes.io/basic-auth", "metadata": {"annotations": annotations}});
    cluster.serve("Secret", "s", secret);
    cluster.serve(
        "Secret",
        "token",
        json!({"type": "kubernetes.io/service-account-token"}),
    );
    cluster.settle();
    expect![[r#"
        build-step-credential-initializer rekindle.local/build/creds-init -basic-git=s=https://h [workspace:/workspace home:/builder/home secret-volume-s:/var/build-secrets/s]
        build-step-git-source-0 rekindle.local/build/git-init -url https://h/r.git -revision main [workspace:/workspace home:/builder/home]
        build-step-one i x [cache:/workspace/ home:/builder/home]
        build-step-unnamed-1 j  [workspace:app/workspace home:/builder/home]
    "#]]
    .assert_eq(&cluster.steps());
    let pod = cluster.pod().unwrap();
    let steps = &pod["spec"]["initContainers"];
    let env = json!([{"name": "HOME", "value": "/builder/home"}, {"name": "A", "value": "b"}]);
    assert_eq!(steps[3]["env"], env);
    assert_eq!(steps[3]["workingDir"], "/workspace");
    assert_eq!(pod["spec"]["nodeSelector"], json!({"a": "b"}));
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    assert_eq!(
        pod["metadata"]["labels"]["build.knative.dev/buildName"],
        "b"
    );
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "Build");
    let volumes: Vec<&Value> = pod["spec"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| &v["name"])
        .collect();
    assert_eq!(volumes, ["cache", "workspace", "home", "secret-volume-s"]);
    let status = &cluster.build()["status"];
    assert_eq!(
        status["cluster"],
        json!({"namespace": "ns", "podName": name_of_pod()})
    );
    assert_eq!(status["builder"], "Cluster");
    let deadline = "2026-01-01T00:01:00Z".parse().unwrap();
    assert_eq!(cluster.at, Some(deadline));
}

#[test]
fn several_sources() {
    let mut cluster = Cluster::new(
        "{sources: [{name: a, git: {url: u}, targetPath: x}, {name: c, custom: {image: k, args: [go]}},
                    {name: g, gcs: {type: Manifest, location: 'gs://b/o'}, targetPath: z}],
          steps: [{name: one, image: i}]}",
    );
    cluster.settle();
    expect![[r#"
        build-step-credential-initializer rekindle.local/build/creds-init  [workspace:/workspace home:/builder/home]
        build-step-git-source-a rekindle.local/build/git-init -url u -revision master -path x [workspace:/workspace home:/builder/home]
        build-step-gcs-source-g rekindle.local/build/gcs-fetcher --type Manifest --location gs://b/o --dest_dir /workspace/z [workspace:/workspace home:/builder/home]
        build-step-custom-source-c k go [workspace:/workspace home:/builder/home]
        build-step-one i  [workspace:/workspace home:/builder/home]
    "#]]
    .assert_eq(&cluster.steps());
}

/// A Build of one step whose Pod is there.
fn running(spec: &str) -> Cluster {
    let mut cluster = Cluster::new(spec);
    cluster.settle();
    let running = json!({"running": {}});
    let creds = ("build-step-credential-initializer", done(0));
    cluster.report("Pending", &[creds, ("build-step-one", running)]);
    cluster
}

const ONE: &str = "{timeout: 1m, steps: [{name: one, image: i}]}";

#[test]
fn success_is_told_with_its_steps_and_times() {
    let mut cluster = running(ONE);
    cluster.check("Unknown", "Building", "");
    assert_eq!(cluster.build()["status"]["stepsCompleted"], json!([]));
    let creds = ("build-step-credential-initializer", done(0));
    cluster.report("Succeeded", &[creds, ("build-step-one", done(0))]);
    cluster.check("True", "", "");
    let status = &cluster.build()["status"];
    assert_eq!(status["stepsCompleted"], json!(["build-step-one"]));
    assert_eq!(status["stepStates"], json!([done(0)]));
    assert_eq!(status["startTime"], "2026-01-01T00:00:00Z");
    assert_eq!(status["completionTime"], "2026-01-01T00:00:07Z");
    assert!(cluster.pod().is_some(), "the Pod stays, for its logs");
    assert_eq!(cluster.events(), ["Succeeded"]);
    // What has ended stays as it is, whatever becomes of the Pod and the clock.
    let pod = cluster.pod().unwrap();
    cluster
        .world
        .remove(POD, "ns", pod["metadata"]["name"].as_str().unwrap());
    cluster.pass(3600);
    cluster.check("True", "", "");
}

#[test]
fn a_failing_step_is_named() {
    let mut cluster = running(ONE);
    let creds = ("build-step-credential-initializer", done(0));
    cluster.report("Failed", &[creds, ("build-step-one", done(3))]);
    let pod = name_of_pod();
    let text = format!(
        "build step \"build-step-one\" exited with code 3 (image: \"sha256:1\"); for logs run: kubectl -n ns logs {pod} -c build-step-one"
    );
    cluster.check("False", "BuildExecuteFailed", &text);
}

#[test]
fn what_a_step_waits_for_is_told() {
    let mut cluster = Cluster::new(ONE);
    cluster.settle();
    let creds = ("build-step-credential-initializer", done(0));
    let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
    cluster.report("Pending", &[creds, ("build-step-one", waiting)]);
    let text = "build step \"build-step-one\" is pending with reason \"no such image\"";
    cluster.check("Unknown", "Pending", text);
}

#[test]
fn time_is_bounded() {
    let mut cluster = running(ONE);
    cluster.pass(59);
    assert!(cluster.pod().is_some());
    cluster.pass(1);
    cluster.check(
        "False",
        "BuildTimeout",
        "Build \"b\" failed to finish within \"1m\"",
    );
    check_halted(&cluster);
    assert_eq!(
        cluster.build()["status"]["completionTime"],
        "2026-01-01T00:01:00Z"
    );
}

#[test]
fn a_cancelled_build_stops() {
    for asked in ["BuildCancelled", "Cancelled"] {
        let mut cluster = running(ONE);
        let mut build = cluster.build();
        build["spec"]["status"] = json!(asked);
        cluster.world.insert(BUILD, build);
        cluster.settle();
        let text = "Build \"b\" was cancelled";
        cluster.check("False", "BuildCancelled", text);
        check_halted(&cluster);
        // The Pod ends after that, and says how far it was.
        let creds = ("build-step-credential-initializer", done(0));
        cluster.report("Failed", &[creds, ("build-step-one", done(143))]);
        cluster.check("False", "BuildCancelled", text);
        let states = &cluster.build()["status"]["stepStates"];
        assert_eq!(states[0]["terminated"]["exitCode"], 143);
    }
}

/// The Pod is there, and nothing may run in it any more.
#[track_caller]
fn check_halted(cluster: &Cluster) {
    let pod = cluster.pod().expect("the Pod stays for its logs");
    assert_eq!(pod["spec"]["activeDeadlineSeconds"], 1);
}

#[test]
fn a_build_that_has_not_begun_leaves_no_pod() {
    let mut cluster = Cluster::new(ONE);
    cluster.settle();
    assert!(cluster.pod().is_some());
    let mut build = cluster.build();
    build["spec"]["status"] = json!("BuildCancelled");
    cluster.world.insert(BUILD, build);
    cluster.settle();
    assert!(cluster.pod().is_none());
}

#[test]
fn a_pod_that_is_taken_away_is_a_failure() {
    let mut cluster = running(ONE);
    let pod = name_of_pod();
    cluster.world.remove(POD, "ns", &pod);
    cluster.settle();
    let text =
        format!("Pod \"{pod}\" of the Build is gone before it ended; create the Build again");
    cluster.check("False", "BuildExecuteFailed", &text);
}

#[test]
fn what_is_not_there_is_waited_for_a_moment() {
    let mut cluster = Cluster::new("{serviceAccountName: bot, steps: [{image: i}]}");
    cluster.settle();
    cluster.check(
        "Unknown",
        "Pending",
        "Looking for the ServiceAccount and its Secrets",
    );
    cluster.serve("ServiceAccount", "bot", Value::Null);
    cluster.settle();
    cluster.check("Unknown", "Pending", "serviceaccount \"bot\" not found");
    let mut late = Cluster::new("{serviceAccountName: bot, steps: [{image: i}]}");
    late.serve("ServiceAccount", "bot", Value::Null);
    late.settle();
    late.serve("ServiceAccount", "bot", json!({}));
    late.settle();
    assert!(late.pod().is_some());
    cluster.pass(5);
    cluster.check(
        "False",
        "BuildValidationFailed",
        "serviceaccount \"bot\" not found",
    );
}

#[test]
fn a_misleading_annotation_is_refused() {
    let mut cluster = Cluster::new("{steps: [{image: i}]}");
    cluster.serve(
        "ServiceAccount",
        "default",
        json!({"secrets": [{"name": "s"}]}),
    );
    let annotations = json!({"build.knative.dev/docker-0": "index.docker.io"});
    let secret =
        json!({"type": "kubernetes.io/basic-auth", "metadata": {"annotations": annotations}});
    cluster.serve("Secret", "s", secret);
    cluster.settle();
    assert_eq!(cluster.succeeded().1, "BadSecretAnnotation");
    assert!(cluster.pod().is_none());
}
