//! The system calls no safe crate offers: fork with namespaces, exec, and a few calls by number.
//! The only unsafe code of the launcher; everything here is a thin, safe face.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Both sides of a fork.
pub(super) enum Fork {
    /// The new process.
    Child,
    /// The old process, with the number of the new one.
    Parent(i32),
}

/// Forks with the given `CLONE_` flags. The caller must be single-threaded (the launcher is).
pub(super) fn fork(flags: libc::c_int) -> io::Result<Fork> {
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: no memory is shared with the child (no CLONE_VM), the stack argument zero means a
    // copy of the caller's, and the process has one thread, so no lock is held by another.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(
            i32::try_from(pid).expect("process numbers fit 22 bits"),
        )),
    }
}

/// Ends the process without running anything more.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: always sound; `_exit` runs no handlers.
    unsafe { libc::_exit(code) }
}

/// Creates new namespaces for the calling process.
pub(super) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: the flags used here are namespace flags, none of which touches memory.
    check(unsafe { libc::unshare(flags) })
}

/// Closes every descriptor from `first` on.
pub(super) fn close_from(first: u32) {
    // SAFETY: callers hold no owned descriptor at or above `first` that they use afterwards.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Makes `target` another name of `fd`, inherited over exec.
pub(super) fn dup_onto(fd: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    // SAFETY: `fd` is open; replacing `target` is what the caller wants.
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) })
}

/// Takes ownership of a descriptor known by number.
pub(super) fn own(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the flag query tells whether it is open; nobody else in this fresh process owns it.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes the terminal the controlling one of the calling session.
pub(super) fn set_controlling_terminal(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the call takes an integer argument.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) })
}

/// Puts every signal back to its default and blocks none.
pub(super) fn reset_signals() {
    // SAFETY: plain values; SIGKILL and SIGSTOP refuse and are left alone.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Lets the kernel reap the children of the calling process.
pub(super) fn ignore_children() {
    // SAFETY: plain values.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Sleeps until a signal that is not ignored comes.
pub(super) fn wait_for_signal() {
    // SAFETY: always sound.
    unsafe { libc::pause() };
}

/// Lets the children of the calling process be born into the process namespace.
pub(super) fn bear_into(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a descriptor and a flag; the caller's own memory and namespaces stay as they are.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWPID) })
}

/// Sets attributes (`MOUNT_ATTR_…`) on the mount `fd` refers to, and on all below it when asked.
pub(super) fn set_mount_attributes(
    fd: BorrowedFd<'_>,
    set: u64,
    recursive: bool,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, the structure lives through the call and its size
    // is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    check(i32::try_from(result).unwrap_or(-1))
}

/// Replaces the process; comes back only with an error.
pub(super) fn exec(path: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let args = pointers(args);
    let env = pointers(env);
    // SAFETY: both arrays end with a null pointer and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings
        .iter()
        .map(|text| text.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
