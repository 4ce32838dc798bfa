//! Where a body ends (RFC 9112 section 6): by length, by chunks, or with the connection. The chunk
//! scanner is strict, because what it accepts is passed on byte for byte: two readers of one
//! stream must never disagree.

use std::ops::Range;

use crate::is_token;

/// The longest chunk-size line, extensions included.
const CHUNK_LINE_MAX: usize = 256;
/// All trailers together.
const TRAILERS_MAX: usize = 16 * 1024;

/// How a body's end is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
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
pub struct Malformed;

impl Framing {
    /// No body.
    pub const NONE: Self = Self::Length(0);

    /// The beginning of a chunked body.
    #[must_use]
    pub const fn chunked() -> Self {
        Self::Chunked(Chunks {
            state: State::SizeStart,
            remaining: 0,
            line: 0,
            trailers: 0,
        })
    }

    /// Whether the body has ended.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        match self {
            Self::Length(remaining) => *remaining == 0,
            Self::Chunked(chunks) => chunks.is_done(),
            Self::UntilClose => false,
        }
    }

    /// How many of these next bytes of the stream belong to the body.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn accept(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
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
pub struct Chunks {
    state: State,
    /// The size being read, then the bytes of data still to come.
    remaining: u64,
    /// Bytes of the size line so far.
    line: usize,
    /// Bytes of all trailers so far.
    trailers: usize,
}

impl Chunks {
    /// Whether the body has ended.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes a step over the next bytes (there must be one): how many it took, and which of them
    /// are data.
    ///
    /// # Errors
    /// [`Malformed`].
    ///
    /// # Panics
    /// When `bytes` is empty.
    pub fn step(&mut self, bytes: &[u8]) -> Result<(usize, Range<usize>), Malformed> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds the pieces one after the other: how much belongs to the body, and whether it has ended.
    fn scan(pieces: &[&[u8]]) -> Result<(usize, bool), Malformed> {
        let mut framing = Framing::chunked();
        let mut total = 0;
        for piece in pieces {
            let count = framing.accept(piece)?;
            total += count;
            if count < piece.len() {
                break;
            }
        }
        Ok((total, framing.is_done()))
    }

    fn encode(chunks: &[Vec<u8>], extension: &str, trailers: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            out.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        out
    }

    proptest! {
        #[test]
        fn a_chunked_body_ends_where_it_ends_however_it_is_cut(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            extension in "|;a|;a=b| ;x=\"y\"",
            trailers in "|X: 1\r\n|X: 1\r\nY-z:\r\n",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            next in "GET|0|\r\n",
        ) {
            let body = encode(&chunks, &extension, &trailers);
            let mut stream = body.clone();
            stream.extend_from_slice(next.as_bytes());
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            at.extend([0, stream.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(scan(&pieces).unwrap(), (body.len(), true));
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan(&[&bytes]);
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for body in [
            "\r\n",
            "x\r\n",
            "1 x\r\na\r\n0\r\n\r\n",
            "1\na\n0\n\n",
            "1\r\nab\r\n0\r\n\r\n",
            "1\r\na\n0\r\n\r\n",
            "-1\r\n",
            "0x1\r\n",
            "fffffffffffffffff\r\n",
            "0\r\nX : 1\r\n\r\n",
            "0\r\n: 1\r\n\r\n",
            "0\r\nX: 1\n\r\n",
            "1;\n\r\na\r\n",
        ] {
            assert!(scan(&[body.as_bytes()]).is_err(), "{body:?}");
        }
    }
}
