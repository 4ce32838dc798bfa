//! The one hand that writes a log's segments: creates, appends and syncs, seals.
//!
//! Called by `log.rs`, by one thread at a time for each log, without its lock: everything here may
//! wait for the disk.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::index::Index;
use crate::segment::{self, Foot, Head, Sealed};

/// The least and the most that is reserved ahead, in bytes: an append that changes neither size
/// nor allocation is cheaper to sync, and a full disk shows before a record is half written. An
/// idle log holds no more than it has taken so far.
const RESERVE_BYTES_MIN: u64 = 64 << 10;
const RESERVE_BYTES_MAX: u64 = 8 << 20;

/// The segment that is being written.
pub(crate) struct Active {
    pub(crate) base: u64,
    pub(crate) path: PathBuf,
    /// The offset behind its last durable record, and where its bytes end.
    pub(crate) end: u64,
    pub(crate) data_end: u64,
    /// Up to which byte space is reserved.
    pub(crate) reserved: u64,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) index: Index,
}

impl Active {
    pub(crate) const fn is_empty(&self) -> bool {
        self.end == self.base
    }

    pub(crate) const fn foot(&self) -> Foot {
        Foot {
            base: self.base,
            end: self.end,
            data_end: self.data_end,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            entries: 0,
            index_checksum: 0,
        }
    }
}

/// A write that was not done.
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Nobody knows what the disk holds behind the last synced record.
    pub(crate) is_unknown: bool,
}

/// Makes an empty segment and its name durable. A leftover of that name is replaced.
pub(crate) fn create(
    disk: &dyn Disk,
    dir: &Path,
    base: u64,
    since_ms: u64,
) -> Result<Active, Error> {
    let path = segment::path(dir, base);
    let made = (|| {
        let file = disk.open(&path, true)?;
        file.set_len(0)?;
        file.write_at(&[IoSlice::new(&Head { base, since_ms }.encode())], 0)?;
        file.sync()?;
        disk.sync_dir(dir)
    })();
    if let Err(error) = made {
        // An empty leftover is replaced by the next attempt.
        let _ = disk.remove_file(&path);
        return Err(Error::io("create", &path, error));
    }
    Ok(Active {
        base,
        path,
        end: base,
        data_end: segment::HEAD_BYTES as u64,
        reserved: segment::HEAD_BYTES as u64,
        first_ms: since_ms,
        last_ms: since_ms,
        index: Index::default(),
    })
}

/// Writes `parts` behind byte `data_end` and makes them durable. Returns up to where space is
/// reserved now.
pub(crate) fn append(
    file: &dyn DiskFile,
    path: &Path,
    (data_end, reserved): (u64, u64),
    parts: &[IoSlice<'_>],
) -> Result<u64, Failure> {
    let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
    let end = data_end + bytes;
    let reserved = match reserve(file, reserved, data_end, end) {
        Ok(reserved) => reserved,
        Err(error) => return Err(cut_back(file, path, data_end, "reserve space in", error)),
    };
    if let Err(error) = file.write_at(parts, data_end) {
        return Err(cut_back(file, path, data_end, "append to", error));
    }
    // After a failed sync the kernel forgets what it could not write, and a second sync would
    // report success: the only safe thing is to read everything again.
    file.sync().map_err(|error| Failure {
        error: Error::Io {
            step: "sync",
            path: path.to_owned(),
            source: Arc::new(error),
        },
        is_unknown: true,
    })?;
    Ok(reserved)
}

fn reserve(file: &dyn DiskFile, reserved: u64, data_end: u64, end: u64) -> std::io::Result<u64> {
    if end <= reserved {
        return Ok(reserved);
    }
    let ahead = data_end.clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX);
    match file.reserve(reserved, end + ahead) {
        Ok(()) => Ok(end + ahead),
        // Nearly full: what is needed now may still fit.
        Err(error) if is_full(&error) => file.reserve(reserved, end).map(|()| end),
        Err(error) => Err(error),
    }
}

/// Takes back a failed append. Only a full disk leaves a file that can be trusted.
fn cut_back(
    file: &dyn DiskFile,
    path: &Path,
    data_end: u64,
    step: &'static str,
    error: std::io::Error,
) -> Failure {
    // Synced, so that a refused record can never come back beside one that took its place.
    let restored = is_full(&error) && file.set_len(data_end).and_then(|()| file.sync()).is_ok();
    Failure {
        error: Error::io(step, path, error),
        is_unknown: !restored,
    }
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// Writes the foot of a segment whose records are durable. A full disk is no error: the index
/// stays in memory, and the next opening tries again.
pub(crate) fn seal(
    file: &dyn DiskFile,
    path: &Path,
    mut foot: Foot,
    index: Arc<Index>,
) -> Result<Sealed, Error> {
    let bytes = index.encode();
    foot.entries = index.len() as u32;
    foot.index_checksum = crc32fast::hash(&bytes);
    let foot_bytes = foot.encode();
    let parts = [IoSlice::new(&bytes), IoSlice::new(&foot_bytes)];
    let sealed = file
        .set_len(foot.data_end)
        .and_then(|()| file.write_at(&parts, foot.data_end))
        .and_then(|()| file.sync());
    match sealed {
        Ok(()) => Ok(Sealed::new(foot, path.to_owned(), None)),
        Err(error) if is_full(&error) => {
            tracing::warn!(segment = %path.display(), %error, "no space to seal it; it will be scanned at the next start");
            Ok(Sealed::new(foot, path.to_owned(), Some(index)))
        }
        Err(error) => Err(Error::io("seal", path, error)),
    }
}
