//! Sums of what was reported, in one-second buckets over a sliding window, and two averages of
//! them. The arithmetic is that of Knative's `pkg/autoscaler/aggregation`, rounding included, so
//! that decisions agree to the last digit. Used by the collector alone.

use std::time::Duration;

use stdx::Instant;

/// The smallest weight the newest bucket may have in the weighted average.
const EXPONENT_MIN: f64 = 0.2;
/// The weights of a window shall sum up to at least this.
const WEIGHT_PRECISION: f64 = 0.9999;
/// The linear average is rounded to this fraction of one.
const ROUNDING: f64 = 1e6;

/// A ring of one-second sums. Instants are cut to whole seconds.
#[derive(Clone, Debug)]
pub struct Window {
    buckets: Vec<f64>,
    /// The sum of `buckets`, kept up to date with every write.
    total: f64,
    /// Seconds of the first and the last write since the last silence of a whole window.
    written: Option<(u64, u64)>,
}

impl Window {
    /// An empty window over `span`, rounded up to whole seconds.
    pub fn new(span: Duration) -> Self {
        Self {
            buckets: vec![0.0; bucket_count(span)],
            total: 0.0,
            written: None,
        }
    }

    /// Adds `value` to the bucket of `at`. Values of one second add up; a value older than the
    /// window is dropped.
    pub fn record(&mut self, at: Instant, value: f64) {
        let at = at.since_origin().as_secs();
        let span = self.buckets.len() as u64;
        self.written = match self.written {
            Some((first, last)) if at <= last => {
                if at + span <= last {
                    return;
                }
                Some((first.min(at), last))
            }
            Some((first, last)) if at - last < span => {
                for second in last + 1..=at {
                    let slot = self.slot(second);
                    self.total -= self.buckets[slot];
                    self.buckets[slot] = 0.0;
                }
                Some((first, at))
            }
            _ => {
                self.buckets.fill(0.0);
                self.total = 0.0;
                Some((at, at))
            }
        };
        let slot = self.slot(at);
        self.buckets[slot] += value;
        self.total += value;
    }

    /// The window as it will be when the second after the last write, or the present one, has come
    /// to `value`; and a time in that second.
    pub fn foreseen(&self, now: Instant, value: f64) -> (Self, Instant) {
        let next = self.written.map_or(0, |(_, last)| last + 1);
        let at = Instant::from_secs(next.max(now.since_origin().as_secs()));
        let mut window = self.clone();
        window.record(at, value);
        (window, at)
    }

    /// Whether nothing was written for longer than the window.
    pub fn is_empty(&self, now: Instant) -> bool {
        let now = now.since_origin().as_secs();
        self.written
            .is_none_or(|(_, last)| now.saturating_sub(last) > self.buckets.len() as u64)
    }

    /// The mean of the seconds between the first and the last write that lie in the window.
    /// Missing seconds at the end do not count, so late data does not look like less load.
    pub fn average(&self, now: Instant) -> f64 {
        let now = now.since_origin().as_secs();
        let Some((first, last)) = self.written else {
            return 0.0;
        };
        let silent = now.saturating_sub(last);
        let span = self.buckets.len() as u64;
        if silent >= span {
            return 0.0;
        }
        let outdated = last + 1..=last + silent;
        let sum = outdated.fold(self.total, |sum, second| {
            sum - self.buckets[self.slot(second)]
        });
        let seconds = (last - first + 1).min(span - silent);
        (sum / seconds as f64 * ROUNDING).round() / ROUNDING
    }

    /// The mean with weights that fall off exponentially towards the past; missing seconds count
    /// as zeros.
    pub fn weighted_average(&self, now: Instant) -> f64 {
        let Some((_, last)) = self.written else {
            return 0.0;
        };
        if self.is_empty(now) {
            return 0.0;
        }
        let span = self.buckets.len() as u64;
        let coefficient = smoothing_coefficient(self.buckets.len());
        let silent = now.since_origin().as_secs().saturating_sub(last);
        let mut weight = coefficient * (1.0 - coefficient).powf(silent as f64);
        let mut sum = 0.0;
        for age in 0..span.saturating_sub(silent) {
            sum += self.buckets[self.slot(last + span - age)] * weight;
            weight *= 1.0 - coefficient;
        }
        sum
    }

    /// Changes the span to `span`, keeping what fits.
    pub fn resize(&mut self, span: Duration) {
        let count = bucket_count(span);
        if count == self.buckets.len() {
            return;
        }
        let mut resized = Self::new(span);
        if let Some((first, last)) = self.written {
            let kept = self.buckets.len().min(count) as u64;
            let oldest = first.max((last + 1).saturating_sub(kept));
            for second in oldest..=last {
                let slot = resized.slot(second);
                resized.buckets[slot] = self.buckets[self.slot(second)];
                resized.total += resized.buckets[slot];
            }
            resized.written = Some((oldest, last));
        }
        *self = resized;
    }

    fn slot(&self, second: u64) -> usize {
        (second % self.buckets.len() as u64) as usize
    }
}

fn bucket_count(span: Duration) -> usize {
    (span.as_secs_f64().ceil() as usize).max(1)
}

fn smoothing_coefficient(buckets: usize) -> f64 {
    let inferred = 1.0 - (1.0 - WEIGHT_PRECISION).powf(1.0 / buckets as f64);
    inferred.max(EXPONENT_MIN)
}
