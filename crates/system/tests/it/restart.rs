//! The daemon is killed with SIGKILL and started again: its state is there, and the containers
//! have gone on without it.

use std::time::Duration;

use system::{Image, Instance};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: counter}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: counter
      image: example.com/busybox
      args: [-c, 'i=0; while true; do echo line $i; i=$((i+1)); sleep 1; done']
";

#[test]
fn kill_9_keeps_objects_and_containers() {
    let mut instance = Instance::start();
    instance.load_image(&Image::busybox("example.com/busybox").expect("make the image"));
    instance.apply(POD).expect();
    instance
        .kubectl("create configmap kept --from-literal=k=v")
        .expect();
    instance
        .kubectl("wait pod/counter --for=condition=Ready --timeout=60s")
        .expect();
    let status = "get pod counter -o jsonpath={.metadata.uid},{.status.podIP},\
                  {.status.containerStatuses[0].containerID},\
                  {.status.containerStatuses[0].restartCount}";
    let before = instance.kubectl(status).expect();

    instance.kill_9();
    instance.restart();

    assert_eq!(
        instance
            .kubectl("get cm kept -o jsonpath={.data.k}")
            .expect(),
        "v"
    );
    instance
        .kubectl("wait pod/counter --for=condition=Ready --timeout=60s")
        .expect();
    assert_eq!(instance.kubectl(status).expect(), before);
    instance.kubectl("exec counter -- sh -c true").expect();
    let lines = || instance.kubectl("logs counter").expect();
    let then = lines().lines().count();
    instance.eventually(Duration::from_secs(30), || lines().lines().count() > then);
    assert!(
        lines().starts_with("line 0\n"),
        "the log goes on, from its start"
    );
}
