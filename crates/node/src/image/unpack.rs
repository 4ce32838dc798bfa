//! One layer's archive into one directory, as an overlay file system wants its lower directories:
//! whiteouts become devices 0:0 and opaque marks.
//!
//! `layers` calls it. Archives are untrusted: no entry reaches outside the directory, neither by
//! `..` nor through a symbolic link, because every path is resolved by the kernel with the layer's
//! directory as its root (`openat2`, `RESOLVE_IN_ROOT`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use tar::{Entry, EntryType, Header};

use super::digest::{Digest, HashingReader};

pub(super) const WHITEOUT: &[u8] = b".wh.";
pub(super) const OPAQUE: &[u8] = b".wh..wh..opq";
/// Marks of aufs that mean nothing to an overlay.
const WHITEOUT_META: &[u8] = b".wh..wh.";
pub(super) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
pub(super) const PAX_XATTR: &str = "SCHILY.xattr.";
const READ_BYTES: usize = 128 * 1024;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What is wrong and with which entry (empty: with the archive).
pub(super) struct Failure {
    pub(super) entry: String,
    pub(super) source: io::Error,
}

/// Decompresses by what the bytes are, not by what they are called.
pub(crate) fn decompress<'a>(source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = [0; 4];
    let mut source = source;
    let mut length = 0;
    while length < magic.len() {
        match source.read(&mut magic[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let whole = io::Cursor::new(magic).take(length as u64).chain(source);
    if magic.starts_with(GZIP_MAGIC) {
        let buffered = BufReader::with_capacity(READ_BYTES, whole);
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(buffered)));
    }
    if magic.starts_with(ZSTD_MAGIC) {
        return Ok(Box::new(zstd::Decoder::new(whole)?));
    }
    Ok(Box::new(whole))
}

/// Unpacks a layer, compressed or not, into an existing empty directory. Returns the digest of the
/// uncompressed archive (the layer's DiffID).
pub(super) fn unpack(source: impl Read, directory: &Path) -> Result<Digest, Failure> {
    let whole = |source| Failure {
        entry: String::new(),
        source,
    };
    let plain = decompress(source).map_err(whole)?;
    let buffered = BufReader::with_capacity(READ_BYTES, HashingReader::new(plain));
    let mut archive = tar::Archive::new(buffered);
    let mut tree = Tree::open(directory).map_err(whole)?;
    for entry in archive.entries().map_err(whole)? {
        let mut entry = entry.map_err(whole)?;
        tree.add(&mut entry).map_err(|source| Failure {
            entry: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
            source,
        })?;
    }
    tree.finish().map_err(whole)?;
    // Behind the end mark there may be padding, which the digest covers. What is buffered has gone
    // through the hash already.
    archive.into_inner().into_inner().drain().map_err(whole)
}

/// The directory being filled.
struct Tree {
    root: OwnedFd,
    /// The directory of the last entry: neighbours in an archive are neighbours in a directory.
    last: Option<(PathBuf, OwnedFd)>,
    /// Times of directories, which entries put into them would spoil.
    times: Vec<(PathBuf, Timestamps)>,
    buffer: Vec<u8>,
}

impl Tree {
    fn open(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let root = rustix::fs::open(directory, flags, Mode::empty())?;
        Ok(Self {
            root,
            last: None,
            times: Vec::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    fn add<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> io::Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let path = clean(&entry.path()?)?;
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return self.set_root_metadata(entry);
        };
        let parent = self.directory(parent)?;
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            return whiteout(parent.as_fd(), name, OsStr::from_bytes(hidden));
        }
        self.create(entry, parent.as_fd(), &path, name)
    }

    fn create<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        parent: BorrowedFd<'_>,
        path: &Path,
        name: &OsStr,
    ) -> io::Result<()> {
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            make_directory(parent, name)?;
            self.times.push((path.to_owned(), times(entry.header())?));
        } else {
            if clear(parent, name)? {
                // A directory's place is taken: cached handles may lead into what is gone.
                self.last = None;
            }
            match kind {
                EntryType::Symlink => {
                    let target = entry.link_name_bytes().ok_or(io::ErrorKind::InvalidData)?;
                    rustix::fs::symlinkat(target.as_ref(), parent, name)?;
                }
                // A hard link shares everything with its target; nothing more is to be set.
                EntryType::Link => return self.hard_link(entry, parent, name),
                EntryType::Char | EntryType::Block | EntryType::Fifo => {
                    make_node(parent, name, entry.header())?;
                }
                _ => self.make_file(entry, parent, name)?,
            }
        }
        set_metadata(entry, parent, name)
    }

    /// A directory below the root, made where it is missing.
    fn directory(&mut self, path: &Path) -> io::Result<OwnedFd> {
        if let Some((last, fd)) = &self.last
            && last == path
        {
            return fd.try_clone();
        }
        let fd = match open_below(self.root.as_fd(), path) {
            Err(Errno::NOENT) => {
                if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                    let parent = self.directory(parent)?;
                    make_directory(parent.as_fd(), name)?;
                }
                open_below(self.root.as_fd(), path)?
            }
            other => other?,
        };
        self.last = Some((path.to_owned(), fd.try_clone()?));
        Ok(fd)
    }

    fn make_file<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        parent: BorrowedFd<'_>,
        name: &OsStr,
    ) -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        loop {
            let length = entry.read(&mut self.buffer)?;
            if length == 0 {
                return Ok(());
            }
            file.write_all(&self.buffer[..length])?;
        }
    }

    fn hard_link<R: Read>(
        &mut self,
        entry: &Entry<'_, R>,
        parent: BorrowedFd<'_>,
        name: &OsStr,
    ) -> io::Result<()> {
        let target = clean(&entry.link_name()?.ok_or(io::ErrorKind::InvalidData)?)?;
        let (Some(target_name), Some(target_parent)) = (target.file_name(), target.parent()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let target_parent = open_below(self.root.as_fd(), target_parent)?;
        rustix::fs::linkat(target_parent, target_name, parent, name, AtFlags::empty())?;
        Ok(())
    }

    fn set_root_metadata<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> io::Result<()> {
        let root = self.root.try_clone()?;
        self.times.push((PathBuf::new(), times(entry.header())?));
        set_metadata(entry, root.as_fd(), OsStr::new("."))
    }

    fn finish(self) -> io::Result<()> {
        for (path, times) in self.times.iter().rev() {
            // Gone or no directory any more: a later entry took its place.
            if let Ok(directory) = open_below(self.root.as_fd(), path) {
                rustix::fs::futimens(directory, times)?;
            }
        }
        Ok(())
    }
}

/// The path relative to the root, without `.`; `..` is refused.
fn clean(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                let reason = "the path leads out of the layer";
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
    }
    Ok(clean)
}

fn open_below(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
}

/// Makes a directory, or keeps the one there is. One in the place of a whiteout hides what is below.
fn make_directory(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o755);
    match rustix::fs::mkdirat(parent, name, mode) {
        Err(Errno::EXIST) => {}
        other => return Ok(other?),
    }
    let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
        return Ok(());
    }
    let hidden = is_whiteout(&found);
    rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
    rustix::fs::mkdirat(parent, name, mode)?;
    if hidden {
        mark_opaque(parent, name)
    } else {
        Ok(())
    }
}

fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Removes what has this name; true when that was a directory.
fn clear(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(false),
        Err(Errno::ISDIR) => {
            // The standard library removes trees without following links.
            std::fs::remove_dir_all(through(parent).join(name))?;
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

/// A path through an open directory, for the calls that have no form with a handle.
fn through(parent: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/thread-self/fd/{}", parent.as_raw_fd()))
}

/// A whiteout hides what lower layers have, never what this layer itself brings.
fn whiteout(parent: BorrowedFd<'_>, name: &OsStr, hidden: &OsStr) -> io::Result<()> {
    if name.as_bytes() == OPAQUE {
        return mark_opaque(parent, OsStr::new("."));
    }
    if name.as_bytes().starts_with(WHITEOUT_META) {
        return Ok(());
    }
    if hidden.is_empty() || hidden == "." || hidden == ".." {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match rustix::fs::mknodat(parent, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
        Err(Errno::EXIST) => {
            let found = rustix::fs::statat(parent, hidden, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(found.st_mode) {
                FileType::Directory => mark_opaque(parent, hidden),
                _ => Ok(()),
            }
        }
        other => Ok(other?),
    }
}

fn mark_opaque(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let path = through(parent).join(name);
    Ok(rustix::fs::lsetxattr(
        path,
        OPAQUE_XATTR,
        b"y",
        XattrFlags::empty(),
    )?)
}

fn make_node(parent: BorrowedFd<'_>, name: &OsStr, header: &Header) -> io::Result<()> {
    let number = |value: io::Result<Option<u32>>| value.map(Option::unwrap_or_default);
    let (kind, device) = match header.entry_type() {
        EntryType::Fifo => (FileType::Fifo, 0),
        other => {
            let (major, minor) = (
                number(header.device_major())?,
                number(header.device_minor())?,
            );
            let block = other == EntryType::Block;
            let kind = if block {
                FileType::BlockDevice
            } else {
                FileType::CharacterDevice
            };
            (kind, rustix::fs::makedev(major, minor))
        }
    };
    Ok(rustix::fs::mknodat(
        parent,
        name,
        kind,
        Mode::RUSR | Mode::WUSR,
        device,
    )?)
}

/// Owner, extended attributes, mode, times; in this order, because a change of owner drops the
/// set-user-ID bit and capabilities.
fn set_metadata<R: Read>(
    entry: &mut Entry<'_, R>,
    parent: BorrowedFd<'_>,
    name: &OsStr,
) -> io::Result<()> {
    let (uid, gid) = owner(entry)?;
    let no_follow = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), no_follow)?;
    if entry.header().entry_type() != EntryType::Symlink {
        let mode = Mode::from_raw_mode(entry.header().mode()? & 0o7777);
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
    }
    set_xattrs(entry, &through(parent).join(name))?;
    rustix::fs::utimensat(parent, name, &times(entry.header())?, no_follow)?;
    Ok(())
}

fn owner<R: Read>(entry: &Entry<'_, R>) -> io::Result<(Uid, Gid)> {
    let number = |value: io::Result<u64>| -> io::Result<u32> {
        u32::try_from(value?).map_err(|_| io::ErrorKind::InvalidData.into())
    };
    let uid = number(entry.header().uid())?;
    let gid = number(entry.header().gid())?;
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

fn set_xattrs<R: Read>(entry: &mut Entry<'_, R>, path: &Path) -> io::Result<()> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(());
    };
    for extension in extensions {
        let extension = extension?;
        let Some(name) = extension
            .key()
            .ok()
            .and_then(|key| key.strip_prefix(PAX_XATTR))
        else {
            continue;
        };
        // What the overlay itself reads is not the archive's to write.
        if name.starts_with("trusted.") {
            continue;
        }
        match rustix::fs::lsetxattr(path, name, extension.value_bytes(), XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn times(header: &Header) -> io::Result<Timestamps> {
    let seconds = i64::try_from(header.mtime()?).unwrap_or_default();
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    Ok(Timestamps {
        last_access: time,
        last_modification: time,
    })
}
