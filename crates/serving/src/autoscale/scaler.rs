//! What to do now about a decision: bounds, initial scale and the handshake that makes sure the
//! activator answers for a revision before its last Pod goes. Pure functions of the
//! PodAutoscaler, the configuration and the time, after Knative's `pkg/reconciler/autoscaling/kpa`.
//! Called by the PodAutoscaler's plan.

use std::time::Duration;

use api::config::Autoscaler;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::decision::UNKNOWN;
use super::spec::{self, DeciderSpec};

/// What a revision may take longer to activate than its progress deadline, so that the Deployment
/// reports its failure first.
pub const ACTIVATION_TIMEOUT_BUFFER: Duration = Duration::from_secs(30);
/// How soon to look again when the activator is in the path already and nothing else would wake us.
const PROXIED_RECHECK: Duration = Duration::from_secs(3);
/// How soon to look again after the activator did not answer a probe.
const PROBE_RECHECK: Duration = Duration::from_secs(1);
/// Activators in the path of a revision that needs no more.
pub const ACTIVATORS_MIN: i32 = 2;

/// What [`scale`] goes by.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The PodAutoscaler.
    pub pa: &'a Value,
    /// `config-autoscaler`.
    pub config: &'a Autoscaler,
    /// `progress-deadline` of `config-deployment`.
    pub progress_deadline: Duration,
    /// The Decider's word; [`UNKNOWN`] before the first.
    pub desired: i32,
    /// Whether the ServerlessService's mode is Proxy.
    pub sks_is_proxy: bool,
    /// Since when the ServerlessService has activator endpoints populated, if it has.
    pub proxied_since: Option<Timestamp>,
    /// Whether the activator answered a probe for the revision; `None` if none was made yet.
    pub activator_answers: Option<bool>,
    /// The time.
    pub now: Timestamp,
}

/// What to do. `want == 0` without `apply` marks the PodAutoscaler inactive (and with that puts
/// the activator into the path) while the last Pod stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The scale to report as desired; [`UNKNOWN`] leaves what is.
    pub want: i32,
    /// Whether to give the Deployment `want` replicas.
    pub apply: bool,
    /// Whether the activator must be probed (again).
    pub probe: bool,
    /// When to ask again even if nothing changes.
    pub again_at: Option<Timestamp>,
}

impl Verdict {
    const fn apply(want: i32) -> Self {
        Self {
            want,
            apply: true,
            probe: false,
            again_at: None,
        }
    }

    const fn hold(want: i32) -> Self {
        Self {
            apply: false,
            ..Self::apply(want)
        }
    }

    fn again_in(self, now: Timestamp, wait: Duration) -> Self {
        let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
        Self {
            again_at: now.checked_add(wait).ok(),
            ..self
        }
    }
}

/// The state of a PodAutoscaler's condition `Active`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// True.
    Active,
    /// Unknown, or no condition yet.
    Activating,
    /// False.
    Inactive,
}

/// The condition `Active` of `pa`.
pub fn activity(pa: &Value) -> Activity {
    match condition(pa, "Active").map(|c| c["status"].as_str()) {
        Some(Some("True")) => Activity::Active,
        Some(Some("False")) => Activity::Inactive,
        _ => Activity::Activating,
    }
}

/// What to do about the Decider's word now.
pub fn scale(facts: &Facts<'_>) -> Verdict {
    if facts.desired < 0 && activity(facts.pa) != Activity::Activating {
        return Verdict::hold(facts.desired);
    }
    let (mut min, max) = spec::scale_bounds(facts.pa, facts.config);
    let initial = spec::initial_scale(facts.pa, facts.config);
    if initial > 1 && !is_initialized(facts.pa) {
        min = min.max(initial);
    }
    match bounded(facts.desired, min, max) {
        0 => to_zero(facts),
        want => Verdict {
            apply: want >= 0,
            ..Verdict::apply(want)
        },
    }
}

fn bounded(scale: i32, min: i32, max: i32) -> i32 {
    if scale < min {
        min
    } else if max != 0 && scale > max {
        max
    } else {
        scale
    }
}

fn to_zero(facts: &Facts<'_>) -> Verdict {
    if !facts.config.enable_scale_to_zero {
        return Verdict::apply(1);
    }
    match activity(facts.pa) {
        Activity::Activating => while_activating(facts),
        Activity::Active => while_active(facts),
        Activity::Inactive => while_inactive(facts),
    }
}

fn while_activating(facts: &Facts<'_>) -> Verdict {
    let deadline = spec::progress_deadline(facts.pa, facts.progress_deadline);
    let timeout = deadline + ACTIVATION_TIMEOUT_BUFFER;
    let since = since(facts);
    if since > timeout {
        return Verdict::apply(0);
    }
    // A millisecond later, since exactly the timeout is not yet too long.
    let wait = timeout - since + Duration::from_millis(1);
    Verdict::hold(UNKNOWN).again_in(facts.now, wait)
}

fn while_active(facts: &Facts<'_>) -> Verdict {
    let window = spec::stable_window(facts.pa, facts.config);
    let since = since(facts);
    if since < window {
        return Verdict::apply(1).again_in(facts.now, window - since);
    }
    let verdict = Verdict::hold(0);
    if facts.sks_is_proxy {
        verdict.again_in(facts.now, PROXIED_RECHECK)
    } else {
        verdict
    }
}

fn while_inactive(facts: &Facts<'_>) -> Verdict {
    let always_proxied = spec::target_burst_capacity(facts.pa, facts.config) == -1.0;
    if !always_proxied && facts.activator_answers != Some(true) {
        return Verdict {
            probe: true,
            ..Verdict::hold(0).again_in(facts.now, PROBE_RECHECK)
        };
    }
    let grace = Duration::from_nanos(facts.config.scale_to_zero_grace_period.unsigned_abs());
    let retention = spec::pod_retention(facts.pa, facts.config);
    let since = since(facts);
    if since >= grace.max(retention) {
        return Verdict::apply(0);
    }
    if since < retention {
        return Verdict::hold(0).again_in(facts.now, retention - since);
    }
    let proxied = facts
        .proxied_since
        .map_or(Duration::ZERO, |start| elapsed(start, facts.now));
    if proxied >= grace {
        return Verdict::apply(0);
    }
    // The shorter of the two ways there.
    Verdict::hold(0).again_in(facts.now, (grace - proxied).min(grace - since))
}

/// How long the condition `Active` has had its status.
fn since(facts: &Facts<'_>) -> Duration {
    condition(facts.pa, "Active")
        .and_then(|c| c["lastTransitionTime"].as_str()?.parse().ok())
        .map_or(Duration::ZERO, |start| elapsed(start, facts.now))
}

fn elapsed(start: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(start)).unwrap_or_default()
}

/// The ready Pods a revision needs to count as active: its bounds, and before it was ever up its
/// initial scale.
pub fn ready_min(pa: &Value, config: &Autoscaler) -> i32 {
    let (min, _) = spec::scale_bounds(pa, config);
    if is_initialized(pa) {
        min.max(1)
    } else {
        min.max(spec::initial_scale(pa, config))
    }
}

/// The new `Active` condition: status, reason, message.
pub type Active = (Activity, &'static str, &'static str);

const NO_TRAFFIC: Active = (
    Activity::Inactive,
    "NoTraffic",
    "The target is not receiving traffic.",
);
const TIMED_OUT: Active = (
    Activity::Inactive,
    "TimedOut",
    "The target could not be activated.",
);
const QUEUED: Active = (
    Activity::Activating,
    "Queued",
    "Requests to the target are being buffered as resources are provisioned.",
);

/// The `Active` condition that follows from what is wanted and what is ready; `None` leaves it.
pub fn active(pa: &Value, config: &Autoscaler, want: i32, ready: i32) -> Option<Active> {
    let ready_min = ready_min(pa, config);
    let was = activity(pa);
    let wanted = want > 0 || was != Activity::Inactive;
    if want == 0 || ready_min == 0 {
        // Zero while activating is only ever wanted after the activation has failed.
        let failed = was == Activity::Activating && ready_min > 0;
        return Some(if failed { TIMED_OUT } else { NO_TRAFFIC });
    }
    match (ready >= ready_min, wanted) {
        (true, true) => Some((Activity::Active, "", "")),
        (true, false) => None,
        (false, true) => Some(QUEUED),
        (false, false) => Some(NO_TRAFFIC),
    }
}

/// Whether requests shall go through the activator (ServerlessService mode Proxy).
pub fn is_proxied(pa: &Value, want: i32, excess_burst_capacity: i32) -> bool {
    want == 0
        || excess_burst_capacity < 0
        || (want == UNKNOWN && activity(pa) == Activity::Inactive)
}

/// How many activators share a revision's requests.
pub fn activator_count(spec: &DeciderSpec, ready: u32) -> i32 {
    if spec.target_burst_capacity == 0.0 {
        return ACTIVATORS_MIN;
    }
    let capacity = f64::from(ready) * spec.total + spec.target_burst_capacity.max(0.0);
    ACTIVATORS_MIN.max((capacity / spec.activator_capacity).ceil() as i32)
}

/// Whether the revision ever reached its initial scale.
pub fn is_initialized(pa: &Value) -> bool {
    condition(pa, "ScaleTargetInitialized").is_some_and(|c| c["status"] == "True")
}

fn condition<'a>(pa: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = pa["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}
