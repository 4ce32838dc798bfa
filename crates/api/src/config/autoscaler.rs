//! `config-autoscaler`: how the KPA measures, decides and bounds. The rules and texts are those of
//! Knative's `pkg/autoscaler/config`.

use super::data::{Data, Error, Reader, require};
use crate::gotext::{Nanos, format_duration, format_float};

/// The default autoscaler class.
pub const KPA: &str = "kpa.autoscaling.knative.dev";
/// The class that leaves scaling to a HorizontalPodAutoscaler.
pub const HPA: &str = "hpa.autoscaling.knative.dev";
/// The smallest target a Pod may have.
pub const TARGET_MIN: f64 = 0.01;
/// One second in [`Nanos`].
const SECOND: Nanos = 1_000_000_000;
/// The bounds of the stable window.
pub const WINDOW_MIN: Nanos = 6 * SECOND;
/// The bounds of the stable window.
pub const WINDOW_MAX: Nanos = 3_600 * SECOND;

/// The settings of the autoscaler. Spans are nanoseconds.
#[derive(Clone, PartialEq, Debug)]
pub struct Autoscaler {
    /// `container-concurrency-target-percentage` as a fraction of 1.
    pub target_utilization: f64,
    /// `container-concurrency-target-default`: requests one Pod takes when it has no limit.
    pub concurrency_target_default: f64,
    /// `requests-per-second-target-default`.
    pub rps_target_default: f64,
    /// `target-burst-capacity`; -1 keeps the activator in the path always.
    pub target_burst_capacity: f64,
    /// `stable-window`.
    pub stable_window: Nanos,
    /// `panic-window-percentage` of the stable window.
    pub panic_window_percentage: f64,
    /// `panic-threshold-percentage`.
    pub panic_threshold_percentage: f64,
    /// `max-scale-up-rate`.
    pub max_scale_up_rate: f64,
    /// `max-scale-down-rate`.
    pub max_scale_down_rate: f64,
    /// `enable-scale-to-zero`.
    pub enable_scale_to_zero: bool,
    /// `scale-to-zero-grace-period`.
    pub scale_to_zero_grace_period: Nanos,
    /// `scale-to-zero-pod-retention-period`.
    pub scale_to_zero_pod_retention_period: Nanos,
    /// `pod-autoscaler-class`.
    pub pod_autoscaler_class: String,
    /// `activator-capacity`: requests one activator can hold.
    pub activator_capacity: f64,
    /// `initial-scale`.
    pub initial_scale: i32,
    /// `allow-zero-initial-scale`.
    pub allow_zero_initial_scale: bool,
    /// `min-scale`.
    pub min_scale: i32,
    /// `max-scale`; 0 is no limit.
    pub max_scale: i32,
    /// `max-scale-limit`; 0 is no limit.
    pub max_scale_limit: i32,
    /// `scale-down-delay`.
    pub scale_down_delay: Nanos,
}

impl Default for Autoscaler {
    fn default() -> Self {
        Self {
            target_utilization: 0.7,
            concurrency_target_default: 100.0,
            rps_target_default: 200.0,
            target_burst_capacity: 211.0,
            stable_window: 60 * SECOND,
            panic_window_percentage: 10.0,
            panic_threshold_percentage: 200.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            enable_scale_to_zero: true,
            scale_to_zero_grace_period: 30 * SECOND,
            scale_to_zero_pod_retention_period: 0,
            pod_autoscaler_class: KPA.to_owned(),
            activator_capacity: 100.0,
            initial_scale: 1,
            allow_zero_initial_scale: false,
            min_scale: 0,
            max_scale: 0,
            max_scale_limit: 0,
            scale_down_delay: 0,
        }
    }
}

impl Autoscaler {
    /// The name of the ConfigMap.
    pub const NAME: &str = "config-autoscaler";

    /// Reads the ConfigMap's data.
    ///
    /// # Errors
    /// A value that cannot be parsed or is out of bounds, in Knative's words.
    pub fn parse(data: &Data) -> Result<Self, Error> {
        let mut config = Self::default();
        config
            .read(&Reader(data))
            .map_err(|Error(text)| Error(format!("failed to parse data: {text}")))?;
        if config.target_utilization > 1.0 {
            config.target_utilization /= 100.0;
        }
        config.check_scale_to_zero()?;
        config.check_targets()?;
        config.check_windows()?;
        config.check_bounds()?;
        Ok(config)
    }

    fn read(&mut self, reader: &Reader<'_>) -> Result<(), Error> {
        reader.string("pod-autoscaler-class", &mut self.pod_autoscaler_class);
        reader.bool("enable-scale-to-zero", &mut self.enable_scale_to_zero)?;
        reader.bool(
            "allow-zero-initial-scale",
            &mut self.allow_zero_initial_scale,
        )?;
        reader.float("max-scale-up-rate", &mut self.max_scale_up_rate)?;
        reader.float("max-scale-down-rate", &mut self.max_scale_down_rate)?;
        reader.float(
            "container-concurrency-target-percentage",
            &mut self.target_utilization,
        )?;
        reader.float(
            "container-concurrency-target-default",
            &mut self.concurrency_target_default,
        )?;
        reader.float(
            "requests-per-second-target-default",
            &mut self.rps_target_default,
        )?;
        reader.float("target-burst-capacity", &mut self.target_burst_capacity)?;
        reader.float("panic-window-percentage", &mut self.panic_window_percentage)?;
        reader.float("activator-capacity", &mut self.activator_capacity)?;
        reader.float(
            "panic-threshold-percentage",
            &mut self.panic_threshold_percentage,
        )?;
        reader.int32("initial-scale", &mut self.initial_scale)?;
        reader.int32("min-scale", &mut self.min_scale)?;
        reader.int32("max-scale", &mut self.max_scale)?;
        reader.int32("max-scale-limit", &mut self.max_scale_limit)?;
        reader.duration("stable-window", &mut self.stable_window)?;
        reader.duration("scale-down-delay", &mut self.scale_down_delay)?;
        reader.duration(
            "scale-to-zero-grace-period",
            &mut self.scale_to_zero_grace_period,
        )?;
        reader.duration(
            "scale-to-zero-pod-retention-period",
            &mut self.scale_to_zero_pod_retention_period,
        )
    }

    fn check_scale_to_zero(&self) -> Result<(), Error> {
        let grace = self.scale_to_zero_grace_period;
        require(grace > 0, || {
            let grace = format_duration(grace);
            format!("scale-to-zero-grace-period must be positive, was: {grace}")
        })?;
        let delay = self.scale_down_delay;
        require(delay >= 0, || {
            let delay = format_duration(delay);
            format!("scale-down-delay cannot be negative, was: {delay}")
        })?;
        require(delay % SECOND == 0, || {
            let delay = format_duration(delay);
            format!("scale-down-delay = {delay}, must be specified with at most second precision")
        })?;
        let retention = self.scale_to_zero_pod_retention_period;
        require(retention >= 0, || {
            let retention = format_duration(retention);
            format!("scale-to-zero-pod-retention-period cannot be negative, was: {retention}")
        })
    }

    fn check_targets(&self) -> Result<(), Error> {
        let burst = self.target_burst_capacity;
        require(burst >= 0.0 || burst == -1.0, || {
            format!(
                "target-burst-capacity must be either non-negative or -1 (for unlimited), \
                 was: {burst:.6}"
            )
        })?;
        let fraction = self.target_utilization;
        require(fraction > 0.0 && fraction <= 1.0, || {
            format!(
                "container-concurrency-target-percentage = {fraction:.6} is outside of valid \
                 range of (0, 100]"
            )
        })?;
        let target = fraction * self.concurrency_target_default;
        require(target >= TARGET_MIN, || {
            format!(
                "container-concurrency-target-percentage and container-concurrency-target-default \
                 yield target concurrency of {}, can't be less than 0.01",
                format_float(target)
            )
        })?;
        let rps = self.rps_target_default;
        require(rps >= TARGET_MIN, || {
            let rps = format_float(rps);
            format!("requests-per-second-target-default must be at least 0.01, was: {rps}")
        })?;
        at_least_one("activator-capacity", self.activator_capacity)?;
        above_one("max-scale-up-rate", self.max_scale_up_rate)?;
        above_one("max-scale-down-rate", self.max_scale_down_rate)
    }

    fn check_windows(&self) -> Result<(), Error> {
        let window = self.stable_window;
        require((WINDOW_MIN..=WINDOW_MAX).contains(&window), || {
            let window = format_duration(window);
            format!("stable-window = {window}, must be in [6s; 1h0m0s] range")
        })?;
        require(window % SECOND == 0, || {
            let window = format_duration(window);
            format!("stable-window = {window}, must be specified with at most second precision")
        })?;
        let percentage = self.panic_window_percentage;
        require((1.0..=100.0).contains(&percentage), || {
            let percentage = format_float(percentage);
            format!("panic-window-percentage = {percentage}, must be in [1, 100] interval")
        })
    }

    fn check_bounds(&self) -> Result<(), Error> {
        let initial = self.initial_scale;
        let zero_allowed = self.allow_zero_initial_scale;
        require(initial > 0 || (initial == 0 && zero_allowed), || {
            format!(
                "initial-scale = {initial}, must be at least 0 (or at least 1 when \
                 allow-zero-initial-scale is false)"
            )
        })?;
        let (min, max, limit) = (self.min_scale, self.max_scale, self.max_scale_limit);
        let lowest_max = i32::from(limit > 0);
        require(max >= lowest_max && (limit <= 0 || max <= limit), || {
            format!("max-scale = {max}, must be in [{lowest_max}, max-scale-limit({limit})] range")
        })?;
        require(limit >= 0, || {
            format!("max-scale-limit = {limit}, must be at least 0")
        })?;
        require(min >= 0, || {
            format!("min-scale = {min}, must be at least 0")
        })?;
        require(max == 0 || min <= max, || {
            format!("min-scale ({min}) must be less than or equal to max-scale ({max})")
        })
    }
}

fn at_least_one(key: &str, value: f64) -> Result<(), Error> {
    require(value >= 1.0, || {
        format!("{key} = {}, must be at least 1", format_float(value))
    })
}

fn above_one(key: &str, value: f64) -> Result<(), Error> {
    require(value > 1.0, || {
        format!("{key} = {}, must be greater than 1.0", format_float(value))
    })
}
