//! The standard streams of a run: which ends go to the process, which stay.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::launcher::Role;
use crate::logs::Stream;
use crate::pipe;

/// Both ends of everything.
pub(super) struct Ends {
    given: Vec<(Role, OwnedFd)>,
    kept: Vec<(Role, OwnedFd)>,
    /// Standard input for one client: nobody else holds it, so that the process sees its end.
    once: Option<OwnedFd>,
}

/// The node's ends.
#[derive(Default)]
pub(super) struct Kept {
    /// Standard input or the terminal, to write to.
    pub(super) stdin: Option<OwnedFd>,
    /// What is read from.
    pub(super) outputs: Vec<(Stream, OwnedFd)>,
}

impl Ends {
    /// Pipes; standard input only when it is wanted, `once` for the first client alone. A terminal
    /// is made by the process in its container and comes later.
    pub(super) fn new(tty: bool, stdin: bool, once: bool) -> io::Result<Self> {
        let mut ends = Self {
            given: Vec::new(),
            kept: Vec::new(),
            once: None,
        };
        if tty {
            return Ok(ends);
        }
        for (role, keep) in [
            (Role::Stdout, Role::KeepStdout),
            (Role::Stderr, Role::KeepStderr),
        ] {
            let (read, write) = pipe::pipe()?;
            ends.given.push((role, write));
            ends.kept.push((keep, read));
        }
        if stdin {
            let (read, write) = pipe::pipe()?;
            ends.given.push((Role::Stdin, read));
            match once {
                true => ends.once = Some(write),
                false => ends.kept.push((Role::KeepStdin, write)),
            }
        }
        Ok(ends)
    }

    /// What the launcher gets: the process's ends to give on, the node's to hold for the next
    /// daemon.
    pub(super) fn for_launcher(&self) -> (Vec<Role>, Vec<BorrowedFd<'_>>) {
        self.given
            .iter()
            .chain(&self.kept)
            .map(|(role, fd)| (*role, fd.as_fd()))
            .unzip()
    }

    /// Closes the process's ends.
    pub(super) fn into_kept(self) -> Kept {
        let mut kept = Kept::from_roles(self.kept);
        kept.stdin = kept.stdin.or(self.once);
        kept
    }
}

impl Kept {
    /// Sorts descriptors as the launcher hands them back.
    pub(super) fn from_roles(list: Vec<(Role, OwnedFd)>) -> Self {
        let mut kept = Self::default();
        for (role, fd) in list {
            match role {
                Role::KeepStdin => kept.stdin = Some(fd),
                Role::KeepStdout => kept.outputs.push((Stream::Stdout, fd)),
                Role::KeepStderr => kept.outputs.push((Stream::Stderr, fd)),
                Role::KeepTty => {
                    kept.stdin = fd.try_clone().ok();
                    kept.outputs.push((Stream::Stdout, fd));
                }
                _ => {}
            }
        }
        kept
    }
}
