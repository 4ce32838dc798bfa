//! What a group uses, from the files of either version.

use std::fs;

use super::{Group, Version};

/// CPU time and memory of one container, or of a Pod as the sum of its containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time used since the start, nanoseconds.
    pub cpu_ns: u64,
    /// The working set: memory in use without file pages that nothing touched lately, bytes.
    pub memory_bytes: u64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.cpu_ns += other.cpu_ns;
        self.memory_bytes += other.memory_bytes;
    }
}

/// The number after `name` in a file of `name number` lines.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}

pub(super) fn read(group: &Group) -> Usage {
    let text = |name: &str| {
        group
            .file(name)
            .and_then(|path| fs::read_to_string(path).ok())
            .unwrap_or_default()
    };
    let number = |name: &str| text(name).trim().parse::<u64>().unwrap_or(0);
    let (cpu_ns, memory, cold) = match group.version {
        Version::V1 => (
            number("cpuacct.usage"),
            number("memory.usage_in_bytes"),
            field(&text("memory.stat"), "total_inactive_file"),
        ),
        Version::V2 => (
            field(&text("cpu.stat"), "usage_usec").unwrap_or(0) * 1000,
            number("memory.current"),
            field(&text("memory.stat"), "inactive_file"),
        ),
    };
    Usage {
        cpu_ns,
        memory_bytes: memory.saturating_sub(cold.unwrap_or(0)),
    }
}
