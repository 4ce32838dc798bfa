//! The positions of all consumers of one log: in memory, and in a file that is appended to in
//! batches and written anew when most of it is old.
//!
//! Owned by `log.rs`. A failure here loses no event: the positions are in memory, the file is
//! written anew as a whole, and an old position only means that something is delivered again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::disk::DiskFile;
use crate::error::Error;
use crate::files::{Files, Key};
use crate::position::{self, Change, FILE_HEAD_BYTES, MAGIC, Position};
use crate::record::u32_at;
use crate::segment::FORMAT;

/// The file is written anew when it has so many times the bytes it would need, and not before it
/// has [`crate::Options::position_file_bytes`].
const REWRITE_FACTOR: u64 = 8;

/// The positions as consumers see them.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) all: BTreeMap<String, Position>,
    /// Names whose entry in the file is old.
    dirty: BTreeSet<String>,
    /// A job will write them.
    pub(crate) is_scheduled: bool,
    /// When they were written last.
    pub(crate) written: Option<Instant>,
    /// A later job will sync the file.
    pub(crate) is_sync_due: bool,
}

/// The file behind a [`Table`].
pub(crate) struct PositionFile {
    path: PathBuf,
    key: Key,
    /// Where the next entry goes; nothing when the file must be written anew.
    end: Option<u64>,
    /// Bytes that a new file would have.
    needed: u64,
    /// A smaller file is not written anew.
    rewrite_bytes_min: u64,
    is_synced: bool,
}

impl Table {
    pub(crate) fn set(&mut self, name: &str, position: Position) {
        match self.all.get_mut(name) {
            Some(current) => *current = position,
            None => {
                self.all.insert(name.to_owned(), position);
            }
        }
        if !self.dirty.contains(name) {
            self.dirty.insert(name.to_owned());
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if self.all.remove(name).is_some() {
            self.dirty.insert(name.to_owned());
        }
    }

    /// The least offset that some consumer still needs; `end` without consumers.
    pub(crate) fn passed(&self, end: u64) -> u64 {
        self.all.values().map(|p| p.next).min().unwrap_or(end)
    }

    pub(crate) fn clamp(&mut self, end: u64) {
        for (name, position) in &mut self.all {
            if position.clamp(end) {
                self.dirty.insert(name.clone());
            }
        }
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The entries that are due, as bytes; what is taken is dirty no more.
    fn take_due(&mut self) -> (BTreeSet<String>, Vec<u8>) {
        let names = std::mem::take(&mut self.dirty);
        let mut bytes = Vec::new();
        for name in &names {
            match self.all.get(name) {
                Some(position) => position::encode_set(&mut bytes, name, position),
                None => position::encode_remove(&mut bytes, name),
            }
        }
        (names, bytes)
    }

    fn encode_all(&self) -> Vec<u8> {
        let mut bytes = file_head();
        for (name, position) in &self.all {
            position::encode_set(&mut bytes, name, position);
        }
        bytes
    }
}

impl PositionFile {
    /// Reads the file in `dir` if there is one. What follows a torn or damaged entry is left out.
    pub(crate) fn open(
        files: &Files,
        dir: &Path,
        key: Key,
        rewrite_bytes_min: u64,
    ) -> Result<(Self, Table), Error> {
        let path = dir.join("positions");
        let mut file = Self {
            path: path.clone(),
            key,
            end: None,
            needed: 0,
            rewrite_bytes_min,
            is_synced: true,
        };
        let mut table = Table::default();
        let bytes = match files.get(key, &path) {
            Ok(open) => read_all(&*open).map_err(|e| Error::io("read", &path, e))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((file, table)),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        if bytes.len() < FILE_HEAD_BYTES || bytes[..8] != *MAGIC {
            tracing::warn!(file = %path.display(), "no readable positions: consumers begin again");
            return Ok((file, table));
        }
        let found = u32_at(&bytes, 8);
        if found != FORMAT {
            return Err(Error::Format {
                path,
                found,
                expected: FORMAT,
            });
        }
        let mut at = FILE_HEAD_BYTES;
        while let Some((change, len)) = position::decode(&bytes[at..]) {
            match change {
                Change::Set(name, position) => table.all.insert(name, position),
                Change::Remove(name) => table.all.remove(&name),
            };
            at += len;
        }
        // What a killed process left may not be durable, and a sync would not tell: the first flush
        // writes it anew.
        file.is_synced = false;
        Ok((file, table))
    }

    /// Writes what is due; `table` locks the table for as long as the borrow lives. With `sync`
    /// everything written until now is durable afterwards.
    pub(crate) fn flush<'t, T>(
        &mut self,
        files: &Files,
        table: impl Fn() -> T,
        sync: bool,
    ) -> Result<(), Error>
    where
        T: std::ops::DerefMut<Target = Table> + 't,
    {
        let (names, bytes) = table().take_due();
        if bytes.is_empty() && (self.is_synced || !sync) {
            return Ok(());
        }
        let rewrite_at = self.rewrite_bytes_min.max(REWRITE_FACTOR * self.needed);
        let is_due = |end: u64| end > rewrite_at;
        let written = match self.end {
            Some(end) if !is_due(end) => self.append(files, end, &bytes, sync),
            _ => {
                let all = table().encode_all();
                self.rewrite(files, &all)
            }
        };
        if let Err(error) = written {
            self.end = None;
            table().dirty.extend(names);
            return Err(Error::io("write", &self.path, error));
        }
        Ok(())
    }

    fn append(&mut self, files: &Files, end: u64, bytes: &[u8], sync: bool) -> io::Result<()> {
        let file = files.get(self.key, &self.path)?;
        if !bytes.is_empty() {
            file.write_at(&[IoSlice::new(bytes)], end)?;
            self.end = Some(end + bytes.len() as u64);
            self.is_synced = false;
        }
        if sync {
            file.sync()?;
            self.is_synced = true;
        }
        Ok(())
    }

    fn rewrite(&mut self, files: &Files, all: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        let file = files.disk.open(&temporary, true)?;
        file.set_len(0)?;
        file.write_at(&[IoSlice::new(all)], 0)?;
        file.sync()?;
        files.disk.rename(&temporary, &self.path)?;
        files.forget(self.key);
        if let Some(dir) = self.path.parent() {
            files.disk.sync_dir(dir)?;
        }
        self.end = Some(all.len() as u64);
        self.needed = all.len() as u64;
        self.is_synced = true;
        Ok(())
    }
}

fn file_head() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.size()? as usize];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
