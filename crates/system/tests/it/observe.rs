//! What can be seen from outside: metrics under Knative's names.

use std::time::Duration;

use serde_json::json;
use system::{App, Instance};

use crate::traces::Collector;

const PATIENCE: Duration = Duration::from_secs(60);

const HELLO: &str = "
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello}
spec:
  template:
    metadata: {annotations: {autoscaling.knative.dev/min-scale: '1'}}
    spec: {containers: [{image: example.com/hello}]}
";

/// Starts the service `hello`, which keeps its Pod.
fn hello(instance: &Instance) {
    instance.load(App::Hello, "example.com/hello");
    instance.apply(HELLO).expect();
    instance
        .kubectl("wait ksvc/hello --for=condition=Ready --timeout=60s")
        .expect();
}

/// The value of the sample `name` of the revision `hello-00001`.
fn sample(metrics: &str, name: &str) -> Option<f64> {
    let wanted = format!("{name}{{k8s_namespace_name=\"default\",kn_service_name=\"hello\",");
    let line = metrics.lines().find(|line| {
        line.starts_with(&wanted) && line.contains("kn_revision_name=\"hello-00001\"")
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn metrics_have_knatives_names() {
    let instance = Instance::start();
    hello(&instance);
    instance.curl("hello.default.localhost", "/").expect();
    let console = format!("http://{}/metrics", instance.address("console"));
    let ask = |url: &str| {
        let mut curl = instance.inside("curl");
        system::run(curl.args(["-sf", "--max-time", "10", url]), "").expect()
    };
    // Activator and autoscaler; the target is 70 % of 100.
    for (name, accepts) in [
        ("kn_revision_request_concurrency", None),
        ("kn_revision_request_queued", Some(0.0)),
        ("http_server_request_duration_seconds_count", None),
        ("kn_revision_pods_desired", None),
        ("kn_revision_pods_requested", Some(1.0)),
        ("kn_revision_pods_count", Some(1.0)),
        ("kn_revision_pods_not_ready_count", Some(0.0)),
        ("kn_revision_panic_mode", Some(0.0)),
        ("kn_revision_concurrency_stable", None),
        ("kn_revision_concurrency_panic", None),
        ("kn_revision_concurrency_target", Some(70.0)),
    ] {
        instance.eventually(PATIENCE, || {
            let seen = sample(&ask(&console), name);
            seen.is_some_and(|seen| accepts.is_none_or(|value| value == seen))
        });
    }
    let text = ask(&console);
    assert!(text.contains("kn_workqueue_adds_total{name=\"Service\"}"));
    assert_eq!(text.matches("# EOF").count(), 1, "one text: {text}");
    // queue-proxy
    let pod = "get pods -l serving.knative.dev/service=hello -o jsonpath={.items[0].status.podIP}";
    let pod = instance.kubectl(pod).expect();
    let text = ask(&format!("http://{}:9091/metrics", pod.trim()));
    for name in [
        "kn_serving_queue_depth",
        "kn_serving_invocation_duration_seconds_count",
        "http_server_request_duration_seconds_count",
    ] {
        assert!(sample(&text, name).is_some(), "{name}: {text}");
    }
}

#[test]
fn metrics_leave_by_otlp() {
    let instance = Instance::start();
    hello(&instance);
    let (collector, address) = Collector::start(&instance);
    let patch = json!({"data": {
        "metrics-protocol": "http/protobuf",
        "metrics-endpoint": format!("http://{address}"),
        "metrics-export-interval": "1s",
    }})
    .to_string();
    let words = [
        "patch",
        "cm",
        "config-observability",
        "-n",
        "knative-serving",
        "-p",
    ];
    let words = [&words[..], &[&patch]].concat();
    instance.kubectl_args(&words, "").expect();
    for (service, name, attribute) in [
        (
            "activator",
            "kn.revision.request.concurrency",
            "hello-00001",
        ),
        ("activator", "http.server.request.duration", "200"),
        (
            "autoscaler",
            "kn.revision.pods.not_ready.count",
            "hello-00001",
        ),
        ("controller", "kn.workqueue.adds", "Revision"),
        ("webhook", "kn.webhook.handler.duration", "Revision"),
        ("controller", "kn.workqueue.process.duration", "Route"),
    ] {
        let wanted = [service, name, attribute].map(str::to_owned).into();
        instance.eventually(PATIENCE, || {
            instance.curl("hello.default.localhost", "/").expect();
            collector.numbers().contains(&wanted)
        });
    }
}
