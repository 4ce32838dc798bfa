//! The KPA's formula: what was observed becomes a number of Pods, with panic mode, rates, delay
//! and burst capacity. The rules of Knative's `pkg/autoscaler/scaling/autoscaler.go`. Called by the
//! Decider, which adds the clock and the windows.

use stdx::Instant;

use super::collector::Observed;
use super::delay::DelayWindow;
use super::spec::DeciderSpec;

/// A decision before anything is known.
pub const UNKNOWN: i32 = -1;

/// How many Pods there should be, and whether the activator belongs in the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Pods; [`UNKNOWN`] before the first measurement.
    pub desired: i32,
    /// Room left beyond the target burst capacity; negative: requests go through the activator.
    pub excess_burst_capacity: i32,
    /// Whether panic mode holds the number up.
    pub panicking: bool,
}

impl Decision {
    /// What is said before anything was measured.
    pub fn initial(spec: &DeciderSpec) -> Self {
        let burst = spec.target_burst_capacity;
        let excess = if burst == 0.0 || burst == -1.0 {
            burst
        } else {
            f64::from(spec.initial_scale) * spec.total - burst
        };
        Self {
            desired: UNKNOWN,
            excess_burst_capacity: excess as i32,
            panicking: false,
        }
    }
}

/// What a decision remembers of the ones before it.
#[derive(Clone, Debug)]
pub struct Memory {
    panic_since: Option<Instant>,
    panic_max: i32,
    delay: Option<DelayWindow>,
}

impl Memory {
    /// No memory. With more than one Pod running we begin in panic mode, so that a restarted
    /// autoscaler does not scale down before it has measured anything.
    pub fn new(now: Instant, spec: &DeciderSpec, ready: u32) -> Self {
        Self {
            panic_since: (ready > 1).then_some(now),
            panic_max: i32::try_from(ready).unwrap_or(i32::MAX),
            delay: DelayWindow::new(spec.scale_down_delay),
        }
    }

    /// Begins the delay anew when its length changes.
    pub(super) fn respec(&mut self, old: &DeciderSpec, new: &DeciderSpec) {
        if old.scale_down_delay != new.scale_down_delay {
            self.delay = DelayWindow::new(new.scale_down_delay);
        }
    }

    /// Decides.
    pub fn decide(
        &mut self,
        now: Instant,
        spec: &DeciderSpec,
        ready: u32,
        observed: Observed,
    ) -> Decision {
        let pods = f64::from(ready.max(1));
        let stable = (observed.stable / spec.target).ceil();
        let panic = (observed.panic / spec.target).ceil();

        let over_threshold = panic / pods >= spec.panic_threshold;
        self.observe_panic(now, spec, over_threshold);

        let mut desired = bounded(stable, pods, spec);
        if self.panic_since.is_some() {
            desired = desired.max(bounded(panic, pods, spec));
            // In panic mode the number only grows.
            self.panic_max = self.panic_max.max(desired);
            desired = self.panic_max;
        }
        if let Some(delay) = self.delay.as_mut().filter(|_| spec.reachable) {
            desired = delay.record(now, desired);
        }
        Decision {
            desired,
            excess_burst_capacity: excess_burst_capacity(spec, ready, observed.panic),
            panicking: self.panic_since.is_some(),
        }
    }

    fn observe_panic(&mut self, now: Instant, spec: &DeciderSpec, over_threshold: bool) {
        if over_threshold {
            self.panic_since = Some(now);
        } else if self
            .panic_since
            .is_some_and(|since| since + spec.stable_window < now)
        {
            self.panic_since = None;
            self.panic_max = 0;
        }
    }
}

/// `wanted` Pods within what one step may change, or the activation scale if that is more.
fn bounded(wanted: f64, pods: f64, spec: &DeciderSpec) -> i32 {
    let most = (spec.max_scale_up_rate * pods).ceil();
    let fewest = if spec.reachable {
        (pods / spec.max_scale_down_rate).floor()
    } else {
        0.0
    };
    let scale = wanted.max(fewest).min(most) as i32;
    if spec.activation_scale > 1 && wanted > 0.0 {
        scale.max(spec.activation_scale)
    } else {
        scale
    }
}

fn excess_burst_capacity(spec: &DeciderSpec, ready: u32, panic: f64) -> i32 {
    let burst = spec.target_burst_capacity;
    if burst == 0.0 {
        0
    } else if burst > 0.0 {
        (f64::from(ready) * spec.total - burst - panic).floor() as i32
    } else {
        -1
    }
}
