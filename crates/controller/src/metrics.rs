//! Numbers about the work queue, under the names Knative gives them (`kn.workqueue.*`).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// Upper bounds in seconds of the buckets of both histograms; the last bucket is unbounded.
pub const BUCKET_BOUNDS_S: [f64; 12] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0,
];

/// A distribution of durations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// How many fell into each bucket, not cumulative.
    pub buckets: [u64; BUCKET_BOUNDS_S.len() + 1],
    /// The sum in seconds.
    pub sum_s: f64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BUCKET_BOUNDS_S.partition_point(|bound| *bound < seconds);
        self.buckets[bucket] += 1;
        self.sum_s += seconds;
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The numbers of one reconciler (attribute `name`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workqueue {
    /// `kn.workqueue.adds`: keys that entered the queue.
    pub adds: u64,
    /// `kn.workqueue.retries`: keys that failed and come again.
    pub retries: u64,
    /// `kn.workqueue.depth`: keys that wait now.
    pub depth: u64,
    /// `kn.workqueue.queue.duration`: from entering the queue to being planned.
    pub queue_duration: Histogram,
    /// `kn.workqueue.process.duration`: from being planned to the last answer.
    pub process_duration: Histogram,
    /// Plannings that had nothing to do.
    pub empty_plans: u64,
    /// Plannings that failed to be performed for another reason than a write in between.
    pub errors: u64,
}

/// All reconcilers' numbers; the driver writes, whoever exports reads.
#[derive(Debug, Default)]
pub struct Metrics {
    queues: Mutex<BTreeMap<&'static str, Workqueue>>,
}

impl Metrics {
    /// A copy, by reconciler.
    pub fn snapshot(&self) -> BTreeMap<&'static str, Workqueue> {
        self.lock().clone()
    }

    /// Changes the numbers of one reconciler.
    pub(crate) fn record(&self, name: &'static str, change: impl FnOnce(&mut Workqueue)) {
        change(self.lock().entry(name).or_default());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Workqueue>> {
        // Counters stay usable whatever happened to a thread that held them.
        self.queues
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let mut histogram = Histogram::default();
        for micros in [50, 100, 101, 20_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        assert_eq!(histogram.buckets[..2], [2, 1]);
        assert_eq!(histogram.buckets[BUCKET_BOUNDS_S.len()], 1);
        assert_eq!(histogram.count(), 4);
    }
}
