//! The files a log stands on, as a trait: [`FileDisk`] for the real ones, [`MemDisk`] for tests,
//! which can crash, tear writes, fail and run full.
//!
//! The promises below are all that the rest of the crate assumes; `docs/log.md` lists them.

mod file;
mod mem;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

pub use file::FileDisk;
pub use mem::{Fault, MemDisk};

/// A tree of files. Paths are absolute or relative to whatever the implementation stands on.
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory and its parents; no error when it is there.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names in a directory, unordered.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens a file for reading and writing; `create` makes an empty one if it is not there.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file or directory another name, replacing a file of that name; atomic across a crash.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Those who have it open may go on reading.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names made, changed and removed in `dir` until now durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a file, which is made if need be, for as long as the value
    /// lives. [`io::ErrorKind::WouldBlock`] when another holder has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// One open file.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads into the whole of `buf` or up to the end of the file; the number of bytes read.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes all parts one behind the other. After an error any part of them may have been
    /// written. Visible to readers at once, durable after [`DiskFile::sync`].
    fn write_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<()>;

    /// Reserves disk space for the bytes `from..to`, which read as zeroes until they are written;
    /// [`io::ErrorKind::StorageFull`] when there is none. Nothing else has happened then.
    fn reserve(&self, from: u64, to: u64) -> io::Result<()>;

    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes everything written and the length durable. After an error nobody knows what is.
    fn sync(&self) -> io::Result<()>;
}
