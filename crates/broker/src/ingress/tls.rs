//! The certificates by which the broker shows who it is, by host name; exchanged while it runs.
//! Told by `broker`, asked by rustls at each handshake.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use api::delivery::{Key, Shown};
use api::route::Identity;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

/// What is spoken over TLS, the preferred first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// See the module. A cheap handle.
#[derive(Clone, Default, Debug)]
pub(crate) struct Identities(Arc<BySecret>);

#[derive(Default, Debug)]
struct BySecret(Mutex<BTreeMap<Key, Read>>);

/// What a Secret showed, and the key made of it.
type Read = (Arc<Shown>, Arc<CertifiedKey>);

impl Identities {
    /// The last word about a Secret. One that cannot be used leaves the former in place.
    pub(crate) fn set(&self, key: Key, shown: Option<Arc<Shown>>) {
        let mut all = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shown) = shown else {
            all.remove(&key);
            return;
        };
        match certified(&shown.identity) {
            Ok(certified) => drop(all.insert(key, (shown, Arc::new(certified)))),
            Err(error) => {
                let (namespace, name) = (&*key.namespace, &*key.name);
                warn!(
                    namespace,
                    name, error, "a Secret's certificate cannot be used"
                );
            }
        }
    }

    /// Whether events are to be taken by TLS alone.
    pub(crate) fn are_strict(&self) -> bool {
        let all = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().any(|(shown, _)| shown.is_strict)
    }

    /// TLS that shows them.
    pub(crate) fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let mut config = builder
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.0) as _);
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl BySecret {
    fn find(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut named = all
            .values()
            .filter(|(shown, _)| shown.hosts.iter().any(|name| name == host));
        named.next().map(|(_, certified)| Arc::clone(certified))
    }
}

impl ResolvesServerCert for BySecret {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name()?)
    }
}

fn certified(identity: &Identity) -> Result<CertifiedKey, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is no PEM: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())
        .map_err(|error| format!("the key is no PEM: {error}"))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|e| e.to_string())
}
