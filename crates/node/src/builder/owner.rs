//! Names of users and groups as numbers, by the files of the tree they are for.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use dockerfile::Chown;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::launcher::{User, user};

/// Larger files are no lists of users.
const BYTES_MAX: u64 = 1 << 20;

/// The numbers of `--chown`. A user given by number alone is its own group.
pub(super) fn numbers(root: &OwnedFd, chown: &Chown) -> Result<(u32, u32), String> {
    let read = |path: &str| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT);
        let mut text = String::new();
        if let Ok(file) = file {
            // Without the file names mean nothing and numbers go.
            let _ = File::from(file).take(BYTES_MAX).read_to_string(&mut text);
        }
        text
    };
    let group = match (&chown.group, chown.user.parse::<u32>()) {
        (Some(group), _) => Some(group.clone()),
        (None, Ok(_)) => Some(chown.user.clone()),
        (None, Err(_)) => None,
    };
    let wanted = User {
        image: match group {
            Some(group) => format!("{}:{group}", chown.user),
            None => chown.user.clone(),
        },
        ..User::default()
    };
    let found = user::resolve(&wanted, &read("etc/passwd"), &read("etc/group"))?;
    Ok((found.uid, found.gid))
}
