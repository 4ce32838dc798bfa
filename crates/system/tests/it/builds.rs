//! Builds on the real binary: a source from a real git server, plain steps, templates, failures,
//! time, cancellation, credentials, logs.

use std::time::Duration;

use serde_json::Value;
use system::{App, GitServer, Image, Instance};

const PATIENCE: Duration = Duration::from_secs(90);

pub(super) fn start() -> Instance {
    let instance = Instance::start();
    let shell = Image::busybox("example.com/shell").expect("make the image");
    instance.load_image(&shell);
    instance
}

/// Waits for the end of a Build; gives it.
#[track_caller]
pub(super) fn ended(instance: &Instance, name: &str) -> Value {
    let mut build = Value::Null;
    let words = format!("get build.build.knative.dev {name} -o json");
    instance.eventually(PATIENCE, || {
        let answer = instance.kubectl(&words);
        build = serde_json::from_str(&answer.stdout).unwrap_or_default();
        let status = build["status"]["conditions"][0]["status"].as_str();
        status.is_some_and(|status| status != "Unknown")
    });
    build
}

#[track_caller]
pub(super) fn check(build: &Value, status: &str, reason: &str) {
    let condition = &build["status"]["conditions"][0];
    assert_eq!(condition["type"], "Succeeded");
    assert_eq!(condition["status"], status, "{build:#}");
    assert_eq!(
        condition["reason"].as_str().unwrap_or_default(),
        reason,
        "{build:#}"
    );
}

pub(super) fn logs(instance: &Instance, build: &Value, step: &str) -> String {
    let pod = build["status"]["cluster"]["podName"]
        .as_str()
        .expect("a Pod");
    instance.kubectl(&format!("logs {pod} -c {step}")).expect()
}

#[test]
fn steps_over_a_git_source() {
    let instance = start();
    let server = GitServer::start(&instance, None);
    let first = server.commit(
        "app.git",
        &[("Dockerfile", "FROM scratch\n"), ("sub/f", "one")],
    );
    server.git("app.git", &["tag", "v1"]);
    server.commit("app.git", &[("sub/f", "two")]);
    server.git("app.git", &["branch", "topic", "v1"]);
    let url = server.url("app.git");
    let manifest = format!(
        "
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {{name: plain}}
spec:
  source: {{git: {{url: {url}, revision: master}}}}
  steps:
  - name: look
    image: example.com/shell
    args: [-c, 'cat sub/f; echo made > made; echo $HOME']
  - image: example.com/shell
    args: [-c, 'cat /workspace/made']
---
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {{name: several}}
spec:
  sources:
  - {{name: tag, git: {{url: {url}, revision: v1}}, targetPath: tag}}
  - {{name: branch, git: {{url: {url}, revision: topic}}, targetPath: branch}}
  - {{name: commit, git: {{url: {url}, revision: {first}}}, targetPath: commit}}
  - {{name: short, git: {{url: {url}, revision: {short}}}, targetPath: short}}
  - {{name: own, custom: {{image: example.com/shell, args: [-c, 'echo own > own']}}}}
  steps:
  - {{name: look, image: example.com/shell, args: [-c, 'cat tag/sub/f branch/sub/f commit/sub/f short/sub/f own']}}
---
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {{name: below}}
spec:
  source: {{git: {{url: {url}, revision: master}}, subPath: sub}}
  steps:
  - {{name: look, image: example.com/shell, args: [-c, 'cat f /workspace/f']}}
",
        short = &first[..9],
    );
    instance.apply(&manifest).expect();
    let plain = ended(&instance, "plain");
    check(&plain, "True", "");
    let completed = serde_json::json!(["build-step-look", "build-step-unnamed-1"]);
    assert_eq!(plain["status"]["stepsCompleted"], completed);
    assert_eq!(plain["status"]["builder"], "Cluster");
    assert_eq!(
        plain["status"]["stepStates"][1]["terminated"]["exitCode"],
        0
    );
    assert_eq!(
        logs(&instance, &plain, "build-step-look"),
        "two/builder/home\n"
    );
    assert_eq!(logs(&instance, &plain, "build-step-unnamed-1"), "made\n");
    assert_eq!(logs(&instance, &plain, "nop"), "Build successful\n");
    let cloned = logs(&instance, &plain, "build-step-git-source-0");
    assert!(cloned.contains("Successfully cloned"), "{cloned}");
    let several = ended(&instance, "several");
    check(&several, "True", "");
    assert_eq!(
        logs(&instance, &several, "build-step-look"),
        "oneoneoneoneown\n"
    );
    let below = ended(&instance, "below");
    check(&below, "True", "");
    assert_eq!(logs(&instance, &below, "build-step-look"), "twotwo\n");
    let table = instance.kubectl("get builds").expect();
    let words: Vec<&str> = table
        .lines()
        .next()
        .expect("a head")
        .split_whitespace()
        .collect();
    assert_eq!(
        words,
        ["NAME", "SUCCEEDED", "REASON", "STARTTIME", "COMPLETIONTIME"]
    );
    instance.kubectl("delete builds --all").expect();
    instance.eventually(PATIENCE, || {
        instance.kubectl("get pods -o name").expect().is_empty()
    });
}

#[test]
fn submodules_and_archives() {
    let instance = start();
    let server = GitServer::start(&instance, None);
    let library = server.commit("lib.git", &[("l", "library\n")]);
    server.commit("lib.git", &[("l", "newer\n")]);
    server.commit("app.git", &[("f", "app\n")]);
    let (tgz, zip) = (
        server.archive("app.git", "tar.gz"),
        server.archive("app.git", "zip"),
    );
    server.link("app.git", "deps/lib", ("../lib.git", &library));
    let url = server.url("app.git");
    let manifest = format!(
        "
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {{name: mixed}}
spec:
  sources:
  - {{name: git, git: {{url: '{url}', revision: master}}, targetPath: git}}
  - {{name: tgz, gcs: {{type: Archive, location: '{tgz}'}}, targetPath: tgz}}
  - {{name: zip, gcs: {{type: Archive, location: '{zip}'}}, targetPath: zip}}
  steps:
  - name: show
    image: example.com/shell
    args: [-c, 'cat git/f git/deps/lib/l tgz/f zip/f']
"
    );
    instance.apply(&manifest).expect();
    let build = ended(&instance, "mixed");
    check(&build, "True", "");
    let shown = logs(&instance, &build, "build-step-show");
    assert_eq!(shown, "app\nlibrary\napp\napp\n");
}

#[test]
fn objects_of_a_bucket() {
    let mut instance = start();
    let server = GitServer::start(&instance, None);
    server.commit("app.git", &[("d/f", "app\n")]);
    let objects = ["tar.gz", "tar", "zip"].map(|format| {
        server.archive("app.git", format);
        format!("gs://files/app.git.{format}")
    });
    let list = |name: &str, sum: &str| {
        server.file(
            name,
            &format!("{{\"d/f\": {{\"sourceUrl\": \"gs://files/f\", \"sha1Sum\": \"{sum}\"}}}}"),
        );
    };
    server.file("f", "object\n");
    // Of "object\n".
    list("manifest.json", "101f2c69dc6279c398fa99103ad6b6671935db50");
    list("damaged.json", "0000000000000000000000000000000000000000");
    // Google's own clients find a stand-in for their storage by this name, too.
    instance.terminate();
    instance.set_env("STORAGE_EMULATOR_HOST", &server.url(""));
    instance.restart();
    let build = |name: &str, kind: &str, location: &str| {
        format!(
            "
---
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {{name: {name}}}
spec:
  source: {{gcs: {{type: {kind}, location: '{location}'}}}}
  steps: [{{name: show, image: example.com/shell, args: [-c, 'cat d/f']}}]
"
        )
    };
    let manifests = [
        build("tgz", "Archive", &objects[0]),
        build("tar", "Archive", &objects[1]),
        build("zip", "Archive", &objects[2]),
        build("listed", "Manifest", "gs://files/manifest.json"),
        build("damaged", "Manifest", "gs://files/damaged.json"),
        build("missing", "Archive", "gs://files/none.tar"),
    ];
    instance.apply(&manifests.concat()).expect();
    for (name, text) in [
        ("tgz", "app\n"),
        ("tar", "app\n"),
        ("zip", "app\n"),
        ("listed", "object\n"),
    ] {
        let build = ended(&instance, name);
        check(&build, "True", "");
        assert_eq!(logs(&instance, &build, "build-step-show"), text, "{name}");
    }
    for (name, why) in [("damaged", "SHA-1"), ("missing", "404")] {
        let build = ended(&instance, name);
        check(&build, "False", "BuildExecuteFailed");
        let message = build["status"]["conditions"][0]["message"].as_str();
        assert!(
            message.is_some_and(|text| text.contains(why)),
            "{message:?}"
        );
    }
}

#[test]
fn a_build_survives_the_daemon() {
    let mut instance = start();
    let gate = tempfile::tempdir().expect("a directory");
    let manifest = format!(
        "
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {{name: long}}
spec:
  volumes: [{{name: gate, hostPath: {{path: {gate}}}}}]
  steps:
  - {{name: first, image: example.com/shell, args: [-c, echo first]}}
  - name: wait
    image: example.com/shell
    args: [-c, 'echo kept > kept; until test -f /gate/open; do sleep 1; done; echo through']
    volumeMounts: [{{name: gate, mountPath: /gate}}]
  - {{name: after, image: example.com/shell, args: [-c, cat kept]}}
",
        gate = gate.path().display()
    );
    instance.apply(&manifest).expect();
    let running = "get build long -o jsonpath={.status.stepStates[1].running.startedAt}";
    instance.eventually(PATIENCE, || !instance.kubectl(running).stdout.is_empty());
    instance.kill_9();
    instance.restart();
    std::fs::write(gate.path().join("open"), "").expect("the directory is writable");
    let build = ended(&instance, "long");
    check(&build, "True", "");
    assert_eq!(logs(&instance, &build, "build-step-first"), "first\n");
    assert_eq!(logs(&instance, &build, "build-step-wait"), "through\n");
    assert_eq!(logs(&instance, &build, "build-step-after"), "kept\n");
}

#[test]
fn a_configuration_of_2018_waits_for_its_build() {
    let instance = start();
    instance.load(App::Hello, "example.com/hello");
    let gate = tempfile::tempdir().expect("a directory");
    let service = |name: &str, script: &str| {
        format!(
            "
apiVersion: serving.knative.dev/v1alpha1
kind: Service
metadata: {{name: {name}}}
spec:
  runLatest:
    configuration:
      build:
        volumes: [{{name: gate, hostPath: {{path: {gate}}}}}]
        steps:
        - name: step
          image: example.com/shell
          args: [-c, '{script}']
          volumeMounts: [{{name: gate, mountPath: /gate}}]
      revisionTemplate:
        spec:
          container:
            image: example.com/hello
            env: [{{name: TARGET, value: built}}]
---
",
            gate = gate.path().display()
        )
    };
    let waits = service("waits", "until test -f /gate/open; do sleep 1; done");
    let fails = service("fails", "exit 1");
    instance.apply(&(waits + &fails)).expect();
    let succeeded = |name: &str| {
        let path = "{.items[*].status.conditions[?(@.type==\"BuildSucceeded\")].status}";
        let words =
            format!("get revisions -l serving.knative.dev/service={name} -o jsonpath={path}");
        instance.kubectl(&words).stdout
    };
    instance.eventually(PATIENCE, || succeeded("waits") == "Unknown");
    instance.eventually(PATIENCE, || succeeded("fails") == "False");
    std::fs::write(gate.path().join("open"), "").expect("the directory is writable");
    instance.eventually(PATIENCE, || succeeded("waits") == "True");
    instance
        .kubectl("wait ksvc/waits --for=condition=Ready --timeout=90s")
        .expect();
    let answer = instance.curl("waits.default.example.com", "/").expect();
    assert_eq!(answer, "Hello built!\n");
}

/// Nothing runs any more of the Builds that were stopped, and what they wrote is still there.
fn check_stopped(instance: &Instance) {
    let code = "get build unwanted -o jsonpath={.status.stepStates[0].terminated.exitCode}";
    instance.eventually(PATIENCE, || instance.kubectl(code).stdout == "9");
    let unwanted = ended(instance, "unwanted");
    check(&unwanted, "False", "BuildCancelled");
    assert_eq!(logs(instance, &unwanted, "build-step-wait"), "waiting\n");
    let phases = "get pods -l build.knative.dev/buildName=slow \
                  -o jsonpath={.items[*].status.phase}-{.items[*].status.reason}";
    let over = "Failed-DeadlineExceeded";
    instance.eventually(PATIENCE, || instance.kubectl(phases).stdout == over);
    let said = instance.verb("build logs slow").expect();
    assert!(said.contains("begun\n"), "{said}");
    assert!(said.contains("BuildTimeout"), "{said}");
}

#[test]
fn builds_that_do_not_succeed() {
    let instance = start();
    let manifest = "
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {name: failing}
spec:
  steps:
  - {name: good, image: example.com/shell, args: [-c, 'exit 0']}
  - {name: bad, image: example.com/shell, args: [-c, 'echo words; exit 3']}
  - {name: never, image: example.com/shell, args: [-c, 'exit 0']}
---
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {name: slow}
spec:
  timeout: 30s
  steps: [{name: slow, image: example.com/shell, args: [-c, 'echo begun; exec sleep 1000']}]
---
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {name: unwanted}
spec:
  steps: [{name: wait, image: example.com/shell, args: [-c, 'echo waiting; trap \"exit 9\" TERM; while :; do sleep 0.1; done']}]
---
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {name: sourceless}
spec:
  source: {git: {url: 'http://10.42.0.1:1/none.git', revision: master}}
  steps: [{image: example.com/shell}]
---
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {name: nobody}
spec:
  serviceAccountName: nobody
  steps: [{image: example.com/shell}]
";
    instance.apply(manifest).expect();
    let waiting = "logs -l build.knative.dev/buildName=unwanted -c build-step-wait";
    instance.eventually(PATIENCE, || instance.kubectl(waiting).stdout == "waiting\n");
    let patch = "patch build unwanted --type merge -p {\"spec\":{\"status\":\"BuildCancelled\"}}";
    instance.kubectl(patch).expect();
    let failing = ended(&instance, "failing");
    check(&failing, "False", "BuildExecuteFailed");
    let message = failing["status"]["conditions"][0]["message"]
        .as_str()
        .expect("a message");
    assert!(
        message.contains("\"build-step-bad\" exited with code 3"),
        "{message}"
    );
    assert_eq!(logs(&instance, &failing, "build-step-bad"), "words\n");
    check(&ended(&instance, "slow"), "False", "BuildTimeout");
    check(&ended(&instance, "unwanted"), "False", "BuildCancelled");
    check(
        &ended(&instance, "nobody"),
        "False",
        "BuildValidationFailed",
    );
    let sourceless = ended(&instance, "sourceless");
    check(&sourceless, "False", "BuildExecuteFailed");
    let message = sourceless["status"]["conditions"][0]["message"]
        .as_str()
        .expect("a message");
    assert!(message.contains("http://10.42.0.1:1/none.git"), "{message}");
    check_stopped(&instance);
    let refused = instance.apply(
        "apiVersion: build.knative.dev/v1alpha1\nkind: Build\nmetadata: {name: empty}\nspec: {}",
    );
    let said = refused.expect_failure();
    let text = "admission webhook \"webhook.build.knative.dev\" denied the request: \
        validation failed: expected exactly one, got neither: spec.steps, spec.template";
    assert!(said.contains(text), "{said}");
}

#[test]
fn builds_that_take_too_much_of_the_disk() {
    let instance = start();
    // More than 100 MiB, and no end.
    let fill = "i=0; while test $i -lt 100; do cat /bin/sh; i=$((i+1)); done > fill; sleep 1000";
    let manifest = format!(
        "
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {{name: step}}
spec:
  steps:
  - name: fill
    image: example.com/shell
    args: [-c, '{fill}']
    resources: {{limits: {{ephemeral-storage: 32Mi}}}}
  - {{name: never, image: example.com/shell, args: [-c, 'exit 0']}}
---
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {{name: volume}}
spec:
  volumes: [{{name: big, emptyDir: {{sizeLimit: 16Mi}}}}]
  steps:
  - name: fill
    image: example.com/shell
    workingDir: /big
    args: [-c, '{fill}']
    volumeMounts: [{{name: big, mountPath: /big}}]
"
    );
    instance.apply(&manifest).expect();
    for (name, text) in [
        (
            "step",
            "Pod ephemeral local storage usage exceeds the total limit of containers 33554432",
        ),
        (
            "volume",
            "Usage of EmptyDir volume \"big\" exceeds the limit \"16Mi\"",
        ),
    ] {
        let build = ended(&instance, name);
        check(&build, "False", "BuildExecuteFailed");
        let message = build["status"]["conditions"][0]["message"].as_str();
        let message = message.expect("a message");
        let whole = format!("in build step \"build-step-fill\": {text}");
        assert!(message.contains(&whole), "{message}");
        let pod = build["status"]["cluster"]["podName"].as_str();
        let words = format!("get pod {} -o json", pod.expect("a Pod"));
        let pod = instance.kubectl(&words).expect();
        let pod: Value = serde_json::from_str(&pod).expect("JSON");
        assert_eq!(pod["status"]["reason"], "Evicted");
        // Whatever it does, a Build has a limit, and what it took is given back at once.
        let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
        let workspace = volumes.iter().find(|one| one["name"] == "workspace");
        assert_eq!(workspace.expect("there")["emptyDir"]["sizeLimit"], "20Gi");
        let uid = pod["metadata"]["uid"].as_str().expect("an id");
        let volumes = instance.data_dir().join("pods").join(uid).join("volumes");
        instance.eventually(PATIENCE, || !volumes.exists());
    }
}

#[test]
fn templates_and_credentials() {
    let instance = start();
    // bot:s3cret
    let server = GitServer::start(&instance, Some("Ym90OnMzY3JldA=="));
    server.commit("app.git", &[("f", "private")]);
    let (url, host) = (server.url("app.git"), server.url(""));
    let manifest = format!(
        "
apiVersion: v1
kind: Secret
metadata:
  name: git-pass
  annotations: {{build.knative.dev/git-0: {host}, build.knative.dev/docker-0: https://r.example}}
type: kubernetes.io/basic-auth
stringData: {{username: bot, password: s3cret}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: build-bot}}
secrets: [{{name: git-pass}}]
---
apiVersion: build.knative.dev/v1alpha1
kind: ClusterBuildTemplate
metadata: {{name: show}}
spec:
  parameters: [{{name: FILE, description: what to show}}, {{name: IMAGE, default: example.com/shell}}]
  steps:
  - {{name: show, image: '${{IMAGE}}', args: [-c, 'cat ${{FILE}} && echo $WORD && cat $HOME/.docker/config.json']}}
---
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {{name: private}}
spec:
  serviceAccountName: build-bot
  source: {{git: {{url: {url}, revision: master}}}}
  template:
    name: show
    kind: ClusterBuildTemplate
    arguments: [{{name: FILE, value: f}}]
    env: [{{name: WORD, value: hello}}]
---
apiVersion: build.knative.dev/v1alpha1
kind: Build
metadata: {{name: refused}}
spec:
  source: {{git: {{url: {url}, revision: master}}}}
  steps: [{{image: example.com/shell}}]
"
    );
    instance.apply(&manifest).expect();
    let private = ended(&instance, "private");
    check(&private, "True", "");
    let shown = logs(&instance, &private, "build-step-show");
    assert!(shown.starts_with("privatehello\n"), "{shown}");
    assert!(shown.contains("https://r.example"), "{shown}");
    for step in [
        "build-step-credential-initializer",
        "build-step-git-source-0",
    ] {
        let log = logs(&instance, &private, step);
        assert!(!log.is_empty() && !log.contains("s3cret"), "{log}");
    }
    assert!(!instance.log().contains("s3cret"));
    check(&ended(&instance, "refused"), "False", "BuildExecuteFailed");
}
