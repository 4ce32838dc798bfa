//! Stories: a Build in a World, whose API server and node are played here.

mod stories;
mod template;

use api::object::ObjectExt;
use api::world::{Action, BUILD, Context, Fact, Key, Kind, POD, World};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::planners;

/// A World with one Build called `b`.
pub(crate) struct Cluster {
    pub(crate) world: World,
    events: Vec<String>,
    /// When to plan again.
    pub(crate) at: Option<Timestamp>,
}

impl Cluster {
    /// A Build of this spec, in YAML, made at midnight.
    pub(crate) fn new(spec: &str) -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut cluster = Self {
            world: World::new(now),
            events: Vec::new(),
            at: None,
        };
        let mut spec: Value = serde_saphyr::from_str(spec).expect("YAML");
        if spec["serviceAccountName"].is_null() {
            spec["serviceAccountName"] = json!("default");
        }
        cluster.put(BUILD, "b", json!({"spec": spec}));
        cluster.serve("ServiceAccount", "default", json!({}));
        cluster
    }

    pub(crate) fn put(&mut self, kind: Kind, name: &str, mut object: Value) {
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        object["metadata"] = json!({
            "name": name, "uid": format!("uid-{name}"), "resourceVersion": "1", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        });
        if kind.namespaced {
            object["metadata"]["namespace"] = json!("ns");
        }
        self.world.insert(kind, object);
    }

    /// The API server has this object, or `null` for: it has not.
    pub(crate) fn serve(&mut self, kind: &str, name: &str, mut object: Value) {
        let fact = Fact::Object {
            api_version: "v1".to_owned(),
            kind: kind.to_owned(),
            namespace: "ns".to_owned(),
            name: name.to_owned(),
        };
        let value = if object.is_null() {
            json!({"error": format!("{} \"{name}\" not found", kind.to_lowercase()), "code": 404})
        } else {
            object["metadata"]["name"] = json!(name);
            json!({"object": object})
        };
        self.world.learn(fact, value);
    }

    /// Plans until nothing is written any more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10 {
            let plan = (planners()[0].plan)(&Context::default(), &Key::new("ns", "b"), &self.world);
            self.at = None;
            let mut writes = 0;
            for action in &plan.actions {
                match action {
                    Action::At(at) => self.at = Some(*at),
                    Action::Event { reason, .. } => self.events.push(reason.clone()),
                    Action::Need(_) => {}
                    _ => writes += 1,
                }
            }
            self.world
                .rehearse(&plan)
                .expect("a plan the API server takes");
            if writes == 0 {
                return;
            }
        }
        panic!("not quiet after 10 rounds");
    }

    pub(crate) fn pass(&mut self, seconds: i64) {
        let later = self.world.now() + SignedDuration::from_secs(seconds);
        self.world.set_now(later);
        self.settle();
    }

    pub(crate) fn build(&self) -> Value {
        Value::clone(&self.world.get(BUILD, "ns", "b").expect("the Build"))
    }

    pub(crate) fn pod(&self) -> Option<Value> {
        let pods = self.world.list(POD, "ns");
        assert!(pods.len() <= 1, "a Build has one Pod");
        pods.first().map(|pod| Value::clone(pod))
    }

    /// What the node says of the Pod: its phase and how far each init container is.
    pub(crate) fn report(&mut self, phase: &str, steps: &[(&str, Value)]) {
        let mut pod = self.pod().expect("a Pod");
        let steps = steps
            .iter()
            .map(|(name, state)| json!({"name": name, "state": state, "imageID": "sha256:1"}));
        pod["status"] = json!({"phase": phase, "initContainerStatuses": steps.collect::<Value>()});
        self.world.insert(POD, pod);
        self.settle();
    }

    /// `Succeeded`: status, reason, message.
    pub(crate) fn succeeded(&self) -> (String, String, String) {
        let build = self.build();
        let condition = &build["status"]["conditions"][0];
        assert_eq!(condition["type"], "Succeeded");
        let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    #[track_caller]
    pub(crate) fn check(&self, status: &str, reason: &str, message: &str) {
        let want = (status.to_owned(), reason.to_owned(), message.to_owned());
        assert_eq!(self.succeeded(), want);
    }

    pub(crate) fn events(&self) -> &[String] {
        &self.events
    }

    /// Names, images and arguments of the Pod's init containers.
    pub(crate) fn steps(&self) -> String {
        let pod = self.pod().expect("a Pod");
        let all = pod["spec"]["initContainers"].as_array().expect("a list");
        let line = |one: &Value| {
            let word = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            let args = one["args"].as_array().into_iter().flatten();
            let args: Vec<_> = args.filter_map(Value::as_str).collect();
            let mounts = one["volumeMounts"].as_array().into_iter().flatten();
            let mounts: Vec<String> = mounts
                .map(|mount| {
                    let text = |key: &str| mount[key].as_str().unwrap_or_default().to_owned();
                    format!("{}:{}{}", text("name"), text("subPath"), text("mountPath"))
                })
                .collect();
            format!(
                "{} {} {} [{}]\n",
                word("name"),
                word("image"),
                args.join(" "),
                mounts.join(" ")
            )
        };
        all.iter().map(line).collect()
    }
}

pub(crate) fn done(code: i64) -> Value {
    json!({"terminated": {"exitCode": code, "finishedAt": "2026-01-01T00:00:07Z"}})
}

pub(crate) fn name_of_pod() -> String {
    let cluster = {
        let mut cluster = Cluster::new("steps: [{image: i}]");
        cluster.settle();
        cluster
    };
    cluster.pod().expect("a Pod").name().to_owned()
}
