//! A process's terminal, made in its container's own instance of devpts, so that its name
//! (`/dev/pts/0`) is one that exists in the container. Called by `child` on the way to exec; the
//! other end goes to the launcher by the child's socket.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pty::OpenptFlags;

use super::failure::{Failure, Step};
use super::{tree, wire};

/// Makes terminals. Not `/dev/ptmx`: programs of the container may have put anything there.
const MAKER: &str = "/dev/pts/ptmx";
/// What the file system of terminals calls itself (`DEVPTS_SUPER_MAGIC`).
const DEVPTS: rustix::fs::FsWord = 0x1cd1;
/// The terminal of a container's first process by a fixed name.
const CONSOLE: &str = "/dev/console";
/// First byte of a child's message that brings the other end of its terminal.
pub(super) const CONSOLE_COMES: u8 = 2;

/// Makes a terminal in the root of the calling process, gives the other end to the launcher, and
/// keeps the process's own.
pub(super) fn open(socket: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let other = rustix::fs::open(MAKER, flags, Mode::empty()).step_on("open", MAKER)?;
    let kind = rustix::fs::fstatfs(&other)
        .step_on("look at", MAKER)?
        .f_type;
    if kind != DEVPTS {
        let text = "it is not on a file system of terminals";
        return Err(Failure::new(format!("open {MAKER}"), text));
    }
    rustix::pty::unlockpt(&other).step("unlock the terminal")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let own = rustix::pty::ioctl_tiocgptpeer(&other, flags).step("open the terminal")?;
    wire::send_bytes(socket, &[CONSOLE_COMES], &[other.as_fd()]).step("give the terminal")?;
    Ok(own)
}

/// Shows the terminal as `/dev/console`. A privileged container has the machine's `/dev`, where
/// nothing is made.
pub(super) fn show_as_console(terminal: &OwnedFd, privileged: bool) -> Result<(), Failure> {
    let console = Path::new(CONSOLE);
    if !console.exists() {
        if privileged {
            return Ok(());
        }
        fs::write(console, "").step_on("make", CONSOLE)?;
    }
    let copy = tree::clone(terminal, Path::new(""), false).step_on("open", CONSOLE)?;
    tree::attach_at(&copy, CWD, console).step_on("mount", CONSOLE)
}
