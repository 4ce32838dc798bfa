//! The log as its users see it, over disks that fail.

#![allow(clippy::unwrap_used)] // Helpers of tests count as code outside tests.

mod behaviour;
mod concurrency;
mod faults;
mod fixture;
mod model;
mod torn;

use std::path::Path;
use std::sync::Arc;

use log::disk::{FileDisk, MemDisk};
use log::{Log, Logs, Options, Record};

/// Small segments, a small cache, and no thread but the test's.
fn options() -> Options {
    Options {
        segment_bytes: 2_000,
        cache_bytes: 4_000,
        threads_max: 0,
        position_file_bytes: 64 << 10,
        ..Options::default()
    }
}

fn open(disk: &MemDisk, options: Options) -> Logs {
    Logs::open(Arc::new(disk.clone()), Path::new("/logs"), options).expect("the directory opens")
}

/// Opens a directory of real files. A thread that has just written may hold the last opening a
/// moment longer.
fn open_files(root: &Path, options: &Options) -> Logs {
    loop {
        match Logs::open(Arc::new(FileDisk), root, options.clone()) {
            Err(log::Error::Locked { .. }) => std::thread::yield_now(),
            opened => return opened.expect("the directory opens"),
        }
    }
}

/// Appends each text and commits.
fn append(logs: &Logs, log: &Log, arrival_ms: u64, texts: &[&str]) -> Result<u64, log::Error> {
    let append = log.append(arrival_ms, texts)?;
    logs.run();
    append.wait()
}

/// Everything in the log from `offset` on.
fn read(log: &Log, offset: u64) -> Result<Vec<Record>, log::Error> {
    let mut reader = log.reader(offset);
    let mut records = Vec::new();
    while let Some(record) = reader.read()? {
        records.push(record);
    }
    Ok(records)
}

fn texts(log: &Log, offset: u64) -> Vec<String> {
    let records = read(log, offset).expect("the log is readable");
    records
        .iter()
        .map(|r| String::from_utf8_lossy(&r.payload).into_owned())
        .collect()
}
