//! Kubernetes' kinds that keep Pods beside Deployments: StatefulSets with names and volumes that
//! stay, DaemonSets, CronJobs.

use std::time::Duration;

use system::{Image, Instance};

/// A CronJob's next minute, and a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);

const KINDS: &str = "
apiVersion: v1
kind: Service
metadata: {name: peers}
spec:
  clusterIP: None
  selector: {app: db}
  ports: [{port: 80}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: peers
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: example.com/busybox
          args: [-c, 'hostname >> /data/starts; trap exit TERM; while true; do sleep 0.1; done']
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {name: main, image: example.com/busybox, args: [-c, 'trap exit TERM; while true; do sleep 0.1; done']}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: '* * * * *'
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
            - {name: main, image: example.com/busybox, args: [-c, 'echo ticked']}
";

#[test]
fn sets_keep_names_and_volumes_daemons_run_and_jobs_come_by_the_clock() {
    let instance = Instance::start();
    instance.load_image(&Image::busybox("example.com/busybox").expect("make the image"));
    instance.apply(KINDS).expect();
    for set in ["statefulset/db", "daemonset/everywhere"] {
        instance
            .kubectl(&format!("rollout status {set} --timeout=120s"))
            .expect();
    }
    let pods = instance.kubectl("get pods -l app=db -o jsonpath={.items[*].metadata.name}");
    assert_eq!(pods.expect(), "db-0 db-1");
    let claims = "get pvc -o jsonpath={.items[*].metadata.name}:{.items[*].status.phase}";
    assert_eq!(
        instance.kubectl(claims).expect(),
        "data-db-0 data-db-1:Bound Bound"
    );
    let ip = instance
        .kubectl("get pod db-0 -o jsonpath={.status.podIP}")
        .expect();
    let look = "exec db-1 -- nslookup db-0.peers.default.svc.cluster.local";
    instance.eventually(PATIENCE, || instance.kubectl(look).stdout.contains(&ip));

    let uid = "get pod db-0 --ignore-not-found -o jsonpath={.metadata.uid}";
    let before = instance.kubectl(uid).expect();
    instance.kubectl("delete pod db-0").expect();
    instance.eventually(PATIENCE, || {
        let now = instance.kubectl(uid).expect();
        !now.is_empty() && now != before
    });
    instance
        .kubectl("wait pod/db-0 --for=condition=Ready --timeout=120s")
        .expect();
    let starts = "exec db-0 -- cat /data/starts";
    instance.eventually(PATIENCE, || {
        let starts = instance.kubectl(starts);
        starts.stdout.split_whitespace().eq(["db-0", "db-0"])
    });

    let template = r#"{"spec":{"template":{"metadata":{"annotations":{"again":"yes"}}}}}"#;
    for set in ["statefulset/db", "daemonset/everywhere"] {
        instance
            .kubectl_args(&["patch", set, "-p", template], "")
            .expect();
        instance
            .kubectl(&format!("rollout status {set} --timeout=120s"))
            .expect();
        let history = instance.kubectl(&format!("rollout history {set}")).expect();
        assert!(
            history.lines().any(|line| line.starts_with('2')),
            "{history}"
        );
    }
    let again = "get pods -l app=db -o jsonpath={.items[*].metadata.annotations.again}";
    assert_eq!(instance.kubectl(again).expect(), "yes yes");
    let row = instance
        .kubectl("get daemonset everywhere --no-headers")
        .expect();
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(row[1..6], ["1", "1", "1", "1", "1"]);

    let done = "get jobs -o jsonpath={.items[*].status.succeeded}";
    instance.eventually(PATIENCE, || instance.kubectl(done).stdout.contains('1'));
    let last = "get cronjob tick -o jsonpath={.status.lastScheduleTime}";
    assert!(instance.kubectl(last).expect().ends_with(":00Z"));
    let unclear = KINDS.replace("'* * * * *'", "'* * *'");
    let said = instance.apply(&unclear).expect_failure();
    assert!(
        said.contains("expected exactly 5 fields, found 3: [* * *]"),
        "{said}"
    );
}

const BOUNDED: &str = "
apiVersion: v1
kind: ResourceQuota
metadata: {name: small}
spec:
  hard: {pods: 1, requests.memory: 100Mi, count/configmaps: 3}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: two}
spec:
  replicas: 2
  selector: {matchLabels: {app: two}}
  template:
    metadata: {labels: {app: two}}
    spec:
      containers:
        - {name: main, image: example.com/none, resources: {requests: {memory: 40Mi}}}
";
const RANGE: &str = "
apiVersion: v1
kind: LimitRange
metadata: {name: usual}
spec:
  limits:
    - {type: Container, default: {memory: 30Mi}, max: {memory: 50Mi}}
";

#[test]
fn quotas_and_limit_ranges_hold() {
    let instance = Instance::start();
    instance.apply(BOUNDED).expect();
    let used = "get quota small -o jsonpath={.status.used.pods},{.status.used.requests\\.memory}";
    instance.eventually(PATIENCE, || instance.kubectl(used).stdout == "1,40Mi");
    let why =
        "get deploy two -o jsonpath={.status.conditions[?(@.type==\"ReplicaFailure\")].message}";
    let exceeded =
        "is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1";
    instance.eventually(PATIENCE, || instance.kubectl(why).stdout.contains(exceeded));
    instance.kubectl("delete deploy two").expect();
    instance.eventually(PATIENCE, || instance.kubectl(used).stdout == "0,0");

    let run = "run silent --image=example.com/none --restart=Never";
    let said = instance.kubectl(run).expect_failure();
    let unsaid = "pods \"silent\" is forbidden: failed quota: small: must specify requests.memory for: silent";
    assert!(said.contains(unsaid), "{said}");
    instance.apply(RANGE).expect();
    instance.kubectl(run).expect();
    let given = "get pod silent -o jsonpath={.spec.containers[0].resources}";
    let given = instance.kubectl(given).expect();
    assert_eq!(
        given,
        r#"{"limits":{"memory":"30Mi"},"requests":{"memory":"30Mi"}}"#
    );
    let large = r#"{"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"memory":"60Mi"}}}]}}"#;
    let large = format!("run large --image=i --restart=Never --overrides={large}");
    let said = instance.kubectl(&large).expect_failure();
    let most = "maximum memory usage per Container is 50Mi, but limit is 60Mi";
    assert!(said.contains(most), "{said}");

    // `kube-root-ca.crt` is the first.
    for name in ["second", "third"] {
        instance
            .kubectl(&format!("create configmap {name}"))
            .expect();
    }
    let said = instance.kubectl("create configmap fourth").expect_failure();
    let full =
        "requested: count/configmaps=1, used: count/configmaps=3, limited: count/configmaps=3";
    assert!(said.contains(full), "{said}");
}
