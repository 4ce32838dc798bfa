//! The listener: TLS with client certificates, HTTP/1.1 and HTTP/2.

use std::io;
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::auth::{Identity, User};
use crate::core::Core;
use crate::pki::Pki;
use crate::service::ApiService;

/// Requests in flight get this long when the server stops; watches would never end by themselves.
const DRAIN: std::time::Duration = std::time::Duration::from_millis(50);

/// Serves until `shutdown` is done, then drains.
pub(crate) async fn serve(
    core: Arc<Core>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(tls(&core.pki)?));
    let (stop, stopped) = tokio::sync::watch::channel(());
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // Too many open files and the like: others may close some.
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
        };
        let (core, acceptor, mut stopped) = (Arc::clone(&core), acceptor.clone(), stopped.clone());
        tokio::spawn(async move {
            tokio::select! {
                result = connection(core, acceptor, stream) => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "connection ended");
                    }
                }
                _ = stopped.changed() => {}
            }
        });
    }
    tokio::time::sleep(DRAIN).await;
    drop(stop);
    Ok(())
}

async fn connection(
    core: Arc<Core>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    let user = certificate.and_then(|certificate| user_of(certificate));
    let service = TowerToHyperService::new(ApiService::new(core, Identity::Remote(user)));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(1000);
    builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
}

fn tls(pki: &Pki) -> io::Result<rustls::ServerConfig> {
    let invalid = |error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidData, error.to_string())
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let authority = pki.authority_der().map_err(|e| invalid(&e))?;
    roots.add(authority).map_err(|e| invalid(&e))?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|e| invalid(&e))?;
    let (chain, key) = pki.server_identity().map_err(|e| invalid(&e))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| invalid(&e))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|e| invalid(&e))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The common name is the user, the organizations are the groups.
fn user_of(certificate: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject
        .iter_organization()
        .filter_map(|group| group.as_str().ok());
    let groups = groups
        .chain(["system:authenticated"])
        .map(str::to_owned)
        .collect();
    Some(User {
        name,
        groups,
        ..User::default()
    })
}
