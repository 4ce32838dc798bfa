//! The file tree of one container: overlay of the image's layers, the staging moved in, the
//! Pod's own files in `/etc`, volumes, then the pivot. All of it on the way to exec.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::MountFlags;

use super::failure::{Failure, Step};
use super::mounts::Overlay;
use super::spec::{ContainerSpec, Mount};
use super::staging::{self, Slot};
use super::tree;

/// Directories every root has, as a lowest layer made once, so that no image is too empty to
/// mount on. Relative to the root.
const SKELETON_DIRS: [&str; 4] = ["dev", "proc", "sys", "etc"];
/// Files every root has, for the same reason.
const SKELETON_FILES: [&str; 3] = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// Makes the skeleton layer at `dir`; harmless when it is there.
pub(super) fn make_skeleton(dir: &Path) -> std::io::Result<()> {
    for name in SKELETON_DIRS {
        fs::create_dir_all(dir.join(name))?;
    }
    for name in SKELETON_FILES {
        fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(dir.join(name))?;
    }
    Ok(())
}

/// What a container has from others of its Pod, or from the machine.
pub(super) struct Shared<'a> {
    /// Whether its namespace of inter-process communication is not the one the staging was made in.
    pub ipc: bool,
    /// `/dev/shm` in place of its own.
    pub shm: Option<&'a OwnedFd>,
}

/// Assembles the tree and makes it the root of the calling process.
pub(super) fn enter(
    slot: &Slot,
    skeleton: &Path,
    spec: &ContainerSpec,
    shared: &Shared<'_>,
) -> Result<(), Failure> {
    let stage = slot.stage();
    let root_dir = stage.join("root");
    overlay(slot, skeleton, spec, &root_dir).step("mount the root file system")?;
    let root = open_path(&root_dir).step("open the root file system")?;
    pod_mounts(slot, shared)?;
    kernel_mounts(slot, &root_dir, spec)?;
    etc_files(&stage, &root, spec)?;
    for mount in &spec.mounts {
        volume(&root, mount, spec.privileged).step_on("mount", &mount.target)?;
    }
    if !is_default_log(&spec.termination_log) {
        let log = Mount {
            source: slot.termination_log(),
            target: spec.termination_log.clone(),
            ..Mount::default()
        };
        volume(&root, &log, false).step_on("mount the termination log", &log.target)?;
    }
    if spec.read_only_root {
        tree::read_only(&root, false).step("make the root read-only")?;
    }
    rustix::process::fchdir(&root).step("enter the root")?;
    rustix::process::pivot_root(".", ".").step("pivot the root")?;
    staging::forget_old_root()?;
    rustix::process::chdir("/").step("enter the new root")
}

fn is_default_log(path: &str) -> bool {
    path.is_empty() || path == "/dev/termination-log"
}

fn open_path(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn overlay(
    slot: &Slot,
    skeleton: &Path,
    spec: &ContainerSpec,
    target: &Path,
) -> std::io::Result<()> {
    let layers = spec.layers.iter().map(PathBuf::as_path);
    let lower: Vec<&Path> = layers.chain([skeleton]).collect();
    let (upper, work) = (slot.upper(), slot.work());
    let overlay = Overlay {
        lower: &lower,
        upper: Some((&upper, &work)),
        exact: spec.exact_changes,
    };
    let flags = if spec.privileged {
        MountFlags::empty()
    } else {
        MountFlags::NODEV
    };
    overlay.mount(target, flags)
}

/// What is in memory and the Pod's: covers the container's own in the staging.
fn pod_mounts(slot: &Slot, shared: &Shared<'_>) -> Result<(), Failure> {
    if let Some(shm) = shared.shm {
        tree::attach_at(shm, CWD, &slot.shm()).step("mount the Pod's /dev/shm")?;
    }
    if shared.ipc {
        staging::message_queues(&slot.stage().join("dev"));
    }
    Ok(())
}

/// `/dev`, `/proc`, `/sys`: moved from the staging, except what depends on the Pod's network
/// namespace or on privileges.
fn kernel_mounts(slot: &Slot, root: &Path, spec: &ContainerSpec) -> Result<(), Failure> {
    let stage = slot.stage();
    let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let (dev, proc, sys) = (root.join("dev"), root.join("proc"), root.join("sys"));
    if spec.privileged {
        rustix::mount::mount_bind_recursive("/dev", &dev).step("mount the machine's /dev")?;
        if staging::exists_in(&dev, "shm") {
            let shm = dev.join("shm");
            rustix::mount::mount_move(slot.shm(), shm).step("move /dev/shm")?;
        }
        staging::mount("proc", &proc, "proc", plain, "").step("mount /proc")?;
        staging::mount("sysfs", &sys, "sysfs", plain, "").step("mount /sys")?;
    } else {
        rustix::mount::mount_move(stage.join("proc"), &proc).step("move /proc")?;
        let flags = plain | MountFlags::RDONLY;
        staging::mount("sysfs", &sys, "sysfs", flags, "").step("mount /sys")?;
        staging::mask(&stage, &sys.join("firmware"))?;
        rustix::mount::mount_move(stage.join("dev"), &dev).step("move /dev")?;
    }
    if staging::exists_in(&sys, "fs/cgroup") {
        let target = sys.join("fs/cgroup");
        rustix::mount::mount_move(stage.join("cgroup"), target).step("move the control groups")?;
    }
    Ok(())
}

/// Name resolution as the Pod sees it: small files in memory, mounted over whatever the image
/// has there, unless a volume takes the place.
fn etc_files(stage: &Path, root: &OwnedFd, spec: &ContainerSpec) -> Result<(), Failure> {
    let hostname = format!("{}\n", spec.hostname);
    let files = [
        ("hosts", &spec.hosts),
        ("resolv.conf", &spec.resolv),
        ("hostname", &hostname),
    ];
    for (name, content) in files {
        let target = format!("/etc/{name}");
        if content.is_empty() || spec.mounts.iter().any(|mount| mount.target == target) {
            continue;
        }
        let source = stage.join("etc").join(name);
        fs::write(&source, content).step_on("write", &target)?;
        let file = tree::clone(CWD, &source, false).step_on("open", &target)?;
        let point = tree::ensure_in(root, Path::new(&target), false).step_on("make", &target)?;
        tree::attach_on(&file, &point).step_on("mount", &target)?;
    }
    Ok(())
}

fn volume(root: &OwnedFd, mount: &Mount, privileged: bool) -> std::io::Result<()> {
    let mut source = open_path(&mount.source)?;
    if !mount.sub_path.is_empty() {
        source = tree::ensure_in(&source, Path::new(&mount.sub_path), true)?;
    }
    let copy = tree::clone(&source, Path::new(""), true)?;
    if mount.read_only {
        tree::read_only(&copy, true)?;
    }
    if !privileged {
        tree::no_devices(&copy, true)?;
    }
    let target = tree::ensure_in(root, Path::new(&mount.target), tree::is_dir(&source)?)?;
    tree::attach_on(&copy, &target)
}
