//! What was measured of one revision, ready to decide upon: the Stats of its Pods and of the
//! activator, in one window for the stable and one for the panic view. Owned by the Decider.

use stdx::Instant;

use super::spec::{Aggregation, DeciderSpec, Metric};
use super::stat::Stat;
use super::window::Window;

/// What the windows show.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Observed {
    /// The average over the stable window.
    pub stable: f64,
    /// The average over the panic window.
    pub panic: f64,
}

/// The windows of one revision.
#[derive(Clone, Debug)]
pub struct Collector {
    concurrency: Pair,
    rps: Pair,
}

#[derive(Clone, Debug)]
struct Pair {
    stable: Window,
    panic: Window,
}

impl Collector {
    /// Empty windows of the lengths `spec` says.
    pub fn new(spec: &DeciderSpec) -> Self {
        let pair = Pair {
            stable: Window::new(spec.stable_window),
            panic: Window::new(spec.panic_window),
        };
        Self {
            concurrency: pair.clone(),
            rps: pair,
        }
    }

    /// Takes in one report. What came through the activator is left out of a Pod's numbers, for
    /// the activator reports it too.
    pub fn record(&mut self, now: Instant, stat: &Stat) {
        let concurrency =
            stat.average_concurrent_requests - stat.average_proxied_concurrent_requests;
        let rps = stat.request_count - stat.proxied_request_count;
        self.concurrency.record(now, concurrency);
        self.rps.record(now, rps);
    }

    /// The averages, or `None` while nothing is known: no report for longer than the stable
    /// window. With an unlimited burst capacity the activator sees every request, so that its
    /// silence means zero.
    pub fn observe(&self, now: Instant, spec: &DeciderSpec) -> Option<Observed> {
        let pair = match spec.metric {
            Metric::Concurrency => &self.concurrency,
            Metric::Rps => &self.rps,
        };
        let scrapes = spec.target_burst_capacity != -1.0;
        if scrapes && pair.stable.is_empty(now) {
            return None;
        }
        let average = match spec.aggregation {
            Aggregation::Linear => Window::average,
            Aggregation::WeightedExponential => Window::weighted_average,
        };
        Some(Observed {
            stable: average(&pair.stable, now),
            panic: average(&pair.panic, now),
        })
    }

    /// Fits the windows to a changed spec, keeping what they hold.
    pub fn resize(&mut self, spec: &DeciderSpec) {
        for pair in [&mut self.concurrency, &mut self.rps] {
            pair.stable.resize(spec.stable_window);
            pair.panic.resize(spec.panic_window);
        }
    }
}

impl Pair {
    fn record(&mut self, now: Instant, value: f64) {
        self.stable.record(now, value);
        self.panic.record(now, value);
    }
}

/// The report of all `population` Pods of a revision, estimated from a sample of them (see
/// [`super::sample_size`]); `None` for an empty sample.
pub fn extrapolate(sample: &[Stat], population: u32) -> Option<Stat> {
    let factor = f64::from(population) / sample.len() as f64;
    let total = |field: fn(&Stat) -> f64| sample.iter().map(field).sum::<f64>() * factor;
    let first = sample.first()?;
    Some(Stat {
        revision: first.revision.clone(),
        reporter: first.reporter.clone(),
        average_concurrent_requests: total(|s| s.average_concurrent_requests),
        average_proxied_concurrent_requests: total(|s| s.average_proxied_concurrent_requests),
        request_count: total(|s| s.request_count),
        proxied_request_count: total(|s| s.proxied_request_count),
    })
}
