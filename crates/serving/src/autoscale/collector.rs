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
        self.concurrency.record(now, own(stat, Metric::Concurrency));
        self.rps.record(now, own(stat, Metric::Rps));
    }

    /// The averages, or `None` while nothing is known: no report for longer than the stable
    /// window. With an unlimited burst capacity the activator sees every request, so that its
    /// silence means zero.
    pub fn observe(&self, now: Instant, spec: &DeciderSpec) -> Option<Observed> {
        let pair = self.pair(spec);
        let scrapes = spec.target_burst_capacity != -1.0;
        if scrapes && pair.stable.is_empty(now) {
            return None;
        }
        let average = average(spec);
        Some(Observed {
            stable: average(&pair.stable, now),
            panic: average(&pair.panic, now),
        })
    }

    /// The averages as the report will have them of which `stat` is the beginning.
    pub fn foresee(&self, now: Instant, spec: &DeciderSpec, stat: &Stat) -> Observed {
        let value = own(stat, spec.metric);
        let average = average(spec);
        let foreseen = |window: &Window| {
            let (window, at) = window.foreseen(now, value);
            average(&window, at)
        };
        let pair = self.pair(spec);
        Observed {
            stable: foreseen(&pair.stable),
            panic: foreseen(&pair.panic),
        }
    }

    /// The averages while there are no Pods: at least what waits for them.
    pub fn waiting(&self, now: Instant, spec: &DeciderSpec, stat: &Stat) -> Observed {
        let waiting = own(stat, spec.metric);
        let known = self.observe(now, spec);
        let at_least = |average: fn(Observed) -> f64| known.map_or(waiting, average).max(waiting);
        Observed {
            stable: at_least(|known| known.stable),
            panic: at_least(|known| known.panic),
        }
    }

    fn pair(&self, spec: &DeciderSpec) -> &Pair {
        match spec.metric {
            Metric::Concurrency => &self.concurrency,
            Metric::Rps => &self.rps,
        }
    }

    /// Fits the windows to a changed spec, keeping what they hold.
    pub fn resize(&mut self, spec: &DeciderSpec) {
        for pair in [&mut self.concurrency, &mut self.rps] {
            pair.stable.resize(spec.stable_window);
            pair.panic.resize(spec.panic_window);
        }
    }
}

/// What did not come through the activator, which reports that itself.
fn own(stat: &Stat, metric: Metric) -> f64 {
    match metric {
        Metric::Concurrency => {
            stat.average_concurrent_requests - stat.average_proxied_concurrent_requests
        }
        Metric::Rps => stat.request_count - stat.proxied_request_count,
    }
}

fn average(spec: &DeciderSpec) -> fn(&Window, Instant) -> f64 {
    match spec.aggregation {
        Aggregation::Linear => Window::average,
        Aggregation::WeightedExponential => Window::weighted_average,
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
        so_far: first.so_far,
    })
}
