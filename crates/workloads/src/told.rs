//! What Kubernetes' controllers tell about the Pods they make and take away: Events in the words of
//! kube-controller-manager.
//!
//! They stand behind the changes in a plan, so that only what came about is told, and nothing waits
//! for them.

use api::object::ObjectExt;
use api::world::{Action, POD, STATEFUL_SET};
use serde_json::Value;

/// `changes` of the Pods of `owner`, and behind them an Event for each.
pub(crate) fn pods(owner: &Value, mut changes: Vec<Action>) -> Vec<Action> {
    let told: Vec<Action> = changes.iter().filter_map(|c| pod(owner, c)).collect();
    changes.extend(told);
    changes
}

fn pod(owner: &Value, change: &Action) -> Option<Action> {
    let (made, name) = match change {
        Action::Create(object) if object.kind() == POD.kind => (true, object.name()),
        Action::Delete { kind, name, .. } if *kind == POD => (false, name.as_str()),
        _ => return None,
    };
    let reason = if made {
        "SuccessfulCreate"
    } else {
        "SuccessfulDelete"
    };
    let message = if owner.kind() == STATEFUL_SET.kind {
        let verb = if made { "create" } else { "delete" };
        format!(
            "{verb} Pod {name} in StatefulSet {} successful",
            owner.name()
        )
    } else {
        let verb = if made { "Created" } else { "Deleted" };
        format!("{verb} pod: {name}")
    };
    Some(Action::event(owner, "Normal", reason, message))
}

/// A Deployment has sized one of its ReplicaSets.
pub(crate) fn scaled(deployment: &Value, set: &str, from: i64, to: i64) -> Option<Action> {
    let way = if from < to { "up" } else { "down" };
    let message = format!("Scaled {way} replica set {set} from {from} to {to}");
    (from != to).then(|| Action::event(deployment, "Normal", "ScalingReplicaSet", message))
}

/// How a Job has ended, by the condition that says so.
pub(crate) fn ended(job: &Value, kind: &str, reason: &str, message: &str) -> Action {
    match kind {
        "Complete" => Action::event(job, "Normal", "Completed", "Job completed"),
        _ => Action::event(job, "Warning", reason, message),
    }
}
