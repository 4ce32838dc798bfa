//! The decision of the `hpa.autoscaling.knative.dev` class: Kubernetes' HorizontalPodAutoscaler
//! formula over one resource metric, with its tolerance, its default scaling rates and its
//! stabilisation window. Used where no kube-controller-manager does it (the embedded shape);
//! measuring the Pods is the shell's business.

use std::collections::VecDeque;
use std::time::Duration;

use stdx::Instant;

/// No change while the ratio of usage to target is this close to 1.
const TOLERANCE: f64 = 0.1;
/// The default time a lower recommendation must last.
pub const STABILIZATION: Duration = Duration::from_secs(300);
/// The period the default scale-up rates are about.
const SCALE_UP_PERIOD: Duration = Duration::from_secs(15);
/// Pods one period may add at least.
const SCALE_UP_PODS: i32 = 4;

/// What a HorizontalPodAutoscaler asks for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spec {
    /// Fewest Pods, at least 1.
    pub min: i32,
    /// Most Pods.
    pub max: i32,
    /// The target per Pod.
    pub target: Target,
    /// How long a lower recommendation must last.
    pub scale_down_window: Duration,
    /// How long a higher recommendation must last.
    pub scale_up_window: Duration,
}

/// The target of the metric.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// Usage in percent of the request (`cpu`).
    Utilization(f64),
    /// Usage per Pod in the metric's own unit (`memory` in bytes, custom metrics).
    AverageValue(f64),
}

/// What one Pod uses, in the metric's own unit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Usage {
    /// What it uses; `None` while it is not ready or not yet measured.
    pub used: Option<f64>,
    /// What it requested.
    pub requested: f64,
}

/// The recommendations of one HorizontalPodAutoscaler.
#[derive(Clone, Debug)]
pub struct Recommender {
    spec: Spec,
    /// Recommendations within the longer of the windows, oldest first.
    recent: VecDeque<(Instant, i32)>,
    /// Pods added within the last scale-up period.
    added: VecDeque<(Instant, i32)>,
}

impl Recommender {
    /// A recommender without a past.
    pub fn new(spec: Spec) -> Self {
        Self {
            spec,
            recent: VecDeque::new(),
            added: VecDeque::new(),
        }
    }

    /// Takes over a changed spec.
    pub fn set_spec(&mut self, spec: Spec) {
        self.spec = spec;
    }

    /// How many Pods there should be, given `current` replicas that use `pods`.
    pub fn recommend(&mut self, now: Instant, current: i32, pods: &[Usage]) -> i32 {
        if current == 0 {
            return 0;
        }
        let raw = proportional(self.spec.target, current, pods);
        let stable = self.stabilized(now, current, raw);
        let limited = stable.min(self.scale_up_limit(now, current));
        let bounded = limited.clamp(
            self.spec.min.max(1),
            self.spec.max.max(self.spec.min).max(1),
        );
        if bounded > current {
            self.added.push_back((now, bounded - current));
        }
        bounded
    }

    fn stabilized(&mut self, now: Instant, current: i32, raw: i32) -> i32 {
        let longest = self.spec.scale_down_window.max(self.spec.scale_up_window);
        self.recent.retain(|(at, _)| now - *at <= longest);
        self.recent.push_back((now, raw));
        let within = |window: Duration| {
            let recent = self.recent.iter();
            recent
                .filter(move |(at, _)| now - *at <= window)
                .map(|(_, value)| *value)
        };
        let up = within(self.spec.scale_up_window).min().unwrap_or(raw);
        let down = within(self.spec.scale_down_window).max().unwrap_or(raw);
        // Up no further than all agree on, down no further than any allows.
        current.max(up).min(down.max(up))
    }

    fn scale_up_limit(&mut self, now: Instant, current: i32) -> i32 {
        self.added.retain(|(at, _)| now - *at < SCALE_UP_PERIOD);
        let added: i32 = self.added.iter().map(|(_, pods)| pods).sum();
        let start = current.saturating_sub(added);
        start
            .saturating_add(SCALE_UP_PODS)
            .max(start.saturating_mul(2))
    }
}

/// The formula without memory: current replicas times usage over target, missing Pods assumed
/// to stand in the way of any change.
fn proportional(target: Target, current: i32, pods: &[Usage]) -> i32 {
    let measured: Vec<(f64, f64)> = pods
        .iter()
        .filter_map(|pod| Some((pod.used?, pod.requested)))
        .collect();
    let ratio = |pods: &[(f64, f64)]| ratio(target, pods);
    let Some(first) = ratio(&measured) else {
        return current;
    };
    let missing = pods.iter().filter(|pod| pod.used.is_none());
    let filled: Vec<(f64, f64)> = measured
        .iter()
        .copied()
        .chain(missing.map(|pod| (assumed_use(target, first, pod.requested), pod.requested)))
        .collect();
    let Some(second) = ratio(&filled) else {
        return current;
    };
    let turned = (first > 1.0) != (second > 1.0);
    if turned || (second - 1.0).abs() <= TOLERANCE {
        return current;
    }
    (second * filled.len() as f64).ceil() as i32
}

/// What a Pod without measurement is taken to use: nothing when scaling up, its full target when
/// scaling down.
fn assumed_use(target: Target, ratio: f64, requested: f64) -> f64 {
    match target {
        _ if ratio > 1.0 => 0.0,
        Target::Utilization(_) => requested,
        Target::AverageValue(value) => value,
    }
}

fn ratio(target: Target, pods: &[(f64, f64)]) -> Option<f64> {
    let used: f64 = pods.iter().map(|(used, _)| used).sum();
    let whole = match target {
        Target::Utilization(percent) => {
            pods.iter().map(|(_, requested)| requested).sum::<f64>() * percent / 100.0
        }
        Target::AverageValue(value) => value * pods.len() as f64,
    };
    (whole > 0.0).then(|| used / whole)
}
