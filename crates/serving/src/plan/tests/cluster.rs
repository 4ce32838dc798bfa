//! A cluster made of the World alone. What Kubernetes' own controllers and the nodes would do is
//! played here, in the simplest way that shows the same objects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use api::object::ObjectExt;
use api::route::{Change, RouteTable, Target};
use api::serving::REVISION;
use api::world::{self as kinds, Action, Context, Fact, Key, Kind, Plan, World};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::plan::planners;

/// Rounds after which a World that still changes is called unstable.
const ROUNDS_MAX: usize = 60;

pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) cx: Context,
    /// What the plans told the gateway, by planner and key.
    told: BTreeMap<(&'static str, Key), Vec<Change>>,
    pub(super) events: Vec<String>,
    /// All that plans have written.
    written: Vec<Value>,
    alarms: BTreeSet<Timestamp>,
    writes: usize,
    pods_made: u8,
    crds: Vec<Value>,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let cx = Context {
            http_port: 8080,
            gateway_addresses: vec!["10.42.0.1:8012".parse().unwrap()],
            ..Context::default()
        };
        let mut world = World::new("2026-01-01T00:00:00Z".parse().unwrap());
        for map in api::config::stock() {
            world.insert(kinds::CONFIG_MAP, map);
        }
        Self {
            world,
            cx,
            told: BTreeMap::new(),
            events: Vec::new(),
            written: Vec::new(),
            alarms: BTreeSet::new(),
            writes: 0,
            pods_made: 0,
            crds: api::crds(),
        }
    }

    /// Creates or replaces an object, as `kubectl apply` would, and lets things settle.
    pub(super) fn apply(&mut self, yaml: &str) {
        let object: Value = serde_saphyr::from_str(yaml).unwrap();
        let kind = Kind::find(object.api_version(), object.kind()).unwrap();
        let action = match self.world.get(kind, object.namespace(), object.name()) {
            None => Action::Create(object),
            Some(have) => {
                let mut new = (*have).clone();
                new["spec"] = object["spec"].clone();
                for field in ["labels", "annotations"] {
                    new["metadata"][field] = object["metadata"][field].clone();
                }
                Action::Update(new)
            }
        };
        self.perform(&[action]);
        self.settle();
    }

    pub(super) fn service(&mut self, name: &str, image: &str) {
        self.apply(&service_yaml(name, image, ""));
    }

    /// Changes one entry of a ConfigMap.
    pub(super) fn configure(&mut self, map: &str, key: &str, value: &str) {
        let map = self.world.get(kinds::CONFIG_MAP, "knative-serving", map);
        let mut map = (*map.unwrap()).clone();
        map["data"][key] = json!(value);
        self.world.insert(kinds::CONFIG_MAP, map);
        self.settle();
    }

    pub(super) fn delete(&mut self, kind: Kind, name: &str) {
        self.world.remove(kind, "default", name);
        self.settle();
    }

    /// The autoscaler's word.
    pub(super) fn decide(&mut self, revision: &str, desired: i32) {
        let fact = Fact::Decision {
            namespace: "default".into(),
            name: revision.into(),
        };
        self.world
            .learn(fact, json!({"desired": desired, "excessBurstCapacity": 10}));
        self.settle();
    }

    /// Lets time pass, stopping wherever a plan wanted to be called.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while let Some(at) = self.alarms.pop_first() {
            if at > end {
                self.alarms.insert(at);
                break;
            }
            self.world.set_now(at.max(self.world.now()));
            self.settle();
        }
        self.world.set_now(end);
        self.settle();
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Value {
        let object = self.world.get(kind, "default", name);
        (*object.unwrap_or_else(|| panic!("no {} {name}", kind.plural))).clone()
    }

    /// The newest version of anything that plans make.
    pub(super) fn version_max(&self) -> u64 {
        let kinds = ALL.iter().flat_map(|kind| {
            let keys = self.world.keys(*kind);
            keys.into_iter()
                .filter_map(|key| self.world.version(*kind, &key.namespace, &key.name))
        });
        kinds.max().unwrap_or_default()
    }

    /// Runs everything until nothing changes any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.writes = 0;
            self.collect_garbage();
            self.run_planners();
            self.run_deployments();
            self.run_endpoints();
            if self.writes == 0 {
                self.check_owners();
                self.check_schemas();
                return;
            }
        }
        panic!("the World is still changing after {ROUNDS_MAX} rounds");
    }

    fn run_planners(&mut self) {
        for planner in planners() {
            let keys: BTreeSet<Key> = self
                .world
                .keys(planner.root)
                .into_iter()
                .chain(
                    self.told
                        .keys()
                        .filter(|(name, _)| *name == planner.name)
                        .map(|(_, key)| key.clone()),
                )
                .collect();
            for key in keys {
                let plan = (planner.plan)(&self.cx, &key, &self.world);
                // A PodAutoscaler's own condition is part of the state it decides by, and a
                // DomainMapping puts its finalizer on before anything else: these get to rest in
                // a few steps, which `settle` sees to.
                let once = !matches!(planner.name, "PodAutoscaler" | "DomainMapping");
                let changed = once && !writes(&plan).is_empty();
                let needs = needs(&plan);
                self.follow(planner.name, &key, plan);
                if changed {
                    let again = (planner.plan)(&self.cx, &key, &self.world);
                    let writes = writes(&again);
                    assert!(
                        writes.is_empty(),
                        "{} {} plans again: {writes:#?}",
                        planner.name,
                        key.name
                    );
                }
                needs.into_iter().for_each(|fact| self.gather(fact));
            }
        }
    }

    fn follow(&mut self, planner: &'static str, key: &Key, plan: Plan) {
        let mut told = Vec::new();
        for action in &plan.actions {
            match action {
                Action::Route(change) => told.push(change.clone()),
                Action::At(at) => drop(self.alarms.insert(*at)),
                Action::Event {
                    event_type,
                    reason,
                    message,
                    regarding,
                } => self.events.push(format!(
                    "{event_type} {reason} {} {}: {message}",
                    regarding.kind(),
                    regarding.name()
                )),
                _ => {}
            }
        }
        let slot = (planner, key.clone());
        if told.is_empty() {
            self.told.remove(&slot);
        } else {
            self.told.insert(slot, told);
        }
        self.perform(&writes(&plan));
    }

    fn perform(&mut self, actions: &[Action]) {
        self.writes += actions.len();
        self.written
            .extend(actions.iter().filter_map(|action| match action {
                Action::Create(object) | Action::Update(object) | Action::Status(object) => {
                    Some(object.clone())
                }
                _ => None,
            }));
        let plan = Plan {
            actions: actions.to_vec(),
        };
        self.world.rehearse(&plan).unwrap();
    }

    fn gather(&mut self, fact: Fact) {
        let value = match &fact {
            Fact::Digest { image, .. } if image.contains("missing") => {
                json!({"error": "404 Not Found"})
            }
            Fact::Digest { image, .. } => json!({"digest": format!("{image}@sha256:1234")}),
            Fact::ActivatorProbe { .. } => json!({"ready": true}),
            Fact::Decision { .. } | Fact::Trouble { .. } | Fact::Refused { .. } => return,
            Fact::Issued {
                names, lifetime_s, ..
            } => super::tls::issue(names, self.world.now(), *lifetime_s),
            Fact::Challenges(order) => super::tls::challenges(order),
            Fact::Granted(order) => super::tls::issue(&order.names, self.world.now(), 90 * 86_400),
            Fact::Object { .. }
            | Fact::Resource { .. }
            | Fact::Allowed { .. }
            | Fact::Token { .. }
            | Fact::Jsonata { .. } => {
                unreachable!("no plan of Serving needs {fact:?}")
            }
        };
        self.writes += usize::from(!self.world.knows(&fact));
        self.world.learn(fact, value);
    }

    fn collect_garbage(&mut self) {
        for kind in ALL {
            for key in self.world.keys(*kind) {
                let object = self.world.get(*kind, &key.namespace, &key.name).unwrap();
                let orphan = object.controller_owner().is_some_and(|owner| {
                    let text = |field: &str| owner[field].as_str().unwrap();
                    let kind = Kind::find(text("apiVersion"), text("kind")).unwrap();
                    let namespace = if kind.namespaced { &*key.namespace } else { "" };
                    self.world
                        .get(kind, namespace, text("name"))
                        .is_none_or(|found| found.uid() != text("uid"))
                });
                if orphan {
                    self.world.remove(*kind, &key.namespace, &key.name);
                    self.writes += 1;
                }
            }
        }
    }

    /// Deployments give each replica a Pod that is ready at once, unless the image's name says
    /// otherwise: `hang` never gets ready, `crash` has ended with status 3.
    fn run_deployments(&mut self) {
        for deployment in self.world.list(kinds::DEPLOYMENT, "") {
            let (namespace, name) = (deployment.namespace(), deployment.name());
            let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
            let pods = self.world.owned(kinds::POD, namespace, deployment.uid());
            for pod in pods.iter().skip(wanted as usize) {
                self.world.remove(kinds::POD, namespace, pod.name());
                self.writes += 1;
            }
            for _ in pods.len() as u64..wanted {
                let pod = self.pod(&deployment);
                self.world.insert(kinds::POD, pod);
                self.writes += 1;
            }
            let image =
                deployment["spec"]["template"]["spec"]["containers"][0]["image"].to_string();
            let good = !image.contains("hang") && !image.contains("crash");
            let status = json!({
                "replicas": wanted,
                "availableReplicas": if good { wanted } else { 0 },
                "conditions": [{"type": "Progressing", "status": "True"}],
            });
            if deployment["status"] != status {
                let mut new =
                    (*self.world.get(kinds::DEPLOYMENT, namespace, name).unwrap()).clone();
                new["status"] = status;
                self.perform(&[Action::Status(new)]);
            }
        }
    }

    fn pod(&mut self, deployment: &Value) -> Value {
        self.pods_made += 1;
        let number = self.pods_made;
        let template = &deployment["spec"]["template"];
        let image = template["spec"]["containers"][0]["image"].to_string();
        let mut status = json!({
            "phase": "Running",
            "podIP": format!("10.42.0.{}", 10 + number),
            "conditions": [{"type": "Ready", "status": "True"}],
        });
        if image.contains("hang") || image.contains("crash") {
            status["conditions"][0]["status"] = json!("False");
        }
        if image.contains("crash") {
            status["containerStatuses"] = json!([{
                "name": "user-container",
                "lastState": {"terminated": {"exitCode": 3, "message": "out of cheese"}},
            }]);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": format!("{}-{number}", deployment.name()),
                "namespace": deployment.namespace(),
                "uid": format!("pod-{number}"),
                "resourceVersion": "1",
                "labels": template["metadata"]["labels"],
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "Deployment", "controller": true,
                    "name": deployment.name(), "uid": deployment.uid(),
                }],
            },
            "spec": template["spec"],
            "status": status,
        })
    }

    /// Services with a selector get a slice of the Pods it selects.
    fn run_endpoints(&mut self) {
        for service in self.world.list(kinds::SERVICE, "") {
            let Some(selector) = service["spec"]["selector"].as_object() else {
                continue;
            };
            let (key, value) = selector.iter().next().unwrap();
            let (namespace, name) = (service.namespace(), format!("{}-x", service.name()));
            let endpoints: Value = self
                .world
                .labelled(kinds::POD, namespace, key, value.as_str().unwrap())
                .iter()
                .map(|pod| {
                    json!({
                        "addresses": [pod["status"]["podIP"]],
                        "conditions": {"ready": pod["status"]["conditions"][0]["status"] == "True"},
                    })
                })
                .collect();
            let have = self.world.get(kinds::ENDPOINT_SLICE, namespace, &name);
            if have.is_some_and(|have| have["endpoints"] == endpoints) {
                continue;
            }
            self.writes += 1;
            self.world.insert(
                kinds::ENDPOINT_SLICE,
                json!({
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {
                        "name": name, "namespace": namespace, "uid": name, "resourceVersion": "1",
                        "labels": {"kubernetes.io/service-name": service.name()},
                        "ownerReferences": [{
                            "apiVersion": "v1", "kind": "Service", "controller": true,
                            "name": service.name(), "uid": service.uid(),
                        }],
                    },
                    "endpoints": endpoints,
                }),
            );
        }
    }

    /// Everything that plans make goes when what they made it for goes.
    fn check_owners(&self) {
        for kind in ALL.iter().filter(|kind| **kind != kinds::KNATIVE_SERVICE) {
            for key in self.world.keys(*kind) {
                let object = self.world.get(*kind, &key.namespace, &key.name).unwrap();
                let by_user = object.annotation("made-by-user").is_some();
                assert!(
                    by_user || object.controller_owner().is_some(),
                    "{} {} has no controller",
                    kind.kind,
                    key.name
                );
            }
        }
    }

    /// What plans write is what the schemas know: nothing of it is pruned.
    fn check_schemas(&self) {
        for crd in &self.crds {
            let spec = &crd["spec"];
            let version = &spec["versions"][0];
            let group = spec["group"].as_str().unwrap();
            let api_version = format!("{group}/{}", version["name"].as_str().unwrap());
            let kind = Kind::find(&api_version, spec["names"]["kind"].as_str().unwrap()).unwrap();
            for object in self.world.list(kind, "") {
                let schema = &version["schema"]["openAPIV3Schema"];
                check_schema(&object["spec"], &schema["properties"]["spec"], kind.kind);
                check_schema(
                    &object["status"],
                    &schema["properties"]["status"],
                    kind.kind,
                );
            }
        }
    }

    /// Where each host leads, one line each; Revisions with the number of their ready Pods.
    pub(super) fn routes(&self) -> String {
        let table = self.table();
        let mut text = String::new();
        for (host, rules) in &table.hosts {
            write!(text, "{host} ({:?}):", rules.visibility).unwrap();
            for rule in &rules.rules {
                for (name, value) in &rule.headers {
                    write!(text, " [{name}={value}]").unwrap();
                }
                if let Some(host) = &rule.rewrite_host {
                    write!(text, " as {host}").unwrap();
                }
                for split in &rule.splits {
                    let target = match &split.target {
                        Target::Revision(key) => key.name.to_string(),
                        Target::Address(address) => address.clone(),
                    };
                    write!(text, " {}% {target}", split.percent).unwrap();
                }
            }
            text.push('\n');
        }
        for (key, revision) in &table.revisions {
            let ready = revision.pods.iter().filter(|pod| pod.ready).count();
            let way = if revision.activator_in_path {
                "activator"
            } else {
                "pods"
            };
            writeln!(text, "{}: {ready} ready, via {way}", key.name).unwrap();
        }
        text
    }

    /// What was written about an object, the oldest first.
    pub(super) fn seen(&self, kind: Kind, name: &str) -> Vec<&Value> {
        let about = |object: &&Value| object.kind() == kind.kind && object.name() == name;
        self.written.iter().filter(about).collect()
    }

    /// What the gateway has been told.
    pub(super) fn table(&self) -> RouteTable {
        let mut table = RouteTable::default();
        for change in self.told.values().flatten() {
            table.apply(change.clone());
        }
        table
    }

    /// The hosts the gateway has certificates for.
    pub(super) fn identities(&self) -> Vec<String> {
        self.table().identities.into_keys().collect()
    }

    /// The conditions of an object, one line each, and further fields of its status.
    pub(super) fn status(&self, kind: Kind, name: &str, fields: &[&str]) -> String {
        let object = self.get(kind, name);
        let mut text = String::new();
        for condition in object["status"]["conditions"].as_array().unwrap() {
            let part = |field: &str| condition[field].as_str().unwrap_or_default();
            let line = format!(
                "{} {} {} {}",
                part("type"),
                part("status"),
                part("reason"),
                part("message")
            );
            writeln!(text, "{}", line.trim_end()).unwrap();
        }
        for field in fields {
            writeln!(text, "{field}: {}", object["status"][*field]).unwrap();
        }
        text
    }

    /// The replicas of a revision's Deployment.
    pub(super) fn replicas(&self, revision: &str) -> i64 {
        let deployment = self.get(kinds::DEPLOYMENT, &format!("{revision}-deployment"));
        deployment["spec"]["replicas"].as_i64().unwrap()
    }

    /// A Pod's label tells which revision it is of.
    pub(super) fn pods(&self, revision: &str) -> usize {
        self.world
            .labelled(kinds::POD, "default", REVISION, revision)
            .len()
    }
}

/// The kinds that plans make, and their root.
const ALL: &[Kind] = &[
    kinds::KNATIVE_SERVICE,
    kinds::CONFIGURATION,
    kinds::REVISION,
    kinds::ROUTE,
    kinds::INGRESS,
    kinds::POD_AUTOSCALER,
    kinds::METRIC,
    kinds::SERVERLESS_SERVICE,
    kinds::DEPLOYMENT,
    kinds::POD,
    kinds::SERVICE,
    kinds::ENDPOINTS,
    kinds::ENDPOINT_SLICE,
    kinds::IMAGE,
    kinds::CERTIFICATE,
    kinds::SECRET,
];

fn writes(plan: &Plan) -> Vec<Action> {
    plan.actions
        .iter()
        .filter(|action| {
            matches!(
                action,
                Action::Create(_)
                    | Action::Update(_)
                    | Action::Status(_)
                    | Action::Delete { .. }
                    | Action::Scale { .. }
            )
        })
        .cloned()
        .collect()
}

fn check_schema(value: &Value, schema: &Value, path: &str) {
    let kind = schema["type"].as_str().unwrap_or_default();
    let fits = match value {
        Value::Null => true,
        Value::Object(_) => kind == "object",
        Value::Array(_) => kind == "array",
        Value::String(_) => kind == "string" || kind.is_empty(),
        Value::Number(_) => kind == "integer" || kind.is_empty(),
        Value::Bool(_) => kind == "boolean",
    };
    assert!(fits, "{path} is {value}, not {kind:?}");
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let known = schema["properties"]
            .get(name)
            .or_else(|| schema.get("additionalProperties"));
        match known {
            Some(known) => check_schema(value, known, &path),
            None => assert_eq!(
                schema["x-kubernetes-preserve-unknown-fields"], true,
                "{path}"
            ),
        }
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        check_schema(value, &schema["items"], &format!("{path}[{index}]"));
    }
}

fn needs(plan: &Plan) -> Vec<Fact> {
    let needs = plan.actions.iter().filter_map(|action| match action {
        Action::Need(fact) => Some(fact.clone()),
        _ => None,
    });
    needs.collect()
}

/// A Service as it looks after admission.
pub(super) fn service_yaml(name: &str, image: &str, traffic: &str) -> String {
    format!(
        "
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: {name}
  namespace: default
  annotations:
    serving.knative.dev/creator: kubernetes-admin
    serving.knative.dev/lastModifier: kubernetes-admin
spec:
  template:
    spec:
      containerConcurrency: 0
      timeoutSeconds: 300
      enableServiceLinks: false
      containers:
      - name: user-container
        image: {image}
        readinessProbe: {{successThreshold: 1, tcpSocket: {{port: 0}}}}
        resources: {{}}
{traffic}"
    )
}
