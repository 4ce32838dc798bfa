//! Finds again what a directory holds: reads the feet of sealed segments, scans the last one, cuts
//! a torn end off.
//!
//! Called when a log is opened. Damage of what had been synced is an error, never a silent loss.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::index::{Entry, Index};
use crate::record::{self, Found};
use crate::segment::{self, Foot, Sealed};
use crate::writer::{self, Active};

/// Bytes read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// The segments of a log: those sealed, oldest first, and the one to write on.
pub(crate) struct Recovered {
    pub(crate) sealed: VecDeque<Arc<Sealed>>,
    pub(crate) active: Active,
}

/// What a scan found in one segment.
#[derive(Debug)]
struct Scan {
    /// The offset behind the last whole record, and where its bytes end.
    end: u64,
    data_end: u64,
    index: Index,
    first_ms: u64,
    last_ms: u64,
    /// Where the last commit begins: everything in front of it was synced.
    doubtful_from: u64,
}

/// Opens the log in `dir`, or makes it.
pub(crate) fn open(disk: &dyn Disk, dir: &Path) -> Result<Recovered, Error> {
    disk.make_dir(dir)
        .map_err(|e| Error::io("make the directory", dir, e))?;
    let mut bases: Vec<u64> = disk
        .list(dir)
        .map_err(|e| Error::io("list", dir, e))?
        .iter()
        .filter_map(|name| segment::base_of(name))
        .collect();
    bases.sort_unstable();
    let Some((&last, older)) = bases.split_last() else {
        if let Some(parent) = dir.parent() {
            disk.sync_dir(parent)
                .map_err(|e| Error::io("sync", parent, e))?;
        }
        return Ok(Recovered {
            sealed: VecDeque::new(),
            active: writer::create(disk, dir, 0, 0)?,
        });
    };
    let mut sealed = VecDeque::new();
    for (n, &base) in older.iter().enumerate() {
        let next = bases[n + 1];
        sealed.push_back(Arc::new(open_older(disk, dir, base, next)?));
    }
    let since_ms = sealed.back().map_or(0, |s: &Arc<Sealed>| s.foot.last_ms);
    let active = match open_last(disk, dir, last, since_ms)? {
        Last::Active(active) => active,
        Last::Sealed(segment) => {
            let Foot { end, last_ms, .. } = segment.foot;
            sealed.push_back(Arc::new(segment));
            writer::create(disk, dir, end, last_ms)?
        }
    };
    Ok(Recovered { sealed, active })
}

/// Opens a segment that another follows. Its foot is missing only if the machine stopped, or the
/// disk was full, while it was being sealed.
fn open_older(disk: &dyn Disk, dir: &Path, base: u64, next: u64) -> Result<Sealed, Error> {
    let path = segment::path(dir, base);
    let file = open_file(disk, &path)?;
    if let Some(foot) = read_foot(&*file, &path, base)?
        && foot.end == next
    {
        return Ok(Sealed::new(foot, path, None));
    }
    read_head(&*file, &path, base)?.ok_or_else(|| corrupt(&path, 0, "the head is not readable"))?;
    let scan = scan(&*file, &path, base, u64::MAX)?;
    if scan.end != next {
        let why = "records are missing between here and the next segment";
        return Err(corrupt(&path, scan.data_end, why));
    }
    let foot = scan.foot(base);
    writer::seal(&*file, &path, foot, Arc::new(scan.index))
}

enum Last {
    Active(Active),
    Sealed(Sealed),
}

fn open_last(disk: &dyn Disk, dir: &Path, base: u64, since_ms: u64) -> Result<Last, Error> {
    let path = segment::path(dir, base);
    let file = open_file(disk, &path)?;
    if let Some(foot) = read_foot(&*file, &path, base)? {
        return Ok(Last::Sealed(Sealed::new(foot, path, None)));
    }
    let Some(head) = read_head(&*file, &path, base)? else {
        // Nothing is written behind a head that is not synced: the machine stopped in between.
        let mut bytes = vec![0; WINDOW_BYTES];
        let read = read_at(&*file, &path, &mut bytes, segment::HEAD_BYTES as u64)?;
        if matches!(record::find(&bytes[..read]), Found::Record(_)) {
            return Err(corrupt(&path, 0, "the head is not readable"));
        }
        return writer::create(disk, dir, base, since_ms).map(Last::Active);
    };
    let scan = scan(&*file, &path, base, u64::MAX)?;
    let len = file.size().map_err(|e| Error::io("measure", &path, e))?;
    refuse_damage(&*file, &path, &scan, len)?;
    if len > scan.data_end {
        file.set_len(scan.data_end)
            .map_err(|e| Error::io("cut", &path, e))?;
    }
    rewrite_last_commit(&*file, &path, &scan)?;
    file.sync().map_err(|e| Error::io("sync", &path, e))?;
    disk.sync_dir(dir).map_err(|e| Error::io("sync", dir, e))?;
    Ok(Last::Active(Active {
        base,
        end: scan.end,
        data_end: scan.data_end,
        reserved: scan.data_end,
        first_ms: scan.first_ms,
        last_ms: scan.last_ms.max(head.since_ms),
        index: scan.index,
        path,
    }))
}

/// Writes the last commit again. What a killed process wrote may be visible and not durable: no
/// consumer may see it before it is, or another record could get its offset. After a failed sync
/// the kernel takes such pages for clean, so that a sync alone would not write them.
fn rewrite_last_commit(file: &dyn DiskFile, path: &Path, scan: &Scan) -> Result<(), Error> {
    let mut at = scan.doubtful_from;
    let mut buffer = vec![0; WINDOW_BYTES];
    while at < scan.data_end {
        let part = (scan.data_end - at).min(buffer.len() as u64) as usize;
        let read = read_at(file, path, &mut buffer[..part], at)?;
        if read == 0 {
            return Err(corrupt(path, at, "the file became shorter"));
        }
        file.write_at(&[IoSlice::new(&buffer[..read])], at)
            .map_err(|e| Error::io("write", path, e))?;
        at += read as u64;
    }
    Ok(())
}

/// Makes the index of a sealed segment again from its records.
pub(crate) fn index_of(file: &dyn DiskFile, path: &Path, foot: &Foot) -> Result<Index, Error> {
    let scan = scan(file, path, foot.base, foot.data_end)?;
    if scan.end != foot.end {
        return Err(corrupt(path, scan.data_end, "the record is damaged"));
    }
    Ok(scan.index)
}

impl Scan {
    fn foot(&self, base: u64) -> Foot {
        Foot {
            base,
            end: self.end,
            data_end: self.data_end,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            entries: 0,
            index_checksum: 0,
        }
    }
}

/// Reads records from the head up to the first that is not whole or `data_end`.
fn scan(file: &dyn DiskFile, path: &Path, base: u64, data_end: u64) -> Result<Scan, Error> {
    let mut scan = Scan {
        end: base,
        data_end: segment::HEAD_BYTES as u64,
        index: Index::default(),
        first_ms: 0,
        last_ms: 0,
        doubtful_from: segment::HEAD_BYTES as u64,
    };
    let mut buffer = vec![0; WINDOW_BYTES];
    'file: loop {
        let read = read_at(file, path, &mut buffer, scan.data_end)?;
        let mut from = 0;
        let needed = loop {
            if scan.data_end >= data_end {
                break 'file;
            }
            match record::find(&buffer[from..read]) {
                Found::Record(head) if head.offset == scan.end => {
                    if scan.end == base {
                        scan.first_ms = head.arrival_ms;
                    }
                    if head.behind == 0 {
                        scan.doubtful_from = scan.data_end;
                    }
                    scan.index.note(Entry {
                        offset: head.offset,
                        position: scan.data_end,
                        arrival_ms: head.arrival_ms,
                    });
                    scan.last_ms = head.arrival_ms;
                    scan.end += 1;
                    scan.data_end += head.record_bytes() as u64;
                    from += head.record_bytes();
                }
                Found::Short(needed) => break needed,
                Found::Record(_) | Found::Nothing => break 'file,
            }
        };
        if read < buffer.len() {
            break;
        }
        if needed > buffer.len() {
            buffer.resize(needed, 0);
        }
    }
    Ok(scan)
}

/// Tells a torn end, which nobody was promised, from damage of what was synced: a record behind
/// the gap that was written when the gap was already synced proves the latter.
fn refuse_damage(file: &dyn DiskFile, path: &Path, scan: &Scan, len: u64) -> Result<(), Error> {
    let mut buffer = vec![0; WINDOW_BYTES];
    let mut at = scan.data_end + 1;
    while at + (record::HEAD_BYTES as u64) < len {
        let read = read_at(file, path, &mut buffer, at)?;
        for from in 0..read.saturating_sub(record::HEAD_BYTES - 1) {
            let Some(head) = record::head(&buffer[from..read]) else {
                break;
            };
            let synced_before = head.offset.saturating_sub(u64::from(head.behind));
            let plausible = synced_before > scan.end && head.offset - scan.end < len;
            if plausible && is_record(file, path, at + from as u64, head)? {
                return Err(corrupt(path, scan.data_end, "the record is damaged"));
            }
        }
        if read < buffer.len() {
            break;
        }
        at += (read - record::HEAD_BYTES + 1) as u64;
    }
    Ok(())
}

fn is_record(file: &dyn DiskFile, path: &Path, at: u64, head: record::Head) -> Result<bool, Error> {
    if head.payload_bytes > record::PAYLOAD_BYTES_MAX {
        return Ok(false);
    }
    let mut bytes = vec![0; head.record_bytes()];
    let read = read_at(file, path, &mut bytes, at)?;
    Ok(matches!(record::find(&bytes[..read]), Found::Record(_)))
}

fn read_head(file: &dyn DiskFile, path: &Path, base: u64) -> Result<Option<segment::Head>, Error> {
    let mut bytes = [0; segment::HEAD_BYTES];
    let read = read_at(file, path, &mut bytes, 0)?;
    match segment::Head::decode(&bytes[..read], path)? {
        Some(head) if head.base != base => Err(corrupt(path, 16, "it belongs to another name")),
        head => Ok(head),
    }
}

fn read_foot(file: &dyn DiskFile, path: &Path, base: u64) -> Result<Option<Foot>, Error> {
    let len = file.size().map_err(|e| Error::io("measure", path, e))?;
    let Some(at) = len.checked_sub(segment::FOOT_BYTES as u64) else {
        return Ok(None);
    };
    let mut bytes = [0; segment::FOOT_BYTES];
    let read = read_at(file, path, &mut bytes, at)?;
    Ok(Foot::decode(&bytes[..read]).filter(|foot| foot.base == base))
}

fn read_at(file: &dyn DiskFile, path: &Path, buf: &mut [u8], at: u64) -> Result<usize, Error> {
    file.read_at(buf, at)
        .map_err(|e| Error::io("read", path, e))
}

fn open_file(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn DiskFile>, Error> {
    disk.open(path, false)
        .map_err(|e| Error::io("open", path, e))
}

fn corrupt(path: &Path, position: u64, why: &'static str) -> Error {
    Error::Corrupt {
        path: path.to_owned(),
        position,
        why,
    }
}
