//! Stories: a World is planned until nothing more happens, and then planned again: nothing.

use api::object::ObjectExt;
use api::world::{
    Action, Context, DEPLOYMENT, ENDPOINTS, Fact, JOB, Key, Kind, NODE, POD, REPLICA_SET, SERVICE,
    World,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::planners;

mod cron;
mod sets;
mod told;

/// A World, and whoever else acts in a cluster: a node that runs whatever Pod it sees.
struct Cluster {
    world: World,
    cx: Context,
    count: u64,
    pods_become_ready: bool,
    /// Events: object, reason, message.
    told: Vec<String>,
}

impl Cluster {
    fn new() -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut world = World::new(now);
        let node = json!({"metadata": {"name": "one", "uid": "n", "resourceVersion": "1"}});
        world.insert(NODE, node);
        let cx = Context {
            binds_pods: true,
            ..Context::default()
        };
        Self {
            world,
            cx,
            count: 1,
            pods_become_ready: true,
            told: Vec::new(),
        }
    }

    fn put(&mut self, kind: Kind, mut object: Value) {
        self.count += 1;
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        object["metadata"]["namespace"] = json!("ns");
        object["metadata"]["resourceVersion"] = json!(self.count.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", self.count));
            object["metadata"]["creationTimestamp"] =
                json!(format!("2026-01-01T00:00:{:02}Z", self.count % 60));
        }
        self.world.insert(kind, object);
    }

    /// Plans everything until it is quiet; how many rounds it took.
    fn settle(&mut self) -> usize {
        for round in 0..100 {
            let writes = self.plan_all();
            self.run_pods();
            if writes == 0 {
                return round;
            }
        }
        panic!("not quiet after 100 rounds");
    }

    fn plan_all(&mut self) -> usize {
        let mut writes = 0;
        for planner in planners() {
            for object in self.world.list(planner.root, "ns") {
                self.cx.seed += 1;
                let key = Key::new("ns", object.name());
                let plan = (planner.plan)(&self.cx, &key, &self.world);
                writes += plan
                    .actions
                    .into_iter()
                    .filter(|action| self.perform(action))
                    .count();
            }
        }
        writes
    }

    fn perform(&mut self, action: &Action) -> bool {
        match action {
            Action::Create(object) | Action::Update(object) | Action::Status(object) => {
                let kind = Kind::find(object.api_version(), object.kind()).expect("a kind");
                self.put(kind, object.clone());
            }
            Action::Delete {
                kind,
                namespace,
                name,
                ..
            } => self.world.remove(*kind, namespace, name),
            Action::Event {
                regarding,
                event_type,
                reason,
                message,
            } => {
                let kind = regarding.kind();
                let told = format!("{kind} {event_type} {reason} {message}");
                self.told.push(told);
                return false;
            }
            _ => return false,
        }
        true
    }

    fn run_pods(&mut self) {
        for pod in self.world.list(POD, "ns") {
            if self.pods_become_ready && pod["status"]["podIP"].is_null() {
                let mut pod = Value::clone(&pod);
                pod["status"] = json!({
                    "phase": "Running", "podIP": format!("10.0.0.{}", self.count % 250),
                    "conditions": [{"type": "Ready", "status": "True"}],
                });
                self.put(POD, pod);
            }
        }
    }

    fn deployment(&mut self, replicas: i64, image: &str) {
        let mut object = match self.world.get(DEPLOYMENT, "ns", "web") {
            Some(existing) => Value::clone(&existing),
            None => json!({"metadata": {"name": "web", "generation": 1}}),
        };
        object["spec"] = json!({
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        });
        self.put(DEPLOYMENT, object);
    }

    fn fail_pods(&mut self) {
        let now = crate::condition::seconds(self.world.now());
        let ended = json!({"state": {"terminated": {"finishedAt": now, "exitCode": 1}}});
        for pod in self.world.list(POD, "ns") {
            let mut pod = Value::clone(&pod);
            if pod["status"]["phase"].is_null() {
                pod["status"] = json!({"phase": "Failed", "containerStatuses": [ended]});
                self.put(POD, pod);
            }
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Value)) {
        let deployment = self.world.get(DEPLOYMENT, "ns", "web").expect("there");
        let mut deployment = Value::clone(&deployment);
        change(&mut deployment);
        self.put(DEPLOYMENT, deployment);
    }

    fn deployment_condition(&self, kind: &str) -> Option<Value> {
        let deployment = self.world.get(DEPLOYMENT, "ns", "web")?;
        crate::condition::get(&deployment, kind).cloned()
    }

    fn images(&self) -> Vec<String> {
        let pods = self.world.list(POD, "ns");
        let image = |pod: &Value| {
            pod["spec"]["containers"][0]["image"]
                .as_str()
                .map(str::to_owned)
        };
        let mut images: Vec<String> = pods.iter().filter_map(|pod| image(pod)).collect();
        images.sort();
        images
    }
}

#[test]
fn a_deployment_gets_its_pods_and_reports_them() {
    let mut cluster = Cluster::new();
    cluster.deployment(3, "a");
    cluster.settle();
    assert_eq!(cluster.images(), ["a", "a", "a"]);
    let pod = &cluster.world.list(POD, "ns")[0];
    assert_eq!(pod["spec"]["nodeName"], "one");
    let deployment = cluster.world.get(DEPLOYMENT, "ns", "web").expect("there");
    assert_eq!(deployment["status"]["availableReplicas"], 3);
    let progressing = &deployment["status"]["conditions"][1];
    assert_eq!(progressing["reason"], "NewReplicaSetAvailable");
    assert_eq!(
        deployment.annotation("deployment.kubernetes.io/revision"),
        Some("1")
    );
    assert_eq!(cluster.plan_all(), 0, "a second plan is empty");
}

#[test]
fn scaling_goes_to_zero_and_back() {
    let mut cluster = Cluster::new();
    cluster.deployment(2, "a");
    cluster.settle();
    for (replicas, pods) in [(0, 0), (1, 1), (4, 4), (2, 2)] {
        cluster.deployment(replicas, "a");
        cluster.settle();
        assert_eq!(cluster.images().len(), pods);
    }
    assert_eq!(cluster.world.list(REPLICA_SET, "ns").len(), 1);
}

#[test]
fn a_rolling_update_replaces_every_pod_and_never_goes_below_what_must_be_available() {
    let mut cluster = Cluster::new();
    cluster.deployment(4, "a");
    cluster.settle();
    cluster.deployment(4, "b");
    for _ in 0..100 {
        let writes = cluster.plan_all();
        let count = cluster.images().len();
        assert!(
            (3..=5).contains(&count),
            "{count} Pods: maxUnavailable 1, maxSurge 1"
        );
        cluster.run_pods();
        if writes == 0 {
            break;
        }
    }
    assert_eq!(cluster.images(), ["b", "b", "b", "b"]);
    let deployment = cluster.world.get(DEPLOYMENT, "ns", "web").expect("there");
    assert_eq!(
        deployment.annotation("deployment.kubernetes.io/revision"),
        Some("2")
    );
}

#[test]
fn a_paused_rollout_scales_in_proportion() {
    let mut cluster = Cluster::new();
    cluster.deployment(4, "a");
    cluster.settle();
    cluster.pods_become_ready = false;
    cluster.deployment(4, "b");
    cluster.settle();
    assert_eq!(
        cluster.images(),
        ["a", "a", "a", "b", "b"],
        "stuck half way"
    );
    cluster.change(|deployment| {
        deployment["spec"]["paused"] = json!(true);
        deployment["spec"]["replicas"] = json!(8);
    });
    cluster.settle();
    let of = |image: &str| cluster.images().iter().filter(|i| *i == image).count();
    assert_eq!(
        (of("a"), of("b")),
        (6, 4),
        "ten Pods: eight and a surge of two"
    );
}

#[test]
fn refused_pods_are_reported_up_to_the_deployment_until_they_are_made() {
    let mut cluster = Cluster::new();
    cluster.deployment(1, "a");
    let set = |cluster: &Cluster| cluster.world.list(REPLICA_SET, "ns")[0].name().to_owned();
    cluster.plan_all();
    let fact = Fact::Refused {
        root: REPLICA_SET,
        namespace: "ns".to_owned(),
        name: set(&cluster),
    };
    for pod in cluster.world.list(POD, "ns") {
        cluster.world.remove(POD, "ns", pod.name());
    }
    let why = "pods \"web\" is forbidden: exceeded quota";
    cluster
        .world
        .learn(fact.clone(), json!({"code": 403, "message": why}));
    cluster.plan_all();
    cluster.plan_all();
    let failure = cluster
        .deployment_condition("ReplicaFailure")
        .expect("reported");
    assert_eq!(
        (&failure["reason"], &failure["message"]),
        (&json!("FailedCreate"), &json!(why))
    );
    cluster.world.unlearn(&fact);
    cluster.settle();
    assert!(cluster.deployment_condition("ReplicaFailure").is_none());
    assert_eq!(cluster.images(), ["a"]);
}

#[test]
fn without_progress_the_deadline_is_reported() {
    let mut cluster = Cluster::new();
    cluster.pods_become_ready = false;
    cluster.deployment(1, "a");
    cluster.settle();
    let later: Timestamp = "2026-01-01T00:10:01Z".parse().expect("a time");
    cluster.world.set_now(later);
    cluster.settle();
    let deployment = cluster.world.get(DEPLOYMENT, "ns", "web").expect("there");
    let reasons: Vec<&Value> = deployment["status"]["conditions"]
        .as_array()
        .expect("list")
        .iter()
        .map(|c| &c["reason"])
        .collect();
    assert_eq!(
        reasons,
        ["MinimumReplicasUnavailable", "ProgressDeadlineExceeded"]
    );
}

#[test]
fn a_service_gets_the_addresses_of_ready_pods() {
    let mut cluster = Cluster::new();
    cluster.deployment(2, "a");
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    cluster.put(SERVICE, service);
    cluster.settle();
    let endpoints = cluster.world.get(ENDPOINTS, "ns", "web").expect("there");
    let subset = &endpoints["subsets"][0];
    assert_eq!(subset["addresses"].as_array().map(Vec::len), Some(2));
    assert_eq!(subset["ports"], json!([{"port": 8080, "protocol": "TCP"}]));
    assert_eq!(cluster.plan_all(), 0, "a second plan is empty");
    cluster.deployment(0, "a");
    cluster.settle();
    let endpoints = cluster.world.get(ENDPOINTS, "ns", "web").expect("there");
    assert!(endpoints["subsets"].is_null());
}

#[test]
fn a_failed_pod_of_a_job_is_replaced_after_a_while_and_the_limit_ends_it() {
    let mut cluster = Cluster::new();
    cluster.pods_become_ready = false;
    let template = json!({"spec": {"containers": [{"name": "c", "image": "a"}]}});
    let spec = json!({"backoffLimit": 1, "template": template});
    cluster.put(JOB, json!({"metadata": {"name": "j"}, "spec": spec}));
    cluster.settle();
    for (pods, after_s) in [(1, 10), (2, 0)] {
        assert_eq!(cluster.images().len(), pods);
        cluster.fail_pods();
        cluster.settle();
        assert_eq!(cluster.images().len(), pods, "not at once");
        let later = cluster.world.now() + jiff::SignedDuration::from_secs(after_s);
        cluster.world.set_now(later);
        cluster.settle();
    }
    let job = cluster.world.get(JOB, "ns", "j").expect("there");
    let failed = crate::condition::get(&job, "Failed").expect("ended");
    assert_eq!(failed["reason"], "BackoffLimitExceeded");
}

#[test]
fn a_deployment_adopts_what_another_of_its_name_has_left() {
    let mut cluster = Cluster::new();
    let deployment = || {
        json!({
            "metadata": {"name": "web", "generation": 1},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
            },
        })
    };
    cluster.put(DEPLOYMENT, deployment());
    cluster.settle();
    let pods = |cluster: &Cluster| -> Vec<String> {
        let pods = cluster.world.list(POD, "ns");
        pods.iter().map(|pod| pod.uid().to_owned()).collect()
    };
    let before = pods(&cluster);
    // `kubectl delete --cascade=orphan` and `kubectl apply`.
    cluster.world.remove(DEPLOYMENT, "ns", "web");
    let mut orphan = Value::clone(&cluster.world.list(REPLICA_SET, "ns")[0]);
    orphan["metadata"]["ownerReferences"] = Value::Null;
    cluster.put(REPLICA_SET, orphan);
    cluster.put(DEPLOYMENT, deployment());
    cluster.settle();
    let sets = cluster.world.list(REPLICA_SET, "ns");
    let again = cluster
        .world
        .get(DEPLOYMENT, "ns", "web")
        .expect("the Deployment");
    let owner = &sets[0]["metadata"]["ownerReferences"][0]["uid"];
    assert_eq!((sets.len(), owner), (1, &json!(again.uid())));
    assert_eq!(again["status"]["availableReplicas"], 2);
    assert_eq!(pods(&cluster), before);
}

/// A ReplicaSet of `replicas` Pods with an odd selector.
fn replica_set(cluster: &mut Cluster, replicas: i64) {
    let tiers = json!([{"key": "tier", "operator": "In", "values": ["front", "back"]}]);
    let spec = json!({
        "replicas": replicas,
        "selector": {"matchExpressions": tiers},
        "template": {"metadata": {"labels": {"tier": "front"}}, "spec": {"containers": []}},
    });
    let meta = json!({"name": "set", "uid": "set", "generation": 1});
    let object = json!({"metadata": meta, "spec": spec});
    cluster.put(REPLICA_SET, object);
}

fn owners(cluster: &Cluster) -> Vec<(String, bool)> {
    let pods = cluster.world.list(POD, "ns");
    let owned = |pod: &Value| !pod.owner_references().is_empty();
    pods.iter()
        .map(|pod| (pod.label("tier").unwrap_or_default().to_owned(), owned(pod)))
        .collect()
}

#[test]
fn orphans_are_adopted_by_who_selects_them_and_the_surplus_goes() {
    let mut cluster = Cluster::new();
    for (name, labels) in [
        ("back", json!({"tier": "back"})),
        ("front", json!({"tier": "front"})),
        ("none", json!({"tier": "none"})),
    ] {
        let meta = json!({"name": name, "labels": labels});
        cluster.put(POD, json!({"metadata": meta, "spec": {"nodeName": "one"}}));
    }
    replica_set(&mut cluster, 2);
    cluster.settle();
    let expected = [("back", true), ("front", true), ("none", false)];
    let expected = expected.map(|(tier, owned)| (tier.to_owned(), owned));
    assert_eq!(owners(&cluster), expected);
    replica_set(&mut cluster, 1);
    cluster.settle();
    let owned = owners(&cluster).into_iter().filter(|(_, owned)| *owned);
    assert_eq!(owned.count(), 1);
    assert_eq!(cluster.plan_all(), 0, "a second plan is empty");
}

#[test]
fn what_is_no_longer_selected_is_released_and_replaced() {
    let mut cluster = Cluster::new();
    replica_set(&mut cluster, 1);
    cluster.settle();
    let mut pod = Value::clone(&cluster.world.list(POD, "ns")[0]);
    pod["metadata"]["labels"] = json!({"tier": "debug"});
    cluster.put(POD, pod);
    cluster.settle();
    let mut tiers = owners(&cluster);
    tiers.sort();
    let expected = [("debug", false), ("front", true)];
    assert_eq!(
        tiers,
        expected.map(|(tier, owned)| (tier.to_owned(), owned))
    );
}

#[test]
fn what_another_controls_is_left_to_it() {
    let mut cluster = Cluster::new();
    let owner = json!({"kind": "ReplicaSet", "name": "other", "uid": "other", "controller": true});
    let meta = json!({"name": "theirs", "labels": {"tier": "front"}, "ownerReferences": [owner]});
    cluster.put(POD, json!({"metadata": meta, "spec": {"nodeName": "one"}}));
    replica_set(&mut cluster, 1);
    cluster.settle();
    let theirs = cluster.world.get(POD, "ns", "theirs").expect("there");
    assert_eq!(theirs.owner_references().len(), 1);
    assert_eq!(cluster.world.list(POD, "ns").len(), 2);
}
