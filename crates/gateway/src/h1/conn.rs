//! One side of an exchange: a byte stream with what was read ahead and what is still to be
//! written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::buffer::Buffer;
use crate::wire::Wire;

/// A connection to an application.
pub(crate) type Upstream = Conn<Wire>;

/// A stream, its read-ahead and its pending output.
pub(crate) struct Conn<S> {
    pub(crate) io: S,
    pub(crate) input: Buffer,
    /// Bytes to be written, from `written` on.
    pub(crate) output: Vec<u8>,
    written: usize,
    /// Bytes were given to the stream and not flushed out of it (TLS holds records back).
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    pub(crate) fn new(io: S) -> Self {
        Self {
            io,
            input: Buffer::default(),
            output: Vec::new(),
            written: 0,
            unflushed: false,
        }
    }

    /// Reads once into the buffer, up to `size_max` bytes in it. `Ready(0)` is the end of the
    /// stream, or a full buffer.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        size_max: usize,
    ) -> Poll<io::Result<usize>> {
        let room = self.input.room(size_max);
        let mut room = ReadBuf::new(room);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        self.input.advance(count);
        Poll::Ready(Ok(count))
    }

    /// Writes out what is pending in `output`.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            self.written += ready!(poll_write_some(Pin::new(&mut self.io), cx, rest))?;
            self.unflushed = true;
        }
        self.discard_output();
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes bytes past `output`, which must have been flushed.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(poll_write_some(Pin::new(&mut self.io), cx, bytes))?;
        self.unflushed = true;
        Poll::Ready(Ok(count))
    }

    /// Says that nothing more will be written.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Whether nothing of the output has gone out yet.
    pub(crate) const fn is_unsent(&self) -> bool {
        self.written == 0
    }

    /// Forgets what is pending.
    pub(crate) fn discard_output(&mut self) {
        self.output.clear();
        self.written = 0;
    }

    /// Watches a client that should be silent: ready when it has gone. What it sends ahead (the
    /// next request) is kept, up to `size_max` bytes.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>, size_max: usize) -> Poll<()> {
        while self.input.len() < size_max {
            match ready!(self.poll_fill(cx, size_max)) {
                Ok(count) if count > 0 => {}
                Ok(_) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

fn poll_write_some<S: AsyncWrite>(
    io: Pin<&mut S>,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match ready!(io.poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        count => Poll::Ready(Ok(count)),
    }
}
