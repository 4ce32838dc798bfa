//! `autoscaling.internal.knative.dev`: the group and the condition sets of its kinds. Its
//! annotations are in [`crate::annotation`].

use crate::conditions::Set;

/// The API group.
pub const GROUP: &str = "autoscaling.internal.knative.dev";
/// The condition set of PodAutoscaler.
pub const SET: Set = Set::living(&["Active", "ScaleTargetInitialized", "SKSReady"]);
/// The condition set of Metric.
pub const METRIC_SET: Set = Set::living(&[]);
