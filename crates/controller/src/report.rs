//! What the controllers of this process count, as Prometheus' text: the autoscaler's numbers and
//! the work queue's, under Knative's names (its OpenTelemetry names with dots turned to
//! underscores). Filled as a driver is made, read by whoever serves `/metrics`.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use serving::autoscale::Stat;
use tokio::sync::mpsc;

use crate::autoscale::scaling::Scaling;
use crate::autoscale::{self, Shell};
use crate::driver::Driver;
use crate::metrics::{BUCKET_BOUNDS_S, Histogram, Metrics, Workqueue};

/// A cheap handle; empty until a driver is attached.
#[derive(Clone, Default)]
pub struct Report {
    scaling: Scaling,
    queues: Arc<Mutex<Option<Arc<Metrics>>>>,
}

impl Report {
    /// Shows the work queues of `driver` from now on.
    pub fn attach(&self, driver: &Driver) {
        *self.queues.lock().unwrap_or_else(PoisonError::into_inner) = Some(driver.metrics());
    }

    /// Gives `driver` the autoscaler, whose numbers are shown here; the task is to be run beside
    /// it.
    pub fn autoscale(&self, driver: &mut Driver, stats: mpsc::Receiver<Stat>) -> Shell {
        let (observer, shell) = autoscale::autoscaler(stats, self.scaling.clone());
        driver.observe(observer);
        shell
    }

    /// The text, without an end mark.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.scaling.write(&mut out);
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queues) = &*queues {
            write_queues(&mut out, queues);
        }
        out
    }
}

/// A number of each queue: its name, its type and its value.
type Number = (&'static str, &'static str, fn(&Workqueue) -> u64);

const NUMBERS: [Number; 3] = [
    ("kn_workqueue_adds_total", "counter", |queue| queue.adds),
    ("kn_workqueue_retries_total", "counter", |queue| {
        queue.retries
    }),
    ("kn_workqueue_depth", "gauge", |queue| queue.depth),
];

type Distribution = (&'static str, fn(&Workqueue) -> &Histogram);

const DISTRIBUTIONS: [Distribution; 2] = [
    ("kn_workqueue_queue_duration_seconds", |queue| {
        &queue.queue_duration
    }),
    ("kn_workqueue_process_duration_seconds", |queue| {
        &queue.process_duration
    }),
];

/// The queues by the names of their reconcilers. Writing to a String cannot fail.
fn write_queues(out: &mut String, metrics: &Metrics) {
    let queues = metrics.snapshot();
    for (name, kind, value) in NUMBERS {
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for (queue, numbers) in &queues {
            let _ = writeln!(out, "{name}{{name=\"{queue}\"}} {}", value(numbers));
        }
    }
    for (name, value) in DISTRIBUTIONS {
        let _ = writeln!(out, "# TYPE {name} histogram");
        for (queue, numbers) in &queues {
            write_histogram(out, name, queue, value(numbers));
        }
    }
}

fn write_histogram(out: &mut String, name: &str, queue: &str, histogram: &Histogram) {
    let mut below = 0;
    let bounds = BUCKET_BOUNDS_S.iter().map(f64::to_string);
    let bounds = bounds.chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(histogram.buckets) {
        below += count;
        let _ = writeln!(
            out,
            "{name}_bucket{{name=\"{queue}\",le=\"{bound}\"}} {below}"
        );
    }
    let sum = histogram.sum_s;
    let _ = writeln!(out, "{name}_sum{{name=\"{queue}\"}} {sum}");
    let _ = writeln!(out, "{name}_count{{name=\"{queue}\"}} {below}");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn queues_are_named_and_buckets_add_up() {
        let metrics = Metrics::default();
        metrics.record("Service", |queue| {
            queue.adds = 2;
            queue.depth = 1;
            for ms in [1, 2000, 60_000] {
                queue.process_duration.observe(Duration::from_millis(ms));
            }
        });
        let mut text = String::new();
        write_queues(&mut text, &metrics);
        let of = "kn_workqueue_process_duration_seconds";
        for line in [
            "# TYPE kn_workqueue_adds_total counter".to_owned(),
            "kn_workqueue_adds_total{name=\"Service\"} 2".to_owned(),
            "kn_workqueue_depth{name=\"Service\"} 1".to_owned(),
            format!("{of}_bucket{{name=\"Service\",le=\"0.001\"}} 1"),
            format!("{of}_bucket{{name=\"Service\",le=\"10\"}} 2"),
            format!("{of}_bucket{{name=\"Service\",le=\"+Inf\"}} 3"),
            format!("{of}_sum{{name=\"Service\"}} 62.001"),
            format!("{of}_count{{name=\"Service\"}} 3"),
        ] {
            assert!(text.lines().any(|has| has == line), "{line}\n{text}");
        }
    }
}
