//! Stories of StatefulSets and DaemonSets.

use api::world::{CONTROLLER_REVISION, DAEMON_SET, PERSISTENT_VOLUME_CLAIM, STATEFUL_SET};

use super::*;

impl Cluster {
    /// Changes the one object of that kind called `name`.
    fn alter(&mut self, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) {
        let object = self.world.get(kind, "ns", name).expect("there");
        let mut object = Value::clone(&object);
        change(&mut object);
        self.put(kind, object);
    }

    fn stateful_set(&mut self, replicas: i64, more: Value) {
        let claim =
            json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}});
        let mut spec = json!({
            "replicas": replicas,
            "serviceName": "peers",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [{"name": "c", "image": "a"}]},
            },
            "volumeClaimTemplates": [claim],
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        let meta = json!({"name": "db", "generation": 1});
        self.put(STATEFUL_SET, json!({"metadata": meta, "spec": spec}));
    }

    /// Names of Pods with their images.
    fn pods(&self) -> Vec<String> {
        let pods = self.world.list(POD, "ns");
        let image = |pod: &Value| {
            pod["spec"]["containers"][0]["image"]
                .as_str()
                .map(str::to_owned)
        };
        let say = |pod: &Value| format!("{} {}", pod.name(), image(pod).unwrap_or_default());
        pods.iter().map(|pod| say(pod)).collect()
    }

    fn status(&self, kind: Kind, name: &str) -> Value {
        self.world.get(kind, "ns", name).expect("there")["status"].clone()
    }

    fn image(&mut self, kind: Kind, name: &str, image: &str) {
        self.alter(kind, name, |set| {
            set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        });
    }
}

#[test]
fn a_stateful_sets_pods_come_in_order_with_names_and_claims_and_go_from_the_end() {
    let mut cluster = Cluster::new();
    cluster.pods_become_ready = false;
    cluster.stateful_set(3, json!({}));
    cluster.settle();
    assert_eq!(cluster.pods(), ["db-0 a"], "the next waits for the first");
    cluster.pods_become_ready = true;
    cluster.run_pods();
    cluster.settle();
    assert_eq!(cluster.pods(), ["db-0 a", "db-1 a", "db-2 a"]);
    let pod = cluster.world.get(POD, "ns", "db-1").expect("there");
    let spec = &pod["spec"];
    assert_eq!(
        (&spec["hostname"], &spec["subdomain"]),
        (&json!("db-1"), &json!("peers"))
    );
    assert_eq!(pod.label("apps.kubernetes.io/pod-index"), Some("1"));
    let volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}});
    assert_eq!(spec["volumes"], json!([volume]));
    let claim = cluster.status(PERSISTENT_VOLUME_CLAIM, "data-db-1");
    assert_eq!(
        claim,
        json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"]})
    );
    let status = cluster.status(STATEFUL_SET, "db");
    let counts = [
        "replicas",
        "readyReplicas",
        "availableReplicas",
        "currentReplicas",
    ];
    assert_eq!(counts.map(|key| status[key].as_i64()), [Some(3); 4]);
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(cluster.plan_all(), 0, "a second plan is empty");

    cluster.alter(STATEFUL_SET, "db", |set| set["spec"]["replicas"] = json!(1));
    cluster.plan_all();
    assert_eq!(cluster.pods(), ["db-0 a", "db-1 a"], "one at a time");
    cluster.settle();
    assert_eq!(cluster.pods(), ["db-0 a"]);
    assert_eq!(
        cluster.world.list(PERSISTENT_VOLUME_CLAIM, "ns").len(),
        3,
        "claims stay"
    );
}

#[test]
fn a_stateful_set_may_do_all_at_once_and_let_claims_go() {
    let mut cluster = Cluster::new();
    cluster.pods_become_ready = false;
    let retention = json!({"whenScaled": "Delete", "whenDeleted": "Delete"});
    let more = json!({
        "podManagementPolicy": "Parallel",
        "persistentVolumeClaimRetentionPolicy": retention,
        "ordinals": {"start": 5},
    });
    cluster.stateful_set(2, more);
    cluster.plan_all();
    assert_eq!(cluster.pods(), ["db-5 a", "db-6 a"]);
    let owner = |cluster: &Cluster| {
        let claim = cluster
            .world
            .get(PERSISTENT_VOLUME_CLAIM, "ns", "data-db-6")
            .expect("there");
        claim["metadata"]["ownerReferences"][0]["kind"].clone()
    };
    assert_eq!(owner(&cluster), "StatefulSet");
    cluster.alter(STATEFUL_SET, "db", |set| set["spec"]["replicas"] = json!(1));
    cluster.plan_all();
    assert_eq!(owner(&cluster), "Pod", "it goes with its Pod");
}

#[test]
fn an_update_of_a_stateful_set_stops_at_its_partition_and_can_be_taken_back() {
    let mut cluster = Cluster::new();
    cluster.stateful_set(3, json!({}));
    cluster.settle();
    let partition = |set: &mut Value, at: i64| {
        let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": at}});
        set["spec"]["updateStrategy"] = rolling;
    };
    cluster.alter(STATEFUL_SET, "db", |set| partition(set, 2));
    cluster.image(STATEFUL_SET, "db", "b");
    cluster.settle();
    assert_eq!(cluster.pods(), ["db-0 a", "db-1 a", "db-2 b"]);
    let status = cluster.status(STATEFUL_SET, "db");
    assert_ne!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(
        (&status["currentReplicas"], &status["updatedReplicas"]),
        (&json!(2), &json!(1))
    );
    cluster.world.remove(POD, "ns", "db-0");
    cluster.settle();
    assert_eq!(
        cluster.pods()[0],
        "db-0 a",
        "below the partition nothing changes"
    );

    cluster.alter(STATEFUL_SET, "db", |set| partition(set, 0));
    for _ in 0..50 {
        let writes = cluster.plan_all();
        assert!(cluster.world.list(POD, "ns").len() >= 2, "one at a time");
        cluster.run_pods();
        if writes == 0 {
            break;
        }
    }
    assert_eq!(cluster.pods(), ["db-0 b", "db-1 b", "db-2 b"]);
    let status = cluster.status(STATEFUL_SET, "db");
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    cluster.image(STATEFUL_SET, "db", "a");
    cluster.settle();
    assert_eq!(cluster.pods(), ["db-0 a", "db-1 a", "db-2 a"]);
    let revisions = cluster.world.list(CONTROLLER_REVISION, "ns");
    let mut numbers: Vec<i64> = revisions
        .iter()
        .filter_map(|one| one["revision"].as_i64())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3], "the first template is the newest again");
}

#[test]
fn a_failed_pod_of_a_stateful_set_is_made_anew() {
    let mut cluster = Cluster::new();
    cluster.stateful_set(1, json!({"volumeClaimTemplates": []}));
    cluster.settle();
    let before = cluster
        .world
        .get(POD, "ns", "db-0")
        .expect("there")
        .uid()
        .to_owned();
    cluster.alter(POD, "db-0", |pod| pod["status"]["phase"] = json!("Failed"));
    cluster.settle();
    assert_ne!(
        cluster.world.get(POD, "ns", "db-0").expect("there").uid(),
        before
    );
}

fn node(name: &str, taints: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": name, "resourceVersion": "1"},
        "spec": {"taints": taints, "unschedulable": true}})
}

fn daemon_set(cluster: &mut Cluster, more: Value) {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "log"}},
        "template": {
            "metadata": {"labels": {"app": "log"}},
            "spec": {"containers": [{"name": "c", "image": "a"}]},
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let meta = json!({"name": "log", "generation": 1});
    cluster.put(DAEMON_SET, json!({"metadata": meta, "spec": spec}));
}

fn places(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.world.list(POD, "ns");
    let place = |pod: &Value| {
        let image = pod["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap_or_default();
        format!(
            "{} {image}",
            pod["spec"]["nodeName"].as_str().unwrap_or_default()
        )
    };
    let mut places: Vec<String> = pods.iter().map(|pod| place(pod)).collect();
    places.sort();
    places
}

#[test]
fn a_daemon_sets_pods_are_where_they_may_be() {
    let mut cluster = Cluster::new();
    let taint = json!([{"key": "own", "effect": "NoSchedule"}]);
    cluster.world.insert(NODE, node("tainted", &taint));
    cluster.world.insert(NODE, node("two", &json!([])));
    daemon_set(&mut cluster, json!({}));
    cluster.settle();
    assert_eq!(
        places(&cluster),
        ["one a", "two a"],
        "an unschedulable node takes them"
    );
    let status = cluster.status(DAEMON_SET, "log");
    for key in [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "numberAvailable",
        "updatedNumberScheduled",
    ] {
        assert_eq!(status[key], 2, "{key}");
    }
    assert_eq!(cluster.plan_all(), 0, "a second plan is empty");
    cluster.world.insert(NODE, node("two", &taint));
    cluster.settle();
    assert_eq!(places(&cluster), ["one a"]);
    let name = cluster.world.list(POD, "ns")[0].name().to_owned();
    cluster.alter(POD, &name, |pod| pod["status"]["phase"] = json!("Failed"));
    cluster.settle();
    assert_eq!(places(&cluster), ["one a"]);
    assert_ne!(cluster.world.list(POD, "ns")[0].name(), name);
}

#[test]
fn an_update_of_a_daemon_set_goes_node_by_node() {
    for (rolling, least, most) in [
        (json!({"maxUnavailable": 1}), 1, 2),
        (json!({"maxUnavailable": 0, "maxSurge": 1}), 2, 3),
    ] {
        let mut cluster = Cluster::new();
        cluster.world.insert(NODE, node("two", &json!([])));
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
        daemon_set(&mut cluster, json!({"updateStrategy": strategy}));
        cluster.settle();
        cluster.image(DAEMON_SET, "log", "b");
        for _ in 0..50 {
            let writes = cluster.plan_all();
            let count = cluster.world.list(POD, "ns").len();
            assert!((least..=most).contains(&count), "{count} Pods, {rolling}");
            cluster.run_pods();
            if writes == 0 {
                break;
            }
        }
        assert_eq!(places(&cluster), ["one b", "two b"], "{rolling}");
    }
    let mut cluster = Cluster::new();
    daemon_set(
        &mut cluster,
        json!({"updateStrategy": {"type": "OnDelete"}}),
    );
    cluster.settle();
    cluster.image(DAEMON_SET, "log", "b");
    cluster.settle();
    assert_eq!(places(&cluster), ["one a"]);
    let name = cluster.world.list(POD, "ns")[0].name().to_owned();
    cluster.world.remove(POD, "ns", &name);
    cluster.settle();
    assert_eq!(places(&cluster), ["one b"]);
}
