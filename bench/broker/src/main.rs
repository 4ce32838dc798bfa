//! The broker beside NATS JetStream (file storage, each publication acknowledged), in the same run
//! on the same machine.
//!
//! `cargo run --release -p bench-broker [DIRECTORY [ROW]]` starts either server as a process of its
//! own on processor 0 (`taskset`) and drives it from this one on processor 1: 256 events of 1 KiB in
//! flight, 5,000 events a second (both `ingress`), one consumer at 1,000 a second (`latency`), 1,000
//! Triggers of which 10 match each event (`triggers`), a million events that nobody takes
//! (`waiting`), a restart (`restart`); with ROW that alone. DIRECTORY (default: one of its own under
//! the current one) is removed afterwards; some 6 GiB are needed for a moment. Needs `nats-server`
//! (Debian package of this name); without it its rows are left out.

#![allow(clippy::print_stdout)] // The results are what this program is for.

mod consumer;
mod link;
mod load;
mod nats;
mod role;
mod server;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use consumer::Consumer;
use load::Pace;
use nats::Nats;
use role::{Ours, Setup};
use server::Server;

/// What the product allocates with.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long each row with a rate takes.
const ROW: Duration = Duration::from_secs(8);
/// What can be measured alone.
const ROWS: [&str; 5] = ["ingress", "latency", "triggers", "waiting", "restart"];
const WAITING: u64 = 1_000_000;
const MANY: u64 = 10_000_000;
/// Of each of these, so that they fit on the disk.
const SMALL_BYTES: usize = 64;
const TRIGGERS: usize = 1_000;
const MATCHES: usize = 10;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["role", setup] => role::run(&serde_json::from_str(setup)?),
        ["fill", directory, count] => role::fill(Path::new(directory), count.parse()?),
        [] => {
            let own = format!("bench-broker-{}", std::process::id());
            in_directory(&PathBuf::from(own), &ROWS)
        }
        [directory] => in_directory(Path::new(directory), &ROWS),
        [directory, row] if ROWS.contains(row) => in_directory(Path::new(directory), &[*row]),
        _ => bail!("bench-broker [DIRECTORY [{}]]", ROWS.join("|")),
    }
}

fn in_directory(dir: &Path, rows: &[&str]) -> Result<()> {
    std::fs::create_dir_all(dir).context("the directory")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(measure(dir, rows));
    std::fs::remove_dir_all(dir).context("remove what was written")?;
    result
}

async fn measure(dir: &Path, wanted: &[&str]) -> Result<()> {
    server::pin_this_process()?;
    let (ours, nats) = (ours(link::DATA_BYTES), Nats);
    let mut servers: Vec<&dyn Server> = vec![&ours];
    match server::is_installed("nats-server") {
        true => servers.push(&nats),
        false => println!("nats-server is not installed: its rows are left out"),
    }
    for server in &servers {
        println!("\n{}", server.name());
        // One that fails costs its own rows only.
        if let Err(error) = rows(*server, dir, wanted).await {
            println!("  ended: {error:#}");
        }
    }
    if wanted.contains(&"restart") {
        println!("\nrekindle, restart with {MANY} events");
        restart_with_many(dir).await?;
    }
    Ok(())
}

const fn ours(data_bytes: usize) -> Ours {
    Ours { data_bytes }
}

async fn rows(server: &dyn Server, dir: &Path, wanted: &[&str]) -> Result<()> {
    for row in wanted {
        let dir = dir.join(row);
        match *row {
            "ingress" => ingress(server, &dir).await?,
            "latency" => end_to_end(server, &dir).await?,
            "triggers" => many_triggers(server, &dir).await?,
            "waiting" => nobody_takes(server, &dir).await?,
            _ => {}
        }
    }
    Ok(())
}

/// Nobody consumes: what ingress alone costs.
async fn ingress(server: &dyn Server, dir: &Path) -> Result<()> {
    let running = server.start(dir, &Setup::without_consumers(dir)).await?;
    let before = running.processor_seconds()?;
    let full = load::run(
        server,
        &running,
        Pace::InFlight(256),
        load::Until::Time(ROW),
    )
    .await?;
    let cpu = running.processor_seconds()? - before;
    println!(
        "  256 in flight: {:.0} events/s, {:.0} per processor second; ack {}",
        full.rate(),
        full.count() as f64 / cpu,
        full.latency
    );
    let paced = load::run(
        server,
        &running,
        Pace::PerSecond(5_000),
        load::Until::Time(ROW),
    )
    .await?;
    println!("  at {:.0} events/s: ack {}", paced.rate(), paced.latency);
    Ok(())
}

async fn end_to_end(server: &dyn Server, dir: &Path) -> Result<()> {
    let consumer = Consumer::start().await?;
    let running = server
        .start(dir, &Setup::consumers(dir, &consumer, 1, 1))
        .await?;
    let subscriptions = server.subscribe(&running, &consumer, 1, 1).await?;
    let load = load::run(
        server,
        &running,
        Pace::PerSecond(1_000),
        load::Until::Time(ROW),
    )
    .await?;
    consumer.wait_for(load.count()).await?;
    println!(
        "  producer to consumer at {:.0} events/s: {}",
        load.rate(),
        consumer.latency()
    );
    drop(subscriptions);
    Ok(())
}

async fn many_triggers(server: &dyn Server, dir: &Path) -> Result<()> {
    for triggers in [MATCHES, TRIGGERS] {
        let dir = dir.join(triggers.to_string());
        let kinds = triggers / MATCHES;
        let consumer = Consumer::start().await?;
        let setup = Setup::consumers(&dir, &consumer, triggers, kinds);
        let running = server.start(&dir, &setup).await?;
        let subscriptions = server
            .subscribe(&running, &consumer, triggers, kinds)
            .await?;
        let before = running.processor_seconds()?;
        let begun = Instant::now();
        let pace = Pace::Kinds(64, kinds);
        let load = load::run(server, &running, pace, load::Until::Time(ROW)).await?;
        let expected = load.count() * MATCHES as u64;
        consumer.wait_for(expected).await?;
        let took = begun.elapsed().as_secs_f64();
        println!(
            "  {triggers} Triggers, {MATCHES} match: {:.0} events/s taken, {:.0} events/s in and all delivered, {:.1} µs of processor time for each delivery",
            load.rate(),
            load.count() as f64 / took,
            (running.processor_seconds()? - before) * 1e6 / expected as f64
        );
        drop(subscriptions);
    }
    Ok(())
}

/// A consumer that is down.
async fn nobody_takes(server: &dyn Server, dir: &Path) -> Result<()> {
    let setup = Setup::down(dir);
    let mut running = server.start(dir, &setup).await?;
    let idle = running.resident_mib()?;
    let load = load::run(
        server,
        &running,
        Pace::InFlight(256),
        load::Until::Count(WAITING),
    )
    .await?;
    let waiting = running.resident_mib()?;
    println!(
        "  {} events of 1 KiB that nobody takes, at {:.0} events/s: {waiting:.1} MiB resident, {idle:.1} MiB idle, {:.1} more",
        load.count(),
        load.rate(),
        waiting - idle
    );
    running.kill()?;
    let begun = Instant::now();
    let running = server.start(dir, &setup).await?;
    println!(
        "  ready again after kill -9 in {:.0} ms, {:.1} MiB resident",
        begun.elapsed().as_secs_f64() * 1e3,
        running.resident_mib()?
    );
    Ok(())
}

async fn restart_with_many(dir: &Path) -> Result<()> {
    let dir = dir.join("many");
    let consumer = Consumer::start().await?;
    let setup = Setup::consumers(&dir, &consumer, 1, 1);
    // One delivered event: the Trigger has a position, the filler a record to repeat.
    let server = ours(SMALL_BYTES);
    let mut running = server.start(&dir, &setup).await?;
    load::run(&server, &running, Pace::PerSecond(1), load::Until::Count(1)).await?;
    consumer.wait_for(1).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    running.kill()?;
    let filled = std::process::Command::new(std::env::current_exe()?)
        .args([Path::new("fill"), &dir, Path::new(&MANY.to_string())])
        .status()?;
    ensure!(filled.success(), "filling the log failed");
    let begun = Instant::now();
    let running = server.start(&dir, &setup).await?;
    let ready = begun.elapsed();
    consumer.wait_for(2).await?;
    println!(
        "  process started to ingress ready: {:.0} ms; next delivery after {:.0} ms; {:.1} MiB resident",
        ready.as_secs_f64() * 1e3,
        begun.elapsed().as_secs_f64() * 1e3,
        running.resident_mib()?
    );
    let (begun, seen) = (Instant::now(), consumer.count());
    tokio::time::sleep(ROW).await;
    let rate = (consumer.count() - seen) as f64 / begun.elapsed().as_secs_f64();
    println!(
        "  delivered from the log at {rate:.0} events/s, {:.1} MiB resident",
        running.resident_mib()?
    );
    Ok(())
}
