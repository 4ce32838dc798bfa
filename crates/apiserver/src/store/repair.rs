//! Making a damaged store usable again: what can be read becomes a new snapshot, the files as they
//! were are kept beside it. Called by `rekindle store repair`, never by a start.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::record::{self, Frame, Record};
use super::recover::{self, Files};
use super::{State, lock, snapshot_frames};

/// A part of a file that could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loss {
    /// The file.
    pub path: PathBuf,
    /// Its first byte that is lost.
    pub from: u64,
    /// The first byte behind it that could be read again, or the end of the file.
    pub to: u64,
    /// What is wrong there.
    pub why: &'static str,
}

/// What a repair has found.
#[derive(Debug)]
pub struct Repair {
    /// What is lost, in the order of the files. Empty: the store was whole and is as it was.
    pub lost: Vec<Loss>,
    /// Objects of the store now.
    pub objects: usize,
    /// Where the files are as they were, when something was changed.
    pub kept: Option<PathBuf>,
}

/// Reads what can be read of the store in `dir` and, when something cannot, writes it anew. With
/// `look_only` nothing is changed.
///
/// An object whose last change is lost has its state before it; one whose creation is lost and
/// that was not changed later is gone; one whose deletion is lost is there again.
///
/// # Errors
/// [`Error::Locked`] while the store is in use, [`Error::Format`], and failed system calls.
pub fn repair(dir: &Path, look_only: bool) -> Result<Repair, Error> {
    let _lock = lock(dir)?;
    let files = Files::list(dir)?;
    let mut state = State::default();
    let mut lost = Vec::new();
    let base = files.snapshots.last();
    if let Some((_, path)) = base {
        lost.extend(salvage(path, &mut state, true)?);
    }
    let base = base.map_or(0, |(revision, _)| *revision);
    state.revision = state.revision.max(base);
    for (_, path) in files.journals.iter().filter(|(first, _)| *first > base) {
        lost.extend(salvage(path, &mut state, false)?);
    }
    let objects = state.len();
    if lost.is_empty() || look_only {
        return Ok(Repair {
            lost,
            objects,
            kept: None,
        });
    }
    // A revision of its own: no client's watch may go on as if nothing had happened.
    let revision = state.revision + 1;
    let kept = keep(dir, revision, &files)?;
    let entries = state.all();
    let frames = snapshot_frames(revision, &entries, |entry| state.name(entry.resource));
    recover::write_snapshot(dir, revision, frames)?;
    Ok(Repair {
        lost,
        objects,
        kept: Some(kept),
    })
}

/// Gives every file a second name in a directory of its own, before the first one goes.
fn keep(dir: &Path, revision: u64, files: &Files) -> Result<PathBuf, Error> {
    let kept = dir.join(format!("damaged-{revision:020}"));
    fs::create_dir_all(&kept).map_err(|e| Error::io("create", &kept, e))?;
    for (_, path) in files.snapshots.iter().chain(&files.journals) {
        let name = kept.join(path.file_name().unwrap_or_default());
        fs::hard_link(path, &name).map_err(|e| Error::io("link", &name, e))?;
    }
    Ok(kept)
}

/// Takes in every whole record of a file, and gives what is between them.
fn salvage(path: &Path, state: &mut State, closed: bool) -> Result<Vec<Loss>, Error> {
    let file = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let mut lost = Vec::new();
    let mut lose = |from: usize, to: usize, why| {
        lost.push(Loss {
            path: path.to_owned(),
            from: from as u64,
            to: to as u64,
            why,
        });
    };
    let format = match recover::format_of(path, &file) {
        Ok(format) => format,
        Err(Error::Corrupt { why, .. }) => {
            lose(0, record::HEADER_BYTES.min(file.len()), why);
            record::FORMAT
        }
        Err(error) => return Err(error),
    };
    let (mut offset, mut end) = (record::HEADER_BYTES, !closed);
    while offset < file.len() {
        let why = match record::frame_at(&file, offset) {
            Frame::Payload(payload) => match record::decode(payload, format) {
                Some(record) => {
                    end |= matches!(record, Record::End { .. });
                    state.salvage(record);
                    offset += record::FRAME_BYTES + payload.len();
                    continue;
                }
                None => "the record makes no sense",
            },
            Frame::Blank => "zeroes stand where a record was written",
            Frame::Torn(why) => why,
        };
        let next = record::find(&file, offset + 1, format).map(|(next, _)| next);
        let to = next.unwrap_or(file.len());
        if file[offset..to].iter().any(|byte| *byte != 0) || next.is_some() {
            lose(offset, to, why);
        }
        offset = to;
    }
    if !end {
        lose(file.len(), file.len(), "the closing record is missing");
    }
    Ok(lost)
}
