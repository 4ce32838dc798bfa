//! What happened, counted: for metrics, for `trigger describe`, for the API.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventing::delivery::{Answer, Counts};
use http::StatusCode;

/// Upper bounds of durations in seconds, as Knative Eventing has them.
pub const BOUNDS_S: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0,
];

/// Durations by status code.
#[derive(Clone, Default, Debug)]
pub struct Histogram {
    /// How many were within each of [`BOUNDS_S`] and not the one before; the last is everything beyond.
    pub counts: [u64; BOUNDS_S.len() + 1],
    /// Their sum in seconds.
    pub sum_s: f64,
}

/// Durations, told apart by status code; 0 is no answer.
pub type ByStatus = BTreeMap<u16, Histogram>;

#[derive(Default)]
struct Durations(Mutex<ByStatus>);

impl Durations {
    fn lock(&self) -> MutexGuard<'_, ByStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, status: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = BOUNDS_S.partition_point(|bound| *bound < seconds);
        let mut by_status = self.lock();
        let histogram = by_status.entry(status).or_default();
        histogram.counts[at] += 1;
        histogram.sum_s += seconds;
    }
}

/// What came in at an ingress.
#[derive(Default)]
pub(crate) struct Received(Durations);

impl Received {
    /// A request was answered.
    pub(crate) fn received(&self, status: StatusCode, took: Duration) {
        self.0.observe(status.as_u16(), took);
    }

    pub(crate) fn durations(&self) -> ByStatus {
        self.0.lock().clone()
    }
}

/// What became of one subscriber's events.
#[derive(Default)]
pub(crate) struct Delivered {
    counts: Mutex<Counts>,
    attempts: Durations,
}

impl Delivered {
    /// An attempt came to its end.
    pub(crate) fn answered(&self, answer: &Answer, took: Duration) {
        let status = match answer {
            Answer::None => 0,
            Answer::Response { code, .. } => *code,
        };
        self.attempts.observe(status, took);
    }

    /// The machine's own counts.
    pub(crate) fn set_counts(&self, counts: Counts) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn durations(&self) -> ByStatus {
        self.attempts.lock().clone()
    }
}
