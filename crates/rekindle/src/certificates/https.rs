//! HTTPS to an authority: one connection for each request, trusting the system's certificates or
//! those the configuration names.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(30);
/// An answer that is larger is none of an authority.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// See the module.
pub(super) struct Https(TlsConnector);

impl Https {
    /// Trusts the PEM certificates `roots`; those of the system when there are none.
    pub(super) fn new(roots: &str) -> Result<Self> {
        trusting(roots, &[]).map(Self)
    }
}

/// Connects to those who show a certificate under the PEM certificates `roots` (the system's when
/// there are none) and speak one of the protocols `alpn`.
pub(crate) fn trusting(roots: &str, alpn: &[&[u8]]) -> Result<TlsConnector> {
    let mut store = RootCertStore::empty();
    if roots.trim().is_empty() {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        ensure!(
            !store.is_empty(),
            "this machine has no certificate authorities"
        );
    } else {
        for certificate in CertificateDer::pem_slice_iter(roots.as_bytes()) {
            let certificate = certificate.context("acme-root-certificates is no PEM")?;
            store.add(certificate).context("acme-root-certificates")?;
        }
        ensure!(
            !store.is_empty(),
            "acme-root-certificates holds no certificate"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

impl HttpClient for Https {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = self.0.clone();
        Box::pin(async move {
            let exchanged = tokio::time::timeout(PATIENCE, exchange(tls, request)).await;
            exchanged
                .unwrap_or_else(|_| Err("no answer in time".into()))
                .map_err(Error::Other)
        })
    }
}

type Failure = Box<dyn StdError + Send + Sync>;

async fn exchange(
    tls: TlsConnector,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, Failure> {
    let uri = request.uri().clone();
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, uri.port_u16().unwrap_or(443))).await?;
    let name = ServerName::try_from(bare.to_owned())?;
    let stream = tls.connect(name, stream).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an authority");
        }
    });
    let (mut head, body) = request.into_parts();
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    head.headers.insert(HOST, HeaderValue::from_str(authority)?);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse::<Uri>()?;
    let body = Full::new(body.collect().await?.to_bytes());
    let response = sender.send_request(Request::from_parts(head, body)).await?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
    Ok(BytesResponse {
        parts,
        body: Box::new(body.to_bytes()),
    })
}
