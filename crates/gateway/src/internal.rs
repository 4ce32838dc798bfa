//! The gateway's side of TLS to queue-proxies (`system-internal-tls`): whom it trusts, and its
//! connections to their TLS port. What goes through such a connection has been counted, logged and
//! traced here, as what is sent to the application itself: the queue-proxy of this process is told
//! which connections these are, and passes their bytes on.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serving::route::{INTERNAL_NAME, Internal, Pod};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Dial;
use crate::pod::PodState;

/// How long connecting and the handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How queue-proxies are known. A cheap handle: all clones see the same.
#[derive(Clone, Default)]
pub(crate) struct Peers(Arc<ArcSwapOption<ClientConfig>>);

impl Peers {
    /// Takes in whom to trust; what cannot be understood is said in the log and trusts nobody.
    pub(crate) fn set(&self, told: Option<&Internal>) {
        let config = told.map(|told| trusting(&told.trust)).transpose();
        if let Err(error) = &config {
            tracing::warn!(%error, "whom to trust among queue-proxies");
        }
        self.0.store(config.ok().flatten().map(Arc::new));
    }

    /// A new connection to the TLS port of the Pod's queue-proxy, which has shown that it is
    /// `name`.
    pub(crate) async fn connect(
        &self,
        (pod, facts, name): (&PodState, &Pod, &str),
        dialer: &dyn Dial,
    ) -> io::Result<TlsStream<TcpStream>> {
        let none = "there is no authority yet by which queue-proxies are known";
        let config = self.0.load_full();
        let config = config.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, none))?;
        let (socket, address) = dialer.secure(facts)?;
        let connecting = async {
            socket.set_nonblocking(true)?;
            let stream = TcpSocket::from_std_stream(socket.into())
                .connect(address)
                .await?;
            stream.set_nodelay(true)?;
            // Until the queue-proxy has seen by the first bytes whose connection it is.
            let _own = pod.own.add(stream.local_addr()?);
            TlsConnector::from(config)
                .connect(server_name(name)?, stream)
                .await
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "TLS to queue-proxy"))?
    }
}

/// The name as TLS has it. One that is too long for DNS (of a namespace with more than 55
/// characters) is not asked for; the name all queue-proxies have is.
fn server_name(name: &str) -> io::Result<ServerName<'static>> {
    let known = ServerName::try_from(name.to_owned());
    known
        .or_else(|_| ServerName::try_from(INTERNAL_NAME))
        .map_err(io::Error::other)
}

fn trusting(pem: &str) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()).flatten() {
        roots.add(certificate).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The gateway's own connections to a queue-proxy that it has not recognized yet, by their
/// addresses on this side.
#[derive(Default)]
pub(crate) struct Own(Mutex<HashSet<SocketAddr>>);

impl Own {
    fn all(&self) -> std::sync::MutexGuard<'_, HashSet<SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, address: SocketAddr) -> OwnConnection<'_> {
        self.all().insert(address);
        OwnConnection(self, address)
    }

    /// Whether it is one of them.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        self.all().contains(&address)
    }
}

/// An entry of [`Own`], while it lives.
struct OwnConnection<'a>(&'a Own, SocketAddr);

impl Drop for OwnConnection<'_> {
    fn drop(&mut self) {
        self.0.all().remove(&self.1);
    }
}
