//! Mounts as descriptors: clone a tree, change its attributes, attach it; and paths inside a
//! container's root, resolved so that no link of the image leads out of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use super::sys;

/// A detached copy of the mount at `path`, with everything mounted below it when `recursive`.
pub(super) fn clone(dir: impl AsFd, path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(rustix::mount::open_tree(dir, path, flags)?)
}

/// Attaches a detached tree at the path.
pub(super) fn attach_at(tree: &OwnedFd, dir: impl AsFd, path: &Path) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", dir, path, flags)?)
}

/// Attaches a detached tree on what the descriptor refers to.
pub(super) fn attach_on(tree: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", target, "", flags)?)
}

/// Makes a detached tree read-only.
pub(super) fn read_only(tree: &OwnedFd, recursive: bool) -> io::Result<()> {
    sys::set_mount_attributes(tree.as_fd(), libc::MOUNT_ATTR_RDONLY, recursive)
}

/// Makes device files in a detached tree useless.
pub(super) fn no_devices(tree: &OwnedFd, recursive: bool) -> io::Result<()> {
    sys::set_mount_attributes(tree.as_fd(), libc::MOUNT_ATTR_NODEV, recursive)
}

/// Opens `path` inside `root` for use as a mount point or mount source.
pub(crate) fn open_in(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    Ok(rustix::fs::openat2(
        root,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::IN_ROOT,
    )?)
}

/// Opens `path` inside `root`, making missing directories (and, for a file, the empty file).
pub(crate) fn ensure_in(root: &OwnedFd, path: &Path, is_dir: bool) -> io::Result<OwnedFd> {
    match open_in(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let names: Vec<_> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let mut done = PathBuf::from("/");
    let mut parent = open_in(root, &done)?;
    for (index, name) in names.iter().enumerate() {
        done.push(name);
        parent = match open_in(root, &done) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&parent, name, is_dir || index + 1 < names.len())?;
                open_in(root, &done)?
            }
            other => other?,
        };
    }
    Ok(parent)
}

fn make(parent: &OwnedFd, name: &std::ffi::OsStr, is_dir: bool) -> io::Result<()> {
    if is_dir {
        return Ok(rustix::fs::mkdirat(
            parent,
            name,
            Mode::from_raw_mode(0o755),
        )?);
    }
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))?;
    Ok(())
}

/// Whether the descriptor refers to a directory.
pub(crate) fn is_dir(fd: &OwnedFd) -> io::Result<bool> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}
