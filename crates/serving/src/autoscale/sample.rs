//! How many Pods to ask for their statistics, so that the average is within the tolerated error
//! of the truth. Called by whoever collects the Pods' statistics.

/// Up to this many Pods all of them are asked.
const ALL_UP_TO: u32 = 3;
/// z² · variance / tolerance² of the sample-size formula (95 % confidence, Knative's
/// `pkg/autoscaler/metrics/sample_size.go`): 1.96² · 100 / 5².
const PRECISION: f64 = 1.96 * 1.96 * 100.0 / 25.0;

/// The number of Pods to sample of `population`.
pub fn sample_size(population: u32) -> u32 {
    if population <= ALL_UP_TO {
        return population;
    }
    let n = f64::from(population);
    (n * PRECISION / (n - 1.0 + PRECISION)).ceil() as u32
}
