//! A cluster made of the World alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use api::delivery::{Change, Endpoint, Ingress, Start, Subscriber};
use api::object::ObjectExt;
use api::world::{self as kinds, Action, Context, Fact, Key, Kind, Plan, World};
use serde_json::{Value, json};

use crate::plan::{SYSTEM_NAMESPACE, planners};

/// Rounds after which a World that still changes is called unstable.
const ROUNDS_MAX: usize = 60;

pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) cx: Context,
    /// What the plans told the broker, by planner and key.
    told: BTreeMap<(&'static str, Key), Vec<Change>>,
    pub(super) events: Vec<String>,
    /// Objects of kinds that the World does not know, and other facts.
    pub(super) facts: BTreeMap<Fact, Value>,
    writes: usize,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let mut this = Self {
            world: World::new("2026-01-01T00:00:00Z".parse().unwrap()),
            cx: Context::default(),
            told: BTreeMap::new(),
            events: Vec::new(),
            facts: BTreeMap::new(),
            writes: 0,
        };
        let template = "apiVersion: messaging.knative.dev/v1\nkind: InMemoryChannel\n";
        this.configure(
            "config-br-default-channel",
            "channel-template-spec",
            template,
        );
        this
    }

    /// Creates or replaces an object, as `kubectl apply` would, and lets things settle.
    pub(super) fn apply(&mut self, yaml: &str) {
        let mut object: Value = serde_saphyr::from_str(yaml).unwrap();
        let kind = Kind::find(object.api_version(), object.kind())
            .unwrap_or_else(|| panic!("{} {}", object.api_version(), object.kind()));
        if object.namespace().is_empty() && kind.namespaced {
            object["metadata"]["namespace"] = json!("ns");
        }
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

    /// Sets an object's status, as a controller that is played here would.
    pub(super) fn set_status(&mut self, kind: Kind, name: &str, status: Value) {
        let mut object = self.get(kind, name);
        object["status"] = status;
        self.world.insert(kind, object);
        self.settle();
    }

    /// A Knative Service that can be called.
    pub(super) fn callable(&mut self, name: &str) {
        self.apply(&format!(
            "{{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {{name: {name}}}}}"
        ));
        let url = format!("http://{name}.ns.svc.cluster.local");
        self.set_status(
            kinds::KNATIVE_SERVICE,
            name,
            json!({"address": {"url": url}}),
        );
    }

    /// Changes one entry of a ConfigMap of the system namespace.
    pub(super) fn configure(&mut self, name: &str, key: &str, value: &str) {
        let map = self.world.get(kinds::CONFIG_MAP, SYSTEM_NAMESPACE, name);
        let mut map = map.map_or_else(
            || json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE}}),
            |map| (*map).clone(),
        );
        map["data"][key] = json!(value);
        self.world.insert(kinds::CONFIG_MAP, map);
        self.settle();
    }

    /// A feature flag.
    pub(super) fn feature(&mut self, flag: &str, value: &str) {
        self.configure("config-features", flag, value);
    }

    pub(super) fn delete(&mut self, kind: Kind, name: &str) {
        self.world.remove(kind, "ns", name);
        self.settle();
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Value {
        let object = self.world.get(kind, "ns", name);
        (*object.unwrap_or_else(|| panic!("no {} {name}", kind.plural))).clone()
    }

    /// Learns what a fact is now.
    pub(super) fn fact(&mut self, fact: Fact, value: Value) {
        self.world.unlearn(&fact);
        self.facts.insert(fact, value);
        self.settle();
    }

    /// Runs everything until nothing changes any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.writes = 0;
            self.collect_garbage();
            self.run_planners();
            if self.writes == 0 {
                return;
            }
        }
        panic!("the World is still changing after {ROUNDS_MAX} rounds");
    }

    fn run_planners(&mut self) {
        for planner in planners() {
            let told = self.told.keys().filter(|(name, _)| *name == planner.name);
            let told: Vec<_> = told.map(|(_, key)| key.clone()).collect();
            let keys: BTreeSet<Key> = self
                .world
                .keys(planner.root)
                .into_iter()
                .chain(told)
                .collect();
            for key in keys {
                let plan = (planner.plan)(&self.cx, &key, &self.world);
                let changed = !writes(&plan).is_empty();
                let needs = needs(&plan);
                self.follow(planner.name, &key, plan);
                if changed {
                    let again = (planner.plan)(&self.cx, &key, &self.world);
                    let writes = writes(&again);
                    let (planner, name) = (planner.name, &key.name);
                    assert!(
                        writes.is_empty(),
                        "{planner} {name} plans again: {writes:#?}"
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
                Action::Deliver(change) => told.push(change.clone()),
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
        let plan = Plan {
            actions: actions.to_vec(),
        };
        self.world.rehearse(&plan).unwrap();
    }

    fn gather(&mut self, fact: Fact) {
        let missing = || json!({"error": "not found", "code": 404});
        let value = self.facts.get(&fact).cloned().unwrap_or_else(missing);
        self.writes += usize::from(!self.world.knows(&fact));
        self.world.learn(fact, value);
    }

    fn collect_garbage(&mut self) {
        for kind in MADE {
            for key in self.world.keys(*kind) {
                let object = self.world.get(*kind, &key.namespace, &key.name).unwrap();
                let orphan = object.controller_owner().is_some_and(|owner| {
                    let text = |field: &str| owner[field].as_str().unwrap();
                    let kind = Kind::find(text("apiVersion"), text("kind")).unwrap();
                    self.world
                        .get(kind, &key.namespace, text("name"))
                        .is_none_or(|found| found.uid() != text("uid"))
                });
                if orphan {
                    self.world.remove(*kind, &key.namespace, &key.name);
                    self.writes += 1;
                }
            }
        }
    }

    /// The delivery graph, one line for each ingress, subscriber, handler and source.
    pub(super) fn graph(&self) -> String {
        let mut lines = BTreeMap::new();
        for change in self.told.values().flatten() {
            let key = change.key();
            let text = match change {
                Change::Ingress(_, Some(ingress)) => describe_ingress(ingress),
                Change::Handler(_, Some(handler)) => match &handler.sink {
                    Some(sink) => format!(" → {}", endpoint(sink)),
                    None => String::new(),
                },
                Change::Source(_, Some(source)) => {
                    let mut text = format!(" → {}", endpoint(&source.sink));
                    for (name, value) in &source.extensions {
                        write!(text, " {name}={value}").unwrap();
                    }
                    for (name, value) in &source.facts {
                        write!(text, " {name}: {value}").unwrap();
                    }
                    text
                }
                Change::Identity(_, Some(shown)) => format!(" for {}", shown.hosts.join(" ")),
                Change::Trust(_, Some(pem)) => format!(" trusts {pem}"),
                other => panic!("{other:?}"),
            };
            let line = format!("{} {}{text}\n", key.kind.kind, key.name);
            assert!(
                lines.insert(key.clone(), line).is_none(),
                "{key:?} is stated twice"
            );
        }
        lines.into_values().collect()
    }

    /// One ingress of the graph.
    pub(super) fn ingress(&self, name: &str) -> Arc<Ingress> {
        let mut all = self.told.values().flatten();
        let found = all.find_map(|change| match change {
            Change::Ingress(key, ingress) if &*key.name == name => ingress.clone(),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no ingress {name}"))
    }

    /// One subscriber of an ingress.
    pub(super) fn subscriber(&self, ingress: &str, name: &str) -> Arc<Subscriber> {
        let ingress = self.ingress(ingress);
        let found = ingress.subscribers.iter().find(|s| &*s.key.name == name);
        Arc::clone(found.unwrap_or_else(|| panic!("no subscriber {name}")))
    }

    /// The conditions of an object, one line each, and further fields of its status.
    pub(super) fn status(&self, kind: Kind, name: &str, fields: &[&str]) -> String {
        let object = self.get(kind, name);
        let mut text = String::new();
        for condition in object["status"]["conditions"].as_array().unwrap() {
            let part = |field: &str| condition[field].as_str().unwrap_or_default();
            let (kind, status) = (part("type"), part("status"));
            let line = format!("{kind} {status} {} {}", part("reason"), part("message"));
            writeln!(text, "{}", line.trim_end()).unwrap();
        }
        for field in fields {
            writeln!(text, "{field}: {}", object["status"][*field]).unwrap();
        }
        text
    }

    /// One condition: its status, reason and message.
    pub(super) fn condition(&self, kind: Kind, name: &str, condition: &str) -> String {
        let object = self.get(kind, name);
        let found = api::conditions::get(&object, condition)
            .unwrap_or_else(|| panic!("{name} has no condition {condition}"));
        let text = format!("{:?} {} {}", found.status, found.reason, found.message);
        text.trim_end().to_owned()
    }
}

fn describe_ingress(ingress: &Ingress) -> String {
    let mut text = format!(" at {}", ingress.hosts.join(", "));
    if let Some(audience) = &ingress.access.audience {
        write!(text, " for {audience}").unwrap();
    }
    if let Some(allowed) = &ingress.access.allowed {
        let subjects: Vec<_> = allowed.iter().flat_map(|a| a.subjects.clone()).collect();
        write!(text, " from [{}]", subjects.join(", ")).unwrap();
    }
    for subscriber in &ingress.subscribers {
        write!(
            text,
            "\n  {}: {}",
            subscriber.key.name,
            describe_subscriber(subscriber)
        )
        .unwrap();
    }
    text
}

fn describe_subscriber(subscriber: &Subscriber) -> String {
    let mut text = String::new();
    for filter in &subscriber.filters {
        write!(text, "{filter} ").unwrap();
    }
    if let Some(target) = &subscriber.target {
        write!(text, "→ {}", endpoint(target)).unwrap();
    }
    if let Some(reply) = &subscriber.reply {
        write!(text, " ↩ {}", endpoint(reply)).unwrap();
    }
    if let Some(dead_letter) = &subscriber.policy.dead_letter {
        write!(text, " ☠ {}", endpoint(dead_letter)).unwrap();
    }
    if subscriber.policy.retry > 0 {
        write!(text, " retry {}", subscriber.policy.retry).unwrap();
    }
    if let Some((growth, delay)) = &subscriber.policy.backoff {
        write!(text, " {growth:?} {delay:?}").unwrap();
    }
    if subscriber.ordered {
        text.push_str(" ordered");
    }
    if subscriber.parallelism > 0 {
        write!(text, " × {}", subscriber.parallelism).unwrap();
    }
    if subscriber.start != Start::Now {
        write!(text, " from {:?}", subscriber.start).unwrap();
    }
    if let Some(account) = &subscriber.service_account {
        write!(text, " as {account}").unwrap();
    }
    text
}

fn endpoint(endpoint: &Endpoint) -> String {
    let mut text = endpoint.url.clone();
    if let Some(ca_certs) = &endpoint.ca_certs {
        write!(text, " ({ca_certs})").unwrap();
    }
    if let Some(audience) = &endpoint.audience {
        write!(text, " [{audience}]").unwrap();
    }
    text
}

/// The kinds that plans make.
const MADE: &[Kind] = &[
    kinds::BROKER,
    kinds::TRIGGER,
    kinds::IN_MEMORY_CHANNEL,
    kinds::CHANNEL,
    kinds::SUBSCRIPTION,
    kinds::SERVICE,
    kinds::SERVICE_ACCOUNT,
    kinds::DEPLOYMENT,
    kinds::CONTAINER_SOURCE,
    kinds::SINK_BINDING,
    kinds::EVENT_POLICY,
    kinds::EVENT_TYPE,
    kinds::BUS_CHANNEL,
    kinds::BUS_SUBSCRIPTION,
    kinds::FEED,
    kinds::API_SERVER_SOURCE,
    kinds::PING_SOURCE,
    kinds::GITHUB_SOURCE,
];

fn writes(plan: &Plan) -> Vec<Action> {
    let is_write = |action: &&Action| {
        matches!(
            action,
            Action::Create(_)
                | Action::Update(_)
                | Action::Status(_)
                | Action::Delete { .. }
                | Action::Scale { .. }
        )
    };
    plan.actions.iter().filter(is_write).cloned().collect()
}

fn needs(plan: &Plan) -> Vec<Fact> {
    let needs = plan.actions.iter().filter_map(|action| match action {
        Action::Need(fact) => Some(fact.clone()),
        _ => None,
    });
    needs.collect()
}
