//! The part of a container's file tree that is the same for every container: `/dev`, `/proc`,
//! the control group mount. A spare process builds it before anybody asks for a container; the
//! way to exec then only moves it into place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode};
use rustix::mount::{MountFlags, UnmountFlags};

use super::failure::{Failure, Step};
use super::tree;
use crate::cgroup::{Group, Version};

/// Character devices of every container: name, major, minor.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Symbolic links in `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Below `/proc`: what tells about the machine and is hidden.
const MASKED: [&str; 9] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
];

/// Below `/proc`: what may be read only.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

const PLAIN: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// The directory of one slot and the names in it.
#[derive(Clone, Debug)]
pub struct Slot(pub PathBuf);

impl Slot {
    /// Where the container's own writes go.
    pub fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }

    /// The overlay's own directory.
    pub fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// The container's last words.
    pub fn termination_log(&self) -> PathBuf {
        self.0.join("termination-log")
    }

    /// Where the staging is mounted, visible to the container's own mount namespace only.
    pub fn stage(&self) -> PathBuf {
        self.0.join("stage")
    }

    /// The container's `/dev/shm` in the staging.
    pub(super) fn shm(&self) -> PathBuf {
        self.stage().join("dev/shm")
    }

    /// Makes the slot's directories and files.
    pub fn create(&self) -> std::io::Result<()> {
        fs::create_dir(&self.0)?;
        for dir in [self.upper(), self.work(), self.stage()] {
            fs::create_dir(dir)?;
        }
        fs::write(self.termination_log(), "")?;
        fs::set_permissions(self.termination_log(), mode(0o666))
    }
}

fn mode(bits: u32) -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(bits)
}

/// Builds the staging of `slot` in the calling process's own mount and PID namespaces.
pub(super) fn build(slot: &Slot, group: &Group) -> Result<(), Failure> {
    let stage = slot.stage();
    mount("tmpfs", &stage, "tmpfs", PLAIN, "mode=0755,size=16m").step("mount the staging")?;
    for name in ["root", "dev", "proc", "cgroup", "etc", "empty"] {
        fs::create_dir(stage.join(name)).step("make the staging")?;
    }
    devices(slot, &stage.join("dev"))?;
    proc(&stage)?;
    groups(&stage.join("cgroup"), group)
}

/// Mounts a file system of the kernel.
pub(super) fn mount(
    source: &str,
    target: &Path,
    kind: &str,
    flags: MountFlags,
    data: &str,
) -> rustix::io::Result<()> {
    let data = std::ffi::CString::new(data).expect("mount options hold no zero byte");
    rustix::mount::mount(source, target, kind, flags, data.as_c_str())
}

fn devices(slot: &Slot, dev: &Path) -> Result<(), Failure> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("tmpfs", dev, "tmpfs", flags, "mode=0755,size=64m").step("mount /dev")?;
    for (name, major, minor) in DEVICES {
        let device = rustix::fs::makedev(major, minor);
        let (kind, mode) = (FileType::CharacterDevice, Mode::from_raw_mode(0o666));
        rustix::fs::mknodat(CWD, dev.join(name), kind, mode, device)
            .step_on("make device", name)?;
    }
    for (name, target) in LINKS {
        symlink(target, dev.join(name)).step_on("link", name)?;
    }
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(name)).step_on("make /dev directory", name)?;
    }
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount("devpts", &dev.join("pts"), "devpts", flags, options).step("mount /dev/pts")?;
    mount(
        "shm",
        &dev.join("shm"),
        "tmpfs",
        PLAIN,
        "mode=1777,size=64m",
    )
    .step("mount /dev/shm")?;
    message_queues(dev);
    let log = dev.join("termination-log");
    fs::write(&log, "").step("make the termination log")?;
    let file = tree::clone(CWD, &slot.termination_log(), false).step("open the termination log")?;
    tree::attach_at(&file, CWD, &log).step("mount the termination log")
}

/// Shows the message queues of the calling process's namespace. A kernel may be without them;
/// nothing else depends on them.
pub(super) fn message_queues(dev: &Path) {
    let _ = mount("mqueue", &dev.join("mqueue"), "mqueue", PLAIN, "");
}

fn proc(stage: &Path) -> Result<(), Failure> {
    let proc = stage.join("proc");
    mount("proc", &proc, "proc", PLAIN, "").step("mount /proc")?;
    for name in READ_ONLY {
        let path = proc.join(name);
        if !path.exists() {
            continue;
        }
        let copy = tree::clone(CWD, &path, true).step_on("open /proc/", name)?;
        tree::read_only(&copy, true).step_on("make read-only /proc/", name)?;
        tree::attach_at(&copy, CWD, &path).step_on("mount /proc/", name)?;
    }
    for name in MASKED {
        mask(stage, &proc.join(name))?;
    }
    Ok(())
}

/// Hides a file behind `/dev/null`, a directory behind an empty one; what is not there is fine.
pub(super) fn mask(stage: &Path, path: &Path) -> Result<(), Failure> {
    let Ok(kind) = fs::metadata(path) else {
        return Ok(());
    };
    let cover = stage.join(if kind.is_dir() { "empty" } else { "dev/null" });
    let cover = tree::clone(CWD, &cover, false).step("open the cover")?;
    tree::read_only(&cover, false).step("make the cover read-only")?;
    tree::attach_at(&cover, CWD, path).step_on("cover", path.display())
}

/// Shows the container its own control groups, read-only, the way the machine shows them.
fn groups(target: &Path, group: &Group) -> Result<(), Failure> {
    let flags = PLAIN | MountFlags::RDONLY;
    if group.version() == Version::V2 {
        return mount("cgroup", target, "cgroup2", flags, "").step("mount the control groups");
    }
    mount("tmpfs", target, "tmpfs", PLAIN, "mode=0755,size=1m").step("mount the control groups")?;
    for name in group.trees() {
        let dir = target.join(&name);
        fs::create_dir(&dir).step_on("make control group directory", &name)?;
        mount("cgroup", &dir, "cgroup", flags, &name).step_on("mount control group", &name)?;
        for alias in name.split(',').filter(|alias| *alias != name) {
            let _ = symlink(&name, target.join(alias));
        }
    }
    Ok(())
}

/// Lets go of the old root after the pivot.
pub(super) fn forget_old_root() -> Result<(), Failure> {
    rustix::mount::unmount(".", UnmountFlags::DETACH).step("leave the machine's root")
}

/// Whether something is at `path` below `dir`, without following links out of it.
pub(super) fn exists_in(dir: &Path, path: &str) -> bool {
    rustix::fs::statat(CWD, dir.join(path), AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
