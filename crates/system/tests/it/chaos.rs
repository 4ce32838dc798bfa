//! No request is lost, whatever happens to Revisions and Pods: clients keep asking, over HTTP/1.1
//! with and without keep-alive and over HTTP/2, while everything below them changes; the number of
//! answers other than 200 is 0.
//!
//! About half a minute each; `REKINDLE_CHAOS_SECONDS` makes them longer.

use std::fs;
use std::time::{Duration, Instant};

use system::{App, Instance, Load, Tally, run};

const PATIENCE: Duration = Duration::from_secs(60);
/// 200 requests a second: four kinds of client, five of each, ten requests a second.
const PACE: Duration = Duration::from_millis(100);
const EACH: usize = 5;

fn duration() -> Duration {
    let seconds = std::env::var("REKINDLE_CHAOS_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("REKINDLE_CHAOS_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(12))
}

/// A Service of `probe`; `edition` makes its revisions differ.
fn manifest(name: &str, edition: usize, scale: &str) -> String {
    format!(
        "apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: {name}}}
spec:
  template:
    metadata:
      annotations: {{autoscaling.knative.dev/window: 6s, {scale}}}
    spec:
      timeoutSeconds: 300
      containers:
        - image: example.com/probe
          env: [{{name: EDITION, value: '{edition}'}}]
"
    )
}

/// Applies an edition and waits until it takes the requests.
fn roll(instance: &Instance, name: &str, edition: usize, scale: &str) {
    instance.apply(&manifest(name, edition, scale)).expect();
    let current = format!("{name}-{:05}", edition + 1);
    let path = "{.status.latestReadyRevisionName} {.status.traffic[0].revisionName} \
                {.status.conditions[?(@.type==\"Ready\")].status}";
    let args = ["get", "ksvc", name, "-o", &format!("jsonpath={path}")];
    let wanted = format!("{current} {current} True");
    instance.eventually(PATIENCE, || {
        instance.kubectl_args(&args, "").stdout == wanted
    });
}

/// The UIDs of the Service's Pods that nobody has deleted.
fn pods(instance: &Instance, name: &str) -> Vec<String> {
    let table = instance.kubectl(&format!(
        "get pods -l serving.knative.dev/service={name} --no-headers -o \
         custom-columns=UID:.metadata.uid,GOES:.metadata.deletionTimestamp"
    ));
    let table = table.expect();
    let rows = table.lines().filter_map(|row| row.split_once(' '));
    let staying = rows.filter(|(_, goes)| goes.trim() == "<none>");
    staying.map(|(uid, _)| uid.to_owned()).collect()
}

/// Deletes every Pod of the Service at once and waits for others that take requests.
fn replace_pods(instance: &Instance, name: &str) {
    let before = pods(instance, name);
    let selector = format!("serving.knative.dev/service={name}");
    instance
        .kubectl(&format!("delete pods -l {selector} --wait=false"))
        .expect();
    let ready = "get pods -o jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
    instance.eventually(PATIENCE, || {
        let now = pods(instance, name);
        let replaced = !now.is_empty() && now.iter().all(|uid| !before.contains(uid));
        replaced && instance.kubectl(ready).expect().contains("True")
    });
}

#[track_caller]
fn assert_nothing_lost(what: &str, tally: &Tally) {
    assert!(tally.answered > 0, "{what}: nobody asked");
    assert!(
        tally.failed == 0,
        "{what}: {} of {} requests were lost:\n{}",
        tally.failed,
        tally.failed + tally.answered,
        tally.told.join("\n")
    );
}

#[test]
fn nothing_is_lost_while_revisions_roll_and_pods_go() {
    let instance = Instance::start();
    instance.load(App::Probe, "example.com/probe");
    let scales = [1, 3, 1, 2].map(|n| format!("autoscaling.knative.dev/min-scale: '{n}'"));
    roll(&instance, "steady", 0, &scales[0]);
    let host = "steady.default.localhost";
    let load = instance.keep_asking(host, "/echo?ms=5", EACH, PACE);
    let end = Instant::now() + duration();
    let mut edition = 0;
    while edition < 3 || Instant::now() < end {
        edition += 1;
        // A Pod that goes leaves a WebSocket half a minute, so each change gets a new one.
        let mut channel = instance.websocket(host);
        roll(
            &instance,
            "steady",
            edition,
            &scales[edition % scales.len()],
        );
        channel
            .echo("still here")
            .expect("the WebSocket outlives its revision");
        let mut channel = instance.websocket(host);
        replace_pods(&instance, "steady");
        channel
            .echo("and here")
            .expect("the WebSocket outlives the deletion of its Pod");
        assert_nothing_lost("steady", &load.tally());
    }
    let tally = load.stop();
    assert_nothing_lost("steady", &tally);
    // Without requests all go, the Pods that were kept for the WebSocket among them.
    instance
        .apply(&manifest("steady", edition + 1, ""))
        .expect();
    let all = || instance.kubectl("get pods -o name").expect();
    instance.eventually(PATIENCE, || all().is_empty());
}

#[test]
fn nothing_is_lost_between_zero_and_many() {
    let instance = Instance::start();
    instance.load(App::Probe, "example.com/probe");
    let scale = "autoscaling.knative.dev/max-scale: '4'";
    let manifest = manifest("burst", 0, scale);
    // Two requests per Pod at once: every burst needs several Pods and makes requests wait.
    let manifest = manifest.replace(
        "timeoutSeconds",
        "containerConcurrency: 2\n      timeoutSeconds",
    );
    instance.apply(&manifest).expect();
    instance
        .kubectl("wait ksvc/burst --for=condition=Ready --timeout=60s")
        .expect();
    let end = Instant::now() + duration();
    let mut bursts = 0;
    while bursts < 2 || Instant::now() < end {
        instance.eventually(PATIENCE, || pods(&instance, "burst").is_empty());
        let load = instance.keep_asking(
            "burst.default.localhost",
            "/echo?ms=50",
            EACH,
            Duration::ZERO,
        );
        instance.eventually(PATIENCE, || pods(&instance, "burst").len() > 1);
        assert_nothing_lost("burst", &load.stop());
        bursts += 1;
    }
}

/// `kill -9` of a container takes the requests with it that it was working on, and no others.
#[test]
fn a_killed_container_takes_only_its_own_requests_along() {
    let instance = Instance::start();
    instance.load(App::Probe, "example.com/probe");
    // What finds the process among those of other tests.
    let mark = instance.data_dir().display().to_string();
    let scale = "autoscaling.knative.dev/min-scale: '2'";
    let manifest = manifest("killed", 0, scale).replace("value: '0'", &format!("value: {mark}"));
    instance.apply(&manifest).expect();
    instance
        .kubectl("wait ksvc/killed --for=condition=Ready --timeout=60s")
        .expect();
    let load: Load = instance.keep_asking("killed.default.localhost", "/echo?ms=5", EACH, PACE);
    instance.eventually(PATIENCE, || load.tally().answered > 100);
    let process = application_with(&mark);
    run(
        std::process::Command::new("kill").args(["-9", &process]),
        "",
    )
    .expect();
    let restarts = "get pods -o jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    instance.eventually(PATIENCE, || {
        instance.kubectl(restarts).expect().contains('1')
    });
    let ready = "wait pods --all --for=condition=Ready --timeout=60s";
    instance.kubectl(ready).expect();
    let then = load.tally();
    assert!(
        then.failed <= 4 * EACH as u64,
        "more than were under way:\n{}",
        then.told.join("\n")
    );
    instance.eventually(PATIENCE, || load.tally().answered > then.answered + 100);
    let last = load.stop();
    assert_eq!(last.failed, then.failed, "{}", last.told.join("\n"));
}

/// The process ID of an application that was given `word` in its environment.
fn application_with(word: &str) -> String {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let mut found = entries.filter(|entry| {
        let read = |name| fs::read(entry.path().join(name)).unwrap_or_default();
        let read = |name| String::from_utf8_lossy(&read(name)).into_owned();
        read("environ").contains(word) && read("cmdline").contains("/app/probe")
    });
    let process = found.next().expect("a process of the Pod");
    process.file_name().to_string_lossy().into_owned()
}
