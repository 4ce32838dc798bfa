//! What is copied from: a directory whose content nobody vouches for, the context or a stage's
//! tree. Paths are resolved with it as their root, so that no link leads out of it; what
//! `.dockerignore` hides is not there.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dockerfile::{Ignore, glob, key::Input};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use sha2::{Digest as _, Sha256};

use crate::launcher::tree;

/// A directory to copy from.
pub(super) struct Source {
    root: OwnedFd,
    ignore: Ignore,
}

/// Something a path or pattern means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Relative to the root, without `.` and `..`; empty is the root itself.
    pub(super) path: PathBuf,
    /// Whether it is a directory, links followed.
    pub(super) is_dir: bool,
}

impl Found {
    /// The path of something in it.
    fn at(&self, below: &Path) -> PathBuf {
        match below.as_os_str().is_empty() {
            true => self.path.clone(),
            false => self.path.join(below),
        }
    }
}

/// One file or directory on the way.
pub(super) struct Item<'a> {
    /// Where it is, relative to what was found; empty for a file that was found itself.
    pub(super) below: &'a Path,
    /// Its data.
    pub(super) stat: &'a Stat,
    /// The directory it is in.
    parent: BorrowedFd<'a>,
    name: &'a OsStr,
}

impl Item<'_> {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens a regular file.
    pub(super) fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::openat(self.parent, self.name, flags, Mode::empty())?;
        Ok(file.into())
    }

    /// Where a symbolic link leads.
    pub(super) fn target(&self) -> io::Result<OsString> {
        let target = rustix::fs::readlinkat(self.parent, self.name, Vec::new())?;
        Ok(OsStr::from_bytes(target.as_bytes()).to_owned())
    }

    /// A path to it, for calls that take nothing else.
    pub(super) fn path(&self) -> PathBuf {
        let parent = format!("/proc/self/fd/{}", self.parent.as_raw_fd());
        Path::new(&parent).join(self.name)
    }
}

impl Source {
    pub(super) const fn new(root: OwnedFd, ignore: Ignore) -> Self {
        Self { root, ignore }
    }

    /// What a path or pattern means, sorted. Nothing where there is nothing.
    pub(super) fn select(&self, text: &str) -> io::Result<Vec<Found>> {
        let path = relative(Path::new(text));
        if !glob::is_pattern(text) {
            return Ok(self.find(&path)?.into_iter().collect());
        }
        let mut found = vec![PathBuf::new()];
        for part in path.components() {
            let part = part.as_os_str().to_string_lossy();
            let mut next = Vec::new();
            for directory in found {
                if !glob::is_pattern(&part) {
                    next.push(directory.join(&*part));
                    continue;
                }
                let names = self.names(&directory).unwrap_or_default();
                let fits = |name: &OsString| glob::path_matches(&part, &name.to_string_lossy());
                next.extend(
                    names
                        .iter()
                        .filter(|name| fits(name))
                        .map(|name| directory.join(name)),
                );
            }
            found = next;
        }
        let found = found.iter().map(|path| self.find(path));
        Ok(found
            .collect::<io::Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect())
    }

    fn find(&self, path: &Path) -> io::Result<Option<Found>> {
        let place = match tree::open_in(&self.root, path) {
            Ok(place) => place,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_dir = tree::is_dir(&place)?;
        let text = path.to_string_lossy();
        let hidden = self.ignore.ignores(&text) && !(is_dir && self.ignore.may_keep_below(&text));
        Ok((!hidden).then(|| Found {
            path: path.to_path_buf(),
            is_dir,
        }))
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        names_in(self.open_dir(directory)?.as_fd())
    }

    fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT;
        Ok(rustix::fs::openat2(
            &self.root,
            path,
            flags,
            Mode::empty(),
            resolve,
        )?)
    }

    /// Visits what was found: a file itself, of a directory everything in it, parents first,
    /// sorted.
    pub(super) fn visit(
        &self,
        found: &Found,
        more: &Ignore,
        visit: &mut dyn FnMut(&Item<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        if found.is_dir {
            let directory = self.open_dir(&found.path)?;
            let mut walk = Walk {
                source: self,
                more,
                base: &found.path,
                visit,
            };
            return walk.children(directory.as_fd(), Path::new(""));
        }
        // A link is followed inside the root; what it leads to has another place and name.
        let place = tree::open_in(&self.root, &found.path)?;
        let real = std::fs::read_link(format!("/proc/self/fd/{}", place.as_raw_fd()))?;
        let stat = rustix::fs::statat(&place, "", AtFlags::EMPTY_PATH)?;
        let mut up = found.path.clone();
        let mut parent = None;
        if up.pop() {
            parent = self.open_dir(&up).ok();
        }
        let name = found.path.file_name().unwrap_or_default();
        let same = parent.as_ref().filter(|parent| {
            let there = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
            there.is_ok_and(|there| there.st_ino == stat.st_ino && there.st_dev == stat.st_dev)
        });
        if let Some(parent) = same {
            return visit(&Item {
                below: Path::new(""),
                stat: &stat,
                parent: parent.as_fd(),
                name,
            });
        }
        let directory = real.parent().unwrap_or_else(|| Path::new("/"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat(rustix::fs::CWD, directory, flags, Mode::empty())?;
        visit(&Item {
            below: Path::new(""),
            stat: &stat,
            parent: parent.as_fd(),
            name: real.file_name().unwrap_or_default(),
        })
    }

    /// What of it counts for the cache.
    pub(super) fn inputs(&self, found: &Found, more: &Ignore) -> io::Result<Vec<Input>> {
        let mut inputs = Vec::new();
        self.visit(found, more, &mut |item| {
            let content = match item.kind() {
                FileType::RegularFile => hash(item.open()?)?,
                FileType::Symlink => item.target()?.to_string_lossy().into_owned(),
                _ => String::new(),
            };
            inputs.push(Input {
                path: found.at(item.below).to_string_lossy().into_owned(),
                mode: item.stat.st_mode,
                content,
            });
            Ok(())
        })?;
        if found.is_dir {
            inputs.push(Input {
                path: found.path.to_string_lossy().into_owned(),
                mode: u32::MAX,
                content: String::new(),
            });
        }
        Ok(inputs)
    }
}

struct Walk<'a> {
    source: &'a Source,
    more: &'a Ignore,
    base: &'a Path,
    visit: &'a mut dyn FnMut(&Item<'_>) -> io::Result<()>,
}

impl Walk<'_> {
    fn children(&mut self, directory: BorrowedFd<'_>, below: &Path) -> io::Result<()> {
        for name in names_in(directory)? {
            let stat = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            let below = below.join(&name);
            let full = self.base.join(&below);
            let full = full.to_string_lossy();
            let is_dir = FileType::from_raw_mode(stat.st_mode).is_dir();
            let ignores = [&self.source.ignore, self.more];
            let hidden = ignores.iter().any(|ignore| ignore.ignores(&full));
            let looks = is_dir && ignores.iter().any(|ignore| ignore.may_keep_below(&full));
            if hidden && !looks {
                continue;
            }
            // A hidden directory is made with the first file in it that is not hidden.
            if !hidden {
                (self.visit)(&Item {
                    below: &below,
                    stat: &stat,
                    parent: directory,
                    name: &name,
                })?;
            }
            if is_dir {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                let child = rustix::fs::openat(directory, &name, flags, Mode::empty())?;
                self.children(child.as_fd(), &below)?;
            }
        }
        Ok(())
    }
}

/// The SHA-256 of what is left of a file.
pub(super) fn hash(mut file: impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(&buffer[..length]);
    }
}

fn names_in(directory: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// The path from the root, without `.` and `..`.
pub(super) fn relative(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut clean = PathBuf::new();
    for part in path.components() {
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
    use std::os::unix::fs::symlink;

    fn source(dir: &Path, ignore: &str) -> Source {
        let file = File::open(dir).expect("open");
        Source::new(file.into(), Ignore::parse(ignore))
    }

    #[test]
    fn paths_patterns_and_what_is_hidden() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("context");
        std::fs::create_dir_all(root.join("src/deep")).expect("make");
        std::fs::create_dir_all(root.join("lib")).expect("make");
        for name in [
            "a.py",
            "b.py",
            "c.txt",
            "src/x.py",
            "src/deep/y.py",
            "lib/z",
        ] {
            std::fs::write(root.join(name), name).expect("write");
        }
        std::fs::write(dir.path().join("secret"), "s").expect("write");
        symlink("../secret", root.join("out")).expect("link");
        symlink("a.py", root.join("near")).expect("link");
        let check = |ignore: &str, pattern: &str, expected: &[&str]| {
            let source = source(&root, ignore);
            let mut names = Vec::new();
            for found in source.select(pattern).expect("select") {
                source
                    .visit(&found, &Ignore::default(), &mut |item| {
                        names.push(found.at(item.below).display().to_string());
                        Ok(())
                    })
                    .expect("visit");
            }
            assert_eq!(names, expected, "{pattern} without {ignore:?}");
        };
        check("", "*.py", &["a.py", "b.py"]);
        check("", "/src", &["src/deep", "src/deep/y.py", "src/x.py"]);
        check("", "s*/*.py", &["src/x.py"]);
        check("src\n!src/deep/*.py", "src", &["src/deep/y.py"]);
        check("*.py", "a.py", &[]);
        check("", "missing", &[]);
        check("", "../../near", &["near"]);
        check("", "out", &[]);
        check("*\n!lib", ".", &["lib", "lib/z"]);
    }

    #[test]
    fn content_counts_and_times_do_not() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("f"), "1").expect("write");
        let inputs = || {
            let source = source(dir.path(), "");
            let found = source.select(".").expect("select");
            source
                .inputs(&found[0], &Ignore::default())
                .expect("inputs")
        };
        let before = inputs();
        std::fs::write(dir.path().join("f"), "1").expect("write");
        assert_eq!(inputs(), before);
        std::fs::write(dir.path().join("f"), "2").expect("write");
        assert_ne!(inputs(), before);
    }
}
