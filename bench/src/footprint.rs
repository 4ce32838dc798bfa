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
    println!(
        "the same with shared pages counted in each process: {:.1} MiB",
        sum_mib(&instance, "status", "VmRSS:")?
    );
    Ok(())
}

/// Resident memory of the daemon and of everything it started, in MiB. Pages that they share (the
/// program itself) count once: the kernel's proportional set size, as in proc(5).
pub(crate) fn resident_mib(instance: &Instance) -> Result<f64> {
    sum_mib(instance, "smaps_rollup", "Pss:")
}

/// The sum of one line of a file in `/proc/PID` over all processes of the instance.
fn sum_mib(instance: &Instance, file: &str, line: &str) -> Result<f64> {
    let data = instance.data_dir().display().to_string();
    let mut kib = 0;
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(words) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let ours = entry.file_name().to_string_lossy() == instance.pid().to_string()
            || String::from_utf8_lossy(&words).contains(&data);
        if ours {
            kib += kib_of(&entry.path().join(file), line).unwrap_or(0);
        }
    }
    Ok(f64::from(kib) / 1024.0)
}

fn kib_of(file: &std::path::Path, name: &str) -> Result<u32> {
    let text = fs::read_to_string(file)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
