//! Where a body ends (RFC 9112 section 6): by length, by chunks, or with the connection. The chunk
//! scanner is strict, because what it accepts is passed on byte for byte: two readers of one
//! stream must never disagree.

use std::ops::Range;

use crate::forwarded::is_token;

/// The longest chunk-size line, extensions included.
const CHUNK_LINE_MAX: usize = 256;
/// All trailers together.
const TRAILERS_MAX: usize = 16 * 1024;

/// How a body's end is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    /// This many bytes are still to come.
    Length(u64),
    /// Chunked; the scanner says where it stands.
    Chunked(Chunks),
    /// Everything until the stream ends.
    UntilClose,
}

/// A body that cannot be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed chunked body")]
pub(crate) struct Malformed;

impl Framing {
    /// No body.
    pub(crate) const NONE: Self = Self::Length(0);

    /// The beginning of a chunked body.
    pub(crate) const fn chunked() -> Self {
        Self::Chunked(Chunks {
            state: State::SizeStart,
            remaining: 0,
            line: 0,
            trailers: 0,
        })
    }

    /// Whether the body has ended.
    pub(crate) const fn is_done(&self) -> bool {
        match self {
            Self::Length(remaining) => *remaining == 0,
            Self::Chunked(chunks) => matches!(chunks.state, State::Done),
            Self::UntilClose => false,
        }
    }

    /// How many of these next bytes of the stream belong to the body.
    pub(crate) fn accept(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Self::Length(remaining) => {
                let count = usize::try_from(*remaining).map_or(bytes.len(), |n| n.min(bytes.len()));
                *remaining -= count as u64;
                Ok(count)
            }
            Self::UntilClose => Ok(bytes.len()),
            Self::Chunked(chunks) => {
                let mut count = 0;
                while count < bytes.len() && !matches!(chunks.state, State::Done) {
                    count += chunks.step(&bytes[count..])?.0;
                }
                Ok(count)
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Before the first digit of a size.
    SizeStart,
    Size,
    /// After the size, before an extension.
    SizeSpace,
    /// In a chunk extension.
    Extension,
    SizeNewline,
    Data,
    DataReturn,
    DataNewline,
    /// At the beginning of a trailer line.
    TrailerStart,
    TrailerName,
    Trailer,
    TrailerNewline,
    EndNewline,
    Done,
}

/// The scanner of a chunked body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chunks {
    state: State,
    /// The size being read, then the bytes of data still to come.
    remaining: u64,
    /// Bytes of the size line so far.
    line: usize,
    /// Bytes of all trailers so far.
    trailers: usize,
}

impl Chunks {
    /// Takes a step over the next bytes (there must be one): how many it took, and which of them
    /// are data.
    pub(crate) fn step(&mut self, bytes: &[u8]) -> Result<(usize, Range<usize>), Malformed> {
        if self.state == State::Data {
            let count = usize::try_from(self.remaining).map_or(bytes.len(), |n| n.min(bytes.len()));
            self.remaining -= count as u64;
            if self.remaining == 0 {
                self.state = State::DataReturn;
            }
            return Ok((count, 0..count));
        }
        self.state = self.next(bytes[0])?;
        Ok((1, 0..0))
    }

    fn next(&mut self, byte: u8) -> Result<State, Malformed> {
        match (self.state, byte) {
            (State::SizeStart | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.digit(byte)
            }
            (State::Size | State::SizeSpace | State::Extension, b'\r') => Ok(State::SizeNewline),
            (State::Size | State::SizeSpace, b' ' | b'\t') => {
                self.count_line().map(|()| State::SizeSpace)
            }
            (State::Size | State::SizeSpace, b';')
            | (State::Extension, b'\t' | b' '..=b'~' | 0x80..) => {
                self.count_line().map(|()| State::Extension)
            }
            (State::SizeNewline, b'\n') => {
                self.line = 0;
                Ok(if self.remaining == 0 {
                    State::TrailerStart
                } else {
                    State::Data
                })
            }
            (State::DataReturn, b'\r') => Ok(State::DataNewline),
            (State::DataNewline, b'\n') => Ok(State::SizeStart),
            (State::TrailerStart, b'\r') => Ok(State::EndNewline),
            (State::EndNewline, b'\n') => Ok(State::Done),
            (State::TrailerName, b':') => self.count_trailer().map(|()| State::Trailer),
            (State::TrailerStart | State::TrailerName, byte) if is_token(byte) => {
                self.count_trailer().map(|()| State::TrailerName)
            }
            (State::Trailer, b'\r') => Ok(State::TrailerNewline),
            (State::Trailer, b'\t' | b' '..=b'~' | 0x80..) => {
                self.count_trailer().map(|()| State::Trailer)
            }
            (State::TrailerNewline, b'\n') => Ok(State::TrailerStart),
            _ => Err(Malformed),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, Malformed> {
        self.count_line()?;
        let digit = (byte as char).to_digit(16).ok_or(Malformed)?;
        // The top bits must be free, or the size would overflow.
        if self.remaining >> 59 != 0 {
            return Err(Malformed);
        }
        self.remaining = self.remaining << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn count_line(&mut self) -> Result<(), Malformed> {
        self.line += 1;
        if self.line > CHUNK_LINE_MAX {
            Err(Malformed)
        } else {
            Ok(())
        }
    }

    fn count_trailer(&mut self) -> Result<(), Malformed> {
        self.trailers += 1;
        if self.trailers > TRAILERS_MAX {
            Err(Malformed)
        } else {
            Ok(())
        }
    }
}
