//! The bytes of one record: a head of 28 bytes and the payload.
//!
//! The table is in `docs/log.md`. Written by `append.rs`, read by `recover.rs` and `reader.rs`.

use bytes::Bytes;

/// Bytes in front of a payload.
pub(crate) const HEAD_BYTES: usize = 28;

/// The largest payload, in bytes; [`crate::Error::TooLarge`] beyond it. It also tells a damaged
/// length from a true one.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// One event of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log: the first record has 0, each one more.
    pub offset: u64,
    /// When it was appended, in milliseconds since 1970; never less than that of the one before.
    pub arrival_ms: u64,
    /// What was appended. It shares memory with its neighbours (some 64 KiB): copy it to keep it
    /// for long.
    pub payload: Bytes,
}

/// What stands in front of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) payload_bytes: usize,
    pub(crate) offset: u64,
    pub(crate) arrival_ms: u64,
    /// How many records of the same commit are in front of this one: all others in front were
    /// already synced when this one was written.
    pub(crate) behind: u32,
}

/// What the bytes at some place of a segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole record.
    Record(Head),
    /// More bytes are needed to tell; how many in all.
    Short(usize),
    /// No record: unwritten, torn or damaged.
    Nothing,
}

impl Head {
    pub(crate) const fn record_bytes(&self) -> usize {
        HEAD_BYTES + self.payload_bytes
    }
}

/// Appends a record to `buffer`.
pub(crate) fn encode(buffer: &mut Vec<u8>, head: Head, payload: &[u8]) {
    let start = buffer.len();
    buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&head.offset.to_le_bytes());
    buffer.extend_from_slice(&head.arrival_ms.to_le_bytes());
    buffer.extend_from_slice(&head.behind.to_le_bytes());
    buffer.extend_from_slice(payload);
    let checksum = checksum(&buffer[start..]);
    buffer[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads the head at the start of `bytes` without checking it; `bytes` holds a whole record that
/// was checked before.
pub(crate) fn head(bytes: &[u8]) -> Option<Head> {
    let bytes = bytes.get(..HEAD_BYTES)?;
    Some(Head {
        payload_bytes: u32_at(bytes, 0) as usize,
        offset: u64_at(bytes, 8),
        arrival_ms: u64_at(bytes, 16),
        behind: u32_at(bytes, 24),
    })
}

/// Tells whether `bytes` starts with a whole record.
pub(crate) fn find(bytes: &[u8]) -> Found {
    let Some(head) = head(bytes) else {
        return Found::Short(HEAD_BYTES);
    };
    if head.payload_bytes > PAYLOAD_BYTES_MAX || bytes[..HEAD_BYTES].iter().all(|b| *b == 0) {
        return Found::Nothing;
    }
    match bytes.get(..head.record_bytes()) {
        None => Found::Short(head.record_bytes()),
        Some(record) if checksum(record) == u32_at(record, 4) => Found::Record(head),
        Some(_) => Found::Nothing,
    }
}

/// CRC-32 of a record without the field that holds it.
fn checksum(record: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&record[..4]);
    crc.update(&record[8..]);
    crc.finalize()
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let head = Head {
            payload_bytes: payload.len(),
            offset: 7,
            arrival_ms: 1_700_000_000_000,
            behind: 3,
        };
        encode(&mut bytes, head, payload);
        bytes
    }

    #[test]
    fn a_record_is_found_whole_or_not_at_all() {
        for payload in [&b""[..], b"x", b"an event"] {
            let whole = sample(payload);
            let Found::Record(head) = find(&whole) else {
                panic!("not found");
            };
            assert_eq!((head.offset, head.behind), (7, 3));
            assert_eq!(head.record_bytes(), whole.len());
            for cut in 0..whole.len() {
                assert!(matches!(find(&whole[..cut]), Found::Short(_)), "{cut}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = sample(b"an event");
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(find(&damaged), Found::Record(_)), "bit {bit}");
        }
        assert_eq!(find(&[0; 64]), Found::Nothing);
    }
}
