//! Opening: the newest snapshot and the journals behind it become the state in memory.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use super::State;
use super::error::Error;
use super::journal::{Journal, sync_dir};
use super::record::{self, Frame, Record};

/// Reads everything in `dir` into `state`; gives the journal to append to.
pub(super) fn recover(dir: &Path, state: &mut State) -> Result<Journal, Error> {
    let files = Files::list(dir)?;
    if let Some((revision, path)) = files.snapshots.last() {
        load_snapshot(path, state)?;
        state.revision = state.revision.max(*revision);
    }
    state.history.start_at(state.revision);
    let base = state.revision;
    // A journal that starts at or before the snapshot's revision is contained in it.
    let live: Vec<_> = files
        .journals
        .iter()
        .filter(|(first, _)| *first > base)
        .collect();
    let mut last = None;
    for (index, (_, path)) in live.iter().enumerate() {
        let end = replay(path, state)?;
        let whole = end.torn.is_none();
        if !whole && index + 1 < live.len() {
            let why = end.torn.unwrap_or_default();
            return Err(Error::Corrupt {
                path: path.clone(),
                offset: end.offset,
                why,
            });
        }
        last = Some((path.clone(), end));
    }
    let next = state.revision + 1;
    match last {
        Some((path, end)) if end.offset > 0 => {
            let journal = Journal::reopen(path, end.doubtful, end.offset)?;
            // An older format is not written: what follows it is in a file of its own.
            match end.format {
                record::FORMAT => Ok(journal),
                _ => Journal::create(dir, next),
            }
        }
        _ => Journal::create(dir, next),
    }
}

/// The files of a store by the revision in their names.
pub(super) struct Files {
    pub(super) snapshots: Vec<(u64, PathBuf)>,
    pub(super) journals: Vec<(u64, PathBuf)>,
}

impl Files {
    pub(super) fn list(dir: &Path) -> Result<Self, Error> {
        let (mut snapshots, mut journals) = (Vec::new(), Vec::new());
        let entries = fs::read_dir(dir).map_err(|e| Error::io("list", dir, e))?;
        for entry in entries {
            let path = entry.map_err(|e| Error::io("list", dir, e))?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let numbered = |prefix| name.strip_prefix(prefix)?.parse::<u64>().ok();
            if let Some(revision) = numbered("snapshot-") {
                snapshots.push((revision, path));
            } else if let Some(revision) = numbered("journal-") {
                journals.push((revision, path));
            } else if name.ends_with(".tmp") {
                // A snapshot that was not finished; the journals still hold its content.
                fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
            }
        }
        snapshots.sort();
        journals.sort();
        Ok(Self {
            snapshots,
            journals,
        })
    }
}

struct End {
    /// Behind the last whole frame; 0 when not even the header is whole.
    offset: u64,
    torn: Option<&'static str>,
    format: u32,
    /// From here on records may not be on the medium.
    doubtful: u64,
}

fn load_snapshot(path: &Path, state: &mut State) -> Result<(), Error> {
    let file = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let mut closed = false;
    let end = each_record(path, &file, |record, _| match record {
        Record::End { revision, count } => {
            state.revision = revision;
            closed = state.len() as u64 == count;
            closed
        }
        other => state.restore(other),
    })?;
    let complete = closed && end.torn.is_none();
    complete.then_some(()).ok_or(Error::Corrupt {
        path: path.to_owned(),
        offset: end.offset,
        why: end.torn.unwrap_or("the closing record is missing"),
    })
}

fn replay(path: &Path, state: &mut State) -> Result<End, Error> {
    let file = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    // The records that may not be on the medium: their revisions and places.
    let mut doubtful = VecDeque::new();
    let mut end = each_record(path, &file, |record, offset| {
        if let Record::Put {
            revision, synced, ..
        }
        | Record::Delete {
            revision, synced, ..
        } = record
        {
            while doubtful.front().is_some_and(|(of, _)| *of <= synced) {
                doubtful.pop_front();
            }
            doubtful.push_back((revision, offset));
        }
        state.replay(record)
    })?;
    let first = doubtful.front().map(|(_, offset)| *offset as u64);
    end.doubtful = first.unwrap_or(end.offset).min(end.offset);
    refuse_damage(path, &file, &end, state.revision)?;
    if let Some(why) = end.torn {
        let dropped = file.len() as u64 - end.offset;
        tracing::warn!(journal = %path.display(), offset = end.offset, dropped, why,
            "the journal's tail was not written completely; it is cut off");
    }
    Ok(end)
}

/// Tells a torn end, which nobody was promised, from damage of what was on the medium: a record
/// behind the end that says that the next revision was synced before it proves the latter.
fn refuse_damage(path: &Path, file: &[u8], end: &End, revision: u64) -> Result<(), Error> {
    let mut from = usize::try_from(end.offset).unwrap_or(usize::MAX);
    if end.format == 1 || file.get(from..).is_none_or(is_blank) {
        return Ok(());
    }
    while let Some((offset, record)) = record::find(file, from, end.format) {
        if let Record::Put { synced, .. } | Record::Delete { synced, .. } = record
            && synced > revision
        {
            return Err(Error::Corrupt {
                path: path.to_owned(),
                offset: end.offset,
                why: end.torn.unwrap_or("a record is missing"),
            });
        }
        from = offset + 1;
    }
    Ok(())
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// The format of a file of the store.
pub(super) fn format_of(path: &Path, file: &[u8]) -> Result<u32, Error> {
    match record::format_of(file) {
        Some(format) if record::FORMATS.contains(&format) => Ok(format),
        Some(found) => {
            let expected = record::FORMAT;
            Err(Error::Format {
                path: path.to_owned(),
                found,
                expected,
            })
        }
        None => {
            let why = "it is not a file of the store";
            Err(Error::Corrupt {
                path: path.to_owned(),
                offset: 0,
                why,
            })
        }
    }
}

fn each_record(
    path: &Path,
    file: &[u8],
    mut take: impl FnMut(Record<'_>, usize) -> bool,
) -> Result<End, Error> {
    if record::is_torn_header(file) {
        return Ok(End {
            offset: 0,
            torn: Some("the header is cut off"),
            format: record::FORMAT,
            doubtful: 0,
        });
    }
    let format = format_of(path, file)?;
    let mut offset = record::HEADER_BYTES;
    loop {
        let torn = match record::frame_at(file, offset) {
            Frame::Payload(payload) => {
                if record::decode(payload, format).is_some_and(|record| take(record, offset)) {
                    offset += record::FRAME_BYTES + payload.len();
                    continue;
                }
                Some("the record makes no sense")
            }
            Frame::Blank if is_blank(&file[offset..]) => None,
            Frame::Blank => Some("zeroes stand where a record was written"),
            Frame::Torn(why) => Some(why),
        };
        return Ok(End {
            offset: offset as u64,
            torn,
            format,
            doubtful: offset as u64,
        });
    }
}

/// Writes the snapshot of `revision`, then removes the files it replaces.
pub(super) fn write_snapshot(
    dir: &Path,
    revision: u64,
    frames: impl Iterator<Item = Vec<u8>>,
) -> Result<(), Error> {
    use std::io::Write;
    let name = format!("snapshot-{revision:020}");
    let temporary = dir.join(format!("{name}.tmp"));
    let failed = |e| Error::io("write", &temporary, e);
    let file = fs::File::create(&temporary).map_err(failed)?;
    let mut out = std::io::BufWriter::with_capacity(1 << 20, file);
    out.write_all(&record::header()).map_err(failed)?;
    for frame in frames {
        out.write_all(&frame).map_err(failed)?;
    }
    let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
    file.sync_all().map_err(failed)?;
    let path = dir.join(name);
    fs::rename(&temporary, &path).map_err(|e| Error::io("name", &path, e))?;
    sync_dir(dir)?;
    let files = Files::list(dir)?;
    let older = files.snapshots.iter().filter(|(of, _)| *of < revision);
    let contained = files
        .journals
        .iter()
        .filter(|(first, _)| *first <= revision);
    for (_, path) in older.chain(contained) {
        fs::remove_file(path).map_err(|e| Error::io("remove", path, e))?;
    }
    Ok(())
}
