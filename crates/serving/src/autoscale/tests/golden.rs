//! Knative's own answers (`golden/*.json`) against ours.

use std::time::Duration;

use serde::Deserialize;
use stdx::Instant;

use super::super::*;

fn cases<T: for<'de> Deserialize<'de>>(file: &str) -> T {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
    let folder = std::env::var("REKINDLE_GOLDEN").unwrap_or_else(|_| default.to_owned());
    let path = std::path::Path::new(&folder).join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[derive(Deserialize)]
struct Scenario {
    spec: SpecCase,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SpecCase {
    max_up: f64,
    max_down: f64,
    target: f64,
    total: f64,
    #[serde(rename = "TBC")]
    burst: f64,
    panic_threshold: f64,
    stable_window_s: u64,
    scale_down_delay_s: u64,
    reachable: bool,
    activation_scale: i32,
    initial_ready: u32,
}

#[derive(Deserialize)]
struct Step {
    t_ms: u64,
    ready: u32,
    stable: f64,
    panic: f64,
    desired: i32,
    ebc: i32,
    panicking: bool,
}

impl SpecCase {
    fn spec(&self) -> DeciderSpec {
        DeciderSpec {
            max_scale_up_rate: self.max_up,
            max_scale_down_rate: self.max_down,
            metric: Metric::Concurrency,
            aggregation: Aggregation::Linear,
            target: self.target,
            total: self.total,
            target_burst_capacity: self.burst,
            activator_capacity: 100.0,
            panic_threshold: self.panic_threshold,
            stable_window: Duration::from_secs(self.stable_window_s),
            panic_window: Duration::from_secs(self.stable_window_s.div_ceil(10)),
            scale_down_delay: Duration::from_secs(self.scale_down_delay_s),
            initial_scale: 1,
            activation_scale: self.activation_scale,
            reachable: self.reachable,
        }
    }
}

#[test]
fn golden_kpa_scale() {
    let scenarios: Vec<Scenario> = cases("kpa_scale.json");
    let mut failures = Vec::new();
    for (number, scenario) in scenarios.iter().enumerate() {
        let spec = scenario.spec.spec();
        let start = Instant::from_millis(scenario.steps.first().map_or(0, |step| step.t_ms));
        let mut memory = Memory::new(start, &spec, scenario.spec.initial_ready);
        for step in &scenario.steps {
            let observed = Observed {
                stable: step.stable,
                panic: step.panic,
            };
            let now = Instant::from_millis(step.t_ms);
            let got = memory.decide(now, &spec, step.ready, observed);
            let want = Decision {
                desired: step.desired,
                excess_burst_capacity: step.ebc,
                panicking: step.panicking,
            };
            if got != want {
                failures.push(format!(
                    "#{number} at {} ms: {got:?}, not {want:?}",
                    step.t_ms
                ));
                break;
            }
        }
    }
    report("golden_kpa_scale", scenarios.len(), &failures);
}

#[derive(Deserialize)]
struct Aggregated {
    window_s: u64,
    records: Vec<Record>,
    at_s: u64,
    linear: f64,
    weighted: f64,
    empty: bool,
}

#[derive(Deserialize)]
struct Record {
    t_s: u64,
    v: f64,
}

#[test]
fn golden_aggregation() {
    let aggregated: Vec<Aggregated> = cases("aggregation.json");
    let mut failures = Vec::new();
    for (number, case) in aggregated.iter().enumerate() {
        let mut window = Window::new(Duration::from_secs(case.window_s));
        for record in &case.records {
            window.record(Instant::from_secs(record.t_s), record.v);
        }
        let now = Instant::from_secs(case.at_s);
        let got = (
            window.average(now),
            window.weighted_average(now),
            window.is_empty(now),
        );
        let close = (got.1 - case.weighted).abs() <= 1e-9 * case.weighted.abs().max(1.0);
        if got.0 != case.linear || !close || got.2 != case.empty {
            let want = (case.linear, case.weighted, case.empty);
            failures.push(format!("#{number}: {got:?}, not {want:?}"));
        }
    }
    report("golden_aggregation", aggregated.len(), &failures);
}

#[test]
fn golden_sample_size() {
    let sizes: Vec<u32> = cases("sample_size.json");
    let failures: Vec<String> = sizes
        .iter()
        .enumerate()
        .filter(|(population, size)| sample_size(*population as u32) != **size)
        .map(|(population, size)| format!("{population}: not {size}"))
        .collect();
    report("golden_sample_size", sizes.len(), &failures);
}

fn report(test: &str, cases: usize, failures: &[String]) {
    println!("{test}: {cases} cases, {} failed", failures.len());
    assert!(cases > 0, "{test}: no cases");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
