//! Bytes read and not yet used: a window that slides over one allocation.

/// What a connection starts with.
const SIZE_START: usize = 8 * 1024;

/// The buffer. Its memory is allocated with the first read.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What was read and not yet consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Forgets the first `count` bytes, which must have been read.
    pub(crate) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len());
        self.start += count;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room for the next read, at most `size_max` bytes in the buffer in all; empty when it is
    /// full. A buffer that is full doubles.
    pub(crate) fn room(&mut self, size_max: usize) -> &mut [u8] {
        if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            if self.end == self.bytes.len() {
                let size = (self.bytes.len() * 2).clamp(SIZE_START.min(size_max), size_max);
                self.bytes.resize(size.max(self.end), 0);
            }
        }
        &mut self.bytes[self.end..]
    }

    /// Says that `count` bytes were read into the room.
    pub(crate) fn advance(&mut self, count: usize) {
        self.end += count;
    }

    /// Gives memory beyond the starting size back when the buffer is empty.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() && self.bytes.len() > SIZE_START {
            self.bytes.truncate(SIZE_START);
            self.bytes.shrink_to_fit();
        }
    }
}
