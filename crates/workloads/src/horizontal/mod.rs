//! HorizontalPodAutoscaler: how many replicas its metrics ask for, and what its status says of it.
//! A machine without I/O, because its decisions depend on its own earlier ones (stabilisation
//! windows, rates of change) and on measurements that no object holds. `controller::horizontal`
//! measures and writes.
//!
//! In reading order: `metric` turns what Pods use into a number of replicas, `behavior` limits how
//! fast that number may be followed, [`Horizontal::decide`] joins the two as
//! kube-controller-manager does and words the outcome.

mod behavior;
mod metric;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use api::object::ObjectExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use stdx::Instant;

use crate::condition::{self, Says};
use behavior::{Behavior, History};
use metric::Proposal;

/// What can be seen of the world when a decision is due.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The HorizontalPodAutoscaler (`autoscaling/v2`).
    pub object: &'a Value,
    /// The `scale` subresource of its target.
    pub scale: &'a Value,
    /// The Pods that the scale's selector names.
    pub pods: &'a [Value],
    /// The `PodMetrics` of these Pods by name.
    pub usage: &'a BTreeMap<String, Value>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The target's new number of replicas and why, if it changes.
    pub rescale: Option<(i32, String)>,
    /// The whole new status.
    pub status: Value,
    /// The target is not yet as large as it should be: look again soon.
    pub unsettled: bool,
}

/// The memory of one HorizontalPodAutoscaler.
#[derive(Clone, Debug, Default)]
pub struct Horizontal {
    history: History,
}

/// A desired size with the words for the three conditions that explain it.
struct Decision {
    replicas: i32,
    reason: String,
    able: (bool, &'static str, String),
    active: (bool, &'static str, String),
    limited: (bool, &'static str, &'static str),
    metrics: Value,
}

impl Horizontal {
    /// Decides at `now`; `wall` is the same moment on the calendar.
    pub fn decide(&mut self, now: Instant, wall: Timestamp, seen: &Seen<'_>) -> Outcome {
        let count = |part: &str| {
            let count = seen.scale[part]["replicas"].as_i64();
            i32::try_from(count.unwrap_or(0)).unwrap_or(i32::MAX)
        };
        let (current, running) = (count("spec"), count("status"));
        let decision = self.judge(now, wall, seen, current);
        let rescale = (decision.replicas != current).then_some(decision.replicas);
        if let Some(replicas) = rescale {
            self.history.changed(now, replicas - current);
        }
        Outcome {
            status: status(seen.object, &decision, (current, running), wall),
            unsettled: running != decision.replicas,
            rescale: rescale.map(|replicas| (replicas, decision.reason)),
        }
    }

    fn judge(&mut self, now: Instant, wall: Timestamp, seen: &Seen<'_>, current: i32) -> Decision {
        let (min, max) = bounds(seen.object);
        let kept = seen.object["status"]["currentMetrics"].clone();
        let outside = |replicas: i32, reason: &str| Decision {
            replicas,
            reason: reason.to_owned(),
            able: matching(),
            active: already_active(seen.object),
            limited: within(),
            metrics: kept.clone(),
        };
        if current == 0 {
            let text = "scaling is disabled since the replica count of the target is zero";
            return Decision {
                active: (false, "ScalingDisabled", text.to_owned()),
                ..outside(0, "")
            };
        }
        if current > max {
            return outside(max, "Current number of replicas above Spec.MaxReplicas");
        }
        if current < min {
            return outside(min, "Current number of replicas below Spec.MinReplicas");
        }
        let proposals = metric::propose(wall, seen, current);
        let proposal = match proposals {
            Ok(proposal) => proposal,
            Err(failure) => {
                return Decision {
                    active: (false, failure.reason, failure.message()),
                    ..outside(current, "")
                };
            }
        };
        self.limit(now, seen.object, current, proposal)
    }

    /// Follows a proposal as far and as fast as the object allows.
    fn limit(
        &mut self,
        now: Instant,
        object: &Value,
        current: i32,
        proposal: Proposal,
    ) -> Decision {
        let (min, max) = bounds(object);
        let behavior = Behavior::of(object);
        let stable = self
            .history
            .stabilized(now, &behavior, current, proposal.replicas);
        let held = stable != proposal.replicas;
        let rate = self.history.rate_limited(now, &behavior, current, stable);
        let replicas = rate.clamp(min, max);
        let able = match (held, replicas == current) {
            (true, _) if stable > proposal.replicas => (
                true,
                "ScaleDownStabilized",
                "recent recommendations were higher than current one, applying the highest \
                 recent recommendation"
                    .to_owned(),
            ),
            (true, _) => (
                true,
                "ScaleUpStabilized",
                "recent recommendations were lower than current one, applying the lowest recent \
                 recommendation"
                    .to_owned(),
            ),
            (false, true) => matching(),
            (false, false) => (
                true,
                "SucceededRescale",
                format!("the HPA controller was able to update the target scale to {replicas}"),
            ),
        };
        let limited = if rate > max {
            let text = "the desired replica count is more than the maximum replica count";
            (true, "TooManyReplicas", text)
        } else if rate < min {
            let text = "the desired replica count is less than the minimum replica count";
            (true, "TooFewReplicas", text)
        } else if rate > stable {
            let text = "the desired replica count is decreasing faster than the maximum scale rate";
            (true, "ScaleDownLimit", text)
        } else if rate < stable {
            let text = "the desired replica count is increasing faster than the maximum scale rate";
            (true, "ScaleUpLimit", text)
        } else {
            within()
        };
        let reason = if replicas > current {
            format!("{} above target", proposal.name)
        } else {
            "All metrics below target".to_owned()
        };
        let text = format!(
            "the HPA was able to successfully calculate a replica count from {}",
            proposal.name
        );
        Decision {
            replicas,
            reason,
            able,
            active: (true, "ValidMetricFound", text),
            limited,
            metrics: proposal.statuses,
        }
    }
}

/// `minReplicas`, by default 1, and `maxReplicas`.
fn bounds(object: &Value) -> (i32, i32) {
    let number = |key: &str| {
        let number = object["spec"][key].as_i64();
        number.map(|n| i32::try_from(n).unwrap_or(i32::MAX))
    };
    let min = number("minReplicas").unwrap_or(1).max(0);
    (min, number("maxReplicas").unwrap_or(min).max(min))
}

fn matching() -> (bool, &'static str, String) {
    let text = "recommended size matches current size";
    (true, "ReadyForNewScale", text.to_owned())
}

fn within() -> (bool, &'static str, &'static str) {
    let text = "the desired count is within the acceptable range";
    (false, "DesiredWithinRange", text)
}

/// Bounds are enforced without looking at metrics: what was said of them stays.
fn already_active(object: &Value) -> (bool, &'static str, String) {
    let text = "the replica count was brought within its bounds without looking at metrics";
    match condition::get(object, "ScalingActive") {
        Some(old) if old["status"] == "False" => (false, "FailedGetResourceMetric", {
            old["message"].as_str().unwrap_or_default().to_owned()
        }),
        _ => (true, "ValidMetricFound", text.to_owned()),
    }
}

fn status(
    object: &Value,
    decision: &Decision,
    (current, running): (i32, i32),
    now: Timestamp,
) -> Value {
    let set = |kind, status, reason, message: &str| {
        let says = Says {
            kind,
            status,
            reason,
            message,
        };
        let mut condition = condition::set(object, &says, now);
        // These conditions have no such field.
        condition
            .as_object_mut()
            .and_then(|fields| fields.remove("lastUpdateTime"));
        condition
    };
    let Decision {
        able,
        active,
        limited,
        ..
    } = decision;
    let mut status = json!({
        "observedGeneration": object["metadata"]["generation"],
        "currentReplicas": running,
        "desiredReplicas": decision.replicas,
        "currentMetrics": decision.metrics,
        "conditions": [
            set("AbleToScale", able.0, able.1, &able.2),
            set("ScalingActive", active.0, active.1, &active.2),
            set("ScalingLimited", limited.0, limited.1, limited.2),
        ],
    });
    let last = &object["status"]["lastScaleTime"];
    if decision.replicas != current {
        status["lastScaleTime"] = json!(condition::seconds(now));
    } else if !last.is_null() {
        status["lastScaleTime"] = last.clone();
    }
    status
}

/// The kind and name of what `object` scales: `apiVersion`, `kind`, `name`.
pub fn target(object: &Value) -> (&str, &str, &str) {
    let target = &object["spec"]["scaleTargetRef"];
    let text = |key: &str| target[key].as_str().unwrap_or_default();
    (text("apiVersion"), text("kind"), text("name"))
}

/// The status of an autoscaler whose target cannot be read.
pub fn unable(object: &Value, error: &str, now: Timestamp) -> Value {
    let says = Says {
        kind: "AbleToScale",
        status: false,
        reason: "FailedGetScale",
        message: &format!(
            "the HPA controller was unable to get the target's current scale: {error}"
        ),
    };
    let mut status = object.get("status").cloned().unwrap_or_else(|| json!({}));
    let mut condition = condition::set(object, &says, now);
    condition
        .as_object_mut()
        .and_then(|fields| fields.remove("lastUpdateTime"));
    status["observedGeneration"] = json!(object.generation());
    status["conditions"] = json!([condition]);
    for count in ["currentReplicas", "desiredReplicas"] {
        if status[count].is_null() {
            status[count] = json!(0);
        }
    }
    status
}
