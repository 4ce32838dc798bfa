//! The bytes of the store's files: header, frames, records. Pure; `docs/store.md` is the
//! description for people, and the two change together.

use super::entry::Meta;

/// The first bytes of every file of the store.
pub(super) const MAGIC: &[u8; 8] = b"RKSTORE\n";
/// The format this program writes.
pub(super) const FORMAT: u32 = 2;
/// The formats it reads. In format 1 a record does not say what was synced before it.
pub(super) const FORMATS: [u32; 2] = [1, FORMAT];
/// Magic and format number.
pub(super) const HEADER_BYTES: usize = 12;
/// Length and checksum in front of every payload.
pub(super) const FRAME_BYTES: usize = 8;
/// No payload is longer; a length beyond it marks a damaged frame.
pub(super) const PAYLOAD_BYTES_MAX: usize = 64 << 20;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const END: u8 = 3;

/// One entry of a journal or snapshot.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Record<'a> {
    /// The object at `path` now has this content. Everything up to revision `synced` was on the
    /// medium before the record was written.
    Put {
        revision: u64,
        synced: u64,
        resource: &'a str,
        path: &'a str,
        meta: Meta,
        bytes: &'a [u8],
    },
    /// The object at `path` is gone; `bytes` is its last state.
    Delete {
        revision: u64,
        synced: u64,
        resource: &'a str,
        path: &'a str,
        meta: Meta,
        bytes: &'a [u8],
    },
    /// The last record of a snapshot.
    End { revision: u64, count: u64 },
}

/// What stands at some offset of a file.
pub(super) enum Frame<'a> {
    /// A whole payload.
    Payload(&'a [u8]),
    /// Nothing was written here: the end of the file or its preallocated zeroes.
    Blank,
    /// Something was begun here but is not whole.
    Torn(&'static str),
}

/// The header of a new file.
pub(super) fn header() -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..].copy_from_slice(&FORMAT.to_le_bytes());
    out
}

/// The format number of a file, or `None` when it is not a file of the store.
pub(super) fn format_of(file: &[u8]) -> Option<u32> {
    let number = file.get(8..HEADER_BYTES)?;
    (file[..8] == MAGIC[..]).then(|| u32_at(number, 0))
}

/// Whether the file was being made when it was cut off: part of a header, then zeroes at most.
pub(super) fn is_torn_header(file: &[u8]) -> bool {
    let header = header();
    let written = file
        .iter()
        .zip(header)
        .take_while(|(there, due)| *there == due)
        .count();
    written < HEADER_BYTES && file[written..].iter().all(|byte| *byte == 0)
}

/// The frame at `offset`.
pub(super) fn frame_at(file: &[u8], offset: usize) -> Frame<'_> {
    let rest = &file[offset..];
    if rest.iter().take(FRAME_BYTES).all(|byte| *byte == 0) {
        return Frame::Blank;
    }
    if rest.len() < FRAME_BYTES {
        return Frame::Torn("the frame's head is cut off");
    }
    let len = u32_at(rest, 0) as usize;
    if len > PAYLOAD_BYTES_MAX {
        return Frame::Torn("the frame's length is impossible");
    }
    let Some(payload) = rest.get(FRAME_BYTES..FRAME_BYTES + len) else {
        return Frame::Torn("the payload is cut off");
    };
    if checksum(payload) != u32_at(rest, 4) {
        return Frame::Torn("the checksum does not match");
    }
    Frame::Payload(payload)
}

/// Replaces the content of `out` by the frame of `record`.
pub(super) fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; FRAME_BYTES]);
    match record {
        Record::Put {
            revision,
            synced,
            resource,
            path,
            meta,
            bytes,
        } => {
            let head = (PUT, *revision, *synced);
            object(out, head, (resource, path), meta, bytes);
        }
        Record::Delete {
            revision,
            synced,
            resource,
            path,
            meta,
            bytes,
        } => {
            let head = (DELETE, *revision, *synced);
            object(out, head, (resource, path), meta, bytes);
        }
        Record::End { revision, count } => {
            out.push(END);
            out.extend_from_slice(&revision.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
        }
    }
    let (len, sum) = (out.len() - FRAME_BYTES, checksum(&out[FRAME_BYTES..]));
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&len.to_le_bytes());
    out[4..8].copy_from_slice(&sum.to_le_bytes());
}

fn object(
    out: &mut Vec<u8>,
    (tag, revision, synced): (u8, u64, u64),
    (resource, path): (&str, &str),
    meta: &Meta,
    bytes: &[u8],
) {
    out.push(tag);
    out.extend_from_slice(&revision.to_le_bytes());
    out.extend_from_slice(&synced.to_le_bytes());
    for text in [resource, path] {
        let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&text.as_bytes()[..len.into()]);
    }
    out.extend_from_slice(&meta.uid.to_le_bytes());
    let owners = u8::try_from(meta.owners.len()).unwrap_or(u8::MAX);
    out.push(owners);
    for owner in &meta.owners[..owners.into()] {
        out.extend_from_slice(&owner.to_le_bytes());
    }
    out.extend_from_slice(bytes);
}

/// The record in a payload of a file of this format whose checksum matched; `None` when it makes
/// no sense all the same.
pub(super) fn decode(payload: &[u8], format: u32) -> Option<Record<'_>> {
    let mut reader = Reader(payload);
    let [tag] = reader.array()?;
    let revision = u64::from_le_bytes(reader.array()?);
    if tag == END {
        let count = u64::from_le_bytes(reader.array()?);
        return Some(Record::End { revision, count });
    }
    let synced = match format {
        1 => 0,
        _ => u64::from_le_bytes(reader.array()?),
    };
    let (resource, path) = (reader.text()?, reader.text()?);
    let uid = u128::from_le_bytes(reader.array()?);
    let [owners] = reader.array()?;
    let owners = (0..owners).map(|_| reader.array().map(u128::from_le_bytes));
    let meta = Meta {
        uid,
        owners: owners.collect::<Option<_>>()?,
    };
    let bytes = reader.0;
    match tag {
        PUT => Some(Record::Put {
            revision,
            synced,
            resource,
            path,
            meta,
            bytes,
        }),
        DELETE => Some(Record::Delete {
            revision,
            synced,
            resource,
            path,
            meta,
            bytes,
        }),
        _ => None,
    }
}

/// The next offset from `from` on where a whole record of this format stands.
pub(super) fn find(file: &[u8], from: usize, format: u32) -> Option<(usize, Record<'_>)> {
    (from..file.len().saturating_sub(FRAME_BYTES)).find_map(|offset| {
        // Most offsets are told by their first bytes; only few need their checksum taken.
        let tag = *file.get(offset + FRAME_BYTES)?;
        if !(PUT..=END).contains(&tag) {
            return None;
        }
        match frame_at(file, offset) {
            Frame::Payload(payload) => Some((offset, decode(payload, format)?)),
            Frame::Blank | Frame::Torn(_) => None,
        }
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let len = u16::from_le_bytes(self.array()?);
        std::str::from_utf8(self.take(len.into())?).ok()
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(out)
}

fn checksum(payload: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(payload);
    crc.sum()
}
