//! ReplicaSet → Pods, as many as it says.

use std::sync::Arc;

use api::object::ObjectExt;
use api::world::{Action, Context, Fact, Key, POD, Plan, REPLICA_SET, World};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::claim::claim;
use crate::condition::{self, Says};
use crate::pods::{self, Maker};
use crate::told;

/// Pods created or deleted in one plan; the rest follows when these are there.
const BURST: usize = 500;

/// Plans one ReplicaSet.
pub(crate) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let mut plan = Plan::default();
    let Some(set) = world.get(REPLICA_SET, &key.namespace, &key.name) else {
        return plan;
    };
    let claimed = claim(POD, &set, world);
    plan.actions = claimed.actions;
    let mut active = claimed.objects;
    active.retain(|pod| pods::is_active(pod));
    let want = usize::try_from(set["spec"]["replicas"].as_i64().unwrap_or(1)).unwrap_or(0);
    let refused = world.fact(&Fact::Refused {
        root: REPLICA_SET,
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    });
    let failure = refused.filter(|_| active.len() != want);
    let (status, again) = status(&set, &active, failure.as_deref(), world.now());
    let was = &set["status"]["conditions"];
    let fails = failure.as_ref().filter(|_| status["conditions"] != *was);
    let failed = fails.map(|failure| {
        let why = failure["message"].as_str().unwrap_or_default();
        Action::event(
            &set,
            "Warning",
            "FailedCreate",
            format!("Error creating: {why}"),
        )
    });
    let report = (status != set["status"]).then(|| {
        let mut object = Value::clone(&set);
        object["status"] = status;
        Action::Status(object)
    });
    let mut changes = Vec::new();
    if !set.is_terminating() {
        if active.len() < want {
            let mut maker = Maker::new(cx, world, &set);
            let missing = (want - active.len()).min(BURST);
            changes.extend((0..missing).map(|_| Action::Create(maker.pod())));
        } else if active.len() > want {
            pods::by_dispensability(&mut active);
            let surplus = (active.len() - want).min(BURST);
            changes.extend(active.drain(..surplus).map(|pod| pods::delete(&pod)));
        }
    }
    let changes = told::pods(&set, changes);
    // Pods come before the report, unless they could not be made: then the report says so.
    if failure.is_some() {
        plan.actions.extend(failed);
        plan.actions.extend(report);
        plan.actions.extend(changes);
    } else {
        plan.actions.extend(changes);
        plan.actions.extend(report);
    }
    plan.actions.extend(again.map(Action::At));
    plan
}

fn status(
    set: &Value,
    active: &[Arc<Value>],
    failure: Option<&Value>,
    now: Timestamp,
) -> (Value, Option<Timestamp>) {
    let min_ready_s = set["spec"]["minReadySeconds"].as_i64().unwrap_or(0);
    let template = set["spec"]["template"]["metadata"]["labels"].as_object();
    let fully_labelled = |pod: &&Arc<Value>| {
        let mut labels = template.into_iter().flatten();
        labels.all(|(key, value)| pod.label(key) == value.as_str())
    };
    let (mut available, mut again) = (0, None::<Timestamp>);
    for pod in active {
        match pods::available(pod, min_ready_s, now) {
            Ok(true) => available += 1,
            Ok(false) => {}
            Err(at) => again = Some(again.map_or(at, |again| again.min(at))),
        }
    }
    let mut status = json!({
        "replicas": active.len(),
        "observedGeneration": set.generation(),
    });
    let counts = [
        (
            "fullyLabeledReplicas",
            active.iter().filter(fully_labelled).count(),
        ),
        (
            "readyReplicas",
            active.iter().filter(|pod| pods::is_ready(pod)).count(),
        ),
        ("availableReplicas", available),
    ];
    for (key, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        status[key] = json!(count);
    }
    if let Some(failure) = failure {
        let says = Says {
            kind: "ReplicaFailure",
            status: true,
            reason: "FailedCreate",
            message: failure["message"].as_str().unwrap_or_default(),
        };
        let mut condition = condition::set(set, &says, now);
        // ReplicaSets' conditions have one time only.
        if let Some(fields) = condition.as_object_mut() {
            fields.remove("lastUpdateTime");
        }
        status["conditions"] = json!([condition]);
    }
    (status, again)
}
