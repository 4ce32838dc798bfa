//! One append-only file: created, appended to, cut back after a failed write.
//!
//! Owned by [`super::Store`] behind its write lock. Knows nothing of what the frames mean.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Error;
use super::record;

/// Disk space is reserved in steps of this size, so that a full disk shows before a frame is half
/// written, and so that an append changes no file size (one journal transaction less in ext4).
const RESERVE_BYTES: u64 = 1 << 20;

/// The journal that is being written.
pub(super) struct Journal {
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    /// The end of the last whole frame.
    pub(super) len: u64,
    reserved: u64,
}

impl Journal {
    /// The name of the journal whose first record has `revision` or a later one.
    pub(super) fn file_name(revision: u64) -> String {
        format!("journal-{revision:020}")
    }

    /// Makes a new journal in `dir` and makes its name durable.
    pub(super) fn create(dir: &Path, revision: u64) -> Result<Self, Error> {
        let path = dir.join(Self::file_name(revision));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|e| Error::io("create", &path, e))?;
        let mut journal = Self {
            file: Arc::new(file),
            path,
            len: 0,
            reserved: 0,
        };
        journal.append(&record::header())?;
        journal
            .file
            .sync_all()
            .map_err(|e| Error::io("sync", &journal.path, e))?;
        sync_dir(dir)?;
        Ok(journal)
    }

    /// Opens a recovered journal to append behind byte `len`; what stands there is cut off. What
    /// stands from byte `doubtful` on is written again and synced with the rest: a killed process
    /// may have left it visible and not durable, and after a failed sync the kernel would take its
    /// pages for clean. From then on everything that was recovered is on the medium.
    pub(super) fn reopen(path: PathBuf, doubtful: u64, len: u64) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| Error::io("open", &path, e))?;
        file.set_len(len)
            .map_err(|e| Error::io("truncate", &path, e))?;
        let mut again = vec![0; usize::try_from(len.saturating_sub(doubtful)).unwrap_or(0)];
        file.read_exact_at(&mut again, doubtful)
            .map_err(|e| Error::io("read", &path, e))?;
        file.write_all_at(&again, doubtful)
            .and_then(|()| file.sync_all())
            .map_err(|e| Error::io("sync", &path, e))?;
        Ok(Self {
            file: Arc::new(file),
            path,
            len,
            reserved: len,
        })
    }

    /// Writes one frame. After an error the file is as before.
    pub(super) fn append(&mut self, frame: &[u8]) -> Result<(), Error> {
        let end = self.len + frame.len() as u64;
        let written = self
            .reserve(end)
            .and_then(|()| self.file.write_all_at(frame, self.len));
        if let Err(source) = written {
            self.cut_back();
            return Err(Error::io("append to", &self.path, source));
        }
        self.len = end;
        Ok(())
    }

    fn reserve(&mut self, end: u64) -> io::Result<()> {
        if end <= self.reserved {
            return Ok(());
        }
        let goal = end + RESERVE_BYTES;
        let flags = rustix::fs::FallocateFlags::empty();
        match rustix::fs::fallocate(&*self.file, flags, self.len, goal - self.len) {
            Ok(()) => self.reserved = goal,
            // Nearly full: what is needed now may still fit.
            Err(rustix::io::Errno::NOSPC) => {
                rustix::fs::fallocate(&*self.file, flags, self.len, end - self.len)?;
                self.reserved = end;
            }
            // The file system cannot reserve; plain appends do.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    fn cut_back(&mut self) {
        // A failed truncation leaves a torn tail, which the next append overwrites and recovery
        // would drop: nothing to report beyond the error that brought us here.
        if self.file.set_len(self.len).is_ok() {
            self.reserved = self.len;
        }
    }
}

/// Makes created, renamed and removed names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| Error::io("sync", dir, e))
}
