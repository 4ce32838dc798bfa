//! Small things one meets every day: Events of controllers, the node's registration and Lease,
//! usage at the first look, an image that is not there, verbs that find the instance.

use std::time::Duration;

use system::{Image, Instance, run};

const PATIENCE: Duration = Duration::from_secs(60);

const OBJECTS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {name: main, image: example.com/busybox, args: [-c, 'while :; do :; done']}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: example.com/busybox, args: [-c, 'exit 0']}]
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere}
spec:
  containers: [{name: main, image: '127.0.0.1:9/no/such:1'}]
";

#[test]
fn everyday_questions_have_kubernetes_answers() {
    let instance = Instance::start();
    let image = Image::busybox("example.com/busybox").expect("make the image");
    let archive = tempfile::tempdir().expect("a directory");
    let archive = archive.path().join("busybox.tar");
    image.write(&archive).expect("write the archive");
    // No --data-dir: the instance that KUBECONFIG is of is meant.
    let mut load = instance.inside(&system::binary());
    load.args(["image", "load"])
        .arg(&archive)
        .env_remove("REKINDLE_DATA_DIR")
        .env("KUBECONFIG", instance.kubeconfig());
    run(&mut load, "").expect();
    let other = archive.with_file_name("kubeconfig");
    std::fs::copy(instance.kubeconfig(), &other).expect("copy the kubeconfig");
    let refused = run(load.env("KUBECONFIG", &other), "").expect_failure();
    assert!(
        refused.contains("--data-dir names the instance"),
        "{refused}"
    );

    instance.apply(OBJECTS).expect();
    for wait in [
        "wait deploy/web --for=condition=Available --timeout=60s",
        "wait job/once --for=condition=Complete --timeout=60s",
    ] {
        instance.kubectl(wait).expect();
    }
    let top = instance.kubectl("top pod --no-headers -l app=web").expect();
    let cores = top.split_whitespace().nth(1).expect("a column of cores");
    assert!(cores.ends_with('m') && cores != "0m", "{top}");

    let said = |what: &str, wanted: &str| {
        instance.eventually(PATIENCE, || {
            instance.kubectl(what).expect().contains(wanted)
        });
    };
    said(
        "describe deploy web",
        "deployment-controller  Scaled up replica set web-",
    );
    said(
        "describe rs -l app=web",
        "replicaset-controller  Created pod: web-",
    );
    said("describe job once", "job-controller  Job completed");
    let messages = "get events -o jsonpath={.items[*].message}";
    let failed = "Failed to pull image \"127.0.0.1:9/no/such:1\": failed to resolve";
    said(messages, failed);

    let nodes = "get nodes -o jsonpath={.items[*].metadata.uid}";
    let node = instance.kubectl(nodes).expect();
    let name = instance.kubectl("get nodes -o name").expect();
    let lease = || {
        let time = "get lease -n kube-node-lease -o jsonpath={.items[*].spec.renewTime}";
        instance.kubectl(time).expect()
    };
    instance.eventually(PATIENCE, || !lease().is_empty());
    let first = lease();
    instance.eventually(PATIENCE, || lease() != first);
    // It comes back before kubectl would look whether it is gone.
    let delete = format!("delete {} --wait=false", name.trim());
    instance.kubectl(&delete).expect();
    instance.eventually(PATIENCE, || {
        let now = instance.kubectl(nodes).expect();
        !now.is_empty() && now != node
    });
    instance
        .kubectl("wait node --all --for=condition=Ready --timeout=60s")
        .expect();
    let owner =
        "get lease -n kube-node-lease -o jsonpath={.items[*].metadata.ownerReferences[*].uid}";
    instance.eventually(PATIENCE, || {
        let uid = instance.kubectl(nodes).expect();
        instance.kubectl(owner).expect() == uid
    });
    said("get pods -l app=web --no-headers", "Running");
}
