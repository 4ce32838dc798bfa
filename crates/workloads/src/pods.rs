//! What the plans that make Pods share: counting them, making them, choosing which go first.

use std::sync::Arc;

use api::object::ObjectExt;
use api::world::{Action, Context, POD, World};
use jiff::Timestamp;
use serde_json::{Value, json};
use stdx::Rng;

use crate::fit::Nodes;
use crate::{condition, scheduler};

/// Letters of generated names: no vowels, no look-alikes; Kubernetes' own choice.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Letters of a generated suffix.
const SUFFIX_LEN: usize = 5;
/// Longest part of the owner's name in a generated name.
const BASE_LEN_MAX: usize = 58;

/// Whether a Pod still does or will do its work.
pub(crate) fn is_active(pod: &Value) -> bool {
    let phase = &pod["status"]["phase"];
    !pod.is_terminating() && phase != "Succeeded" && phase != "Failed"
}

/// Whether a Pod is ready.
pub(crate) fn is_ready(pod: &Value) -> bool {
    condition::is_true(pod, "Ready")
}

/// Whether a Pod has been ready for `min_ready_s` seconds; otherwise when it will have been.
pub(crate) fn available(pod: &Value, min_ready_s: i64, now: Timestamp) -> Result<bool, Timestamp> {
    if !is_ready(pod) {
        return Ok(false);
    }
    if min_ready_s == 0 {
        return Ok(true);
    }
    let since = condition::get(pod, "Ready").and_then(|c| c["lastTransitionTime"].as_str());
    let since: Option<Timestamp> = since.and_then(|since| since.parse().ok());
    let at = since.unwrap_or(now) + jiff::SignedDuration::from_secs(min_ready_s);
    if at <= now { Ok(true) } else { Err(at) }
}

/// Makes Pods of one owner.
pub(crate) struct Maker<'a> {
    cx: &'a Context,
    world: &'a World,
    owner: &'a Value,
    rng: Rng,
    /// Filled when the first Pod is to be bound.
    nodes: Option<Nodes>,
}

impl<'a> Maker<'a> {
    pub(crate) fn new(cx: &'a Context, world: &'a World, owner: &'a Value) -> Self {
        let seed = owner.uid().bytes().fold(cx.seed, |seed, byte| {
            (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            cx,
            world,
            owner,
            rng: Rng::new(seed),
            nodes: None,
        }
    }

    /// A new Pod from the owner's `spec.template`, bound if it may be.
    pub(crate) fn pod(&mut self) -> Value {
        let mut pod = self.generated(&self.owner["spec"]["template"]);
        self.bind(&mut pod);
        pod
    }

    /// A new Pod from a template under a name made up for it, not bound.
    pub(crate) fn generated(&mut self, template: &Value) -> Value {
        let mut base = self.owner.name().to_owned();
        base.truncate(BASE_LEN_MAX - 1);
        let suffix: String = (0..SUFFIX_LEN)
            .map(|_| SUFFIX_LETTERS[self.rng.below(SUFFIX_LETTERS.len() as u64) as usize])
            .map(char::from)
            .collect();
        let mut pod = self.named(template, &format!("{base}-{suffix}"));
        pod["metadata"]["generateName"] = json!(format!("{base}-"));
        pod
    }

    /// A new Pod of that name from a template, not bound.
    pub(crate) fn named(&self, template: &Value, name: &str) -> Value {
        let mut pod = json!({
            "apiVersion": POD.api_version(),
            "kind": POD.kind,
            "metadata": {
                "name": name,
                "namespace": self.owner.namespace(),
                "ownerReferences": [owner_reference(self.owner)],
            },
            "spec": template["spec"],
        });
        for key in ["labels", "annotations", "finalizers"] {
            let value = &template["metadata"][key];
            if !value.is_null() {
                pod["metadata"][key] = value.clone();
            }
        }
        pod
    }

    /// Where nobody else schedules, a Pod that finds room is bound as it is made, which saves a
    /// round trip. What was read for it does not concern the owner later: the scheduler looks
    /// after a Pod that has to wait.
    pub(crate) fn bind(&mut self, pod: &mut Value) {
        if !self.cx.binds_pods || !scheduler::waits(pod) {
            return;
        }
        let world = self.world;
        let nodes = self
            .nodes
            .get_or_insert_with(|| world.unrecorded(Nodes::of));
        if let Ok(node) = nodes.place(pod) {
            pod["spec"]["nodeName"] = json!(node);
        }
    }
}

/// The reference that makes `owner` the controller of another object.
pub(crate) fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner.api_version(),
        "kind": owner.kind(),
        "name": owner.name(),
        "uid": owner.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// A short name for a template: the same template, the same name.
pub(crate) fn short_hash(template: &Value) -> String {
    let text = template.to_string();
    let hash = text.bytes().fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let digits = hash.to_string();
    let letters = SUFFIX_LETTERS;
    let letter = |digit: u8| char::from(letters[digit as usize % letters.len()]);
    digits.bytes().map(letter).collect()
}

/// Takes `pod` away.
pub(crate) fn delete(pod: &Value) -> Action {
    Action::Delete {
        kind: POD,
        namespace: pod.namespace().to_owned(),
        name: pod.name().to_owned(),
        uid: pod.uid().to_owned(),
    }
}

/// The order in which Pods go when there are too many: those that do least first, the youngest
/// among equals (the ranking of Kubernetes' ReplicaSet controller).
pub(crate) fn by_dispensability(pods: &mut [Arc<Value>]) {
    pods.sort_by_cached_key(|pod| {
        let bound = pod["spec"]["nodeName"].is_string();
        let phase = match pod["status"]["phase"].as_str() {
            Some("Running") => 2,
            Some("Unknown") => 1,
            _ => 0,
        };
        let cost = pod.annotation("controller.kubernetes.io/pod-deletion-cost");
        let cost: i64 = cost.and_then(|cost| cost.parse().ok()).unwrap_or(0);
        let created = pod["metadata"]["creationTimestamp"]
            .as_str()
            .unwrap_or_default();
        let youngest_first = std::cmp::Reverse(created.to_owned());
        (
            bound,
            phase,
            is_ready(pod),
            cost,
            youngest_first,
            pod.name().to_owned(),
        )
    });
}
