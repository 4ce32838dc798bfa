//! The annotations Knative reads, with the older spellings it still accepts. Read by admission,
//! the plans and the autoscaler.

use serde_json::{Map, Value};

/// An annotation's spellings, the current one first; the first that is present counts.
pub type Key = [&'static str];

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $($spelling:literal),+;)*) => {
        $($(#[$doc])* pub const $name: &Key = &[$($spelling),+];)*
    };
}

/// Annotations of group `autoscaling.knative.dev`.
pub mod autoscaling {
    use super::Key;

    keys! {
        /// Which autoscaler scales the revision.
        CLASS = "autoscaling.knative.dev/class";
        /// Fewest Pods.
        MIN_SCALE = "autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/minScale";
        /// Most Pods, 0 without limit.
        MAX_SCALE = "autoscaling.knative.dev/max-scale", "autoscaling.knative.dev/maxScale";
        /// Pods the revision starts with.
        INITIAL_SCALE =
            "autoscaling.knative.dev/initial-scale", "autoscaling.knative.dev/initialScale";
        /// Fewest Pods when not zero.
        ACTIVATION_SCALE = "autoscaling.knative.dev/activation-scale";
        /// How long a lower load must last before Pods go.
        SCALE_DOWN_DELAY =
            "autoscaling.knative.dev/scale-down-delay", "autoscaling.knative.dev/scaleDownDelay";
        /// How long the last Pod is kept at least.
        POD_RETENTION =
            "autoscaling.knative.dev/scale-to-zero-pod-retention-period",
            "autoscaling.knative.dev/scaleToZeroPodRetentionPeriod";
        /// What is measured.
        METRIC = "autoscaling.knative.dev/metric";
        /// The metric's target per Pod.
        TARGET = "autoscaling.knative.dev/target";
        /// The share of the target to aim for, in percent.
        TARGET_UTILIZATION =
            "autoscaling.knative.dev/target-utilization-percentage",
            "autoscaling.knative.dev/targetUtilizationPercentage";
        /// Requests that may arrive at once without queueing.
        TARGET_BURST_CAPACITY =
            "autoscaling.knative.dev/target-burst-capacity",
            "autoscaling.knative.dev/targetBurstCapacity";
        /// The stable window.
        WINDOW = "autoscaling.knative.dev/window";
        /// The panic window in percent of the stable one.
        PANIC_WINDOW =
            "autoscaling.knative.dev/panic-window-percentage",
            "autoscaling.knative.dev/panicWindowPercentage";
        /// The load at which panic begins, in percent of what the Pods can take.
        PANIC_THRESHOLD =
            "autoscaling.knative.dev/panic-threshold-percentage",
            "autoscaling.knative.dev/panicThresholdPercentage";
        /// `linear` or `weighted-exponential`.
        AGGREGATION =
            "autoscaling.knative.dev/metric-aggregation-algorithm",
            "autoscaling.knative.dev/metricAggregationAlgorithm";
    }
}

/// Annotations of group `serving.knative.dev`.
pub mod serving {
    use super::Key;

    keys! {
        /// How long a revision may take to become ready.
        PROGRESS_DEADLINE =
            "serving.knative.dev/progress-deadline", "serving.knative.dev/progressDeadline";
        /// How long traffic takes to move to a new revision.
        ROLLOUT_DURATION =
            "serving.knative.dev/rollout-duration", "serving.knative.dev/rolloutDuration";
    }
}

/// The annotations of an object.
pub fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object["metadata"]["annotations"].as_object()
}

/// The spelling of `key` that `object` carries, and its value.
pub fn get<'a>(object: &'a Value, key: &Key) -> Option<(&'static str, &'a str)> {
    let annotations = annotations(object)?;
    key.iter()
        .find_map(|spelling| Some((*spelling, annotations.get(*spelling)?.as_str()?)))
}
