//! The main job: apply, call, zero, and back.

use std::time::Duration;

use system::{App, Instance};

const HELLO: &str = "
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: hello
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/window: 6s
    spec:
      containers:
        - image: example.com/hello
          env:
            - name: TARGET
              value: System
";

#[test]
fn apply_call_zero_and_back() {
    let instance = Instance::start();
    instance.load(App::Hello, "example.com/hello");
    instance.apply(HELLO).expect();
    instance
        .kubectl("wait ksvc/hello --for=condition=Ready --timeout=30s")
        .expect();
    assert_eq!(
        instance.curl("hello.default.localhost", "/").expect(),
        "Hello System!\n"
    );
    let pods = || instance.kubectl("get pods -o name").expect();
    assert!(!pods().is_empty());
    instance.eventually(Duration::from_secs(60), || pods().is_empty());
    assert_eq!(
        instance.curl("hello.default.localhost", "/").expect(),
        "Hello System!\n"
    );
    assert!(!pods().is_empty());
    instance.kubectl("delete ksvc hello").expect();
    instance.eventually(Duration::from_secs(60), || pods().is_empty());
}
