//! Knative's `event_display`, which the daemon stands in for: as a Deployment, as a Knative
//! Service, and out of the way where the image itself is in the store.

use std::time::Duration;

use system::{App, Image, Instance, run};

const IMAGE: &str = "gcr.io/knative-releases/knative.dev/eventing/cmd/event_display";
const SOON: Duration = Duration::from_secs(30);

fn deployment(image: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: display}}
spec:
  selector: {{matchLabels: {{app: display}}}}
  template:
    metadata: {{labels: {{app: display}}}}
    spec:
      containers: [{{name: event-display, image: {image}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: display}}
spec:
  selector: {{app: display}}
  ports: [{{port: 80, targetPort: 8080}}]
"
    )
}

fn cluster_ip(instance: &Instance) -> String {
    instance
        .kubectl("rollout status deploy/display --timeout=30s")
        .expect();
    instance
        .kubectl("get svc display -o jsonpath={.spec.clusterIP}")
        .expect()
}

/// Posts with curl's arguments; answers the status.
fn post(instance: &Instance, url: &str, args: &[&str]) -> String {
    let mut curl = instance.inside("curl");
    curl.args(["-sS", "--max-time", "20", "-o", "/dev/null"]);
    curl.args(["-w", "%{http_code}", url]).args(args);
    run(&mut curl, "").expect()
}

#[test]
fn a_deployment_prints_its_events() {
    let instance = Instance::start();
    instance.apply(&deployment(IMAGE)).expect();
    let url = format!("http://{}/", cluster_ip(&instance));
    let binary = [
        "-H",
        "Ce-Id: say-hello",
        "-H",
        "Ce-Specversion: 0.3",
        "-H",
        "Ce-Type: greeting",
        "-H",
        "Ce-Source: not-sendoff",
        "-H",
        "Content-Type: application/json",
        "-d",
        "{\"msg\":\"Hello Knative!\"}",
    ];
    assert_eq!(post(&instance, &url, &binary), "200");
    let mut send = instance.rekindle("event");
    send.args([
        "send",
        "--to-url",
        "http://display.default.svc.cluster.local",
    ]);
    send.args([
        "--id",
        "1",
        "--type",
        "t",
        "--source",
        "/s",
        "--extension",
        "beats=true",
    ]);
    send.args(["--mode", "structured", "--data", "[1]"]);
    send.env("KUBECONFIG", instance.kubeconfig());
    assert_eq!(
        run(&mut send, "").expect(),
        "Event (ID: 1) have been sent.\n"
    );
    assert_eq!(post(&instance, &url, &["-d", "no event"]), "400");
    assert_eq!(
        instance.kubectl("logs deploy/display").expect(),
        "☁️  cloudevents.Event
Context Attributes,
  specversion: 0.3
  type: greeting
  source: not-sendoff
  id: say-hello
  datacontenttype: application/json
Data,
  {
    \"msg\": \"Hello Knative!\"
  }
☁️  cloudevents.Event
Context Attributes,
  specversion: 1.0
  type: t
  source: /s
  id: 1
  datacontenttype: application/json
Extensions,
  beats: true
Data,
  [
    1
  ]
"
    );
}

#[test]
fn a_knative_service_prints_its_events() {
    let instance = Instance::start();
    instance
        .apply(&format!(
            "
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {{name: display}}
spec:
  template:
    spec: {{containers: [{{image: {IMAGE}}}]}}
"
        ))
        .expect();
    let served = || {
        let url = format!("http://{}/", instance.address("http"));
        let args = [
            "-H",
            "Host: display.default.localhost",
            "-H",
            "Ce-Id: 1",
            "-H",
            "Ce-Specversion: 1.0",
            "-H",
            "Ce-Type: t",
            "-H",
            "Ce-Source: /s",
            "-X",
            "POST",
        ];
        post(&instance, &url, &args) == "200"
    };
    instance.eventually(SOON, served);
    let logs = instance
        .kubectl("logs -l serving.knative.dev/service=display -c user-container")
        .expect();
    assert!(logs.contains("  type: t\n"), "{logs}");
}

#[test]
fn an_image_that_is_here_runs_itself() {
    let instance = Instance::start();
    instance.load_image(&Image::of(App::Hello, IMAGE).expect("build the test application"));
    instance.apply(&deployment(IMAGE)).expect();
    let mut curl = instance.inside("curl");
    let url = format!("http://{}/", cluster_ip(&instance));
    curl.args(["-sS", "-f", "--retry-connrefused", "--retry", "20", &url]);
    assert!(run(&mut curl, "").expect().starts_with("Hello "));
}
