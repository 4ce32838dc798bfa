//! The Eventing steps of the tutorial in `examples/tutorials/2020-eventing`, word for word where a
//! command is shown there.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use system::{Image, Instance};

const SOON: Duration = Duration::from_secs(30);
const NAMESPACE: &str = "event-example";
const BROKER_URL: &str = "http://default-broker.event-example.svc.cluster.local";

fn manifest(name: &str) -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/tutorials/2020-eventing"
    ))
    .join(name)
}

fn apply(instance: &Instance, name: &str) -> String {
    let path = manifest(name).display().to_string();
    let args = ["apply", "-f", &path, "-n", NAMESPACE];
    instance.kubectl_args(&args, "").expect()
}

/// One event as the consumers of the tutorial print it.
fn printed(kind: &str, source: &str, id: &str, message: &str) -> String {
    format!(
        "☁️  cloudevents.Event
Validation: valid
Context Attributes,
  specversion: 0.3
  type: {kind}
  source: {source}
  id: {id}
  datacontenttype: application/json
Extensions,
  knativearrivaltime: TIME
Data,
  {{
    \"msg\": \"{message}\"
  }}
"
    )
}

/// A consumer's log without what differs from run to run.
fn log(instance: &Instance, app: &str) -> String {
    let words = format!("logs -l app={app} -n {NAMESPACE} --tail=100");
    let log = instance.kubectl(&words).expect();
    let line = |line: &str| match line.split_once("knativearrivaltime: ") {
        Some((indent, _)) => format!("{indent}knativearrivaltime: TIME\n"),
        None => format!("{line}\n"),
    };
    log.lines().map(line).collect()
}

#[test]
fn eventing_2020() {
    let instance = Instance::start();
    instance.load_image(&Image::curl("radial/busyboxplus:curl").expect("image"));
    let said = instance.kubectl("create namespace event-example").expect();
    assert_eq!(said, "namespace/event-example created\n");
    instance
        .kubectl("label namespace event-example knative-eventing-injection=enabled")
        .expect();

    let broker = || instance.kubectl("--namespace event-example get Broker default");
    instance.eventually(SOON, || {
        let broker = broker();
        broker.ok && broker.stdout.contains(" True ")
    });
    let table = broker().expect();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    let columns = ["NAME", "URL", "AGE", "READY", "REASON"];
    assert!(
        columns.iter().all(|column| rows[0].contains(column)),
        "{table}"
    );
    assert!(rows[1].contains(&BROKER_URL), "{table}");

    for name in ["hello-display", "goodbye-display"] {
        let said = apply(&instance, &format!("{name}.yaml"));
        assert_eq!(
            said,
            format!("deployment.apps/{name} created\nservice/{name} created\n")
        );
    }
    for name in ["hello", "goodbye"] {
        let said = apply(&instance, &format!("{name}-trigger.yaml"));
        assert_eq!(
            said,
            format!("trigger.eventing.knative.dev/{name}-display created\n")
        );
    }
    instance
        .kubectl("wait trigger --all --for=condition=Ready --timeout=30s -n event-example")
        .expect();
    for name in ["hello-display", "goodbye-display"] {
        let words = format!("rollout status deploy/{name} -n event-example --timeout=30s");
        instance.kubectl(&words).expect();
    }

    apply(&instance, "producer.yaml");
    instance
        .kubectl("wait pod/curl --for=condition=Ready --timeout=30s -n event-example")
        .expect();
    let answers = attach(&instance);
    assert_eq!(answers.matches("202 Accepted").count(), 3, "{answers}");

    let hello = printed("greeting", "not-sendoff", "say-hello", "Hello Knative!");
    let goodbye = printed("not-greeting", "sendoff", "say-goodbye", "Goodbye Knative!");
    let both = "Hello Knative! Goodbye Knative!";
    let both = printed("greeting", "sendoff", "say-hello-goodbye", both);
    for (app, first) in [("hello-display", hello), ("goodbye-display", goodbye)] {
        let wanted = [first.clone() + &both, both.clone() + &first];
        instance.eventually(SOON, || log(&instance, app).matches("Data,").count() >= 2);
        let log = log(&instance, app);
        assert!(wanted.contains(&log), "{app}:\n{log}");
    }
}

/// `kubectl attach curl -it -n event-example` in a terminal, the three requests typed into it.
fn attach(instance: &Instance) -> String {
    let script = std::fs::read_to_string(manifest("send.sh")).expect("the requests");
    let mut terminal = instance.client("script");
    terminal.env("KUBECONFIG", instance.kubeconfig());
    terminal.args([
        "-qec",
        "kubectl attach curl -it -n event-example",
        "/dev/null",
    ]);
    let mut child = terminal
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start script");
    let mut keyboard = child.stdin.take().expect("piped above");
    let output = std::thread::spawn(move || child.wait_with_output());
    keyboard
        .write_all(script.as_bytes())
        .expect("kubectl reads");
    // The shell ends after the last request, and with it the container and kubectl.
    keyboard.write_all(b"\nexit\n").expect("kubectl reads");
    let output = output
        .join()
        .expect("the thread waits only")
        .expect("its end");
    drop(keyboard);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
