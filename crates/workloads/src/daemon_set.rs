//! DaemonSet → one Pod on each node that takes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::object::ObjectExt;
use api::world::{Action, Context, DAEMON_SET, Key, NODE, POD, Plan, World};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::claim::claim;
use crate::fit;
use crate::pods::{self, Maker};
use crate::revisions::{REVISION_LABEL, Revisions, hash_of};
use crate::told;

/// Counts the templates the set has had; of old clients' interest.
const GENERATION_LABEL: &str = "pod-template-generation";
/// Troubles of a node that a daemon's Pod stays through, and their effect.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// Plans one DaemonSet.
pub(crate) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    let Some(set) = world.get(DAEMON_SET, &key.namespace, &key.name) else {
        return plan;
    };
    if set.is_terminating() {
        return plan;
    }
    let revisions = Revisions::of(&set, world);
    let claimed = claim(POD, &set, world);
    plan.actions.extend(revisions.actions.iter().cloned());
    plan.actions.extend(claimed.actions);
    let mut maker = Maker::new(cx, world, &set);
    let hash = hash_of(&revisions.newest);
    let mut run = Run::of(&set, hash, &claimed.objects, world);
    run.clear_away();
    run.update();
    run.make(&mut maker);
    let status = run.status();
    plan.actions
        .extend(told::pods(&set, std::mem::take(&mut run.changes)));
    let is_used = |revision: &Value| {
        let mut pods = claimed.objects.iter();
        pods.any(|pod| pod.label(REVISION_LABEL) == Some(hash_of(revision)))
    };
    plan.actions.extend(revisions.forget(&set, is_used));
    if status != set["status"] {
        let mut object = Value::clone(&set);
        object["status"] = status;
        plan.actions.push(Action::Status(object));
    }
    plan.actions.extend(run.again.map(Action::At));
    plan
}

/// A DaemonSet, its nodes, and its Pods on each.
struct Run<'a> {
    set: &'a Value,
    /// The revision of the present template.
    hash: &'a str,
    /// The Pods that live, by node, for every node that should have one.
    places: BTreeMap<String, Vec<Arc<Value>>>,
    /// The others.
    elsewhere: Vec<Arc<Value>>,
    now: Timestamp,
    changes: Vec<Action>,
    again: Option<Timestamp>,
}

impl<'a> Run<'a> {
    fn of(set: &'a Value, hash: &'a str, pods: &[Arc<Value>], world: &World) -> Self {
        let sample = dressed(set["spec"]["template"].clone(), "");
        let nodes = world.list(NODE, "");
        let takes = nodes.iter().filter(|node| fit::may_run(&sample, node));
        let mut places: BTreeMap<String, Vec<Arc<Value>>> = takes
            .map(|node| (node.name().to_owned(), Vec::new()))
            .collect();
        let mut elsewhere = Vec::new();
        for pod in pods {
            match places.get_mut(&node_of(pod)) {
                Some(place) => place.push(Arc::clone(pod)),
                None => elsewhere.push(Arc::clone(pod)),
            }
        }
        Self {
            set,
            hash,
            places,
            elsewhere,
            now: world.now(),
            changes: Vec::new(),
            again: None,
        }
    }

    fn is_new(&self, pod: &Value) -> bool {
        pod.label(REVISION_LABEL) == Some(self.hash)
    }

    fn is_available(&self, pod: &Value) -> Result<bool, Timestamp> {
        let min_ready_s = self.set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
        match pod.is_terminating() {
            true => Ok(false),
            false => pods::available(pod, min_ready_s, self.now),
        }
    }

    /// Pods that have ended go, those where none should be, and all but the oldest of a revision
    /// on one node.
    fn clear_away(&mut self) {
        let gone = |pod: &&Arc<Value>| !pod.is_terminating();
        self.changes.extend(
            self.elsewhere
                .iter()
                .filter(gone)
                .map(|pod| pods::delete(pod)),
        );
        let hash = self.hash;
        for place in self.places.values_mut() {
            let ended = |pod: &Arc<Value>| !pods::is_active(pod) && !pod.is_terminating();
            self.changes.extend(
                place
                    .iter()
                    .filter(|pod| ended(pod))
                    .map(|pod| pods::delete(pod)),
            );
            place.retain(|pod| !ended(pod));
            place.sort_by_key(|pod| {
                let created = pod["metadata"]["creationTimestamp"].as_str();
                (
                    created.unwrap_or_default().to_owned(),
                    pod.name().to_owned(),
                )
            });
            let mut seen = [false; 2];
            place.retain(|pod| {
                let seen = &mut seen[usize::from(pod.label(REVISION_LABEL) == Some(hash))];
                let keeps = pod.is_terminating() || !std::mem::replace(seen, true);
                if !keeps {
                    self.changes.push(pods::delete(pod));
                }
                keeps
            });
        }
    }

    /// Makes room for the present template: as many nodes at once as may be without their Pod, or
    /// have two of them.
    fn update(&mut self) {
        let strategy = &self.set["spec"]["updateStrategy"];
        if strategy["type"] == "OnDelete" {
            return;
        }
        let (unavailable, surge) = self.bounds();
        let mut without = 0;
        let mut old = Vec::new();
        for place in self.places.values() {
            let mut well = false;
            for pod in place {
                match self.is_available(pod) {
                    Ok(is) => well |= is,
                    Err(at) => self.again = Some(self.again.map_or(at, |again| again.min(at))),
                }
            }
            without += usize::from(!well);
            let successor = place.iter().find(|pod| self.is_new(pod));
            let replaced = successor.is_some_and(|pod| self.is_available(pod) == Ok(true));
            let live = place
                .iter()
                .filter(|pod| !pod.is_terminating() && !self.is_new(pod));
            old.extend(live.map(|pod| (well, replaced, Arc::clone(pod))));
        }
        for (well, replaced, pod) in old {
            let goes = match surge {
                // Its successor runs beside it, or it does no good.
                1.. => replaced || !well,
                0 if !well => true,
                0 => without < unavailable,
            };
            if goes {
                without += usize::from(well && surge == 0);
                self.changes.push(pods::delete(&pod));
            }
        }
    }

    /// A Pod for every node that has none, and for some that have an old one, where the strategy
    /// is to add before taking away.
    fn make(&mut self, maker: &mut Maker<'_>) {
        let (_, surge) = self.bounds();
        let is_new = |pod: &Arc<Value>| self.is_new(pod);
        let doubled = |place: &&Vec<Arc<Value>>| place.len() > 1 && place.iter().any(is_new);
        let mut surging = self.places.values().filter(doubled).count();
        let on_delete = self.set["spec"]["updateStrategy"]["type"] == "OnDelete";
        let mut fresh = Vec::new();
        for (node, place) in &self.places {
            let is_due = place
                .iter()
                .all(|pod| !self.is_new(pod) && !pod.is_terminating());
            let adds = !place.is_empty() && is_due && !on_delete && surging < surge;
            if !place.is_empty() && !adds {
                continue;
            }
            surging += usize::from(adds);
            let template = dressed(self.set["spec"]["template"].clone(), node);
            let mut pod = maker.generated(&template);
            let labels = &mut pod["metadata"]["labels"];
            labels[REVISION_LABEL] = json!(self.hash);
            labels[GENERATION_LABEL] = json!(self.set.generation().to_string());
            maker.bind(&mut pod);
            fresh.push(Action::Create(pod));
        }
        self.changes.extend(fresh);
    }

    /// `maxUnavailable` and `maxSurge` in Pods.
    fn bounds(&self) -> (usize, usize) {
        let update = &self.set["spec"]["updateStrategy"]["rollingUpdate"];
        let nodes = self.places.len();
        let part = |value: &Value, default: usize| match value.as_str() {
            None => value
                .as_u64()
                .map_or(default, |n| usize::try_from(n).unwrap_or(nodes)),
            Some(text) => {
                let percent: usize = text.trim_end_matches('%').parse().unwrap_or(0);
                (percent * nodes).div_ceil(100)
            }
        };
        let surge = part(&update["maxSurge"], 0);
        let unavailable = part(&update["maxUnavailable"], 1);
        (unavailable.max(usize::from(surge == 0)), surge)
    }

    fn status(&self) -> Value {
        let count = |holds: &dyn Fn(&Value) -> bool| {
            let places = self.places.values();
            places
                .filter(|place| place.iter().any(|pod| holds(pod)))
                .count()
        };
        let desired = self.places.len();
        let available = count(&|pod| self.is_available(pod) == Ok(true));
        let mut status = json!({
            "observedGeneration": self.set.generation(),
            "desiredNumberScheduled": desired,
            "currentNumberScheduled": count(&|_| true),
            "numberMisscheduled": self.elsewhere.len(),
            "numberReady": count(&pods::is_ready),
        });
        let counts = [
            ("updatedNumberScheduled", count(&|pod| self.is_new(pod))),
            ("numberAvailable", available),
            ("numberUnavailable", desired - available),
        ];
        for (key, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            status[key] = json!(count);
        }
        status
    }
}

/// Where a Pod is, or is to be.
fn node_of(pod: &Value) -> String {
    if let Some(node) = pod["spec"]["nodeName"].as_str() {
        return node.to_owned();
    }
    let required =
        &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let name = &required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0];
    name.as_str().unwrap_or_default().to_owned()
}

/// The template with what a daemon's Pod has beyond it: it stays through a node's troubles and
/// goes to one node only; without a name, to any.
fn dressed(mut template: Value, node: &str) -> Value {
    let spec = &mut template["spec"];
    if !spec["tolerations"].is_array() {
        spec["tolerations"] = json!([]);
    }
    if let Some(tolerations) = spec["tolerations"].as_array_mut() {
        for (key, effect) in TOLERATED {
            tolerations.push(json!({"key": key, "operator": "Exists", "effect": effect}));
        }
    }
    if node.is_empty() {
        return template;
    }
    let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
    let path = "requiredDuringSchedulingIgnoredDuringExecution";
    let required = &mut spec["affinity"]["nodeAffinity"][path];
    match required["nodeSelectorTerms"].as_array_mut() {
        // What the template asks of the node holds, or it would not be chosen.
        Some(terms) => terms
            .iter_mut()
            .for_each(|term| term["matchFields"] = json!([field])),
        None => *required = json!({"nodeSelectorTerms": [{"matchFields": [field]}]}),
    }
    template
}
