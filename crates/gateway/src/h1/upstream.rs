//! Connections to applications: from the Pod's list of idle ones, or new.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;

use serving::route::Pod;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use super::conn::Upstream;
use crate::pod::PodState;
use crate::wire::Wire;
use crate::worker::Worker;

/// An idle connection that still stands. `strict` looks at the socket itself, for requests that
/// cannot be repeated; otherwise what the reactor has seen is enough.
pub(crate) fn take_idle(worker: &Worker, pod: &PodState, strict: bool) -> Option<Upstream> {
    while let Some(connection) = pod.take_idle(worker.lane) {
        if connection.input.is_empty() && is_silent(connection.io.socket(), strict) {
            return Some(connection);
        }
    }
    None
}

/// Neither closed by the other side nor holding bytes that nobody asked for.
fn is_silent(stream: &TcpStream, strict: bool) -> bool {
    let would_block = |result: io::Result<usize>| {
        result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    };
    if strict {
        return would_block(SockRef::from(stream).peek(&mut [MaybeUninit::uninit(); 1]));
    }
    would_block(stream.try_read(&mut [0; 1]))
}

/// A new connection to the Pod's application, through its queue-proxy where that is asked by TLS.
pub(crate) async fn connect(worker: &Worker, pod: &PodState) -> io::Result<Wire> {
    let facts = pod.facts.load_full();
    if let (Some(name), Some(peers)) = (&facts.tls_name, &worker.peers) {
        let connecting = Box::pin(peers.connect((pod, &facts, name), &*worker.dialer));
        return connecting.await.map(|stream| Wire::Tls(Box::new(stream)));
    }
    connect_plain(worker, &facts).await.map(Wire::Plain)
}

/// A new connection to the application itself.
pub(crate) async fn connect_plain(worker: &Worker, pod: &Pod) -> io::Result<TcpStream> {
    let (socket, address) = worker.dialer.socket(pod)?;
    socket.set_nonblocking(true)?;
    let stream = TcpSocket::from_std_stream(socket.into())
        .connect(address)
        .await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A new connection to any other address.
pub(crate) async fn connect_address(worker: &Worker, address: &str) -> io::Result<Wire> {
    let known = address.rsplit_once(':').and_then(|(name, port)| {
        Some(SocketAddr::new(
            worker.dialer.resolve(name)?,
            port.parse().ok()?,
        ))
    });
    let stream = match known {
        Some(known) => TcpStream::connect(known).await?,
        None => TcpStream::connect(address).await?,
    };
    stream.set_nodelay(true)?;
    Ok(Wire::Plain(stream))
}
