//! Ephemeral containers: `kubectl debug` looks into a Pod that runs.

use std::time::Duration;

use serde_json::{Value, json};
use system::{Image, Instance};

const PATIENCE: Duration = Duration::from_secs(60);
const SUBRESOURCE: &str = "--raw=/api/v1/namespaces/default/pods/web/ephemeralcontainers";

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: example.com/busybox
      args:
        - -c
        - |
          mkdir /tmp/www
          echo home > /tmp/www/index.html
          httpd -p 8000 -h /tmp/www
          exec sleep 4321
";

/// The Pod with these ephemeral containers, as a request has it.
fn with(instance: &Instance, ephemeral: Value) -> String {
    let pod = instance.kubectl("get pod web -o json").expect();
    let mut pod: Value = serde_json::from_str(&pod).expect("JSON");
    pod["spec"]["ephemeralContainers"] = ephemeral;
    pod.to_string()
}

#[test]
fn a_running_pod_is_looked_into() {
    let instance = Instance::start();
    instance.load_image(&Image::busybox("example.com/busybox").expect("make the image"));
    instance.apply(POD).expect();
    instance
        .kubectl("wait pod/web --for=condition=Ready --timeout=60s")
        .expect();
    let script = "hostname; cat /proc/1/cmdline; wget -qO- http://127.0.0.1:8000/; exec sleep 600";
    let look = json!({"name": "look", "image": "example.com/busybox", "args": ["-c", script],
        "targetContainerName": "main"});
    let ask = json!({"name": "ask", "image": "example.com/busybox", "stdin": true,
        "stdinOnce": true});
    let both = with(&instance, json!([look, ask]));
    let replace = ["replace", SUBRESOURCE, "-f", "-"];
    instance.kubectl_args(&replace, &both).expect();
    let state = |name: &str| {
        let states = ".status.ephemeralContainerStatuses";
        let state = format!("jsonpath={{{states}[?(@.name=='{name}')].state}}");
        instance
            .kubectl_args(&["get", "pod", "web", "-o", &state], "")
            .expect()
    };
    for name in ["look", "ask"] {
        instance.eventually(PATIENCE, || state(name).contains("running"));
    }

    // It shares name and network with the others, and sees the processes of its target.
    let logs = || instance.kubectl("logs web -c look").expect();
    instance.eventually(PATIENCE, || logs().contains("home"));
    let said = logs();
    assert!(said.contains("web") && said.contains("4321"), "{said:?}");
    let inside = ["exec", "web", "-c", "look", "--", "cat", "/proc/1/cmdline"];
    let seen = instance.kubectl_args(&inside, "").expect();
    assert!(seen.contains("4321"), "{seen:?}");

    let attach = ["attach", "-i", "web", "-c", "ask"];
    let answer = instance.kubectl_args(&attach, "cat /proc/1/cmdline\nexit 3\n");
    assert!(
        answer.stdout.contains("sh"),
        "its own processes: {answer:?}"
    );
    instance.eventually(PATIENCE, || state("ask").contains("\"exitCode\":3"));

    let refused = instance.kubectl_args(&replace, &with(&instance, json!([])));
    let refused = refused.expect_failure();
    let wanted = "existing ephemeral containers \"look\" may not be removed";
    assert!(refused.contains(wanted), "{refused}");

    let help = instance.kubectl("debug --help");
    if help.stdout.contains("--profile") {
        let debug = "debug -i web --image=example.com/busybox --target=main -c peek -- sh";
        let words: Vec<&str> = debug.split(' ').collect();
        let answer = instance.kubectl_args(&words, "cat /proc/1/cmdline\nexit\n");
        assert!(answer.stdout.contains("4321"), "{answer:?}");
    }
    let pod = "get pod web -o jsonpath={.status.phase}";
    assert_eq!(instance.kubectl(pod).expect(), "Running");
    instance.kubectl("delete pod web").expect();
}
