//! A set of measured times and how it is reported.

use std::fmt;
use std::time::Duration;

/// Times of one thing, measured again and again.
#[derive(Default)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    /// No times yet.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one time.
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
        self.0.sort();
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The median in milliseconds.
    pub(crate) fn p50(&self) -> f64 {
        self.quantile(0.5)
    }

    fn quantile(&self, q: f64) -> f64 {
        let at = ((self.0.len().max(1) - 1) as f64 * q).round() as usize;
        self.0
            .get(at)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [min, p50, p95, p99, max] = [0.0, 0.5, 0.95, 0.99, 1.0].map(|q| self.quantile(q));
        write!(
            f,
            "n={} min {min:.2} p50 {p50:.2} p95 {p95:.2} p99 {p99:.2} max {max:.2} ms",
            self.0.len()
        )
    }
}
