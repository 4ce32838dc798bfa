//! Whom the client trusts: the system's certificate authorities and those an addressable names
//! in `CACerts`.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tracing::warn;

/// The system's certificate authorities; none where the machine has none.
pub(super) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        warn!(errors = ?found.errors, "this machine has no certificate authorities: https:// needs CACerts");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

/// Adds the certificates of a PEM text.
pub(super) fn add(roots: &mut RootCertStore, pem: &str) -> Result<(), String> {
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// TLS 1.2 and up that trusts `system` and the PEM certificates `trust`.
pub(super) fn connector(
    system: &RootCertStore,
    trust: Option<&str>,
) -> Result<TlsConnector, String> {
    let mut roots = system.clone();
    add(&mut roots, trust.unwrap_or_default())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// TLS that trusts the system's certificate authorities and the PEM certificates `trust`, for other
/// clients of addressables.
///
/// # Errors
/// Why `trust` cannot be used.
pub fn tls_connector(trust: Option<&str>) -> Result<TlsConnector, String> {
    connector(&system_roots(), trust)
}
