//! What is told of Pods and ReplicaSets that come and go, in the words of kube-controller-manager.

use super::*;

/// What has been told since the last time, with the made-up parts of names as `*`.
fn told(cluster: &mut Cluster) -> Vec<String> {
    let told = std::mem::take(&mut cluster.told);
    let starred = |word: &str| match word.split_once('-') {
        Some((base, _)) if matches!(base, "web" | "j") => format!("{base}-*"),
        _ => word.to_owned(),
    };
    let mut told: Vec<String> = told
        .iter()
        .map(|line| line.split(' ').map(starred).collect::<Vec<_>>().join(" "))
        .collect();
    told.sort();
    told
}

#[test]
fn a_deployment_tells_of_its_sizes_and_its_set_of_its_pods() {
    let mut cluster = Cluster::new();
    cluster.deployment(1, "a");
    cluster.settle();
    assert_eq!(
        told(&mut cluster),
        [
            "Deployment Normal ScalingReplicaSet Scaled up replica set web-* from 0 to 1",
            "ReplicaSet Normal SuccessfulCreate Created pod: web-*",
        ]
    );
    cluster.settle();
    assert!(told(&mut cluster).is_empty(), "nothing happens");
    cluster.deployment(0, "a");
    cluster.settle();
    assert_eq!(
        told(&mut cluster),
        [
            "Deployment Normal ScalingReplicaSet Scaled down replica set web-* from 1 to 0",
            "ReplicaSet Normal SuccessfulDelete Deleted pod: web-*",
        ]
    );
}

#[test]
fn a_refusal_is_told_once() {
    let mut cluster = Cluster::new();
    cluster.deployment(1, "a");
    cluster.plan_all();
    let name = cluster.world.list(REPLICA_SET, "ns")[0].name().to_owned();
    for pod in cluster.world.list(POD, "ns") {
        cluster.world.remove(POD, "ns", pod.name());
    }
    let fact = Fact::Refused {
        root: REPLICA_SET,
        namespace: "ns".to_owned(),
        name: name.clone(),
    };
    let refusal = json!({"code": 403, "message": "no more"});
    cluster.world.learn(fact, refusal);
    for expected in [1, 0] {
        let key = Key::new("ns", &name);
        let plan = crate::replica_set::plan(&cluster.cx, &key, &cluster.world);
        let is_refusal = |action: &&Action| {
            matches!(action, Action::Event { reason, message, .. }
            if reason == "FailedCreate" && message == "Error creating: no more")
        };
        assert_eq!(plan.actions.iter().filter(is_refusal).count(), expected);
        for action in &plan.actions {
            if matches!(action, Action::Status(_)) {
                cluster.perform(action);
            }
        }
    }
}

#[test]
fn a_job_tells_how_it_ended() {
    for (phase, backoff, expected) in [
        ("Succeeded", 6, "Job Normal Completed Job completed"),
        (
            "Failed",
            0,
            "Job Warning BackoffLimitExceeded Job has reached the specified backoff limit",
        ),
    ] {
        let mut cluster = Cluster::new();
        let template = json!({"spec": {"containers": [{"name": "c", "image": "a"}]}});
        let spec = json!({"backoffLimit": backoff, "completions": 1, "template": template});
        cluster.put(JOB, json!({"metadata": {"name": "j"}, "spec": spec}));
        cluster.settle();
        let made = told(&mut cluster);
        assert_eq!(made, ["Job Normal SuccessfulCreate Created pod: j-*"]);
        let mut pod = Value::clone(&cluster.world.list(POD, "ns")[0]);
        pod["status"]["phase"] = json!(phase);
        cluster.put(POD, pod);
        cluster.settle();
        assert_eq!(told(&mut cluster), [expected]);
    }
}

#[test]
fn sets_tell_of_their_pods() {
    let mut cluster = Cluster::new();
    let spec = json!({
        "replicas": 1, "serviceName": "peers",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {
            "metadata": {"labels": {"app": "db"}},
            "spec": {"containers": [{"name": "c", "image": "a"}]},
        },
    });
    let meta = json!({"name": "db", "generation": 1});
    let stateful = json!({"metadata": meta, "spec": spec});
    cluster.put(api::world::STATEFUL_SET, stateful.clone());
    cluster.settle();
    assert_eq!(
        told(&mut cluster),
        ["StatefulSet Normal SuccessfulCreate create Pod db-0 in StatefulSet db successful"]
    );
    let mut smaller = Value::clone(
        &cluster
            .world
            .get(api::world::STATEFUL_SET, "ns", "db")
            .expect("there"),
    );
    smaller["spec"]["replicas"] = json!(0);
    cluster.put(api::world::STATEFUL_SET, smaller);
    cluster.settle();
    assert_eq!(
        told(&mut cluster),
        ["StatefulSet Normal SuccessfulDelete delete Pod db-0 in StatefulSet db successful"]
    );
}
