//! Whether a Revision is ready, from its Deployment, its Pods and its PodAutoscaler.

use std::sync::Arc;

use api::conditions::{self, Conditions, Status};
use api::object::ObjectExt;
use api::serving;
use api::world::POD;
use serde_json::Value;

use crate::plan::config::Config;
use api::draft::{Draft, not_owned};

pub(super) const RESOURCES_AVAILABLE: &str = "ResourcesAvailable";
pub(super) const CONTAINER_HEALTHY: &str = "ContainerHealthy";
const ACTIVE: &str = "Active";
const PROGRESS_DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
/// The name of the container that is not the user's.
const QUEUE_PROXY: &str = "queue-proxy";

/// A reason and a message.
type Why = (String, String);

/// What the children show.
#[derive(Default)]
pub(super) struct Evidence {
    /// A child that somebody else controls: its kind and name.
    pub(super) foreign: Option<(&'static str, String)>,
    /// The Deployment, once it exists.
    pub(super) deployment: Option<Arc<Value>>,
    /// The PodAutoscaler, once it exists.
    pub(super) autoscaler: Option<Arc<Value>>,
    /// Why there are no Pods that could run.
    unavailable: Option<Why>,
    /// How the container ended.
    exited: Option<Why>,
}

impl Evidence {
    /// Whether Pods are wanted, none is ready, and it is known that none will be.
    pub(super) fn is_hopeless(&self) -> bool {
        self.unavailable.is_some() || self.exited.is_some()
    }
}

/// Gathers what the Deployment and its Pods tell.
pub(super) fn look_at_deployment(draft: &Draft<'_>, evidence: &mut Evidence, deployment: &Value) {
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    if wanted == 0 {
        return;
    }
    evidence.unavailable = deployment_failure(deployment);
    let available = deployment["status"]["availableReplicas"]
        .as_i64()
        .unwrap_or(0);
    if available > 0 {
        return;
    }
    let pods = draft
        .world
        .labelled(POD, draft.namespace(), serving::REVISION, draft.name());
    // Any Pod will do: they are alike, so they fail alike.
    let Some(pod) = pods.iter().find(|pod| !pod.is_terminating()) else {
        return;
    };
    if let Some(why) = unschedulable(pod) {
        let deployment = Config::read(draft.cx, draft.world, "deployment");
        if !deployment.is_on("pod-is-always-schedulable") {
            evidence.unavailable = Some(why);
        }
    }
    let statuses = pod["status"]["containerStatuses"].as_array();
    let users = statuses
        .into_iter()
        .flatten()
        .filter(|s| s["name"] != QUEUE_PROXY);
    for status in users {
        let ended = &status["lastState"]["terminated"];
        let waiting = &status["state"]["waiting"];
        if ended.is_object() {
            evidence.exited = Some(exit(ended));
            return;
        }
        if waiting.is_object() && has_timed_out(deployment) {
            evidence.unavailable = Some((text(&waiting["reason"]), text(&waiting["message"])));
            return;
        }
    }
}

fn deployment_failure(deployment: &Value) -> Option<Why> {
    let list = deployment["status"]["conditions"].as_array()?;
    list.iter()
        .find(|c| match c["type"].as_str() {
            Some("Progressing") => c["status"] == "False",
            Some("ReplicaFailure") => c["status"] == "True",
            _ => false,
        })
        .map(|c| (text(&c["reason"]), text(&c["message"])))
}

fn has_timed_out(deployment: &Value) -> bool {
    let list = deployment["status"]["conditions"].as_array();
    list.into_iter().flatten().any(|c| {
        c["type"] == "Progressing"
            && c["status"] == "False"
            && c["reason"] == PROGRESS_DEADLINE_EXCEEDED
    })
}

fn unschedulable(pod: &Value) -> Option<Why> {
    let list = pod["status"]["conditions"].as_array()?;
    list.iter()
        .find(|c| c["type"] == "PodScheduled" && c["status"] == "False")
        .map(|c| (text(&c["reason"]), text(&c["message"])))
}

fn exit(terminated: &Value) -> Why {
    let code = terminated["exitCode"].as_i64().unwrap_or_default();
    let mut message = text(&terminated["message"]);
    if code == 0 && message.is_empty() {
        "container exited with no error".clone_into(&mut message);
    }
    (
        format!("ExitCode{code}"),
        format!("Container failed with: {message}"),
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Marks the conditions by the evidence. Where the evidence says nothing, a condition stays as it
/// was: a failed Revision that was scaled to zero keeps telling why it failed.
pub(super) fn mark(conditions: &mut Conditions, evidence: &Evidence) {
    if let Some((kind, name)) = &evidence.foreign {
        let text = not_owned(kind, name);
        conditions.mark_false(RESOURCES_AVAILABLE, "NotOwned", &text);
        return;
    }
    if evidence.deployment.is_none() {
        conditions.mark_unknown(RESOURCES_AVAILABLE, "Deploying", "");
        conditions.mark_unknown(CONTAINER_HEALTHY, "Deploying", "");
    } else if conditions.is_false(CONTAINER_HEALTHY)
        && conditions
            .get(CONTAINER_HEALTHY)
            .is_some_and(|c| c.reason == "ContainerMissing")
    {
        conditions.mark_unknown(CONTAINER_HEALTHY, "Deploying", "");
    }
    if let Some((reason, message)) = &evidence.unavailable {
        conditions.mark_false(RESOURCES_AVAILABLE, reason, message);
    }
    if let Some((reason, message)) = &evidence.exited {
        conditions.mark_false(CONTAINER_HEALTHY, reason, message);
    }
    mark_by_autoscaler(conditions, evidence);
}

fn mark_by_autoscaler(conditions: &mut Conditions, evidence: &Evidence) {
    let unavailable = evidence.unavailable.is_some();
    let ready = evidence
        .autoscaler
        .as_deref()
        .and_then(|pa| Some((pa, conditions::get(pa, "Ready")?)));
    let Some((autoscaler, ready)) = ready else {
        conditions.mark_unknown(ACTIVE, "Deploying", "");
        if !unavailable && !conditions.is_true(RESOURCES_AVAILABLE) {
            conditions.mark_unknown(RESOURCES_AVAILABLE, "Deploying", "");
        }
        return;
    };
    let initialized = conditions::is_true(autoscaler, "ScaleTargetInitialized");
    if (initialized || ready.status == Status::True) && !unavailable {
        conditions.mark_true(RESOURCES_AVAILABLE);
        conditions.mark_true(CONTAINER_HEALTHY);
    }
    match ready.status {
        Status::True => conditions.mark_true(ACTIVE),
        Status::Unknown => conditions.mark_unknown(ACTIVE, &ready.reason, &ready.message),
        Status::False => {
            let has_service = autoscaler["status"]["serviceName"].is_string();
            if !initialized && has_service && !conditions.is_false(RESOURCES_AVAILABLE) {
                let text = "Initial scale was never achieved";
                conditions.mark_false(RESOURCES_AVAILABLE, PROGRESS_DEADLINE_EXCEEDED, text);
            }
            conditions.mark_false(ACTIVE, &ready.reason, &ready.message);
        }
    }
}
