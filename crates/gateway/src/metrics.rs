//! Metrics in Prometheus' text format, with Knative's names (its OpenTelemetry names with dots
//! turned to underscores).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use serving::route::Revision;

use crate::pod::PodState;
use crate::table::Table;

/// The bounds OpenTelemetry advises for request durations, in seconds.
const BOUNDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

#[derive(Clone, Default)]
struct Histogram {
    /// The last is everything beyond the bounds.
    counts: [u64; BOUNDS.len() + 1],
    sum_s: f64,
}

/// Durations of requests by status code.
#[derive(Default)]
pub(crate) struct Durations(Mutex<BTreeMap<u16, Histogram>>);

impl Durations {
    /// Counts a request that took this long. Status 0 is one whose client left before an answer.
    pub(crate) fn observe(&self, status: u16, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let at = BOUNDS.partition_point(|bound| *bound < seconds);
        let mut by_status = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = by_status.entry(status).or_default();
        histogram.counts[at] += 1;
        histogram.sum_s += seconds;
    }

    fn snapshot(&self) -> BTreeMap<u16, Histogram> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

type Labels = Vec<(&'static str, String)>;

fn revision_labels(revision: &Revision) -> Labels {
    vec![
        ("k8s_namespace_name", revision.key.namespace.to_string()),
        ("kn_service_name", revision.service.to_string()),
        ("kn_configuration_name", revision.configuration.to_string()),
        ("kn_revision_name", revision.key.name.to_string()),
    ]
}

/// Writes one gauge with a value for each set of labels.
fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: &[(Labels, i64)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

fn histograms(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    values: &[(Labels, BTreeMap<u16, Histogram>)],
) -> fmt::Result {
    let unit = Unit::Seconds;
    let mut family = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
    for (labels, by_status) in values {
        for (status, histogram) in by_status {
            let mut labels = labels.clone();
            labels.push(("http_response_status_code", status.to_string()));
            let bounds = BOUNDS.iter().copied().chain([f64::MAX]);
            let buckets: Vec<(f64, u64)> = bounds.zip(histogram.counts).collect();
            let count = histogram.counts.iter().sum();
            family.encode_family(&labels)?.encode_histogram::<Labels>(
                histogram.sum_s,
                count,
                &buckets,
                None,
            )?;
        }
    }
    Ok(())
}

/// What the gateway measures of all revisions.
pub(crate) struct GatewayMetrics(pub(crate) Arc<Table>);

impl fmt::Debug for GatewayMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayMetrics").finish_non_exhaustive()
    }
}

impl Collector for GatewayMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (mut concurrency, mut queued, mut active) = (Vec::new(), Vec::new(), Vec::new());
        let mut durations = Vec::new();
        for revision in self.0.revisions() {
            let Some(facts) = revision.facts.load_full() else {
                continue;
            };
            let labels = revision_labels(&facts);
            let (waiting, running) = revision
                .gate
                .with(|pool| (pool.queued() as i64, i64::from(pool.in_flight())));
            concurrency.push((labels.clone(), waiting + running));
            queued.push((labels.clone(), waiting));
            active.push((labels.clone(), running));
            durations.push((labels, revision.durations.snapshot()));
        }
        let encoder = &mut encoder;
        gauges(
            encoder,
            (
                "kn_revision_request_concurrency",
                "Requests of the revision, waiting ones included",
            ),
            &concurrency,
        )?;
        gauges(
            encoder,
            ("kn_revision_request_queued", "Requests that wait for a Pod"),
            &queued,
        )?;
        gauges(
            encoder,
            ("kn_revision_request_active", "Requests that a Pod serves"),
            &active,
        )?;
        histograms(
            encoder,
            ("http_server_request_duration", "Duration of requests"),
            &durations,
        )
    }
}

/// What a queue-proxy measures of its Pod.
pub(crate) struct QueueMetrics {
    pub(crate) revision: Arc<Revision>,
    pub(crate) pod: Arc<PodState>,
}

impl fmt::Debug for QueueMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueMetrics").finish_non_exhaustive()
    }
}

impl Collector for QueueMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut labels = revision_labels(&self.revision);
        labels.push(("k8s_pod_name", self.pod.facts.load().name.to_string()));
        let depth = self.pod.gate.with(|breaker| {
            i64::from(breaker.in_flight()) + i64::try_from(breaker.queued()).unwrap_or(i64::MAX)
        });
        gauges(
            &mut encoder,
            (
                "kn_serving_queue_depth",
                "Requests in the queue-proxy, running ones included",
            ),
            &[(labels.clone(), depth)],
        )?;
        // What comes by the Pod's port and what the gateway of this process sends past it are
        // measured at one place: both names have the same numbers.
        let served = [(labels, self.pod.durations.snapshot())];
        histograms(
            &mut encoder,
            (
                "kn_serving_invocation_duration",
                "Duration of requests to the application",
            ),
            &served,
        )?;
        histograms(
            &mut encoder,
            ("http_server_request_duration", "Duration of requests"),
            &served,
        )
    }
}

/// The text of one collector's metrics.
pub(crate) fn text(collector: impl Collector + 'static) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = text::encode(&mut out, &registry);
    out
}
