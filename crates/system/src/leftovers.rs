//! Nothing stays behind: no process, no mount and no cgroup of a test's data directory.

use std::fs;
use std::path::Path;

/// Fails when a process or a mount still refers to `dir`.
#[track_caller]
pub fn assert_nothing_left(dir: &Path) {
    let dir = dir.display().to_string();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts: Vec<&str> = mounts.lines().filter(|line| line.contains(&dir)).collect();
    assert!(
        mounts.is_empty(),
        "mounts left behind:\n{}",
        mounts.join("\n")
    );
    let processes = processes_that_name(&dir);
    assert!(
        processes.is_empty(),
        "processes left behind:\n{}",
        processes.join("\n")
    );
}

fn processes_that_name(dir: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let command_lines = entries.filter_map(|entry| {
        let bytes = fs::read(entry.path().join("cmdline")).ok()?;
        let words = String::from_utf8_lossy(&bytes).replace('\0', " ");
        words
            .contains(dir)
            .then(|| format!("{} {words}", entry.file_name().display()))
    });
    command_lines.collect()
}
