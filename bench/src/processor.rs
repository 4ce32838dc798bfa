//! Processor time of the daemon and its launcher, which does not depend on who else uses the
//! machine.

use std::fs;

use anyhow::{Context, Result};

/// Processor time used so far.
pub(crate) struct Processor {
    /// In billionths of a second, by the scheduler's own account.
    nanos: u64,
}

impl Processor {
    /// That of process `pid` and of its children that still run, all threads.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut nanos = 0;
        let mut family = vec![pid];
        for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        for pid in family {
            for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
                // A thread may have ended meanwhile; its time is lost to this account.
                let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let ran = text.split_whitespace().next().unwrap_or("0");
                nanos += ran.parse::<u64>().context("schedstat")?;
            }
        }
        Ok(Self { nanos })
    }

    /// Milliseconds between two readings.
    pub(crate) fn millis_since(&self, before: &Self) -> f64 {
        self.nanos.saturating_sub(before.nanos) as f64 / 1e6
    }
}
