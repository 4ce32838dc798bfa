//! How the client gets a byte stream to a host: a trait, because cluster names are known to the
//! node and not to this crate.

use std::io;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// An open connection.
pub type Stream = Box<dyn Duplex>;

/// Opens connections by name. `wire` gives one that knows the cluster's Services.
pub trait Connect: Send + Sync + 'static {
    /// A stream to `port` of `host`, which is a name or an address, without brackets.
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Stream>>;
}

/// Connects as the machine itself resolves names.
#[derive(Clone, Copy, Default, Debug)]
pub struct ByMachine;

impl Connect for ByMachine {
    fn connect(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Stream>> {
        let host = host.to_owned();
        Box::pin(async move {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Stream)
        })
    }
}
