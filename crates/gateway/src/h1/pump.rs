//! Moves one body from one connection to the other, byte for byte, with as much buffered as one
//! read brings: what arrives is passed on at once (server-sent events need no flushing).

use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::conn::Conn;
use http1::framing::Framing;

/// The most a connection's buffer holds of a body.
const BUFFER_MAX: usize = 64 * 1024;
/// A body's beginning up to this size travels in one write with its head.
const PRIME_MAX: usize = 16 * 1024;

/// Why a body did not get through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PumpError {
    /// Its sender failed, sent nonsense, or stopped half-way.
    #[error("read the body")]
    Source(#[source] io::Error),
    /// Its receiver failed.
    #[error("write the body")]
    Sink(#[source] io::Error),
}

/// One body under way.
pub(crate) struct Pump {
    framing: Framing,
    dechunk: bool,
    /// Bytes at the front of the source's input that belong to the body and are not written yet.
    approved: usize,
    /// Bytes written.
    pub(crate) moved: u64,
}

impl Pump {
    pub(crate) const fn new(framing: Framing, dechunk: bool) -> Self {
        Self {
            framing,
            dechunk,
            approved: 0,
            moved: 0,
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.approved == 0 && self.framing.is_done()
    }

    /// Appends what is there of the body already to its head in `out`, up to a limit.
    pub(crate) fn prime<S>(&mut self, from: &mut Conn<S>, out: &mut Vec<u8>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.framing.is_done() || from.input.is_empty() {
            return Ok(());
        }
        if self.dechunk {
            return self.unpack(from, out);
        }
        let bytes = from.input.filled();
        let count = self
            .framing
            .accept(&bytes[..bytes.len().min(PRIME_MAX)])
            .map_err(bad_data)?;
        out.extend_from_slice(&bytes[..count]);
        from.input.consume(count);
        Ok(())
    }

    /// Moves what can be moved; ready when the whole body has been written and flushed.
    pub(crate) fn poll<S, D>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Conn<S>,
        to: &mut Conn<D>,
    ) -> Poll<Result<(), PumpError>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        D: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if self.approved > 0 {
                ready!(to.poll_flush(cx)).map_err(PumpError::Sink)?;
                let bytes = &from.input.filled()[..self.approved];
                let count = ready!(to.poll_write(cx, bytes)).map_err(PumpError::Sink)?;
                from.input.consume(count);
                self.approved -= count;
                self.moved += count as u64;
            } else if self.framing.is_done() {
                return to.poll_flush(cx).map_err(PumpError::Sink);
            } else if from.input.is_empty() {
                ready!(to.poll_flush(cx)).map_err(PumpError::Sink)?;
                ready!(self.poll_read(cx, from)).map_err(PumpError::Source)?;
            } else if self.dechunk {
                let before = to.output.len();
                self.unpack(from, &mut to.output)
                    .map_err(PumpError::Source)?;
                self.moved += (to.output.len() - before) as u64;
            } else {
                let accepted = self.framing.accept(from.input.filled());
                self.approved = accepted.map_err(|error| PumpError::Source(bad_data(error)))?;
            }
        }
    }

    fn poll_read<S>(&mut self, cx: &mut Context<'_>, from: &mut Conn<S>) -> Poll<io::Result<()>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let count = ready!(from.poll_fill(cx, BUFFER_MAX))?;
        if count == 0 {
            if self.framing != Framing::UntilClose {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.framing = Framing::NONE;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the data out of the chunks that are there.
    fn unpack<S>(&mut self, from: &mut Conn<S>, out: &mut Vec<u8>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while let Framing::Chunked(chunks) = &mut self.framing
            && !from.input.is_empty()
        {
            let bytes = from.input.filled();
            let (count, data) = chunks.step(bytes).map_err(bad_data)?;
            out.extend_from_slice(&bytes[data]);
            from.input.consume(count);
            if self.framing.is_done() {
                break;
            }
        }
        Ok(())
    }
}

fn bad_data(error: http1::framing::Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
