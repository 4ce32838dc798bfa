//! What the autoscaler is to do for one revision: `config-autoscaler` overridden by the
//! annotations of the PodAutoscaler. Made by the plans and the autoscaler's shell, read by the
//! Decider and the scaler. Annotations are taken as validated; one that does not parse counts as
//! absent, as in Knative.

use std::time::Duration;

use api::annotation::{self, Key, autoscaling, serving};
use api::config::Autoscaler;
use api::config::autoscaler::{HPA, KPA, TARGET_MIN};
use api::gotext::{Nanos, parse_duration, parse_float, parse_int};
use api::object::ObjectExt;
use serde_json::Value;

/// The shortest panic window: one bucket.
const PANIC_WINDOW_MIN: Duration = Duration::from_secs(1);

/// What the KPA measures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Metric {
    /// Requests in flight.
    #[default]
    Concurrency,
    /// Requests per second.
    Rps,
}

/// How the seconds of a window become one number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Aggregation {
    /// The mean.
    #[default]
    Linear,
    /// The recent past weighs more.
    WeightedExponential,
}

/// Everything a [`super::Decider`] goes by.
#[derive(Clone, PartialEq, Debug)]
pub struct DeciderSpec {
    /// Pods may at most be multiplied by this in one decision.
    pub max_scale_up_rate: f64,
    /// Pods may at most be divided by this in one decision.
    pub max_scale_down_rate: f64,
    /// What is measured.
    pub metric: Metric,
    /// How it is averaged.
    pub aggregation: Aggregation,
    /// The value per Pod to aim for.
    pub target: f64,
    /// The value per Pod that is possible.
    pub total: f64,
    /// Requests that may arrive at once without queueing; -1 is unlimited.
    pub target_burst_capacity: f64,
    /// Requests one activator can hold.
    pub activator_capacity: f64,
    /// The ratio of wanted to ready Pods at which panic begins.
    pub panic_threshold: f64,
    /// The stable window, whole seconds.
    pub stable_window: Duration,
    /// The panic window, whole seconds.
    pub panic_window: Duration,
    /// How long a lower decision must last.
    pub scale_down_delay: Duration,
    /// Pods the revision starts with.
    pub initial_scale: i32,
    /// Fewest Pods when not zero; 0 is unset.
    pub activation_scale: i32,
    /// Whether a route refers to the revision.
    pub reachable: bool,
}

impl DeciderSpec {
    /// The spec of PodAutoscaler `pa`.
    pub fn new(pa: &Value, config: &Autoscaler) -> Self {
        let (target, total) = target(pa, config);
        let threshold =
            float(pa, autoscaling::PANIC_THRESHOLD).unwrap_or(config.panic_threshold_percentage);
        let delay = span(pa, autoscaling::SCALE_DOWN_DELAY).unwrap_or(config.scale_down_delay);
        Self {
            max_scale_up_rate: config.max_scale_up_rate,
            max_scale_down_rate: config.max_scale_down_rate,
            metric: metric(pa),
            aggregation: aggregation(pa),
            target,
            total,
            target_burst_capacity: target_burst_capacity(pa, config),
            activator_capacity: config.activator_capacity,
            panic_threshold: threshold / 100.0,
            stable_window: stable_window(pa, config),
            panic_window: panic_window(pa, config),
            scale_down_delay: duration(delay),
            initial_scale: initial_scale(pa, config),
            activation_scale: int(pa, autoscaling::ACTIVATION_SCALE).unwrap_or(0),
            reachable: is_reachable(pa),
        }
    }
}

/// The autoscaler class of a PodAutoscaler.
pub fn class(pa: &Value) -> &str {
    annotation::get(pa, autoscaling::CLASS).map_or(KPA, |(_, class)| class)
}

/// The name of the metric of a PodAutoscaler: its annotation, else what its class defaults to.
pub fn metric_name(pa: &Value) -> &str {
    let default = if class(pa) == HPA {
        "cpu"
    } else {
        "concurrency"
    };
    annotation::get(pa, autoscaling::METRIC).map_or(default, |(_, metric)| metric)
}

/// Fewest and most Pods (0: no limit). An unreachable revision has no fewest.
pub fn scale_bounds(pa: &Value, config: &Autoscaler) -> (i32, i32) {
    let min = int(pa, autoscaling::MIN_SCALE).unwrap_or(config.min_scale);
    let max = int(pa, autoscaling::MAX_SCALE).unwrap_or(config.max_scale);
    (if is_reachable(pa) { min } else { 0 }, max)
}

/// Pods the revision starts with.
pub fn initial_scale(pa: &Value, config: &Autoscaler) -> i32 {
    match int(pa, autoscaling::INITIAL_SCALE) {
        Some(0) if !config.allow_zero_initial_scale => config.initial_scale,
        Some(scale) => scale,
        None => config.initial_scale,
    }
}

/// The stable window.
pub fn stable_window(pa: &Value, config: &Autoscaler) -> Duration {
    duration(span(pa, autoscaling::WINDOW).unwrap_or(config.stable_window))
}

/// The target burst capacity; -1 keeps the activator in the path.
pub fn target_burst_capacity(pa: &Value, config: &Autoscaler) -> f64 {
    float(pa, autoscaling::TARGET_BURST_CAPACITY).unwrap_or(config.target_burst_capacity)
}

/// How long the last Pod stays at least; an unreachable revision's Pod need not stay.
pub fn pod_retention(pa: &Value, config: &Autoscaler) -> Duration {
    if !is_reachable(pa) {
        return Duration::ZERO;
    }
    let configured = config.scale_to_zero_pod_retention_period;
    duration(span(pa, autoscaling::POD_RETENTION).unwrap_or(configured))
}

/// The progress deadline of a revision: its annotation, else `default` of `config-deployment`.
pub fn progress_deadline(pa: &Value, default: Duration) -> Duration {
    span(pa, serving::PROGRESS_DEADLINE).map_or(default, duration)
}

/// Whether the revision may get requests: anything but `Unreachable`.
pub fn is_reachable(pa: &Value) -> bool {
    pa["spec"]["reachability"] != "Unreachable"
}

/// The metric's value of the annotation `target`.
pub fn target_annotation(pa: &Value) -> Option<f64> {
    float(pa, autoscaling::TARGET)
}

fn metric(pa: &Value) -> Metric {
    match metric_name(pa) {
        "rps" => Metric::Rps,
        _ => Metric::Concurrency,
    }
}

fn aggregation(pa: &Value) -> Aggregation {
    match annotation::get(pa, autoscaling::AGGREGATION) {
        Some((_, "weighted-exponential" | "weightedExponential")) => {
            Aggregation::WeightedExponential
        }
        _ => Aggregation::Linear,
    }
}

/// (value to aim for, value that is possible) per Pod.
fn target(pa: &Value, config: &Autoscaler) -> (f64, f64) {
    let limit = pa["spec"]["containerConcurrency"].as_f64().unwrap_or(0.0);
    let of_concurrency = metric_name(pa) == "concurrency";
    let default = match metric(pa) {
        Metric::Rps => config.rps_target_default,
        Metric::Concurrency if limit == 0.0 => config.concurrency_target_default,
        Metric::Concurrency => limit,
    };
    let total = match target_annotation(pa) {
        Some(target) if of_concurrency && limit != 0.0 => target.min(limit),
        Some(target) => target,
        None => default,
    };
    let utilization = float(pa, autoscaling::TARGET_UTILIZATION)
        .map_or(config.target_utilization, |percentage| percentage / 100.0);
    ((total * utilization).max(TARGET_MIN), total)
}

fn panic_window(pa: &Value, config: &Autoscaler) -> Duration {
    let percentage = float(pa, autoscaling::PANIC_WINDOW).unwrap_or(config.panic_window_percentage);
    let seconds = stable_window(pa, config).as_secs_f64() * percentage / 100.0;
    Duration::from_secs(seconds.round() as u64).max(PANIC_WINDOW_MIN)
}

fn int(pa: &Value, key: &Key) -> Option<i32> {
    let (_, text) = annotation::get(pa, key)?;
    i32::try_from(parse_int(text, 32).ok()?).ok()
}

fn float(pa: &Value, key: &Key) -> Option<f64> {
    parse_float(annotation::get(pa, key)?.1).ok()
}

fn span(pa: &Value, key: &Key) -> Option<Nanos> {
    parse_duration(annotation::get(pa, key)?.1).ok()
}

/// A span that is never negative in valid settings.
fn duration(nanos: Nanos) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// The key of the revision a PodAutoscaler scales: they share their name.
pub fn revision(pa: &Value) -> crate::route::RevisionKey {
    crate::route::RevisionKey::new(pa.namespace(), pa.name())
}
