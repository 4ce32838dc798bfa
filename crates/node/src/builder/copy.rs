//! Putting files into a tree: directories on the way, owners, permissions, times, archives. The
//! tree is the merged view of layers; links in it are followed inside it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use dockerfile::Ignore;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};

use super::context::{Found, Item, Source, relative};
use super::room::Room;
use crate::image::{pack, unpack};
use crate::launcher::tree;

/// Permissions of directories that are made on the way.
const DIR_MODE: u32 = 0o755;
/// Memory that unpacking may take: the best compression of `xz` asks for a quarter of it.
const XZ_MEMORY_KIB_MAX: u32 = 256 << 10;
/// Attributes that are copied from an image's files.
const COPIED_XATTRS: [&str; 2] = ["security.capability", "user."];

/// What every copy of one instruction has in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Owner and group; without, those of the source where `keeps_owner`, else root.
    pub(super) owner: Option<(u32, u32)>,
    /// Whether the source's owners mean something.
    pub(super) keeps_owner: bool,
    /// What becomes of permissions.
    pub(super) mode: Option<dockerfile::Mode>,
    /// The time of everything, seconds since the epoch.
    pub(super) mtime: Option<i64>,
    /// What may be written; without, as much as there is.
    pub(super) room: Option<Room>,
}

impl Look {
    fn mode(&self, own: u32, is_dir: bool) -> u32 {
        let mode = self.mode.as_ref();
        mode.map_or(own, |mode| mode.apply(own, is_dir))
    }
}

/// A tree that is written to.
pub(super) struct Sink {
    root: OwnedFd,
    look: Look,
    /// The directory of the last file.
    last: Option<(PathBuf, OwnedFd)>,
    /// Times of directories, set when all is done: what is put into them would spoil them.
    times: BTreeMap<PathBuf, Timestamps>,
    /// Bytes of files so far.
    bytes: u64,
}

/// What a file is to be.
struct Meta {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
}

impl Sink {
    pub(super) const fn new(root: OwnedFd, look: Look) -> Self {
        Self {
            root,
            look,
            last: None,
            times: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Whether what is put from now on has no time of its own.
    pub(super) fn timeless(&mut self, is_so: bool) {
        self.look.mtime = is_so.then_some(0);
    }

    /// Whether there is a directory at this path.
    pub(super) fn is_dir(&self, path: &Path) -> bool {
        let place = tree::open_in(&self.root, &relative(path));
        place.is_ok_and(|place| tree::is_dir(&place).unwrap_or(false))
    }

    /// Makes a directory with those above it.
    pub(super) fn make_dir(&mut self, path: &Path) -> io::Result<()> {
        self.directory(&relative(path)).map(drop)
    }

    /// Copies what was found: a directory's content into `dest`, a file to it, or into it where it
    /// is a directory.
    pub(super) fn copy(
        &mut self,
        source: &Source,
        found: &Found,
        more: &Ignore,
        dest: &str,
    ) -> io::Result<()> {
        let name = found.path.file_name().unwrap_or_default();
        let base = self.base(dest, found.is_dir, name)?;
        source.visit(found, more, &mut |item| {
            let path = match item.below.as_os_str().is_empty() {
                true => base.clone(),
                false => base.join(item.below),
            };
            let named = |error: io::Error| {
                io::Error::new(error.kind(), format!("/{}: {error}", path.display()))
            };
            self.place(item, &path).map_err(named)
        })
    }

    /// Puts a file with this content.
    pub(super) fn put(
        &mut self,
        name: &str,
        mut content: impl Read,
        (mode, mtime): (u32, i64),
        dest: &str,
    ) -> io::Result<()> {
        let path = self.base(dest, false, OsStr::new(name))?;
        let (uid, gid) = self.look.owner.unwrap_or_default();
        let meta = Meta {
            mode: self.look.mode(mode, false),
            uid,
            gid,
            mtime,
        };
        self.file(&path, &mut content, &meta)
    }

    /// Where something of this name goes.
    fn base(&mut self, dest: &str, is_dir: bool, name: &OsStr) -> io::Result<PathBuf> {
        let path = relative(Path::new(dest));
        if is_dir {
            self.directory(&path)?;
            return Ok(path);
        }
        if dest.ends_with('/') || self.is_dir(&path) {
            self.directory(&path)?;
            return Ok(path.join(name));
        }
        Ok(path)
    }

    fn place(&mut self, item: &Item<'_>, path: &Path) -> io::Result<()> {
        let (uid, gid) = match (self.look.owner, self.look.keeps_owner) {
            (Some(owner), _) => owner,
            (None, true) => (item.stat.st_uid, item.stat.st_gid),
            (None, false) => (0, 0),
        };
        let own = item.stat.st_mode & 0o7777;
        let meta = Meta {
            mode: match item.kind() {
                FileType::Symlink => own,
                kind => self.look.mode(own, kind.is_dir()),
            },
            uid,
            gid,
            mtime: self.look.mtime.unwrap_or(item.stat.st_mtime),
        };
        match item.kind() {
            FileType::Directory => self.new_directory(path, &meta),
            FileType::RegularFile => {
                self.file(path, &mut item.open()?, &meta)?;
                match self.look.keeps_owner {
                    true => self.copy_attributes(item, path),
                    false => Ok(()),
                }
            }
            FileType::Symlink => self.link(path, &item.target()?, &meta),
            FileType::Socket => Ok(()),
            kind => {
                let parent = self.parent_of(path)?;
                let name = file_name(path)?;
                clear(parent.as_fd(), name)?;
                let mode = Mode::from_raw_mode(meta.mode);
                rustix::fs::mknodat(&parent, name, kind, mode, item.stat.st_rdev)?;
                finish(parent.as_fd(), name, &meta, true)
            }
        }
    }

    fn file(&mut self, path: &Path, content: &mut impl Read, meta: &Meta) -> io::Result<()> {
        let parent = self.parent_of(path)?;
        let name = file_name(path)?;
        clear(parent.as_fd(), name)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        self.fill(content, &mut file)?;
        drop(file);
        finish(parent.as_fd(), name, meta, true)
    }

    /// Writes a file's content, as long as there is room: nobody knows what an archive unpacks to.
    fn fill(&mut self, content: &mut impl Read, file: &mut File) -> io::Result<()> {
        let Some(room) = self.look.room else {
            self.bytes += io::copy(content, file)?;
            return Ok(());
        };
        let left = room.left().saturating_sub(self.bytes);
        self.bytes += io::copy(&mut content.take(left.saturating_add(1)), file)?;
        room.check(self.bytes)
            .map_err(|why| io::Error::new(io::ErrorKind::FileTooLarge, why))
    }

    fn link(&mut self, path: &Path, target: &OsStr, meta: &Meta) -> io::Result<()> {
        let parent = self.parent_of(path)?;
        let name = file_name(path)?;
        clear(parent.as_fd(), name)?;
        rustix::fs::symlinkat(target, &parent, name)?;
        finish(parent.as_fd(), name, meta, false)
    }

    /// A directory that is copied: one that is there keeps what it is.
    fn new_directory(&mut self, path: &Path, meta: &Meta) -> io::Result<()> {
        if self.is_dir(path) {
            return Ok(());
        }
        let parent = self.parent_of(path)?;
        let name = file_name(path)?;
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(DIR_MODE))?;
        finish(parent.as_fd(), name, meta, true)?;
        self.times.insert(path.to_path_buf(), times(meta.mtime));
        Ok(())
    }

    fn copy_attributes(&mut self, item: &Item<'_>, path: &Path) -> io::Result<()> {
        let from = item.path();
        let names = pack::names_of_xattrs(&from)?;
        let wanted = |name: &&String| COPIED_XATTRS.iter().any(|known| name.starts_with(known));
        for name in names.iter().filter(wanted) {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(&from, name.as_str(), &mut value[..])?;
            let place = tree::open_in(&self.root, path)?;
            use std::os::fd::AsRawFd;
            let place = format!("/proc/self/fd/{}", place.as_raw_fd());
            rustix::fs::setxattr(
                &*place,
                name.as_str(),
                &value[..length],
                XattrFlags::empty(),
            )?;
        }
        Ok(())
    }

    fn parent_of(&mut self, path: &Path) -> io::Result<OwnedFd> {
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        let fd = self.directory(parent)?;
        if !self.times.contains_key(parent) {
            let stat = rustix::fs::fstat(&fd)?;
            self.times
                .insert(parent.to_path_buf(), times(stat.st_mtime));
        }
        Ok(fd)
    }

    /// A directory of the tree, made where it is missing.
    fn directory(&mut self, path: &Path) -> io::Result<OwnedFd> {
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return fd.try_clone();
        }
        let fd = match self.open_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (parent, name) = (self.parent_of(path)?, file_name(path)?);
                rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(DIR_MODE))?;
                let (uid, gid) = self.look.owner.unwrap_or_default();
                let meta = Meta {
                    mode: DIR_MODE,
                    uid,
                    gid,
                    mtime: 0,
                };
                finish(parent.as_fd(), name, &meta, true)?;
                self.times.insert(path.to_path_buf(), times(0));
                self.open_dir(path)?
            }
            other => other?,
        };
        self.last = Some((path.to_path_buf(), fd.try_clone()?));
        Ok(fd)
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

    /// Unpacks an archive into a directory; false, with nothing done, where it is none.
    pub(super) fn unpack(&mut self, file: &mut (impl Read + Seek), dest: &str) -> io::Result<bool> {
        if !is_archive(file)? {
            return Ok(false);
        }
        let base = relative(Path::new(dest));
        self.directory(&base)?;
        let mut archive = tar::Archive::new(decompress(file)?);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let below = relative(&entry.path()?);
            if below.as_os_str().is_empty() {
                continue;
            }
            let path = base.join(below);
            let header = entry.header();
            let number =
                |value: io::Result<u64>| Ok::<_, io::Error>(u32::try_from(value?).unwrap_or(0));
            let (uid, gid) = match self.look.owner {
                Some(owner) => owner,
                None => (number(header.uid())?, number(header.gid())?),
            };
            let meta = Meta {
                mode: self
                    .look
                    .mode(header.mode()? & 0o7777, header.entry_type().is_dir()),
                uid,
                gid,
                mtime: i64::try_from(header.mtime()?).unwrap_or(0),
            };
            match header.entry_type() {
                tar::EntryType::Directory => self.new_directory(&path, &meta)?,
                tar::EntryType::Symlink => {
                    let target = entry.link_name()?.ok_or(io::ErrorKind::InvalidData)?;
                    self.link(&path, target.as_os_str(), &meta)?;
                }
                tar::EntryType::Link => {
                    let target = entry.link_name()?.ok_or(io::ErrorKind::InvalidData)?;
                    let target = base.join(relative(&target));
                    let (from, to) = (self.parent_of(&target)?, self.parent_of(&path)?);
                    let name = file_name(&path)?;
                    clear(to.as_fd(), name)?;
                    rustix::fs::linkat(&from, file_name(&target)?, &to, name, AtFlags::empty())?;
                }
                tar::EntryType::Regular
                | tar::EntryType::Continuous
                | tar::EntryType::GNUSparse => {
                    self.file(&path, &mut entry, &meta)?;
                }
                // Devices in an archive of the context are nobody's need.
                _ => {}
            }
        }
        Ok(true)
    }

    /// Sets the times of directories. The last thing to do; gives the bytes of all files.
    pub(super) fn finish(self) -> io::Result<u64> {
        for (path, times) in self.times.iter().rev() {
            if let Ok(directory) = self.open_dir(path) {
                rustix::fs::futimens(directory, times)?;
            }
        }
        Ok(self.bytes)
    }
}

fn times(seconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn file_name(path: &Path) -> io::Result<&OsStr> {
    let text = "the root directory cannot be replaced by a file";
    path.file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Makes room for a file; a directory is not replaced.
fn clear(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(rustix::io::Errno::ISDIR) => {
            let text = "cannot replace a directory with a file";
            Err(io::Error::new(io::ErrorKind::IsADirectory, text))
        }
        Err(error) => Err(error.into()),
    }
}

/// Owner, permissions and time, in this order: changing the owner takes special bits away.
fn finish(parent: BorrowedFd<'_>, name: &OsStr, meta: &Meta, has_mode: bool) -> io::Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), flags)?;
    if has_mode {
        let mode = Mode::from_raw_mode(meta.mode);
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
    }
    rustix::fs::utimensat(parent, name, &times(meta.mtime), flags)?;
    Ok(())
}

/// Whether a file is an archive that is unpacked, by what is in it.
fn is_archive(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let first = match decompress(&mut *file) {
        Ok(plain) => {
            let mut archive = tar::Archive::new(plain);
            // An archive says so with its first header.
            let first = archive.entries().map(|mut entries| entries.next());
            matches!(first, Ok(Some(Ok(_))))
        }
        Err(_) => false,
    };
    file.rewind()?;
    Ok(first)
}

/// What is in a file that may be compressed: with bzip2 and xz too, which layers are not.
fn decompress<'a>(file: &'a mut (impl Read + Seek)) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = [0; 6];
    let mut length = 0;
    while length < magic.len() {
        match file.read(&mut magic[length..])? {
            0 => break,
            more => length += more,
        }
    }
    file.rewind()?;
    if magic.starts_with(b"BZh") {
        return Ok(Box::new(bzip2::read::MultiBzDecoder::new(file)));
    }
    if magic.starts_with(b"\xfd7zXZ\0") {
        return Ok(Box::new(lzma_rust2::XzReader::new_mem_limit(
            file,
            true,
            XZ_MEMORY_KIB_MAX,
        )));
    }
    unpack::decompress(file)
}
