//! Start-up time and resident memory of the platform with nothing deployed.

use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result};
use system::{Instance, Options};

use crate::sample::Sample;

pub(crate) fn run() -> Result<()> {
    let mut starts = Sample::default();
    for _ in 0..5 {
        let start = Instant::now();
        let instance = Instance::with(Options {
            shared_netns: true,
            ..Options::default()
        });
        starts.push(start.elapsed());
        drop(instance);
    }
    println!("process start to ready (first start, empty data directory): {starts}");
    let instance = Instance::with(Options {
        shared_netns: true,
        ..Options::default()
    });
    thread::sleep(Duration::from_secs(10));
    println!("resident memory, idle: {:.1} MiB", resident_mib(&instance)?);
    Ok(())
}

/// Resident memory of the daemon and of everything it started, in MiB.
pub(crate) fn resident_mib(instance: &Instance) -> Result<f64> {
    let data = instance.data_dir().display().to_string();
    let mut kib = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(words) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let ours = entry.file_name().to_string_lossy() == instance.pid().to_string()
            || String::from_utf8_lossy(&words).contains(&data);
        if ours {
            kib += resident_kib(&entry.path().join("status")).unwrap_or(0);
        }
    }
    Ok(f64::from(kib) / 1024.0)
}

fn resident_kib(status: &std::path::Path) -> Result<u32> {
    let text = fs::read_to_string(status)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
