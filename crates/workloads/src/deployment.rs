//! Deployment → ReplicaSets: one for each Pod template, the newest taking over from the others at
//! the pace the strategy allows.

use std::cmp::{max, min};
use std::sync::Arc;

use api::object::ObjectExt;
use api::world::{Action, Context, DEPLOYMENT, Key, Plan, REPLICA_SET, World};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::claim::claim;
use crate::condition::{self, Says};
use crate::pods::{owner_reference, short_hash};
use crate::told;

/// Tells the ReplicaSets of one Deployment and their Pods apart.
const HASH_LABEL: &str = "pod-template-hash";
/// Counts the templates a Deployment has had.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// For which `spec.replicas` a ReplicaSet was sized.
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// How many Pods the Deployment might have had then, surge included.
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Kubernetes' default of `spec.progressDeadlineSeconds`.
const PROGRESS_DEADLINE_S: i64 = 600;
/// Kubernetes' default of `spec.revisionHistoryLimit`.
const HISTORY_LIMIT: i64 = 10;

/// Plans one Deployment.
pub(crate) fn plan(_: &Context, key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    let Some(deployment) = world.get(DEPLOYMENT, &key.namespace, &key.name) else {
        return plan;
    };
    if deployment.is_terminating() {
        return plan;
    }
    let claimed = claim(REPLICA_SET, &deployment, world);
    plan.actions = claimed.actions;
    if !plan.actions.is_empty() {
        // What there is counts; the plan after this one sees it.
        return plan;
    }
    let rollout = Rollout::of(&deployment, claimed.objects);
    let sizes = rollout.sizes();
    let newest = rollout.newest_revision();
    match &rollout.new {
        None if rollout.paused() || rollout.is_rescaled() => {}
        None => {
            let size = sizes.new;
            let set = rollout.replica_set(size, newest + 1);
            let told = told::scaled(&deployment, set.name(), 0, size);
            plan.actions.push(Action::Create(set));
            plan.actions.extend(told);
        }
        Some(set) => rollout.resize(&mut plan, set, sizes.new, Some(max(newest, revision(set)))),
    }
    for (set, size) in rollout.old.iter().zip(&sizes.old) {
        rollout.resize(&mut plan, set, *size, None);
    }
    rollout.clean_up(&mut plan);
    rollout.annotate(&mut plan, newest);
    rollout.report(&mut plan, world.now());
    plan
}

/// A Deployment and its ReplicaSets.
struct Rollout<'a> {
    deployment: &'a Value,
    /// The one that has the Deployment's template.
    new: Option<Arc<Value>>,
    /// The others, oldest first.
    old: Vec<Arc<Value>>,
    want: i64,
}

/// How many replicas each ReplicaSet should have now.
struct Sizes {
    new: i64,
    old: Vec<i64>,
}

impl<'a> Rollout<'a> {
    fn of(deployment: &'a Value, mut sets: Vec<Arc<Value>>) -> Self {
        sets.retain(|set| !set.is_terminating());
        sets.sort_by_cached_key(|set| {
            let created = set["metadata"]["creationTimestamp"]
                .as_str()
                .unwrap_or_default();
            (created.to_owned(), set.name().to_owned())
        });
        let template = without_hash(&deployment["spec"]["template"]);
        let at = sets
            .iter()
            .position(|set| without_hash(&set["spec"]["template"]) == template);
        let new = at.map(|at| sets.remove(at));
        let want = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
        Self {
            deployment,
            new,
            old: sets,
            want,
        }
    }

    fn paused(&self) -> bool {
        self.deployment["spec"]["paused"] == true
    }

    fn sets(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.old.iter().chain(&self.new)
    }

    /// The number of the newest template: one more than the old ones' when there is a new one.
    fn newest_revision(&self) -> i64 {
        let old = self.old.iter().map(|set| revision(set)).max().unwrap_or(0);
        let new = self.new.as_ref().map_or(0, |set| revision(set));
        if self.new.is_some() {
            max(old + 1, new)
        } else {
            old
        }
    }

    fn sizes(&self) -> Sizes {
        let current = |set: &Arc<Value>| replicas(set);
        let old: Vec<i64> = self.old.iter().map(current).collect();
        let new = self.new.as_ref().map_or(0, current);
        if self.paused() || self.is_rescaled() {
            return self.rescale();
        }
        if old.iter().sum::<i64>() == 0 {
            let new = self.want;
            return Sizes { new, old };
        }
        if self.deployment["spec"]["strategy"]["type"] == "Recreate" {
            let gone = self.old.iter().all(|set| count(set, "replicas") == 0);
            return Sizes {
                new: if gone { self.want } else { new },
                old: vec![0; old.len()],
            };
        }
        self.roll(new, old)
    }

    /// Whether `spec.replicas` has changed since a ReplicaSet was last sized.
    fn is_rescaled(&self) -> bool {
        let want = self.want.to_string();
        let sized = self.sets().filter(|set| replicas(set) > 0);
        let mut sized = sized.filter_map(|set| set.annotation(DESIRED));
        sized.any(|desired| desired != want)
    }

    /// What a change of `spec.replicas` means for each ReplicaSet, a rollout in between or
    /// paused included: each keeps its share.
    fn rescale(&self) -> Sizes {
        let sets: Vec<&Arc<Value>> = self.sets().collect();
        let mut sizes: Vec<i64> = sets.iter().map(|set| replicas(set)).collect();
        let mut active: Vec<usize> = (0..sets.len()).filter(|at| sizes[*at] > 0).collect();
        let recreate = self.deployment["spec"]["strategy"]["type"] == "Recreate";
        match (active.as_slice(), sets.len().checked_sub(1)) {
            (_, None) => {}
            // The newest one, or the only one at work.
            ([], Some(last)) => sizes[last] = self.want,
            ([only], _) => sizes[*only] = self.want,
            _ if self.is_saturated() => {
                sizes
                    .iter_mut()
                    .take(self.old.len())
                    .for_each(|size| *size = 0);
            }
            _ if recreate => {}
            _ => self.share(&sets, &mut active, &mut sizes),
        }
        let new = self.new.as_ref().and_then(|_| sizes.pop()).unwrap_or(0);
        Sizes { new, old: sizes }
    }

    /// Gives what is to be added, or taken, to the active ReplicaSets by their size; what
    /// rounding leaves goes to the largest.
    fn share(&self, sets: &[&Arc<Value>], active: &mut [usize], sizes: &mut [i64]) {
        let (surge, _) = self.bounds();
        let allowed = if self.want > 0 { self.want + surge } else { 0 };
        let total: i64 = active.iter().map(|at| sizes[*at]).sum();
        let to_add = allowed - total;
        // Sets come oldest first: of equals the newest gains first, the oldest loses first.
        let age = |at: usize| if to_add > 0 { -(at as i64) } else { at as i64 };
        active.sort_by_key(|at| (-sizes[*at], age(*at)));
        let mut added = 0;
        for at in active.iter() {
            let share = self.share_of(sets[*at], sizes[*at], surge);
            let left = to_add - added;
            let share = if to_add > 0 {
                share.min(left)
            } else {
                share.max(left)
            };
            sizes[*at] += share;
            added += share;
        }
        if let Some(largest) = active.first() {
            sizes[*largest] = max(0, sizes[*largest] + to_add - added);
        }
    }

    fn share_of(&self, set: &Value, size: i64, surge: i64) -> i64 {
        if self.want == 0 {
            return -size;
        }
        let before = set.annotation(MAX).and_then(|text| text.parse().ok());
        let before: i64 = before
            .filter(|before| *before > 0)
            .unwrap_or_else(|| count(self.deployment, "replicas"));
        if before == 0 {
            return 0;
        }
        let new = size * (self.want + surge);
        (2 * new + before) / (2 * before) - size
    }

    /// Whether the newest ReplicaSet carries the whole Deployment.
    fn is_saturated(&self) -> bool {
        let Some(new) = &self.new else { return false };
        let desired = new.annotation(DESIRED) == Some(self.want.to_string().as_str());
        desired && replicas(new) == self.want && count(new, "availableReplicas") == self.want
    }

    /// One step of a rolling update: the new one grows into the surge, the old ones shrink as far
    /// as availability allows.
    fn roll(&self, new: i64, mut old: Vec<i64>) -> Sizes {
        let (surge, unavailable) = self.bounds();
        let total = new + old.iter().sum::<i64>();
        let grown = match new {
            new if new >= self.want => self.want,
            new => new + max(0, min(self.want - new, self.want + surge - total)),
        };
        let available: i64 = self.sets().map(|set| count(set, "availableReplicas")).sum();
        let floor = self.want - unavailable;
        let new_available = self
            .new
            .as_ref()
            .map_or(0, |set| count(set, "availableReplicas"));
        let mut spare = total - floor - (new - new_available);
        for (set, size) in self.old.iter().zip(&mut old) {
            let unhealthy = max(0, *size - count(set, "availableReplicas"));
            let cut = min(unhealthy, max(0, spare));
            *size -= cut;
            spare -= cut;
        }
        let mut spare = min(spare, available - floor);
        for size in &mut old {
            let cut = min(*size, max(0, spare));
            *size -= cut;
            spare -= cut;
        }
        Sizes { new: grown, old }
    }

    /// `maxSurge` and `maxUnavailable` in Pods; not both zero.
    fn bounds(&self) -> (i64, i64) {
        let update = &self.deployment["spec"]["strategy"]["rollingUpdate"];
        let part = |value: &Value, round_up: bool| match value.as_str() {
            None => value.as_i64().unwrap_or_else(|| self.quarter(round_up)),
            Some(text) => {
                let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(25);
                let product = percent * self.want;
                if round_up {
                    (product + 99) / 100
                } else {
                    product / 100
                }
            }
        };
        let surge = part(&update["maxSurge"], true);
        let unavailable = part(&update["maxUnavailable"], false);
        if surge == 0 && unavailable == 0 {
            (0, 1)
        } else {
            (surge, unavailable)
        }
    }

    const fn quarter(&self, round_up: bool) -> i64 {
        if round_up {
            (self.want + 3) / 4
        } else {
            self.want / 4
        }
    }

    /// Writes down for which `spec.replicas` a ReplicaSet was sized.
    fn note_size(&self, annotations: &mut Value) {
        let (surge, _) = self.bounds();
        annotations[DESIRED] = json!(self.want.to_string());
        annotations[MAX] = json!((self.want + surge).to_string());
    }

    /// Brings a ReplicaSet to `size`, and to `revision` where one is given.
    fn resize(&self, plan: &mut Plan, set: &Value, size: i64, newest: Option<i64>) {
        let mut object = set.clone();
        object["spec"]["replicas"] = json!(size);
        if size > 0 {
            self.note_size(&mut object["metadata"]["annotations"]);
        }
        if let Some(newest) = newest {
            object["metadata"]["annotations"][REVISION] = json!(newest.to_string());
        }
        if object != *set {
            plan.actions.push(Action::Update(object));
            let told = told::scaled(self.deployment, set.name(), replicas(set), size);
            plan.actions.extend(told);
        }
    }

    fn replica_set(&self, size: i64, revision: i64) -> Value {
        let deployment = self.deployment;
        let hash = short_hash(&deployment["spec"]["template"]);
        let mut template = deployment["spec"]["template"].clone();
        template["metadata"]["labels"][HASH_LABEL] = json!(hash);
        let mut selector = deployment["spec"]["selector"].clone();
        selector["matchLabels"][HASH_LABEL] = json!(hash);
        let mut annotations = deployment["metadata"]["annotations"].clone();
        if !annotations.is_object() {
            annotations = json!({});
        }
        annotations[REVISION] = json!(revision.to_string());
        self.note_size(&mut annotations);
        let last_applied = "kubectl.kubernetes.io/last-applied-configuration";
        annotations
            .as_object_mut()
            .map(|annotations| annotations.remove(last_applied));
        let mut spec = json!({"replicas": size, "selector": selector, "template": template});
        if let Some(seconds) = deployment["spec"]["minReadySeconds"].as_i64() {
            spec["minReadySeconds"] = json!(seconds);
        }
        json!({
            "apiVersion": REPLICA_SET.api_version(),
            "kind": REPLICA_SET.kind,
            "metadata": {
                "name": format!("{}-{hash}", deployment.name()),
                "namespace": deployment.namespace(),
                "labels": template["metadata"]["labels"],
                "annotations": annotations,
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": spec,
        })
    }

    /// Forgets the oldest ReplicaSets without Pods beyond `revisionHistoryLimit`.
    fn clean_up(&self, plan: &mut Plan) {
        let limit = self.deployment["spec"]["revisionHistoryLimit"]
            .as_i64()
            .unwrap_or(HISTORY_LIMIT);
        let empty = |set: &&Arc<Value>| replicas(set) == 0 && count(set, "replicas") == 0;
        let idle: Vec<&Arc<Value>> = self.old.iter().filter(empty).collect();
        let surplus = idle
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or(0));
        if self.new.is_none() {
            return;
        }
        plan.actions
            .extend(idle.into_iter().take(surplus).map(|set| Action::Delete {
                kind: REPLICA_SET,
                namespace: set.namespace().to_owned(),
                name: set.name().to_owned(),
                uid: set.uid().to_owned(),
            }));
    }

    fn annotate(&self, plan: &mut Plan, newest: i64) {
        let Some(new) = &self.new else { return };
        let wanted = max(newest, revision(new)).to_string();
        if self.deployment.annotation(REVISION) != Some(wanted.as_str()) {
            let mut object = self.deployment.clone();
            object["metadata"]["annotations"][REVISION] = json!(wanted);
            plan.actions.push(Action::Update(object));
        }
    }

    fn report(&self, plan: &mut Plan, now: Timestamp) {
        let sum = |key: &str| self.sets().map(|set| count(set, key)).sum::<i64>();
        let (total, available) = (sum("replicas"), sum("availableReplicas"));
        let updated = self.new.as_ref().map_or(0, |set| count(set, "replicas"));
        let mut status = json!({"observedGeneration": self.deployment.generation()});
        let counts = [
            ("replicas", total),
            ("updatedReplicas", updated),
            ("readyReplicas", sum("readyReplicas")),
            ("availableReplicas", available),
            (
                "unavailableReplicas",
                max(0, max(self.want, total) - available),
            ),
        ];
        for (key, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            status[key] = json!(count);
        }
        let (_, unavailable) = self.bounds();
        let (progressing, again) = self.progress(&status, now);
        let mut conditions = vec![
            condition::set(
                self.deployment,
                &availability(available >= self.want - unavailable),
                now,
            ),
            progressing,
        ];
        conditions.extend(self.failure(now));
        status["conditions"] = json!(conditions);
        if status != self.deployment["status"] {
            let mut object = self.deployment.clone();
            object["status"] = status;
            plan.actions.push(Action::Status(object));
        }
        plan.actions.extend(again.map(Action::At));
    }

    /// What keeps a ReplicaSet from making Pods, the newest one's word first.
    fn failure(&self, now: Timestamp) -> Option<Value> {
        let mut sets = self.new.iter().chain(self.old.iter().rev());
        let failure = sets.find_map(|set| condition::get(set, "ReplicaFailure"))?;
        let says = Says {
            kind: "ReplicaFailure",
            status: true,
            reason: failure["reason"].as_str().unwrap_or_default(),
            message: failure["message"].as_str().unwrap_or_default(),
        };
        Some(condition::set(self.deployment, &says, now))
    }

    /// The condition Progressing, and when it will have to be looked at again.
    fn progress(&self, status: &Value, now: Timestamp) -> (Value, Option<Timestamp>) {
        let name = self
            .new
            .as_ref()
            .map_or_else(String::new, |set| set.name().to_owned());
        let field = |status: &Value, key: &str| status[key].as_i64().unwrap_or(0);
        let says = |status, reason, message: &str| {
            let says = Says {
                kind: "Progressing",
                status,
                reason,
                message,
            };
            condition::set(self.deployment, &says, now)
        };
        let complete = field(status, "updatedReplicas") == self.want
            && field(status, "replicas") == self.want
            && field(status, "availableReplicas") == self.want
            && self.new.is_some();
        if complete {
            let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
            return (says(true, "NewReplicaSetAvailable", &message), None);
        }
        if self.new.is_none() {
            return (
                says(true, "NewReplicaSetCreated", "Created new replica set"),
                None,
            );
        }
        let message = format!("ReplicaSet \"{name}\" is progressing.");
        let old = &self.deployment["status"];
        let moved = ["updatedReplicas", "readyReplicas", "availableReplicas"]
            .iter()
            .any(|key| field(status, key) > field(old, key))
            || field(status, "replicas") < field(old, "replicas");
        let last = condition::get(self.deployment, "Progressing");
        let Some(last) = last.filter(|last| last["reason"] != "NewReplicaSetAvailable" && !moved)
        else {
            return self.fresh(&message, now);
        };
        if last["reason"] == "ProgressDeadlineExceeded" {
            return (last.clone(), None);
        }
        let since: Option<Timestamp> = last["lastUpdateTime"]
            .as_str()
            .and_then(|since| since.parse().ok());
        let deadline = since.unwrap_or(now) + self.deadline();
        if deadline > now {
            return (last.clone(), Some(deadline));
        }
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        (says(false, "ProgressDeadlineExceeded", &message), None)
    }

    /// Progress was made just now.
    fn fresh(&self, message: &str, now: Timestamp) -> (Value, Option<Timestamp>) {
        let says = Says {
            kind: "Progressing",
            status: true,
            reason: "ReplicaSetUpdated",
            message,
        };
        let mut condition = condition::set(self.deployment, &says, now);
        condition["lastUpdateTime"] = json!(condition::seconds(now));
        (condition, Some(now + self.deadline()))
    }

    fn deadline(&self) -> SignedDuration {
        let seconds = self.deployment["spec"]["progressDeadlineSeconds"].as_i64();
        SignedDuration::from_secs(seconds.unwrap_or(PROGRESS_DEADLINE_S))
    }
}

const fn availability(enough: bool) -> Says<'static> {
    if enough {
        Says {
            kind: "Available",
            status: true,
            reason: "MinimumReplicasAvailable",
            message: "Deployment has minimum availability.",
        }
    } else {
        Says {
            kind: "Available",
            status: false,
            reason: "MinimumReplicasUnavailable",
            message: "Deployment does not have minimum availability.",
        }
    }
}

fn replicas(set: &Value) -> i64 {
    set["spec"]["replicas"].as_i64().unwrap_or(1)
}

fn count(object: &Value, key: &str) -> i64 {
    object["status"][key].as_i64().unwrap_or(0)
}

fn revision(set: &Value) -> i64 {
    set.annotation(REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(HASH_LABEL);
    }
    template
}
