//! One file of a log: its name, its head, its foot. Sealed segments never change any more.
//!
//! Written by `writer.rs`, found again by `recover.rs`. The bytes are in `docs/log.md`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::disk::DiskFile;
use crate::error::Error;
use crate::index::{self, Index};
use crate::record::{u32_at, u64_at};

/// The format this program writes and reads.
pub(crate) const FORMAT: u32 = 1;
/// Bytes in front of the first record.
pub(crate) const HEAD_BYTES: usize = 40;
/// Bytes at the very end of a sealed segment.
pub(crate) const FOOT_BYTES: usize = 64;

const HEAD_MAGIC: &[u8; 8] = b"RKEVLOG\n";
const FOOT_MAGIC: &[u8; 8] = b"RKSEALED";
const SUFFIX: &str = ".segment";

/// What the head of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The offset of its first record.
    pub(crate) base: u64,
    /// No record has an earlier arrival.
    pub(crate) since_ms: u64,
}

/// What the foot of a sealed segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Foot {
    pub(crate) base: u64,
    /// The offset behind its last record.
    pub(crate) end: u64,
    /// Where the records end and the index begins, in bytes.
    pub(crate) data_end: u64,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    /// Entries of the index.
    pub(crate) entries: u32,
    pub(crate) index_checksum: u32,
}

/// A segment that is not written any more.
pub(crate) struct Sealed {
    pub(crate) foot: Foot,
    pub(crate) path: PathBuf,
    /// Lives as long as a reader is in this segment.
    index: Mutex<Weak<Index>>,
    /// Kept where the foot could not be written.
    pinned: Option<Arc<Index>>,
}

impl Sealed {
    pub(crate) const fn new(foot: Foot, path: PathBuf, pinned: Option<Arc<Index>>) -> Self {
        Self {
            foot,
            path,
            index: Mutex::new(Weak::new()),
            pinned,
        }
    }

    /// The index, from memory or from the foot of `file`. Damage there is not fatal to the caller:
    /// it scans.
    pub(crate) fn index(&self, file: &dyn DiskFile) -> Result<Arc<Index>, Error> {
        if let Some(index) = &self.pinned {
            return Ok(index.clone());
        }
        let mut kept = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = kept.upgrade() {
            return Ok(index);
        }
        let mut bytes = vec![0; self.foot.entries as usize * index::ENTRY_BYTES];
        let read = file
            .read_at(&mut bytes, self.foot.data_end)
            .map_err(|e| Error::io("read the index of", &self.path, e))?;
        let whole = read == bytes.len() && crc32fast::hash(&bytes) == self.foot.index_checksum;
        let index = if whole {
            Arc::new(Index::decode(&bytes))
        } else {
            tracing::warn!(segment = %self.path.display(), "its index is damaged: reading it from the start");
            Arc::new(crate::recover::index_of(file, &self.path, &self.foot)?)
        };
        *kept = Arc::downgrade(&index);
        Ok(index)
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.foot.data_end
            + self.foot.entries as u64 * index::ENTRY_BYTES as u64
            + FOOT_BYTES as u64
    }
}

/// The file of the segment that begins with `base`.
pub(crate) fn path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}{SUFFIX}"))
}

/// The base in a segment's name; nothing for other files.
pub(crate) fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() != 20 {
        return None;
    }
    digits.parse().ok()
}

impl Head {
    pub(crate) fn encode(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(HEAD_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.base.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.since_ms.to_le_bytes());
        let checksum = checksum(&bytes, 12);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Nothing when the head was never written whole; an error for another format.
    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Option<Self>, Error> {
        if bytes.len() < HEAD_BYTES || bytes[..8] != *HEAD_MAGIC {
            return Ok(None);
        }
        if checksum(&bytes[..HEAD_BYTES], 12) != u32_at(bytes, 12) {
            return Ok(None);
        }
        let found = u32_at(bytes, 8);
        if found != FORMAT {
            return Err(Error::Format {
                path: path.to_owned(),
                found,
                expected: FORMAT,
            });
        }
        Ok(Some(Self {
            base: u64_at(bytes, 16),
            since_ms: u64_at(bytes, 24),
        }))
    }
}

impl Foot {
    pub(crate) fn encode(self) -> [u8; FOOT_BYTES] {
        let mut bytes = [0; FOOT_BYTES];
        bytes[..8].copy_from_slice(FOOT_MAGIC);
        bytes[12..16].copy_from_slice(&self.index_checksum.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.base.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.end.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.data_end.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_ms.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.last_ms.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.entries.to_le_bytes());
        let checksum = checksum(&bytes, 8);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != FOOT_BYTES || bytes[..8] != *FOOT_MAGIC {
            return None;
        }
        if checksum(bytes, 8) != u32_at(bytes, 8) {
            return None;
        }
        Some(Self {
            index_checksum: u32_at(bytes, 12),
            base: u64_at(bytes, 16),
            end: u64_at(bytes, 24),
            data_end: u64_at(bytes, 32),
            first_ms: u64_at(bytes, 40),
            last_ms: u64_at(bytes, 48),
            entries: u32_at(bytes, 56),
        })
    }
}

/// CRC-32 of `bytes` without the four at `at` that hold it.
fn checksum(bytes: &[u8], at: usize) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..at]);
    crc.update(&bytes[at + 4..]);
    crc.finalize()
}
