//! StatefulSet → Pods with names and claims of their own, one after the other or all at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::object::ObjectExt;
use api::world::{Action, Context, Key, PERSISTENT_VOLUME_CLAIM, POD, Plan, STATEFUL_SET, World};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::claim::claim;
use crate::pods::{self, Maker, owner_reference};
use crate::revisions::{REVISION_LABEL, Revisions, template_of};
use crate::told;

/// A Pod's own name, for Services that select one.
const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// Its number.
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// Plans one StatefulSet.
pub(crate) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    let Some(set) = world.get(STATEFUL_SET, &key.namespace, &key.name) else {
        return plan;
    };
    if set.is_terminating() {
        return plan;
    }
    let revisions = Revisions::of(&set, world);
    let claimed = claim(POD, &set, world);
    plan.actions.extend(revisions.actions.iter().cloned());
    plan.actions.extend(claimed.actions);
    let of_name = |pod: Arc<Value>| Some((ordinal(&set, &pod)?, pod));
    let pods: BTreeMap<i64, Arc<Value>> = claimed.objects.into_iter().filter_map(of_name).collect();
    let current = set["status"]["currentRevision"].as_str();
    let current = current.and_then(|name| revisions.named(name));
    let run = Run {
        set: &set,
        current: current.unwrap_or(&revisions.newest),
        update: &revisions.newest,
        pods,
        world,
    };
    let (changes, again) = run.advance(&mut Maker::new(cx, world, &set));
    plan.actions.extend(told::pods(&set, changes));
    let is_used = |revision: &Value| {
        let name = revision.name();
        name == run.current.name() || run.pods.values().any(|pod| made_from(pod) == name)
    };
    plan.actions.extend(revisions.forget(&set, is_used));
    let status = run.status();
    if status != set["status"] {
        let mut object = Value::clone(&set);
        object["status"] = status;
        plan.actions.push(Action::Status(object));
    }
    plan.actions.extend(again.map(Action::At));
    plan
}

/// A StatefulSet and its Pods by number.
struct Run<'a> {
    set: &'a Value,
    /// The revision the Pods are of that an update leaves alone.
    current: &'a Arc<Value>,
    /// The revision of the present template.
    update: &'a Arc<Value>,
    pods: BTreeMap<i64, Arc<Value>>,
    world: &'a World,
}

impl Run<'_> {
    fn number(&self, pointer: &str, default: i64) -> i64 {
        let value = self.set.pointer(pointer).and_then(Value::as_i64);
        value.unwrap_or(default)
    }

    /// The numbers its Pods should have.
    fn wanted(&self) -> std::ops::Range<i64> {
        let start = self.number("/spec/ordinals/start", 0);
        start..start + self.number("/spec/replicas", 1).max(0)
    }

    fn is_ordered(&self) -> bool {
        self.set["spec"]["podManagementPolicy"] != "Parallel"
    }

    fn is_rolling(&self) -> bool {
        self.set["spec"]["updateStrategy"]["type"] != "OnDelete"
    }

    /// The first number an update is for.
    fn partition(&self) -> i64 {
        let partition = self.number("/spec/updateStrategy/rollingUpdate/partition", 0);
        self.wanted().start + partition
    }

    /// Whether a Pod has run long enough to go on with the next; otherwise when it will have.
    fn available(&self, pod: &Value) -> Result<bool, Timestamp> {
        let min_ready_s = self.number("/spec/minReadySeconds", 0);
        match is_healthy(pod) {
            true => pods::available(pod, min_ready_s, self.world.now()),
            false => Ok(false),
        }
    }

    /// The next step: in order, each Pod waits for those before it, and what is too much goes from
    /// the end. Then old Pods make room for new ones, from the end as well.
    fn advance(&self, maker: &mut Maker<'_>) -> (Vec<Action>, Option<Timestamp>) {
        let mut changes = Vec::new();
        let is_ordered = self.is_ordered();
        for ordinal in self.wanted() {
            let Some(pod) = self.pods.get(&ordinal) else {
                changes.extend(self.missing_claims(ordinal));
                changes.push(Action::Create(self.pod(maker, ordinal)));
                if is_ordered {
                    return (changes, None);
                }
                continue;
            };
            changes.extend(self.missing_claims(ordinal));
            let is_over = !pods::is_active(pod);
            if is_over && !pod.is_terminating() {
                changes.push(pods::delete(pod));
            }
            if !is_ordered {
                continue;
            }
            match self.available(pod) {
                Ok(true) if !is_over => {}
                Ok(_) => return (changes, None),
                Err(at) => return (changes, Some(at)),
            }
        }
        if !self.shrink(&mut changes) && self.is_rolling() {
            changes.extend(self.outdated().map(|pod| pods::delete(pod)));
        }
        (changes, None)
    }

    /// Takes away the Pods with too high a number. Says whether that has to be waited for.
    fn shrink(&self, changes: &mut Vec<Action>) -> bool {
        let wanted = self.wanted();
        let condemned = || self.pods.iter().filter(|(at, _)| !wanted.contains(at));
        let first_unwell = condemned().find(|(_, pod)| !is_healthy(pod));
        for (ordinal, pod) in condemned().rev() {
            let is_first = first_unwell.is_some_and(|(at, _)| at == ordinal);
            if pod.is_terminating() || self.is_ordered() && !is_healthy(pod) && !is_first {
                if self.is_ordered() {
                    return true;
                }
                continue;
            }
            changes.extend(self.doomed_claims(*ordinal, pod));
            changes.push(pods::delete(pod));
            if self.is_ordered() {
                return true;
            }
        }
        false
    }

    /// The Pod to make anew from the present template: one at a time, while all after it are well.
    fn outdated(&self) -> Option<&Arc<Value>> {
        let range = self.partition()..self.wanted().end;
        for ordinal in range.rev() {
            let pod = self.pods.get(&ordinal)?;
            if made_from(pod) != self.update.name() && !pod.is_terminating() {
                return Some(pod);
            }
            if !is_healthy(pod) {
                return None;
            }
        }
        None
    }

    fn pod(&self, maker: &mut Maker<'_>, ordinal: i64) -> Value {
        let keeps = self.is_rolling() && ordinal < self.partition();
        let revision = if keeps { self.current } else { self.update };
        let name = format!("{}-{ordinal}", self.set.name());
        let mut pod = maker.named(&template_of(revision), &name);
        let labels = &mut pod["metadata"]["labels"];
        labels[NAME_LABEL] = json!(name);
        labels[INDEX_LABEL] = json!(ordinal.to_string());
        labels[REVISION_LABEL] = json!(revision.name());
        let spec = &mut pod["spec"];
        spec["hostname"] = json!(name);
        if let Some(service) = self.set["spec"]["serviceName"].as_str() {
            spec["subdomain"] = json!(service);
        }
        for template in self.claim_templates() {
            let (name, claim) = (template.name(), self.claim_name(template, ordinal));
            let volume = json!({"name": name, "persistentVolumeClaim": {"claimName": claim}});
            match spec["volumes"].as_array_mut() {
                Some(volumes) => {
                    volumes.retain(|one| one["name"] != name);
                    volumes.push(volume);
                }
                None => spec["volumes"] = json!([volume]),
            }
        }
        maker.bind(&mut pod);
        pod
    }

    fn claim_templates(&self) -> impl Iterator<Item = &Value> {
        let templates = self.set["spec"]["volumeClaimTemplates"].as_array();
        templates.into_iter().flatten()
    }

    fn claim_name(&self, template: &Value, ordinal: i64) -> String {
        format!("{}-{}-{ordinal}", template.name(), self.set.name())
    }

    /// The claims a Pod needs that are not there.
    fn missing_claims(&self, ordinal: i64) -> Vec<Action> {
        let namespace = self.set.namespace();
        let mut missing = Vec::new();
        for template in self.claim_templates() {
            let name = self.claim_name(template, ordinal);
            if self
                .world
                .get(PERSISTENT_VOLUME_CLAIM, namespace, &name)
                .is_some()
            {
                continue;
            }
            let mut claim = template.clone();
            claim["apiVersion"] = json!(PERSISTENT_VOLUME_CLAIM.api_version());
            claim["kind"] = json!(PERSISTENT_VOLUME_CLAIM.kind);
            claim["metadata"]["name"] = json!(name);
            claim["metadata"]["namespace"] = json!(namespace);
            let selector = self.set["spec"]["selector"]["matchLabels"].as_object();
            for (key, value) in selector.into_iter().flatten() {
                claim["metadata"]["labels"][key] = value.clone();
            }
            if self.retention("whenDeleted") == "Delete" {
                claim["metadata"]["ownerReferences"] = json!([owner_reference(self.set)]);
            }
            if let Some(fields) = claim.as_object_mut() {
                fields.remove("status");
            }
            missing.push(Action::Create(claim));
        }
        missing
    }

    fn retention(&self, when: &str) -> &str {
        let policy = &self.set["spec"]["persistentVolumeClaimRetentionPolicy"][when];
        policy.as_str().unwrap_or("Retain")
    }

    /// The claims of a Pod that goes for good: with `whenScaled: Delete` they go with it.
    fn doomed_claims(&self, ordinal: i64, pod: &Value) -> Vec<Action> {
        if self.retention("whenScaled") != "Delete" {
            return Vec::new();
        }
        let names = self
            .claim_templates()
            .map(|one| self.claim_name(one, ordinal));
        let claims = names.filter_map(|name| {
            self.world
                .get(PERSISTENT_VOLUME_CLAIM, self.set.namespace(), &name)
        });
        let doomed = claims.map(|claim| {
            let mut claim = Value::clone(&claim);
            let mut owner = owner_reference(pod);
            owner["controller"] = json!(false);
            claim["metadata"]["ownerReferences"] = json!([owner]);
            Action::Update(claim)
        });
        doomed.collect()
    }

    fn status(&self) -> Value {
        let pods = || self.pods.values();
        let live = |revision: &Value| {
            let of = pods().filter(|pod| !pod.is_terminating());
            of.filter(|pod| made_from(pod) == revision.name()).count()
        };
        let ready = pods().filter(|pod| is_healthy(pod)).count();
        let available = pods().filter(|pod| self.available(pod) == Ok(true)).count();
        let updated = live(self.update);
        let wanted = usize::try_from(self.number("/spec/replicas", 1)).unwrap_or(0);
        let is_through = self.is_rolling() && updated == wanted && ready == wanted;
        let (current, count) = match is_through && self.pods.len() == wanted {
            true => (self.update, updated),
            false => (self.current, live(self.current)),
        };
        let mut status = json!({
            "observedGeneration": self.set.generation(),
            "replicas": self.pods.len(),
            "availableReplicas": available,
            "currentRevision": current.name(),
            "updateRevision": self.update.name(),
            "collisionCount": 0,
        });
        let counts = [
            ("readyReplicas", ready),
            ("currentReplicas", count),
            ("updatedReplicas", updated),
        ];
        for (key, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            status[key] = json!(count);
        }
        status
    }
}

/// The number in a Pod's name, if it is one of this set's names.
fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    let number = pod.name().strip_prefix(set.name())?.strip_prefix('-')?;
    let ordinal: i64 = number.parse().ok()?;
    (ordinal.to_string() == number).then_some(ordinal)
}

fn made_from(pod: &Value) -> &str {
    pod.label(REVISION_LABEL).unwrap_or_default()
}

fn is_healthy(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running" && pods::is_ready(pod) && !pod.is_terminating()
}
