//! How far a consumer has come, and the bytes that say so.
//!
//! `positions.rs` keeps them in a file; the bytes are in `docs/log.md`.

use crate::record::{u32_at, u64_at};

/// The file starts with this and the format number.
pub(crate) const MAGIC: &[u8; 8] = b"RKPOSIT\n";
pub(crate) const FILE_HEAD_BYTES: usize = 16;

/// More ranges than this are not kept: the last are left out, and their records are delivered
/// once more after a restart.
pub const DONE_RANGES_MAX: usize = 4096;

const SET: u8 = 1;
const REMOVE: u8 = 2;

/// What a consumer has done with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Everything in front of this offset.
    pub next: u64,
    /// Ranges `from..to` at or behind it, rising and apart: what parallel delivery finished early.
    pub done: Vec<(u64, u64)>,
}

impl Position {
    /// A consumer that has done with everything in front of `next` and nothing else.
    #[must_use]
    pub const fn at(next: u64) -> Self {
        Self {
            next,
            done: Vec::new(),
        }
    }

    /// Whether the record at `offset` needs no delivery any more.
    #[must_use]
    pub fn is_done(&self, offset: u64) -> bool {
        let behind = self.done.partition_point(|range| range.1 <= offset);
        offset < self.next || self.done.get(behind).is_some_and(|range| range.0 <= offset)
    }

    /// The position without anything at or behind `end`.
    pub(crate) fn clamp(&mut self, end: u64) -> bool {
        let before = (self.next, self.done.len());
        self.next = self.next.min(end);
        self.done.retain(|range| range.1 <= end);
        before != (self.next, self.done.len())
    }
}

/// One entry of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Set(String, Position),
    Remove(String),
}

pub(crate) fn encode_set(buffer: &mut Vec<u8>, name: &str, position: &Position) {
    frame(buffer, |payload| {
        payload.push(SET);
        put_name(payload, name);
        payload.extend_from_slice(&position.next.to_le_bytes());
        let kept = &position.done[..position.done.len().min(DONE_RANGES_MAX)];
        payload.extend_from_slice(&(kept.len() as u32).to_le_bytes());
        for (from, to) in kept {
            payload.extend_from_slice(&from.to_le_bytes());
            payload.extend_from_slice(&to.to_le_bytes());
        }
    });
}

pub(crate) fn encode_remove(buffer: &mut Vec<u8>, name: &str) {
    frame(buffer, |payload| {
        payload.push(REMOVE);
        put_name(payload, name);
    });
}

fn put_name(payload: &mut Vec<u8>, name: &str) {
    payload.extend_from_slice(&(name.len() as u32).to_le_bytes());
    payload.extend_from_slice(name.as_bytes());
}

fn frame(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 8]);
    write(buffer);
    let payload = &buffer[start + 8..];
    let len = (payload.len() as u32).to_le_bytes();
    let checksum = crc32fast::hash(payload).to_le_bytes();
    buffer[start..start + 4].copy_from_slice(&len);
    buffer[start + 4..start + 8].copy_from_slice(&checksum);
}

/// The entry at the start of `bytes` and how many bytes it takes; nothing at the end or where
/// bytes are torn or damaged.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Change, usize)> {
    let len = u32_at(bytes.get(..8)?, 0) as usize;
    let payload = bytes.get(8..8 + len)?;
    if len == 0 || crc32fast::hash(payload) != u32_at(bytes, 4) {
        return None;
    }
    let name_len = u32_at(payload.get(1..5)?, 0) as usize;
    let name = String::from_utf8(payload.get(5..5 + name_len)?.to_vec()).ok()?;
    let rest = &payload[5 + name_len..];
    let change = match payload[0] {
        REMOVE => Change::Remove(name),
        SET => Change::Set(name, decode_position(rest)?),
        _ => return None,
    };
    Some((change, 8 + len))
}

fn decode_position(bytes: &[u8]) -> Option<Position> {
    let next = u64_at(bytes.get(..8)?, 0);
    let count = u32_at(bytes.get(8..12)?, 0) as usize;
    let ranges = bytes.get(12..12 + count.checked_mul(16)?)?;
    let done = ranges
        .chunks_exact(16)
        .map(|range| (u64_at(range, 0), u64_at(range, 8)))
        .collect();
    Some(Position { next, done })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_torn_ones_do_not() {
        let position = Position {
            next: 5,
            done: vec![(7, 9), (12, 13)],
        };
        let mut bytes = Vec::new();
        encode_set(&mut bytes, "a-trigger", &position);
        let set = bytes.len();
        encode_remove(&mut bytes, "a-trigger");
        assert_eq!(
            decode(&bytes),
            Some((Change::Set("a-trigger".to_owned(), position), set))
        );
        let (change, _) = decode(&bytes[set..]).expect("the second entry");
        assert_eq!(change, Change::Remove("a-trigger".to_owned()));
        for cut in 0..set {
            assert_eq!(decode(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(decode(&[0; 64]), None);
    }

    #[test]
    fn done_is_what_lies_in_front_or_in_a_range() {
        let mut position = Position {
            next: 5,
            done: vec![(7, 9), (12, 13)],
        };
        let done: Vec<u64> = (0..15).filter(|n| position.is_done(*n)).collect();
        assert_eq!(done, [0, 1, 2, 3, 4, 7, 8, 12]);
        assert!(!position.clamp(13));
        assert!(position.clamp(10));
        assert_eq!(position.done, [(7, 9)]);
        assert!(position.clamp(3));
        assert_eq!(position, Position::at(3));
    }
}
