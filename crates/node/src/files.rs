//! A builtin container's view of its volumes: paths as they are in the container, found on this
//! machine.
//!
//! What is in a volume is not trusted (a repository may hold a link to `/etc/shadow`): paths are
//! resolved by the kernel with the volume as their root, so that no link leads out of it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::launcher::Mount;
use crate::launcher::tree;

/// The volumes of one container.
#[derive(Clone, Debug, Default)]
pub struct Files {
    mounts: Vec<Mount>,
}

impl Files {
    /// The files of these mounts; what is mounted later covers what was before.
    pub fn new(mounts: &[Mount]) -> Self {
        Self {
            mounts: mounts.to_vec(),
        }
    }

    /// Opens a file or directory as a place (`O_PATH`).
    ///
    /// # Errors
    /// `NotFound` for what is in no volume, and what the kernel says.
    pub fn open(&self, path: &str) -> io::Result<OwnedFd> {
        let (root, rest, _) = self.find(path)?;
        // A volume may be one file.
        if rest == Path::new(".") {
            return Ok(root);
        }
        tree::open_in(&root, &rest)
    }

    /// Where a file or directory is on this machine, all links resolved.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub fn host_path(&self, path: &str) -> io::Result<PathBuf> {
        let place = self.open(path)?;
        std::fs::read_link(format!("/proc/self/fd/{}", place.as_raw_fd()))
    }

    /// Makes a directory with those above it, and says where it is on this machine.
    ///
    /// # Errors
    /// `PermissionDenied` in a read-only volume, and as [`Files::open`].
    pub fn make_dir(&self, path: &str) -> io::Result<PathBuf> {
        let (root, rest, read_only) = self.find(path)?;
        if read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let place = tree::ensure_in(&root, &rest, true)?;
        std::fs::read_link(format!("/proc/self/fd/{}", place.as_raw_fd()))
    }

    /// The content of a file, up to `bytes_max`.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub fn read(&self, path: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        let place = self.open(path)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let place = format!("/proc/self/fd/{}", place.as_raw_fd());
        let file = rustix::fs::openat(CWD, place, flags, Mode::empty())?;
        let mut bytes = Vec::new();
        File::from(file).take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes a file, in a directory that is there.
    ///
    /// # Errors
    /// `PermissionDenied` in a read-only volume, and as [`Files::open`].
    pub fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let (root, rest, read_only) = self.find(path)?;
        if read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let file = rustix::fs::openat2(root, rest, flags, mode, ResolveFlags::IN_ROOT)?;
        File::from(file).write_all(bytes)
    }

    /// The volume that holds a path, the path in it, and whether it must not be written to.
    fn find(&self, path: &str) -> io::Result<(OwnedFd, PathBuf, bool)> {
        let wanted = lexical(path);
        let of = |mount: &&Mount| wanted.starts_with(lexical(&mount.target));
        let deepest = |mount: &&Mount| lexical(&mount.target).components().count();
        let Some(mount) = self.mounts.iter().filter(of).max_by_key(deepest) else {
            let text = format!("{path} is in none of the container's volumes");
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let mut root = rustix::fs::openat(CWD, &mount.source, flags, Mode::empty())?;
        if !mount.sub_path.is_empty() {
            root = tree::open_in(&root, Path::new(&mount.sub_path))?;
        }
        let mut rest = PathBuf::from(".");
        if let Ok(below) = wanted.strip_prefix(lexical(&mount.target)) {
            rest.push(below);
        }
        Ok((root, rest, mount.read_only))
    }
}

/// The path without `.`, `..` and double slashes, absolute.
fn lexical(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in Path::new(OsStr::new(path)).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_and_no_link_leads_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let (work, home) = (dir.path().join("work"), dir.path().join("home"));
        std::fs::create_dir_all(work.join("repo")).expect("make");
        std::fs::create_dir_all(&home).expect("make");
        std::fs::write(work.join("repo/file"), "inside").expect("write");
        std::fs::write(dir.path().join("secret"), "outside").expect("write");
        for (target, link) in [("../../secret", "up"), ("/secret", "top"), ("file", "near")] {
            std::os::unix::fs::symlink(target, work.join("repo").join(link)).expect("link");
        }
        let mount = |source: &Path, target: &str, read_only| Mount {
            source: source.to_path_buf(),
            target: target.to_owned(),
            read_only,
            ..Mount::default()
        };
        let one = Mount {
            sub_path: "file".to_owned(),
            ..mount(&work.join("repo"), "/config.json", true)
        };
        let files = Files::new(&[
            one,
            mount(&work.join("repo/file"), "/whole", true),
            mount(&work, "/workspace", false),
            mount(&home, "/workspace/home", true),
        ]);
        let text = |path: &str| files.read(path, 100).map(|b| String::from_utf8(b).unwrap());
        assert_eq!(text("/workspace/repo/file").expect("read"), "inside");
        assert_eq!(text("/workspace/./x/../repo/near").expect("read"), "inside");
        for path in ["/config.json", "/whole"] {
            assert_eq!(text(path).expect("read"), "inside");
        }
        assert!(text("/whole/more").is_err());
        assert!(text("/workspace/repo/up").is_err());
        assert!(text("/workspace/repo/top").is_err());
        assert!(text("/etc/passwd").is_err());
        assert_eq!(files.host_path("/workspace/home").expect("found"), home);
        assert!(files.write("/workspace/home/x", b"x").is_err());
        files.write("/workspace/new", b"x").expect("write");
        assert!(files.make_dir("/workspace/a/b").expect("made").is_dir());
    }
}
