//! The upper directory of an overlay as a layer's archive: `unpack` the other way round.
//!
//! The same files give the same bytes: entries are sorted, times are whole seconds, devices 0:0
//! become whiteouts again. `built` calls it when nobody writes to the directory any more.

use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use tar::{EntryType, Header};

use super::unpack::{OPAQUE, OPAQUE_XATTR, PAX_XATTR, WHITEOUT};

/// Extended attributes that belong to an image: rights of programs, and what users set.
const XATTRS: [&str; 2] = ["security.capability", "user."];
const XATTR_BYTES_MAX: usize = 64 << 10;
const WRITE_BYTES: usize = 256 << 10;

/// Writes the archive. With `latest`, no time is later than that, seconds since the epoch; the
/// files themselves get that time too, so that they are what the archive says.
pub(super) fn pack(directory: &Path, out: impl Write, latest: Option<i64>) -> io::Result<()> {
    let mut packer = Packer {
        builder: tar::Builder::new(BufWriter::with_capacity(WRITE_BYTES, out)),
        links: HashMap::new(),
        latest,
    };
    packer.children(directory, Path::new(""))?;
    packer.builder.into_inner()?.flush()
}

struct Packer<W: Write> {
    builder: tar::Builder<W>,
    /// Where a file of several names was seen first, by device and number.
    links: HashMap<(u64, u64), PathBuf>,
    latest: Option<i64>,
}

impl<W: Write> Packer<W> {
    fn children(&mut self, directory: &Path, below: &Path) -> io::Result<()> {
        let mut names: Vec<OsString> = fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            self.entry(&directory.join(&name), &below.join(&name), below, &name)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, at: &Path, below: &Path, name: &OsStr) -> io::Result<()> {
        let found = fs::symlink_metadata(path)?;
        let kind = found.file_type();
        if kind.is_char_device() && found.rdev() == 0 {
            return self.mark(&below.join(prefixed(name)));
        }
        if kind.is_socket() {
            return Ok(());
        }
        let mut header = self.header(&found);
        if !kind.is_dir()
            && found.nlink() > 1
            && let Some(first) = self.links.get(&(found.dev(), found.ino()))
        {
            header.set_entry_type(EntryType::Link);
            return self.builder.append_link(&mut header, at, first);
        }
        self.links
            .insert((found.dev(), found.ino()), at.to_path_buf());
        self.attributes(path)?;
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = fs::read_link(path)?;
            self.builder.append_link(&mut header, at, target)?;
        } else if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            // As every tool writes directories.
            let slashed = at.join("");
            self.builder
                .append_data(&mut header, slashed, io::empty())?;
            if is_opaque(path)? {
                self.mark(&at.join(OsStr::from_bytes(OPAQUE)))?;
            }
            self.children(path, at)?;
        } else if kind.is_file() {
            header.set_size(found.size());
            let flags = libc::O_NOFOLLOW | libc::O_NOATIME;
            let file = File::options().read(true).custom_flags(flags).open(path)?;
            self.builder.append_data(&mut header, at, file)?;
        } else {
            header.set_entry_type(match () {
                () if kind.is_char_device() => EntryType::Char,
                () if kind.is_block_device() => EntryType::Block,
                () => EntryType::Fifo,
            });
            header.set_device_major(rustix::fs::major(found.rdev()))?;
            header.set_device_minor(rustix::fs::minor(found.rdev()))?;
            self.builder.append_data(&mut header, at, io::empty())?;
        }
        self.settle(path, &found)
    }

    fn header(&self, found: &Metadata) -> Header {
        let mut header = Header::new_gnu();
        header.set_mode(found.mode() & 0o7777);
        header.set_uid(found.uid().into());
        header.set_gid(found.gid().into());
        header.set_size(0);
        let time = self
            .latest
            .map_or_else(|| found.mtime(), |latest| latest.min(found.mtime()));
        header.set_mtime(u64::try_from(time).unwrap_or(0));
        header
    }

    /// An empty file that means something by its name.
    fn mark(&mut self, at: &Path) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(0);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        self.builder.append_data(&mut header, at, io::empty())
    }

    fn attributes(&mut self, path: &Path) -> io::Result<()> {
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        for name in names_of_xattrs(path)? {
            if !XATTRS.iter().any(|known| name.starts_with(known)) {
                continue;
            }
            let mut value = vec![0; XATTR_BYTES_MAX];
            let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value[..])?;
            value.truncate(length);
            found.push((format!("{PAX_XATTR}{name}"), value));
        }
        if found.is_empty() {
            return Ok(());
        }
        let pairs = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()));
        self.builder.append_pax_extensions(pairs)
    }

    /// Gives the file the time the archive has, where that is another one.
    fn settle(&self, path: &Path, found: &Metadata) -> io::Result<()> {
        let Some(latest) = self.latest.filter(|latest| found.mtime() > *latest) else {
            return Ok(());
        };
        set_mtime(path, latest)
    }
}

/// Sets the time of a file, not of what a link leads to.
pub(crate) fn set_mtime(path: &Path, seconds: i64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    Ok(rustix::fs::utimensat(CWD, path, &times, flags)?)
}

fn prefixed(name: &OsStr) -> OsString {
    let mut whole = OsString::from(OsStr::from_bytes(WHITEOUT));
    whole.push(name);
    whole
}

fn is_opaque(path: &Path) -> io::Result<bool> {
    let mut value = [0; 4];
    match rustix::fs::lgetxattr(path, OPAQUE_XATTR, &mut value[..]) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Names of a file's extended attributes, sorted.
pub(crate) fn names_of_xattrs(path: &Path) -> io::Result<Vec<String>> {
    let mut list = vec![0_u8; XATTR_BYTES_MAX];
    let length = match rustix::fs::llistxattr(path, &mut list[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    let names = list[..length].split(|byte| *byte == 0);
    let names = names.filter_map(|name| CString::new(name).ok()?.into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_same_files_give_the_same_bytes_and_come_back() {
        let make = |dir: &Path| {
            fs::create_dir_all(dir.join("b/c")).expect("make");
            fs::write(dir.join("b/file"), "one").expect("write");
            fs::hard_link(dir.join("b/file"), dir.join("b/again")).expect("link");
            symlink("../again", dir.join("b/c/link")).expect("link");
            fs::write(dir.join("x".repeat(150)), "long").expect("write");
            for path in ["b/file", "b/c/link", "b/c", "b", &"x".repeat(150)] {
                set_mtime(&dir.join(path), 77).expect("time");
            }
        };
        let dir = tempfile::tempdir().expect("a directory");
        let (one, two, out) = (
            dir.path().join("1"),
            dir.path().join("2"),
            dir.path().join("3"),
        );
        [&one, &two].into_iter().for_each(|dir| make(dir));
        fs::create_dir(&out).expect("make");
        let packed = |dir: &Path, latest| {
            let mut bytes = Vec::new();
            pack(dir, &mut bytes, latest).expect("pack");
            bytes
        };
        let bytes = packed(&one, None);
        assert!(bytes == packed(&two, None));
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names = archive.entries().expect("entries").map(|entry| {
            let entry = entry.expect("entry");
            entry.path().expect("path").display().to_string()
        });
        let names: Vec<String> = names.collect();
        let long = "x".repeat(150);
        assert_eq!(
            names,
            ["b/", "b/again", "b/c/", "b/c/link", "b/file", &long]
        );
        tar::Archive::new(bytes.as_slice())
            .unpack(&out)
            .expect("unpack");
        assert_eq!(
            fs::read_to_string(out.join("b/c/link")).expect("read"),
            "one"
        );
        // Packed with a latest time, the files have it too.
        let clamped = packed(&one, Some(5));
        assert!(clamped != bytes && clamped == packed(&one, None));
    }
}
