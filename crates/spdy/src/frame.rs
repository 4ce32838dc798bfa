//! Frames: cutting them out of a byte stream and writing them.

use crate::headers::{Headers, Packer, Unpacker};

/// The version in every control frame.
const VERSION: u16 = 3;
/// Set in the first byte of a control frame.
const CONTROL: u32 = 1 << 31;
/// Flag of the last frame of one direction of a stream.
const FIN: u8 = 1;
/// Lengths are 24 bits; larger data is cut into several frames.
const PAYLOAD_BYTES_MAX: usize = (1 << 24) - 1;

/// What goes wrong with what the peer sent; the connection is of no use afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// A control frame of another version.
    #[error("SPDY version {0} is not supported, only 3")]
    Version(u16),
    /// A frame shorter than its type needs.
    #[error("a SPDY frame of type {0} is too short")]
    Short(u16),
    /// A header block that does not unpack.
    #[error("a SPDY header block is malformed")]
    Headers,
}

/// One frame, as far as Kubernetes' clients use the protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Opens stream `id`; `fin` says the opener will send no data.
    SynStream {
        /// Odd when the client opened it.
        id: u32,
        /// No data follows from the opener.
        fin: bool,
        /// The stream's headers.
        headers: Headers,
    },
    /// Accepts stream `id`.
    SynReply {
        /// The stream.
        id: u32,
        /// No data follows from the acceptor.
        fin: bool,
        /// The answer's headers, usually none.
        headers: Headers,
    },
    /// Data of stream `id`; with `fin` the last.
    Data {
        /// The stream.
        id: u32,
        /// The sender closes its direction.
        fin: bool,
        /// May be empty.
        bytes: Vec<u8>,
    },
    /// Ends stream `id` both ways.
    Reset {
        /// The stream.
        id: u32,
        /// A status of section 2.4.2; 5 is CANCEL.
        status: u32,
    },
    /// To be answered with the same number.
    Ping(u32),
    /// The peer opens no more streams and will close.
    GoAway,
    /// Settings, window updates and the like: nothing to do.
    Ignored,
}

/// Both directions of one connection.
pub struct Codec {
    packer: Packer,
    unpacker: Unpacker,
    received: Vec<u8>,
}

impl Default for Codec {
    fn default() -> Self {
        Self {
            packer: Packer::new(),
            unpacker: Unpacker::new(),
            received: Vec::new(),
        }
    }
}

impl Codec {
    /// Takes in bytes from the peer.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.received.extend(bytes);
    }

    /// The next whole frame received, if there is one.
    ///
    /// # Errors
    /// When the peer does not follow the protocol.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        let Some(head) = self.received.first_chunk::<8>() else {
            return Ok(None);
        };
        let [a, b, c, d, flags, length @ ..] = *head;
        let word = u32::from_be_bytes([a, b, c, d]);
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize;
        if self.received.len() < 8 + length {
            return Ok(None);
        }
        let payload: Vec<u8> = self.received.drain(..8 + length).skip(8).collect();
        let fin = flags & FIN != 0;
        if word & CONTROL == 0 {
            return Ok(Some(Frame::Data {
                id: word,
                fin,
                bytes: payload,
            }));
        }
        let version = ((word >> 16) & 0x7fff) as u16;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        self.control((word & 0xffff) as u16, fin, &payload)
            .map(Some)
    }

    fn control(&mut self, kind: u16, fin: bool, payload: &[u8]) -> Result<Frame, Error> {
        let number = |at: usize| {
            let bytes = payload
                .get(at..at + 4)
                .and_then(|bytes| bytes.first_chunk::<4>());
            bytes
                .map(|bytes| u32::from_be_bytes(*bytes))
                .ok_or(Error::Short(kind))
        };
        let id = |at| number(at).map(|id| id & !CONTROL);
        let mut headers = |at: usize| {
            self.unpacker
                .unpack(payload.get(at..).ok_or(Error::Short(kind))?)
        };
        Ok(match kind {
            1 => Frame::SynStream {
                id: id(0)?,
                fin,
                headers: headers(10)?,
            },
            2 => Frame::SynReply {
                id: id(0)?,
                fin,
                headers: headers(4)?,
            },
            3 => Frame::Reset {
                id: id(0)?,
                status: number(4)?,
            },
            6 => Frame::Ping(number(0)?),
            7 => Frame::GoAway,
            // HEADERS: nothing in them matters here, but the compression stream must see them.
            8 => headers(4).map(|_| Frame::Ignored)?,
            _ => Frame::Ignored,
        })
    }

    /// The bytes of `frame`.
    pub fn encode(&mut self, frame: &Frame) -> Vec<u8> {
        match frame {
            Frame::SynStream { id, fin, headers } => {
                let mut payload = [id.to_be_bytes(), [0; 4]].concat();
                payload.extend([0, 0]);
                payload.extend(self.packer.pack(headers));
                control(1, *fin, &payload)
            }
            Frame::SynReply { id, fin, headers } => {
                let payload = [&id.to_be_bytes()[..], &self.packer.pack(headers)].concat();
                control(2, *fin, &payload)
            }
            Frame::Data { id, fin, bytes } => data(*id, *fin, bytes),
            Frame::Reset { id, status } => {
                control(3, false, &[id.to_be_bytes(), status.to_be_bytes()].concat())
            }
            Frame::Ping(number) => control(6, false, &number.to_be_bytes()),
            Frame::GoAway => control(7, false, &[0; 8]),
            Frame::Ignored => Vec::new(),
        }
    }
}

fn control(kind: u16, fin: bool, payload: &[u8]) -> Vec<u8> {
    let word = CONTROL | u32::from(VERSION) << 16 | u32::from(kind);
    frame(word, fin, payload)
}

fn data(id: u32, fin: bool, bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return frame(id, fin, bytes);
    }
    let mut chunks = bytes.chunks(PAYLOAD_BYTES_MAX).peekable();
    let mut encoded = Vec::with_capacity(bytes.len() + 8);
    while let Some(chunk) = chunks.next() {
        encoded.extend(frame(id, fin && chunks.peek().is_none(), chunk));
    }
    encoded
}

fn frame(word: u32, fin: bool, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut encoded = Vec::with_capacity(payload.len() + 8);
    encoded.extend(word.to_be_bytes());
    encoded.push(u8::from(fin) * FIN);
    encoded.extend(&length[1..]);
    encoded.extend(payload);
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let id = || 1u32..100;
        let headers = || proptest::collection::vec(("[a-z]{1,9}", "[ -~]{0,30}"), 0..5);
        let bytes = proptest::collection::vec(any::<u8>(), 0..200);
        prop_oneof![
            (id(), any::<bool>(), headers()).prop_map(|(id, fin, headers)| Frame::SynStream {
                id,
                fin,
                headers
            }),
            (id(), any::<bool>(), headers()).prop_map(|(id, fin, headers)| Frame::SynReply {
                id,
                fin,
                headers
            }),
            (id(), any::<bool>(), bytes).prop_map(|(id, fin, bytes)| Frame::Data {
                id,
                fin,
                bytes
            }),
            (id(), 1u32..9).prop_map(|(id, status)| Frame::Reset { id, status }),
            any::<u32>().prop_map(Frame::Ping),
            Just(Frame::GoAway),
        ]
    }

    proptest! {
        #[test]
        fn what_is_sent_is_received(sent in proptest::collection::vec(frames(), 0..20), cut in 1usize..50) {
            let (mut sender, mut receiver) = (Codec::default(), Codec::default());
            let bytes: Vec<u8> = sent.iter().flat_map(|frame| sender.encode(frame)).collect();
            let mut received = Vec::new();
            for piece in bytes.chunks(cut) {
                receiver.receive(piece);
                while let Some(frame) = receiver.next_frame().expect("well formed") {
                    received.push(frame);
                }
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut codec = Codec::default();
            codec.receive(&bytes);
            while let Ok(Some(_)) = codec.next_frame() {}
        }
    }
}
