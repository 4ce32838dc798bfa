//! When a probe is asked and what its answers add up to. Pure; `probe/` does the asking.
//!
//! Until their first success startup and readiness probes are asked at a pace that begins at a
//! millisecond and slackens with the time waited, up to the period: a container that is ready
//! early is known to be ready early. Failures of these extra attempts are not counted.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use stdx::Instant;

use super::step::ProbeKind;

/// The first pause between eager attempts.
const EAGER_DELAY_MIN: Duration = Duration::from_millis(1);
/// The first pause for probes that start a process.
const EAGER_DELAY_MIN_EXEC: Duration = Duration::from_millis(10);
/// An eager pause is the time waited so far divided by this: no more than 3 % late.
const EAGER_FRACTION: u32 = 32;
/// The period when the Pod says none.
const PERIOD_DEFAULT: Duration = Duration::from_secs(10);
/// The failures in a row that count when the Pod says nothing.
const FAILURES_DEFAULT: u32 = 3;

/// What a probe's answer changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Same,
    /// It is now held to be well.
    Passed,
    /// It is now held to be failing.
    Failed,
}

/// One probe of one run of a container.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    kind: ProbeKind,
    period: Duration,
    eager_min: Duration,
    failure_threshold: u32,
    success_threshold: u32,
    begun: Instant,
    /// None while an answer is awaited.
    next: Option<Instant>,
    counted: Option<Instant>,
    successes: u32,
    failures: u32,
    passed_once: bool,
    well: Option<bool>,
}

fn positive(value: Option<i32>) -> Option<u32> {
    value
        .and_then(|value| u32::try_from(value).ok())
        .filter(|value| *value > 0)
}

impl Schedule {
    /// The probe of a container that started at `begun`.
    pub(crate) fn new(kind: ProbeKind, probe: &Probe, begun: Instant) -> Self {
        let seconds = |value| positive(value).map(|s| Duration::from_secs(s.into()));
        let delay = seconds(probe.initial_delay_seconds).unwrap_or_default();
        let eager_min = match probe.exec {
            Some(_) => EAGER_DELAY_MIN_EXEC,
            None => EAGER_DELAY_MIN,
        };
        Self {
            kind,
            period: seconds(probe.period_seconds).unwrap_or(PERIOD_DEFAULT),
            eager_min,
            failure_threshold: positive(probe.failure_threshold).unwrap_or(FAILURES_DEFAULT),
            success_threshold: positive(probe.success_threshold).unwrap_or(1),
            begun: begun + delay,
            next: Some(begun + delay),
            counted: None,
            successes: 0,
            failures: 0,
            passed_once: false,
            well: None,
        }
    }

    /// When it is to be asked next; none while an answer is awaited.
    pub(crate) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether it has been found well. Before the first answer a probe is not well.
    pub(crate) fn is_well(&self) -> bool {
        self.well == Some(true)
    }

    /// Whether its time has come; if so it counts as asked.
    pub(crate) fn ask(&mut self, now: Instant) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.next = None;
        }
        due
    }

    /// Takes an answer.
    pub(crate) fn answer(&mut self, now: Instant, success: bool) -> Verdict {
        let verdict = match success {
            true => self.succeed(),
            false => self.fail(now),
        };
        self.next = Some(now + self.pause(now));
        verdict
    }

    fn succeed(&mut self) -> Verdict {
        self.failures = 0;
        self.successes += 1;
        self.passed_once = true;
        if self.successes < self.success_threshold || self.well == Some(true) {
            return Verdict::Same;
        }
        self.well = Some(true);
        Verdict::Passed
    }

    fn fail(&mut self, now: Instant) -> Verdict {
        self.successes = 0;
        // An attempt between two periods is extra: it can only bring good news.
        let extra = self.counted.is_some_and(|last| now - last < self.period);
        if self.is_eager() && extra {
            return Verdict::Same;
        }
        self.counted = Some(now);
        self.failures += 1;
        if self.failures < self.failure_threshold || self.well == Some(false) {
            return Verdict::Same;
        }
        self.well = Some(false);
        Verdict::Failed
    }

    fn is_eager(&self) -> bool {
        self.kind != ProbeKind::Liveness && !self.passed_once
    }

    fn pause(&self, now: Instant) -> Duration {
        let waiting = self.is_eager() || self.successes > 0 && self.well != Some(true);
        if !waiting || self.kind == ProbeKind::Liveness {
            return self.period;
        }
        let waited = now.saturating_since(self.begun);
        (waited / EAGER_FRACTION)
            .max(self.eager_min)
            .min(self.period)
    }
}
