//! The kinds of 2018 on the real binary: their manifests apply, events flow, and the status has
//! the shape of the time.

use std::path::PathBuf;
use std::time::Duration;

use system::{Instance, Outcome, run};

const SOON: Duration = Duration::from_secs(60);
const DISPLAY: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: display}
spec:
  selector: {matchLabels: {app: display}}
  template:
    metadata: {labels: {app: display}}
    spec:
      containers:
        - name: event-display
          image: gcr.io/knative-releases/knative.dev/eventing/cmd/event_display
---
apiVersion: v1
kind: Service
metadata: {name: display}
spec:
  selector: {app: display}
  ports: [{port: 80, targetPort: 8080}]
";

fn apply(instance: &Instance, path: &str) -> Outcome {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/corpus");
    let path = PathBuf::from(corpus).join(path).display().to_string();
    instance.kubectl_args(&["apply", "-f", &path], "")
}

fn await_ready(instance: &Instance, what: &str) {
    instance
        .kubectl(&format!("wait {what} --for=condition=Ready --timeout=60s"))
        .expect();
}

fn condition(instance: &Instance, what: &str, condition: &str) -> String {
    let path = format!(
        "{{.status.conditions[?(@.type==\"{condition}\")].status}}: \
         {{.status.conditions[?(@.type==\"{condition}\")].message}}"
    );
    let (kind, name) = what.split_once('/').expect("KIND/NAME");
    let path = format!("jsonpath={path}");
    instance
        .kubectl_args(&["get", kind, name, "-o", &path], "")
        .expect()
}

#[test]
fn channels_and_feeds_of_2018() {
    let instance = Instance::start();
    instance.apply(DISPLAY).expect();
    for path in [
        "2018-channels/clusterbus.yaml",
        "2018-channels/channel.yaml",
        "2018-channels/subscription.yaml",
    ] {
        apply(&instance, path).expect();
    }
    await_ready(&instance, "clusterbus/kafka");
    await_ready(&instance, "channels.channels.knative.dev/postcards");
    await_ready(&instance, "subscriptions.channels.knative.dev/postman");
    instance
        .kubectl("rollout status deploy/display --timeout=60s")
        .expect();
    let table = instance.kubectl("get chan").expect();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["NAME", "DOMAIN", "READY", "REASON", "AGE"]);
    let domain = "postcards-channel.default.svc.cluster.local";
    assert_eq!(rows[1][..3], ["postcards", domain, "True"]);

    // Who says `channels` today means today's.
    let today = instance.kubectl("get channels,sub -o name").expect();
    assert_eq!(
        today,
        "channel.messaging.knative.dev/postcards\nsubscription.messaging.knative.dev/postman\n"
    );

    let mut send = instance.rekindle("event");
    let url = format!("http://{domain}");
    send.args(["send", "--to-url", &url, "--id", "1", "--type", "card"]);
    send.args(["--source", "/sea", "--data", "\"wish you were here\""]);
    send.env("KUBECONFIG", instance.kubeconfig());
    run(&mut send, "").expect();
    let log = || instance.kubectl("logs deploy/display").expect();
    instance.eventually(SOON, || log().contains("wish you were here"));

    for path in [
        "2018-feeds/eventsource.yaml",
        "2018-feeds/eventtype.yaml",
        "2018-feeds/feed-of-a-schedule.yaml",
    ] {
        apply(&instance, path).expect();
    }
    await_ready(&instance, "feed/ticker");
    instance.eventually(SOON, || log().contains("tock"));
    instance.kubectl("delete feed ticker").expect();
    instance.eventually(SOON, || {
        instance
            .kubectl("get pingsource -o name")
            .expect()
            .is_empty()
    });

    apply(&instance, "2018-feeds/feed-of-pubsub.yaml").expect();
    let said = || condition(&instance, "feed/from-google", "DependenciesSatisfied");
    instance.eventually(SOON, || said().starts_with("False: "));
    assert!(said().contains("use a ContainerSource"), "{}", said());

    let refused = apply(&instance, "2018-channels/channel-on-two-buses.yaml");
    assert!(!refused.ok);
    let why = "expected exactly one, got both: spec.bus, spec.clusterBus";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
}

#[test]
fn a_flow_of_2018() {
    let instance = Instance::start();
    for path in [
        "2018-flows/account.yaml",
        "2018-flows/function.yaml",
        "2018-flows/flow-of-kubernetes-events.yaml",
    ] {
        apply(&instance, path).expect();
    }
    await_ready(&instance, "flow/cluster-news");
    let said = condition(&instance, "flow/cluster-news", "ActionTargetResolved");
    assert_eq!(
        said,
        "True: Resolved to: \"http://reader.default.svc.cluster.local\""
    );
    let event = "
apiVersion: v1
kind: Event
metadata: {name: herald, namespace: default}
involvedObject: {kind: Pod, namespace: default, name: nobody}
reason: Heard
message: hear ye
type: Normal
";
    instance.apply(event).expect();
    let logs = "logs -l serving.knative.dev/configuration=reader -c user-container --tail=-1";
    instance.eventually(SOON, || {
        let log = instance.kubectl(logs);
        log.ok && log.stdout.contains("hear ye")
    });
    instance.kubectl("delete flow cluster-news").expect();
    instance.eventually(SOON, || {
        let left = "get feeds,apiserversources,channels.channels.knative.dev,channels -o name";
        instance.kubectl(left).expect().is_empty()
    });
}
