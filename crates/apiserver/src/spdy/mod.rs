//! SPDY/3.1 sessions, for exec, attach and port-forward of kubectl before 1.31: the shell around
//! the frames of crate `spdy`. Gives each stream the client opens to whoever asked for the
//! session, as channels of bytes; what the streams mean is not known here.

use std::collections::BTreeMap;
use std::io;

use bytes::{Bytes, BytesMut};
use spdy::{Codec, Frame, Headers};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::mpsc;
use tracing::debug;

/// Frames that wait to be written, for all streams of a session.
const FRAMES_WAITING_MAX: usize = 64;
/// Pieces of data that wait to be read, for each stream. The reader of the connection waits when
/// one stream is full, as the protocol's users expect without flow control.
const PIECES_WAITING_MAX: usize = 64;
/// Streams the client may have opened and nobody taken yet.
const STREAMS_WAITING_MAX: usize = 256;
/// Bytes read from the connection at once.
const READ_BYTES: usize = 32 * 1024;

/// A stream the client opened.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Its headers, `streamtype` among them. Names are lower case.
    pub(crate) headers: Headers,
    /// What the client sends; the end of the channel is the end of its data.
    pub(crate) incoming: mpsc::Receiver<Bytes>,
    /// The way back.
    pub(crate) outgoing: Outgoing,
}

impl Stream {
    /// The value of header `name`, given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Sends data on one stream.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    id: u32,
    frames: mpsc::Sender<Frame>,
}

impl Outgoing {
    /// Sends `bytes`; nothing happens when the client is gone.
    pub(crate) async fn data(&self, bytes: Bytes) {
        let frame = Frame::Data { id: self.id, fin: false, bytes: bytes.into() };
        drop(self.frames.send(frame).await);
    }

    /// Says that no more data comes.
    pub(crate) async fn finish(&self) {
        let frame = Frame::Data { id: self.id, fin: true, bytes: Vec::new() };
        drop(self.frames.send(frame).await);
    }
}

/// Runs a session over `io`; the returned channel gives the streams the client opens and ends
/// with the connection. Dropping it and all streams ends the session.
pub(crate) fn serve<IO>(io: IO) -> mpsc::Receiver<Stream>
where
    IO: AsyncRead + AsyncWrite + Send + 'static,
{
    let (streams, opened) = mpsc::channel(STREAMS_WAITING_MAX);
    tokio::spawn(async move {
        if let Err(error) = run(io, streams).await {
            debug!(%error, "a SPDY session ended");
        }
    });
    opened
}

async fn run<IO: AsyncRead + AsyncWrite>(io: IO, streams: mpsc::Sender<Stream>) -> io::Result<()> {
    let (mut reader, mut writer) = split(io);
    let (frames, mut to_write) = mpsc::channel::<Frame>(FRAMES_WAITING_MAX);
    let mut session = Session {
        streams: Some(streams),
        frames: Some(frames),
        incoming: BTreeMap::new(),
    };
    let mut codec = Codec::default();
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        tokio::select! {
            frame = to_write.recv() => match frame {
                Some(frame) => writer.write_all(&codec.encode(&frame)).await?,
                // Every stream is done and the session is closed to new ones.
                None => return writer.shutdown().await,
            },
            count = reader.read_buf(&mut buffer) => {
                if count? == 0 {
                    session.close();
                    return drain(&mut writer, &mut codec, to_write).await;
                }
                codec.receive(&buffer.split());
                while let Some(frame) = codec.next_frame().map_err(io::Error::other)? {
                    if let Some(reply) = session.take(frame).await {
                        writer.write_all(&codec.encode(&reply)).await?;
                    }
                }
            }
        }
    }
}

/// The client sends no more, but may still read.
async fn drain(
    writer: &mut (impl AsyncWrite + Unpin),
    codec: &mut Codec,
    mut to_write: mpsc::Receiver<Frame>,
) -> io::Result<()> {
    while let Some(frame) = to_write.recv().await {
        writer.write_all(&codec.encode(&frame)).await?;
    }
    writer.shutdown().await
}

/// Where the data of each stream goes.
struct Session {
    streams: Option<mpsc::Sender<Stream>>,
    frames: Option<mpsc::Sender<Frame>>,
    incoming: BTreeMap<u32, mpsc::Sender<Bytes>>,
}

impl Session {
    /// Takes one frame in; the answer to it, if it wants one.
    async fn take(&mut self, frame: Frame) -> Option<Frame> {
        match frame {
            Frame::SynStream { id, fin, headers } => return self.open(id, fin, headers).await,
            Frame::Data { id, fin, bytes } => {
                if let Some(sender) = self.incoming.get(&id)
                    && !bytes.is_empty()
                {
                    // Whoever does not read any more does not want it.
                    drop(sender.send(bytes.into()).await);
                }
                if fin {
                    self.incoming.remove(&id);
                }
            }
            Frame::Reset { id, .. } => drop(self.incoming.remove(&id)),
            Frame::Ping(number) => return Some(Frame::Ping(number)),
            Frame::GoAway => self.streams = None,
            Frame::SynReply { .. } | Frame::Ignored => {}
        }
        None
    }

    async fn open(&mut self, id: u32, fin: bool, headers: Headers) -> Option<Frame> {
        let refused = Some(Frame::Reset { id, status: 3 });
        let (Some(streams), Some(frames)) = (&self.streams, &self.frames) else { return refused };
        let (sender, incoming) = mpsc::channel(PIECES_WAITING_MAX);
        let outgoing = Outgoing { id, frames: frames.clone() };
        if streams.send(Stream { headers, incoming, outgoing }).await.is_err() {
            // Nobody waits for more streams: what is open may end in peace.
            self.streams = None;
            self.frames = None;
            return refused;
        }
        if !fin {
            self.incoming.insert(id, sender);
        }
        Some(Frame::SynReply { id, fin: false, headers: Headers::new() })
    }

    fn close(&mut self) {
        self.streams = None;
        self.frames = None;
        self.incoming.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_carries_bytes_both_ways_and_ends() {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let mut opened = serve(ours);
        let mut client = Codec::default();
        let headers = vec![("streamtype".to_owned(), "stdin".to_owned())];
        for frame in [
            Frame::SynStream { id: 1, fin: false, headers: headers.clone() },
            Frame::Ping(7),
            Frame::Data { id: 1, fin: true, bytes: b"hello".to_vec() },
        ] {
            theirs.write_all(&client.encode(&frame)).await.expect("the session reads");
        }
        let mut stream = opened.recv().await.expect("one stream");
        assert_eq!(stream.header("streamtype"), Some("stdin"));
        assert_eq!(stream.incoming.recv().await.as_deref(), Some(&b"hello"[..]));
        assert_eq!(stream.incoming.recv().await, None);
        stream.outgoing.data(Bytes::from_static(b"world")).await;
        stream.outgoing.finish().await;

        let mut received = Vec::new();
        while received.len() < 4 {
            let mut buffer = [0; 512];
            let count = theirs.read(&mut buffer).await.expect("the session writes");
            client.receive(&buffer[..count]);
            while let Some(frame) = client.next_frame().expect("well formed") {
                received.push(frame);
            }
        }
        let data = |fin, bytes: &[u8]| Frame::Data { id: 1, fin, bytes: bytes.to_vec() };
        let reply = Frame::SynReply { id: 1, fin: false, headers: Headers::new() };
        assert_eq!(received, [reply, Frame::Ping(7), data(false, b"world"), data(true, b"")]);
    }
}
