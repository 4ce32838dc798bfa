//! The sockets of one queue-proxy, and who answers on each.

use std::net::TcpListener as StdListener;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::secure::{self, Port};
use super::{DRAIN_POLL, Error, Queue, QueueListeners, admin};
use crate::front::Front;
use crate::h1::serve;
use crate::tls::OneCertificate;
use crate::worker::{Connection, Origin, Worker};

/// The sockets, known to the runtime.
pub(super) struct Listening {
    serving: Vec<TcpListener>,
    secure: Option<(TcpListener, TlsAcceptor)>,
    pages: Vec<(TcpListener, admin::Page)>,
}

impl Listening {
    /// Registers the sockets with the runtime of the caller; the TLS port shows `certificate`.
    pub(super) fn register(
        listeners: QueueListeners,
        certificate: OneCertificate,
        pod: &Arc<str>,
    ) -> Result<Self, Error> {
        let QueueListeners {
            http,
            h2c,
            https,
            stats,
            metrics,
            admin,
        } = listeners;
        let register = |listener: Option<StdListener>, port| {
            listener
                .map(|listener| {
                    listener.set_nonblocking(true)?;
                    TcpListener::from_std(listener)
                })
                .transpose()
                .map_err(|source| Error::Listener {
                    pod: Arc::clone(pod),
                    port,
                    source,
                })
        };
        let serving = [register(http, "8012")?, register(h2c, "8013")?];
        let tls = || {
            let config = certificate.modern_server();
            config.map_err(|source| Error::Listener {
                pod: Arc::clone(pod),
                port: "8112",
                source,
            })
        };
        let secure = match register(https, "8112")? {
            Some(listener) => Some((listener, TlsAcceptor::from(tls()?))),
            None => None,
        };
        let pages = [
            (register(stats, "9090")?, admin::Page::Stats),
            (register(metrics, "9091")?, admin::Page::Metrics),
            (register(admin, "8022")?, admin::Page::Drain),
        ];
        let pages = pages
            .into_iter()
            .filter_map(|(listener, page)| Some((listener?, page)));
        Ok(Self {
            serving: serving.into_iter().flatten().collect(),
            secure,
            pages: pages.collect(),
        })
    }

    /// Serves on all of them, each in a task.
    pub(super) fn serve(
        self,
        worker: &Arc<Worker>,
        queue: &Arc<Queue>,
        gone: &watch::Receiver<()>,
    ) -> Vec<JoinHandle<()>> {
        let front = Arc::new(Front::Queue(Arc::clone(queue)));
        let serving = self.serving.into_iter().map(|listener| {
            let parties = (Arc::clone(worker), Arc::clone(&front));
            tokio::spawn(accept(listener, parties, gone.clone()))
        });
        let pages = self.pages.into_iter().map(|(listener, page)| {
            tokio::spawn(admin::serve(
                listener,
                page,
                Arc::clone(queue),
                gone.clone(),
            ))
        });
        let secure = self.secure.into_iter().map(|(listener, tls)| {
            let port = Arc::new(Port {
                tls,
                worker: Arc::clone(worker),
                queue: Arc::clone(queue),
            });
            tokio::spawn(secure::accept(listener, port, gone.clone()))
        });
        serving.chain(pages).chain(secure).collect()
    }
}

/// Accepts connections of a serving port until the queue-proxy is dropped.
async fn accept(
    listener: TcpListener,
    (worker, front): (Arc<Worker>, Arc<Front>),
    gone: watch::Receiver<()>,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept a connection to a queue-proxy");
                tokio::time::sleep(DRAIN_POLL).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let connection = Connection::new(&worker);
        let origin = Origin {
            front: Arc::clone(&front),
            peer,
            https: false,
        };
        let mut gone = gone.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = serve(stream, connection, origin) => {}
                // Nothing is ever sent: it changes by being closed.
                _ = gone.changed() => {}
            }
        });
    }
}
