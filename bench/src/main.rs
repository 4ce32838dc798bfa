//! `cargo run --release -p bench -- MEASUREMENT`: the numbers of `bench/RESULTS.md`, each taken
//! from the real binary (release build) with its peer or floor in the same run.

#![allow(clippy::print_stdout)] // The results are what this program is for.

mod boot;
mod build;
mod client;
mod coldstart;
mod create;
mod footprint;
mod processor;
mod reaction;
mod sample;
mod scale;

use anyhow::{Result, bail};

const HELP: &str = "\
bench MEASUREMENT

  coldstart [N]        first byte from zero, N services (30), two rounds
  coldstart-flask [N]  the same for a Flask application (8), beside its boot without a platform
  build [N]            Dockerfiles to images beside buildah, cold and cached, N rounds (5)
  create [N]           a new Service to Ready and answering, N times (40)
  reaction [N]         a step in load to the autoscaler's decision and its Pods, N times (9)
  footprint            start to ready, resident memory when idle
  scale [N]            N Services at zero (1000): memory, and the next one's time to Ready

A measurement ends at the first answer other than 200.
";

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |default| args.get(1).map_or(Ok(default), |n| n.parse::<usize>());
    match args.first().map(String::as_str) {
        Some("coldstart") => coldstart::run(number(30)?).await,
        Some("coldstart-flask") => coldstart::flask(number(8)?).await,
        Some("build") => build::run_all(number(5)?).await,
        Some("create") => create::run(number(40)?).await,
        Some("reaction") => reaction::run(number(9)?).await,
        Some("footprint") => footprint::run(),
        Some("scale") => scale::run(number(1000)?).await,
        _ => bail!("{HELP}"),
    }
}
