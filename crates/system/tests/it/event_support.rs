//! What tests of events share: consumers, Triggers, posting to an address of the cluster.

use std::time::Duration;

use system::{App, Instance, run};

/// Longest wait for what should happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// An image this program stands in for.
pub(crate) const DISPLAY: &str = "gcr.io/knative-releases/knative.dev/eventing/cmd/event_display";
const CONSUMER: &str = "example.com/consumer";

/// A Deployment of the event display and a Service before it.
pub(crate) fn display(name: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: event-display, image: {DISPLAY}}}]
---
{}",
        service(name)
    )
}

pub(crate) fn service(name: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: 8080}}]
"
    )
}

pub(crate) const BROKER: &str = "
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default}
";

/// Waits until all objects of a kind are ready.
#[track_caller]
pub(crate) fn ready(instance: &Instance, what: &str) {
    let wait = format!("wait --for=condition=Ready --timeout=60s {what}");
    instance.kubectl(&wait).expect();
}

/// Posts an event to the address in the status of `what`; answers the status code.
pub(crate) fn post(instance: &Instance, what: &str, id: &str, kind: &str) -> String {
    send(instance, what, (id, kind), &[], "{}").0
}

/// Posts an event with more headers and data to the address in the status of `what`; answers the
/// status code and the body.
pub(crate) fn send(
    instance: &Instance,
    what: &str,
    (id, kind): (&str, &str),
    headers: &[&str],
    data: &str,
) -> (String, String) {
    let url = instance
        .kubectl(&format!("get {what} -o jsonpath={{.status.address.url}}"))
        .expect();
    let (id, kind) = (format!("Ce-Id: {id}"), format!("Ce-Type: {kind}"));
    let mut all = vec![
        "Ce-Specversion: 1.0",
        "Ce-Source: /test",
        "Content-Type: application/json",
        &id,
        &kind,
    ];
    all.extend(headers);
    request(instance, &url, &all, data)
}

/// Posts `data` to a URL that the broker answers at; answers the status code and the body.
pub(crate) fn request(
    instance: &Instance,
    url: &str,
    headers: &[&str],
    data: &str,
) -> (String, String) {
    let url = url::split(url);
    let ip = instance
        .kubectl("get svc -n knative-eventing broker-ingress -o jsonpath={.spec.clusterIP}")
        .expect();
    let mut curl = instance.inside("curl");
    curl.args(["-sS", "--max-time", "60", "-w", "\n%{http_code}"]);
    curl.arg(format!("http://{ip}{}", url.path));
    curl.arg("-H").arg(format!("Host: {}", url.host));
    for header in headers {
        curl.args(["-H", header]);
    }
    curl.args(["-d", data]);
    let answer = run(&mut curl, "").expect();
    let (body, status) = answer
        .rsplit_once('\n')
        .expect("the status is the last line");
    (status.to_owned(), body.to_owned())
}

/// The parts of `http://HOST/PATH`.
mod url {
    pub(crate) struct Parts {
        pub(crate) host: String,
        pub(crate) path: String,
    }

    pub(crate) fn split(url: &str) -> Parts {
        let rest = url.strip_prefix("http://").expect("an http URL");
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        Parts {
            host: host.to_owned(),
            path: format!("/{path}"),
        }
    }
}

/// How often the display behind `selector` has printed an event with this ID.
pub(crate) fn printed(instance: &Instance, selector: &str, id: &str) -> usize {
    let logs = instance.kubectl(&format!("logs -l {selector} --tail=-1 --all-containers"));
    logs.stdout
        .lines()
        .filter(|line| line.trim() == format!("id: {id}"))
        .count()
}

pub(crate) fn trigger(name: &str, filter: &str, subscriber: &str, delivery: &str) -> String {
    format!(
        "
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {{name: {name}}}
spec:
  broker: default
  filter: {{attributes: {{{filter}}}}}
  subscriber: {subscriber}
  delivery: {delivery}
"
    )
}

/// Makes the image of [`consumer`] known.
pub(crate) fn load_consumer(instance: &Instance) {
    instance.load(App::Consumer, CONSUMER);
}

/// A Deployment of the consumer with `env` (`{name: …, value: …}, …`), and a Service before it.
pub(crate) fn consumer(name: &str, env: &str) -> String {
    format!(
        "
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: consumer, image: {CONSUMER}, env: [{env}]}}]
---
{}",
        service(name)
    )
}

/// What the Pods behind a [`consumer`] have printed.
pub(crate) fn seen(instance: &Instance, name: &str) -> String {
    instance
        .kubectl(&format!("logs -l app={name} --tail=-1 --all-containers"))
        .stdout
}

/// Waits until Deployments run.
#[track_caller]
pub(crate) fn rolled_out(instance: &Instance, names: &[&str]) {
    for name in names {
        let wait = format!("rollout status deploy/{name} --timeout=60s");
        instance.kubectl(&wait).expect();
    }
}
