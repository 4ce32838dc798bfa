//! How long plans take: `cargo test --release -p serving timing -- --ignored --nocapture`.

use std::time::Instant;

use super::cluster::Cluster;
use crate::plan::planners;

const ROUNDS: u32 = 2000;

#[test]
#[ignore = "a measurement, not a check"]
fn timing() {
    let mut cluster = Cluster::new();
    cluster.service("hello", "example/hello");
    cluster.service("hello", "example/hello:2");
    for planner in planners() {
        let Some(key) = cluster.world.keys(planner.root).pop() else {
            continue;
        };
        let start = Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box((planner.plan)(&cluster.cx, &key, &cluster.world));
        }
        let micros = start.elapsed().as_micros() as f64 / f64::from(ROUNDS);
        println!("{:22} {micros:8.1} us", planner.name);
    }
}
