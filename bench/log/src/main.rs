//! What the log costs beside the floor it stands on, in the same run: a program that does nothing
//! but checksum, `pwrite` and `fdatasync`.
//!
//! `cargo run --release -p bench-log [DIRECTORY]` (default: a directory of its own under the
//! current one, removed afterwards; some 12 GiB are needed for a moment). It prints records a second
//! for batches of 64 and 1,024 with one sync each, for 256 producers that share syncs, the time to
//! open a log of ten million records, and the memory it holds then and with a reader that is at
//! the start.

#![allow(clippy::print_stdout)] // The results are what this program is for.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use log::disk::FileDisk;
use log::{Log, Logs, Options};
use rustix::fs::FallocateFlags;

const RECORD_BYTES: usize = 1024;
/// How long each row of the table takes.
const ROW: Duration = Duration::from_secs(4);
const MANY: u64 = 10_000_000;

fn main() -> Result<()> {
    let given = std::env::args().nth(1).map(PathBuf::from);
    let dir = given.unwrap_or_else(|| PathBuf::from(format!("bench-log-{}", std::process::id())));
    std::fs::create_dir_all(&dir).context("the directory for the logs")?;
    let result = measure(&dir);
    std::fs::remove_dir_all(&dir).context("remove what was written")?;
    result
}

fn measure(dir: &Path) -> Result<()> {
    println!("| 1 KiB records, one sync a batch | floor | log | ratio |");
    println!("|---|---|---|---|");
    for batch in [64, 1024] {
        let (mut floor, mut log) = (Vec::new(), Vec::new());
        // In turns, because the disk's speed drifts.
        for _ in 0..3 {
            floor.push(write_floor(dir, batch)?);
            log.push(write_log(dir, batch)?);
        }
        let (floor, log) = (median(floor), median(log));
        println!(
            "| batches of {batch} | {floor:.0}/s | {log:.0}/s | {:.2} |",
            log / floor
        );
    }
    println!(
        "256 producers with one record each in flight: {:.0}/s",
        share_syncs(dir)?
    );
    open_many(dir)
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Records a second without any log: what each record costs at least is its checksum and its copy.
fn write_floor(dir: &Path, batch: usize) -> Result<f64> {
    let path = dir.join("floor");
    let file = File::create(&path)?;
    let size = 2 << 30;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size)?;
    let record = vec![7; RECORD_BYTES];
    let mut buffer = Vec::with_capacity(batch * (RECORD_BYTES + 28));
    let (start, mut at, mut count) = (Instant::now(), 0, 0_u64);
    while start.elapsed() < ROW {
        buffer.clear();
        for _ in 0..batch {
            buffer.extend_from_slice(&[0; 24]);
            buffer.extend_from_slice(&crc32fast::hash(&record).to_le_bytes());
            buffer.extend_from_slice(&record);
        }
        if at + buffer.len() as u64 > size {
            at = 0;
        }
        file.write_all_at(&buffer, at)?;
        file.sync_data()?;
        at += buffer.len() as u64;
        count += batch as u64;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

fn open_logs(dir: &Path) -> Result<Logs> {
    loop {
        match Logs::open(Arc::new(FileDisk), dir, Options::default()) {
            // The thread that wrote last lets go of it a moment after its answer.
            Err(log::Error::Locked { .. }) => thread::yield_now(),
            opened => return Ok(opened?),
        }
    }
}

fn write_log(dir: &Path, batch: usize) -> Result<f64> {
    let logs = open_logs(&dir.join("logs"))?;
    let log = logs.log("batches")?;
    log.open()?;
    let record = vec![7; RECORD_BYTES];
    let records = vec![record.as_slice(); batch];
    let (start, mut count) = (Instant::now(), 0_u64);
    while start.elapsed() < ROW {
        log.append(1, &records)?.wait()?;
        count += batch as u64;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    logs.delete("batches")?;
    Ok(rate)
}

/// 256 records in flight, each acknowledged by itself, from one thread.
fn share_syncs(dir: &Path) -> Result<f64> {
    let logs = open_logs(&dir.join("logs"))?;
    let log = logs.log("shared")?;
    let record = vec![7; RECORD_BYTES];
    let mut flying = std::collections::VecDeque::new();
    let (start, mut count) = (Instant::now(), 0_u64);
    while start.elapsed() < ROW {
        while flying.len() < 256 {
            flying.push_back(log.append(1, &[&record])?);
        }
        let oldest = flying.pop_front().context("one is in flight")?;
        oldest.wait()?;
        count += 1;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    for append in flying {
        append.wait()?;
    }
    logs.delete("shared")?;
    Ok(rate)
}

fn open_many(dir: &Path) -> Result<()> {
    let dir = dir.join("many");
    fill(&open_logs(&dir)?.log("many")?)?;
    let before = resident_bytes()?;
    let start = Instant::now();
    let logs = open_logs(&dir)?;
    let log = logs.log("many")?;
    let stats = log.stats()?;
    let opened = start.elapsed();
    let after_open = resident_bytes()?;
    let mut reader = log.reader(0);
    let start = Instant::now();
    reader.read()?.context("the first record")?;
    let first = start.elapsed();
    let start = Instant::now();
    let mut count = 1;
    while reader.read()?.is_some() {
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    println!(
        "{} records in {} segments, {:.1} GiB: opened in {:.1} ms, first record after {:.2} ms more, all read at {rate:.0}/s",
        stats.end,
        stats.segments,
        stats.bytes as f64 / f64::from(1 << 30),
        opened.as_secs_f64() * 1e3,
        first.as_secs_f64() * 1e3,
    );
    println!(
        "memory: {:.1} MiB before, {:.1} MiB opened, {:.1} MiB after all were read; cache {:.1} MiB",
        mib(before),
        mib(after_open),
        mib(resident_bytes()?),
        mib(logs.memory_bytes() as u64),
    );
    Ok(())
}

fn fill(log: &Log) -> Result<()> {
    let record = vec![7; RECORD_BYTES];
    let records = vec![record.as_slice(); 4096];
    let mut flying = None;
    let mut count = 0;
    while count < MANY {
        let part = records.len().min((MANY - count) as usize);
        let append = log.append(count, &records[..part])?;
        count += part as u64;
        if let Some(before) = flying.replace(append) {
            log::Append::wait(before)?;
        }
    }
    flying.context("records were written")?.wait()?;
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn resident_bytes() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').nth(1).context("the second field")?;
    Ok(pages.parse::<u64>()? * rustix::param::page_size() as u64)
}
