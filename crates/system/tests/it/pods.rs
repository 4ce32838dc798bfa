//! What the node owes Pods beside running them: Events, volumes that follow their sources, access
//! to the API, request logs.

use std::fs;
use std::time::Duration;

use system::{App, Image, Instance};

const PATIENCE: Duration = Duration::from_secs(60);

const PODS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: red}
---
apiVersion: v1
kind: Pod
metadata:
  name: client
  labels: {stage: one}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: shell
      image: example.com/client
      args: [-c, 'while true; do sleep 1; done']
      volumeMounts:
        - {name: settings, mountPath: /settings}
        - {name: self, mountPath: /self}
  volumes:
    - name: settings
      configMap: {name: settings}
    - name: self
      downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: crashing}
spec:
  automountServiceAccountToken: false
  containers:
    - {name: shell, image: example.com/client, args: [-c, exit 1]}
---
apiVersion: v1
kind: Pod
metadata: {name: without}
spec:
  containers:
    - {name: shell, image: example.com/absent, imagePullPolicy: Never}
";

/// A shell, and kubectl as a program that finds its cluster by itself.
fn client() -> Image {
    let mut image = Image::busybox("example.com/client").expect("make the image");
    let kubectl = fs::canonicalize("/usr/bin/kubectl").expect("kubectl");
    let kubectl = fs::read(kubectl).expect("kubectl");
    image.files.push(("bin/kubectl".to_owned(), 0o755, kubectl));
    image
}

#[test]
fn events_volumes_and_the_api_from_inside() {
    let instance = Instance::start();
    instance.load_image(&client());
    instance.apply(PODS).expect();
    instance
        .kubectl("wait pod/client --for=condition=Ready --timeout=60s")
        .expect();
    let inside = |words: &str| instance.kubectl(&format!("exec client -- {words}"));

    // Volumes follow.
    assert_eq!(inside("cat /settings/colour").expect(), "red");
    let patch = r#"{"data":{"colour":"blue"}}"#;
    let patch = ["patch", "configmap", "settings", "-p", patch];
    instance.kubectl_args(&patch, "").expect();
    instance.eventually(PATIENCE, || {
        inside("cat /settings/colour").expect() == "blue"
    });
    instance
        .kubectl("label pod client stage=two --overwrite")
        .expect();
    instance.eventually(PATIENCE, || {
        inside("cat /self/labels").expect().contains("\"two\"")
    });

    // The API, as client libraries look for it.
    let binding =
        "create clusterrolebinding look --clusterrole=view --serviceaccount=default:default";
    let colour = "kubectl get configmap settings -o jsonpath={.data.colour}";
    let refused = inside(colour).expect_failure();
    assert!(
        refused.contains("system:serviceaccount:default:default"),
        "{refused}"
    );
    instance.kubectl(binding).expect();
    assert_eq!(inside(colour).expect(), "blue");
    let named = "KUBERNETES_SERVICE_HOST=kubernetes.default.svc kubectl get --raw /openid/v1/jwks";
    let named = ["exec", "client", "--", "sh", "-c", named];
    let keys = instance.kubectl_args(&named, "").expect();
    assert!(keys.contains("\"ES256\""), "{keys}");
    let mounts = "get pod crashing -o jsonpath={.spec.containers[0].volumeMounts}";
    assert_eq!(instance.kubectl(mounts).expect(), "", "it has declined");

    // Events.
    let events = |pod: &str, rows: &str| {
        let selector = format!("involvedObject.name={pod}");
        let rows = format!("jsonpath={{range .items[*]}}{rows}{{\"\\n\"}}{{end}}");
        let args = ["get", "events", "--field-selector", &selector, "-o", &rows];
        instance.kubectl_args(&args, "").expect()
    };
    let has = |pod: &str, row: &str, rows: &str| events(pod, rows).lines().any(|have| have == row);
    let reasons = "{.reason} {.source.component} {.involvedObject.fieldPath}";
    for reason in ["Pulled", "Created", "Started"] {
        let row = format!("{reason} kubelet spec.containers{{shell}}");
        instance.eventually(PATIENCE, || has("client", &row, reasons));
    }
    let described = instance.kubectl("describe pod client").expect();
    assert!(described.contains("Started container shell"), "{described}");
    instance.eventually(PATIENCE, || {
        has(
            "without",
            "Failed Error: ErrImageNeverPull",
            "{.reason} {.message}",
        )
    });
    instance.eventually(PATIENCE, || {
        has("crashing", "BackOff 2", "{.reason} {.count}")
    });
    instance.kubectl("delete pod client").expect();
    instance.eventually(PATIENCE, || {
        has(
            "client",
            "Killing Stopping container shell",
            "{.reason} {.message}",
        )
    });
}

const HELLO: &str = "
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: hello}
spec: {template: {spec: {containers: [{image: example.com/hello}]}}}
";

#[test]
fn requests_are_logged_where_the_configuration_says_so() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    let on = r#"{"data":{"logging.enable-request-log":"true"}}"#;
    let patch = [
        "patch",
        "cm",
        "config-observability",
        "-n",
        "knative-serving",
        "-p",
        on,
    ];
    instance.kubectl_args(&patch, "").expect();
    instance.apply(HELLO).expect();
    instance
        .kubectl("wait ksvc/hello --for=condition=Ready --timeout=30s")
        .expect();
    instance
        .curl("hello.default.localhost", "/some/path")
        .expect();
    let log = "logs -l serving.knative.dev/service=hello -c queue-proxy --tail=-1";
    let line = "\"requestMethod\": \"GET\", \"requestUrl\": \"/some/path\"";
    instance.eventually(PATIENCE, || instance.kubectl(log).expect().contains(line));
}
