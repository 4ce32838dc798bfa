//! Control groups of containers, version 1 and version 2 behind one face: make, join, limit,
//! read, remove. Called by the launcher (make, join, limit) and by the agent (read, remove).
//!
//! Containers' groups lie side by side under one base group per data directory; a Pod is the sum
//! of its containers. Groups are made ahead of need and never used twice.

mod limits;
mod usage;

pub use limits::Limits;
pub use usage::Usage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the kernel shows control groups.
const ROOT: &str = "/sys/fs/cgroup";
/// The version 1 controllers a container is put under.
const V1_CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];
/// The version 2 controllers that are switched on below the base group.
const V2_CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Which interface the machine offers for the controllers that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One tree per controller.
    V1,
    /// The unified tree.
    V2,
}

/// The place of all groups of one data directory.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    version: Version,
    /// The base directories: one per controller with version 1, one with version 2.
    bases: Vec<PathBuf>,
}

impl Hierarchy {
    /// Finds out the version in force and makes the base group `base` (one path element).
    pub fn open(base: &str) -> io::Result<Self> {
        let hierarchy = Self::open_at(Path::new(ROOT), base)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        hierarchy.weigh(cores);
        Ok(hierarchy)
    }

    /// Gives all containers together the weight of as many ordinary processes as there are
    /// processors, as the kubelet does for all Pods: beside a busy neighbour outside of any group
    /// they would otherwise share what one process gets. Where it cannot be set, they do.
    fn weigh(&self, cores: usize) {
        let (file, each) = match self.version {
            Version::V1 => ("cpu.shares", 1024),
            Version::V2 => ("cpu.weight", 100),
        };
        let all = Group {
            version: self.version,
            dirs: self.bases.clone(),
        };
        if let Some(path) = all.file(file) {
            let _ = fs::write(path, (cores * each).to_string());
        }
    }

    fn open_at(root: &Path, base: &str) -> io::Result<Self> {
        let unified = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        if unified.split_whitespace().any(|name| name == "memory") {
            enable_v2(root);
            let dir = root.join(base);
            make_dir(&dir)?;
            enable_v2(&dir);
            return Ok(Self {
                version: Version::V2,
                bases: vec![dir],
            });
        }
        let mut bases: Vec<PathBuf> = Vec::new();
        for controller in V1_CONTROLLERS {
            let Ok(tree) = fs::canonicalize(root.join(controller)) else {
                continue;
            };
            let dir = tree.join(base);
            if !bases.contains(&dir) {
                make_dir(&dir)?;
                bases.push(dir);
            }
        }
        if bases.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no control group controllers under {}", root.display()),
            ));
        }
        Ok(Self {
            version: Version::V1,
            bases,
        })
    }

    /// The version in force.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The group `name` below the base, which may or may not exist.
    pub fn group(&self, name: &str) -> Group {
        Group {
            version: self.version,
            dirs: self.bases.iter().map(|base| base.join(name)).collect(),
        }
    }

    /// Makes the group `name` below the base.
    pub fn create(&self, name: &str) -> io::Result<Group> {
        let group = self.group(name);
        for dir in &group.dirs {
            make_dir(dir)?;
        }
        Ok(group)
    }

    /// The names of the groups below the base, for sweeping up after a crash.
    pub fn names(&self) -> Vec<String> {
        let Some(Ok(entries)) = self.bases.first().map(fs::read_dir) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// Removes the base group; groups left below it keep it in place.
    pub fn remove(&self) {
        for base in &self.bases {
            let _ = fs::remove_dir(base);
        }
    }
}

/// One container's group.
#[derive(Clone, Debug)]
pub struct Group {
    version: Version,
    dirs: Vec<PathBuf>,
}

impl Group {
    /// Puts the calling process into the group.
    pub fn join(&self) -> io::Result<()> {
        for dir in &self.dirs {
            fs::write(dir.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }

    /// Sets the limits that are given; leaves the kernel's defaults for the rest.
    pub fn limit(&self, limits: &Limits) -> io::Result<()> {
        for (file, value) in limits.files(self.version) {
            let Some(path) = self.file(file) else {
                continue;
            };
            fs::write(&path, value.as_bytes()).map_err(|source| {
                io::Error::new(
                    source.kind(),
                    format!("{} to {}: {source}", value, path.display()),
                )
            })?;
        }
        Ok(())
    }

    /// How many processes of the group the kernel killed for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let file = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        self.file(file)
            .and_then(|path| fs::read_to_string(path).ok())
            .and_then(|text| usage::field(&text, "oom_kill"))
            .unwrap_or(0)
    }

    /// What the group uses now.
    pub fn usage(&self) -> Usage {
        usage::read(self)
    }

    /// Kills every process in the group.
    pub fn kill(&self) {
        if let Some(file) = self.file("cgroup.kill") {
            let _ = fs::write(file, "1");
            return;
        }
        let Some(file) = self.file("cgroup.procs") else {
            return;
        };
        let text = fs::read_to_string(file).unwrap_or_default();
        for pid in text.lines().filter_map(|line| line.parse().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// Removes the group; fails while processes are in it.
    pub fn remove(&self) -> io::Result<()> {
        for dir in &self.dirs {
            match fs::remove_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The interface version of the group.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// With version 1, the name of each tree (`memory`, `cpu,cpuacct`) as it is mounted.
    pub fn trees(&self) -> Vec<String> {
        let name = |dir: &PathBuf| {
            let below = dir.strip_prefix(ROOT).ok()?;
            Some(below.iter().next()?.to_string_lossy().into_owned())
        };
        self.dirs.iter().filter_map(name).collect()
    }

    /// The directory of each tree.
    pub fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// The path of an interface file, where the machine has it.
    fn file(&self, name: &str) -> Option<PathBuf> {
        self.dirs
            .iter()
            .map(|dir| dir.join(name))
            .find(|path| path.exists())
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Switches the controllers on for the children of `dir`, each alone so that one that is missing
/// does not take the others with it.
fn enable_v2(dir: &Path) {
    for controller in V2_CONTROLLERS {
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

#[cfg(test)]
mod tests;
