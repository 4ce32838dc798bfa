//! The autoscaler class `hpa.autoscaling.knative.dev`: Pods are counted by the CPU they use.

use std::time::Duration;

use system::{Image, Instance};

/// Burns as much CPU as its limit allows until told to stop; its HTTP server answers meanwhile.
const BUSY: &str = r#"
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: busy
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/class: hpa.autoscaling.knative.dev
        autoscaling.knative.dev/metric: cpu
        autoscaling.knative.dev/target: "50"
        autoscaling.knative.dev/min-scale: "1"
        autoscaling.knative.dev/max-scale: "2"
        autoscaling.knative.dev/window: 6s
    spec:
      containers:
        - image: example.com/busybox
          command: [sh, -c]
          args:
            - |
              mkdir /tmp/www
              echo busy > /tmp/www/index.html
              httpd -p $PORT -h /tmp/www
              until [ -e /tmp/stop ]; do :; done
              exec sleep 1000
          resources:
            requests: {cpu: 100m}
            limits: {cpu: 200m}
"#;

#[test]
fn pods_follow_the_cpu_they_use() {
    let instance = Instance::start();
    instance.load_image(&Image::busybox("example.com/busybox").unwrap());
    instance.apply(BUSY).expect();
    instance
        .kubectl("wait ksvc/busy --for=condition=Ready --timeout=60s")
        .expect();
    assert_eq!(
        instance.curl("busy.default.localhost", "/").expect(),
        "busy\n"
    );
    let names = || {
        let pods = instance.kubectl("get pods -o name").expect();
        pods.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    instance.eventually(Duration::from_secs(60), || names().len() == 2);
    let hpa = instance.kubectl("get hpa").expect();
    assert!(hpa.contains("Deployment/busy-00001-deployment"), "{hpa}");
    let described = instance.kubectl("describe hpa").expect();
    let reason = "New size: 2; reason: cpu resource utilization (percentage of request) above";
    assert!(described.contains(reason), "{described}");
    let scale = "jsonpath={.items[0].status.desiredScale}";
    instance.eventually(Duration::from_secs(30), || {
        let args = ["get", "podautoscalers", "-o", scale];
        instance.kubectl_args(&args, "").expect() == "2"
    });
    instance.eventually(Duration::from_secs(30), || {
        names().iter().all(|pod| {
            let stop = ["exec", pod, "-c", "user-container", "--"];
            let args = [&stop[..], &["sh", "-c", "echo > /tmp/stop"]].concat();
            instance.kubectl_args(&args, "").ok
        })
    });
    // Its shell does not hear SIGTERM, so the second Pod itself stays for its grace period.
    let replicas = "get deploy -o jsonpath={.items[0].spec.replicas}";
    instance.eventually(Duration::from_secs(90), || {
        instance.kubectl(replicas).expect() == "1"
    });
}
