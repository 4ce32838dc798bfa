//! Drives one target with wrk and reads what it cost.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::roles::HOST;

/// Seconds of each run; wrk knows no fractions.
const SECONDS: u32 = 3;

/// One round on one target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Median latency at one connection, microseconds.
    p50_us: f64,
    /// Requests a second at one connection.
    rps_1: f64,
    /// Requests a second at 64 connections.
    rps_64: f64,
    /// Processor seconds of the target per 100,000 requests at 64 connections.
    cpu_s: f64,
    /// Resident memory after that, MiB.
    rss_mib: f64,
}

/// Measures one target once.
pub(crate) fn sample(address: SocketAddr, pid: u32) -> Result<Sample> {
    let single = wrk(address, 1, 1)?;
    let before = processor_seconds(pid)?;
    let many = wrk(address, 64, 2)?;
    let cpu = processor_seconds(pid)? - before;
    Ok(Sample {
        p50_us: single.p50_us,
        rps_1: single.rps,
        rps_64: many.rps,
        cpu_s: cpu / many.requests * 100_000.0,
        rss_mib: resident_mib(pid)?,
    })
}

struct Run {
    p50_us: f64,
    rps: f64,
    requests: f64,
}

fn wrk(address: SocketAddr, connections: u32, threads: u32) -> Result<Run> {
    let output = Command::new("wrk")
        .args(["--latency", "-H", &format!("Host: {HOST}")])
        .args([
            format!("-c{connections}"),
            format!("-t{threads}"),
            format!("-d{SECONDS}s"),
        ])
        .arg(format!("http://{address}/"))
        .output()
        .context("run wrk: is it installed?")?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "wrk failed: {text}");
    ensure!(!text.contains("Non-2xx"), "answers other than 2xx: {text}");
    ensure!(
        !text.contains("Socket errors"),
        "broken connections: {text}"
    );
    let word = |start: &str, at: usize| -> Result<&str> {
        let line = text
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with(start));
        line.and_then(|line| line.split_whitespace().nth(at))
            .with_context(|| text.clone())
    };
    let requests_line = text
        .lines()
        .find(|line| line.contains(" requests in "))
        .unwrap_or("");
    let requests = requests_line
        .split_whitespace()
        .next()
        .unwrap_or("")
        .parse()?;
    Ok(Run {
        p50_us: microseconds(word("50%", 1)?)?,
        rps: word("Requests/sec:", 1)?.parse()?,
        requests,
    })
}

fn microseconds(text: &str) -> Result<f64> {
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .context("a unit of time")?;
    let value: f64 = text[..unit_at].parse()?;
    Ok(match &text[unit_at..] {
        "us" => value,
        "ms" => value * 1e3,
        _ => value * 1e6,
    })
}

/// User and system time of a process and its children that still run (nginx's worker).
fn processor_seconds(pid: u32) -> Result<f64> {
    let mut ticks = 0.0;
    for pid in family(pid)? {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields = stat.rsplit_once(')').context("a stat line")?.1;
        let field = |at: usize| {
            fields
                .split_whitespace()
                .nth(at)
                .and_then(|f| f.parse::<f64>().ok())
        };
        ticks += field(11)
            .zip(field(12))
            .map(|(user, system)| user + system)
            .context("times")?;
    }
    // Linux reports in hundredths of a second on every machine Rust runs on.
    Ok(ticks / 100.0)
}

fn resident_mib(pid: u32) -> Result<f64> {
    let mut kib = 0.0;
    for pid in family(pid)? {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap_or_default();
        kib += line
            .split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .unwrap_or(0.0);
    }
    Ok(kib / 1024.0)
}

fn family(pid: u32) -> Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let mut all = vec![pid];
    all.extend(
        children
            .split_whitespace()
            .filter_map(|child| child.parse::<u32>().ok()),
    );
    Ok(all)
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints the medians of all rounds and the spread of the throughput.
pub(crate) fn print(rows: &[(&str, &Vec<Sample>)]) {
    let mut out = io::stdout().lock();
    let _ = writeln!(
        out,
        "| | p50 µs, 1 conn | req/s, 1 conn | req/s, 64 conns (spread) | CPU s / 100k | RSS MiB |\n\
         |---|---|---|---|---|---|"
    );
    for (name, samples) in rows {
        let rps: Vec<f64> = samples.iter().map(|sample| sample.rps_64).collect();
        let (low, high) = rps
            .iter()
            .fold((f64::MAX, 0f64), |(l, h), r| (l.min(*r), h.max(*r)));
        let _ = writeln!(
            out,
            "| {name} | {:.0} | {:.0} | {:.0} ({low:.0}–{high:.0}) | {:.2} | {:.1} |",
            median(samples, |s| s.p50_us),
            median(samples, |s| s.rps_1),
            median(samples, |s| s.rps_64),
            median(samples, |s| s.cpu_s),
            median(samples, |s| s.rss_mib),
        );
    }
}
