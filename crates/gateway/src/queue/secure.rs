//! The TLS port of queue-proxy (`system-internal-tls`). Requests of the gateway in this process are
//! done with as far as a queue-proxy is concerned: their bytes go to the application as they come.
//! Anybody else is served as on the plain port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::{DRAIN_POLL, Queue};
use crate::front::Front;
use crate::h1::{connect_plain, serve};
use crate::worker::{Connection, Origin, Worker};

/// How long a client may take to begin and to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What is held of either direction of a connection.
const BUFFER_SIZE: usize = 16 * 1024;

/// What the connections share.
pub(super) struct Port {
    pub(super) tls: TlsAcceptor,
    pub(super) worker: Arc<Worker>,
    pub(super) queue: Arc<Queue>,
}

/// Accepts connections until the queue-proxy is dropped.
pub(super) async fn accept(listener: TcpListener, port: Arc<Port>, gone: watch::Receiver<()>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept a TLS connection to a queue-proxy");
                tokio::time::sleep(DRAIN_POLL).await;
                continue;
            }
        };
        let (port, mut gone) = (Arc::clone(&port), gone.clone());
        tokio::spawn(async move {
            tokio::select! {
                done = port.serve(stream, peer) => {
                    if let Err(error) = done {
                        tracing::debug!(%error, %peer, "TLS connection to a queue-proxy");
                    }
                }
                // Nothing is ever sent: it changes by being closed.
                _ = gone.changed() => {}
            }
        });
    }
}

impl Port {
    async fn serve(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        stream.set_nodelay(true)?;
        // By its first byte the gateway of this process has said which connection is its own.
        in_time(stream.peek(&mut [0])).await?;
        if self.queue.pod.own.has(peer) {
            return self.relay(stream).await;
        }
        let stream = in_time(self.tls.accept(stream)).await?;
        let origin = Origin {
            front: Arc::new(Front::Queue(Arc::clone(&self.queue))),
            peer,
            https: true,
        };
        serve(stream, Connection::new(&self.worker), origin).await;
        Ok(())
    }

    /// The application is reached first: where it refuses, so does this, and the gateway turns to
    /// another Pod before it has sent anything.
    async fn relay(&self, stream: TcpStream) -> io::Result<()> {
        let pod = self.queue.pod.facts.load_full();
        let mut application = connect_plain(&self.worker, &pod).await?;
        let mut stream = in_time(self.tls.accept(stream)).await?;
        let sizes = (BUFFER_SIZE, BUFFER_SIZE);
        copy_bidirectional_with_sizes(&mut stream, &mut application, sizes.0, sizes.1)
            .await
            .map(drop)
    }
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(HANDSHAKE_TIMEOUT, step)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
