//! The sparse index of one segment: some 64 KiB of records to an entry, found by offset or by time.

use crate::record::u64_at;

/// Bytes of one entry in a segment's foot.
pub(crate) const ENTRY_BYTES: usize = 24;

/// A record gets an entry when it begins at least so many bytes behind the last entry's.
pub(crate) const EVERY_BYTES: u64 = 64 << 10;

/// One record that the index knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    /// Where its head begins in the file.
    pub(crate) position: u64,
    pub(crate) arrival_ms: u64,
}

/// Entries in rising order; the first is the segment's first record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    /// Notes a record if it is far enough behind the last noted one.
    pub(crate) fn note(&mut self, entry: Entry) {
        let due = self
            .entries
            .last()
            .is_none_or(|last| entry.position - last.position >= EVERY_BYTES);
        if due {
            self.entries.push(entry);
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes `from..to` of whole records among which `offset` is, if the segment holds it;
    /// `data_end` is where its records end.
    pub(crate) fn span(&self, offset: u64, data_end: u64) -> Option<(u64, u64)> {
        let next = self.entries.partition_point(|e| e.offset <= offset);
        let from = self.entries.get(next.checked_sub(1)?)?.position;
        Some((
            from,
            self.entries.get(next).map_or(data_end, |e| e.position),
        ))
    }

    /// An offset from which on a search for the first record of `time_ms` or later must begin.
    pub(crate) fn before(&self, time_ms: u64) -> Option<u64> {
        let next = self.entries.partition_point(|e| e.arrival_ms < time_ms);
        Some(self.entries.get(next.saturating_sub(1))?.offset)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * ENTRY_BYTES);
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.offset.to_le_bytes());
            bytes.extend_from_slice(&entry.position.to_le_bytes());
            bytes.extend_from_slice(&entry.arrival_ms.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let entries = bytes
            .chunks_exact(ENTRY_BYTES)
            .map(|entry| Entry {
                offset: u64_at(entry, 0),
                position: u64_at(entry, 8),
                arrival_ms: u64_at(entry, 16),
            })
            .collect();
        Self { entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_times_are_found_between_entries() {
        let mut index = Index::default();
        for (offset, position) in [(10, 40), (11, 1_000), (12, 70_000), (13, 140_000)] {
            index.note(Entry {
                offset,
                position,
                arrival_ms: offset * 100,
            });
        }
        assert_eq!(index.len(), 3, "the second record is too near to the first");
        for (offset, span) in [
            (9, None),
            (10, Some((40, 70_000))),
            (11, Some((40, 70_000))),
            (12, Some((70_000, 140_000))),
            (99, Some((140_000, 150_000))),
        ] {
            assert_eq!(index.span(offset, 150_000), span, "offset {offset}");
        }
        for (time, offset) in [(0, 10), (1_000, 10), (1_150, 10), (1_250, 12), (9_999, 13)] {
            assert_eq!(index.before(time), Some(offset), "time {time}");
        }
        assert_eq!(Index::decode(&index.encode()), index);
    }
}
