//! Two TCP connections joined: bytes both ways through pipes in the kernel, half-close passed on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How much is moved at once; what a pipe holds by default.
const CHUNK_BYTES: usize = 64 * 1024;

/// Moves bytes until both sides have said all they have to say. An error of either side ends both
/// directions.
pub(super) async fn both_ways(one: &TcpStream, other: &TcpStream) -> io::Result<()> {
    tokio::try_join!(one_way(one, other), one_way(other, one))?;
    Ok(())
}

async fn one_way(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let pipe = Pipe::open()?;
    loop {
        let mut held = match pipe.fill(from).await? {
            0 => break,
            held => held,
        };
        while held > 0 {
            held -= pipe.empty(to, held).await?;
        }
    }
    match rustix::net::shutdown(to, rustix::net::Shutdown::Write) {
        // The other side has gone already; it has what it wanted.
        Err(Errno::NOTCONN) => Ok(()),
        other => Ok(other?),
    }
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { read, write })
    }

    /// Takes what the connection has; 0 at its end. The pipe is empty, so only the connection can
    /// be what is waited for.
    async fn fill(&self, from: &TcpStream) -> io::Result<usize> {
        from.async_io(Interest::READABLE, || {
            splice(from, &self.write, CHUNK_BYTES)
        })
        .await
    }

    async fn empty(&self, to: &TcpStream, held: usize) -> io::Result<usize> {
        to.async_io(Interest::WRITABLE, || splice(&self.read, to, held))
            .await
    }
}

fn splice(from: impl AsFd, to: impl AsFd, length: usize) -> io::Result<usize> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    Ok(rustix::pipe::splice(from, None, to, None, length, flags)?)
}
