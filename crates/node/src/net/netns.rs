//! Network namespaces: making one, doing something inside one, keeping one alive by a name.
//!
//! A namespace belongs to a thread. Every function here leaves the calling thread in the namespace
//! it came from.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Runs `action` with the calling thread inside `netns` and returns to where it was. Sockets opened
/// inside stay in that namespace for good, so this is how to listen inside a Pod.
///
/// `action` must not block for long and must not await: the thread is borrowed. Takes some 10 µs.
pub fn in_netns<T>(netns: BorrowedFd<'_>, action: impl FnOnce() -> T) -> io::Result<T> {
    let home = Home::remember()?;
    enter(netns)?;
    let result = action();
    drop(home);
    Ok(result)
}

/// Makes a network namespace, runs `action` inside it and returns both.
pub(super) fn create<T>(action: impl FnOnce() -> T) -> io::Result<(OwnedFd, T)> {
    let home = Home::remember()?;
    unshare_network()?;
    let netns = current()?;
    let result = action();
    drop(home);
    Ok((netns, result))
}

/// A network namespace with nothing in it but a loopback that is down.
pub(crate) fn isolated() -> io::Result<OwnedFd> {
    create(|| ()).map(|(netns, ())| netns)
}

/// The network namespace of the calling thread.
pub(super) fn current() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// Makes `directory` a file system of its own that is gone after a reboot, like the namespaces
/// whose names it holds, and that one `umount` detaches with all of them. Does nothing when it is
/// one already.
pub(super) fn prepare_names(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let own = rustix::fs::stat(directory)?.st_dev;
    let parent = rustix::fs::stat(directory.parent().unwrap_or(directory))?.st_dev;
    if own != parent {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", directory, "tmpfs", flags, c"mode=0700")?;
    rustix::mount::mount_change(directory, MountPropagationFlags::PRIVATE)?;
    Ok(())
}

/// Gives the namespace a name in the file system, so that it outlives every process.
pub(super) fn pin(netns: &OwnedFd, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    File::create(path)?;
    let source = format!("/proc/thread-self/fd/{}", netns.as_raw_fd());
    rustix::mount::mount_bind(source.as_str(), path)?;
    Ok(())
}

/// Takes the name away again. A name that is already gone is no error.
pub(super) fn unpin(path: &Path) {
    let _ = rustix::mount::unmount(path, UnmountFlags::DETACH);
    let _ = std::fs::remove_file(path);
}

/// Takes away the directory of names if no namespace has one.
pub(super) fn remove_names_if_unused(directory: &Path) {
    // Names are mounts on it: the kernel itself says whether there are any.
    if rustix::mount::unmount(directory, UnmountFlags::empty()).is_ok() {
        let _ = std::fs::remove_dir(directory);
    }
}

/// Takes away the directory of names with every name still in it.
pub(super) fn remove_names(directory: &Path) {
    let _ = rustix::mount::unmount(directory, UnmountFlags::DETACH);
    let _ = std::fs::remove_dir(directory);
}

fn enter(netns: BorrowedFd<'_>) -> io::Result<()> {
    rustix::thread::move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))?;
    Ok(())
}

#[allow(unsafe_code)]
fn unshare_network() -> io::Result<()> {
    // SAFETY: a new network namespace touches neither the file descriptor table nor memory; only
    // sockets this thread opens from now on are affected, and `Home` brings the thread back.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
    Ok(())
}

/// Brings the thread back to its namespace, also when the action panics.
struct Home(OwnedFd);

impl Home {
    fn remember() -> io::Result<Self> {
        current().map(Self)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = enter(self.0.as_fd()) {
            // A thread lost in a Pod's namespace would open the next listener there, for somebody
            // else. Nothing that goes on from here can be right.
            tracing::error!(%error, "cannot return to the node's network namespace");
            std::process::abort();
        }
    }
}
