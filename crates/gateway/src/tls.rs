//! The certificates by which the gateway shows who it is: one for each host, exchanged while it
//! runs. Filled by `Gateway::apply`; asked by rustls at each handshake.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ALL_VERSIONS, SupportedProtocolVersion};
use serving::route::Identity;

/// What is spoken over TLS, the preferred first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Certificates by host. A cheap handle: all clones see the same.
#[derive(Clone, Default)]
pub struct Certificates(Arc<ByHost>);

#[derive(Default)]
struct ByHost(RwLock<HashMap<String, Arc<CertifiedKey>>>);

impl std::fmt::Debug for ByHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByHost")
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

impl Certificates {
    /// What a listener needs that shows these certificates. A client that names no host, or one
    /// that has none, is refused.
    ///
    /// # Errors
    /// When the cryptography supports none of the TLS versions.
    pub fn server(&self) -> io::Result<Arc<ServerConfig>> {
        server(Arc::clone(&self.0) as _, ALL_VERSIONS).map(Arc::new)
    }

    /// From now on `host` shows `identity`; none is no TLS. One that cannot be used leaves the
    /// former in place, and says so in the log.
    pub(crate) fn set(&self, host: String, identity: Option<&Identity>) {
        let parsed = match identity.map(parse).transpose() {
            Ok(parsed) => parsed,
            Err(error) => {
                tracing::warn!(host, error, "a certificate cannot be used");
                return;
            }
        };
        let mut hosts = self.0.0.write().unwrap_or_else(PoisonError::into_inner);
        match parsed {
            Some(key) => drop(hosts.insert(host, Arc::new(key))),
            None => drop(hosts.remove(&host)),
        }
    }
}

impl ByHost {
    /// The certificate of `host`, or the one for all names beside it.
    fn find(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        let hosts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = hosts.get(host).or_else(|| {
            let (_, rest) = host.split_once('.')?;
            hosts.get(&format!("*.{rest}"))
        });
        found.cloned()
    }
}

impl ResolvesServerCert for ByHost {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has made it lower case and has left out a dot at its end.
        self.find(hello.server_name()?)
    }
}

fn server(
    shown: Arc<dyn ResolvesServerCert>,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// The certificate of a listener that shows the same to everybody, exchanged while it runs. A cheap
/// handle: all clones see the same. Without one, clients are refused.
#[derive(Clone, Default)]
pub struct OneCertificate(Arc<One>);

#[derive(Default)]
struct One(ArcSwapOption<CertifiedKey>);

impl std::fmt::Debug for One {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("One")
    }
}

impl std::fmt::Debug for OneCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OneCertificate")
    }
}

impl OneCertificate {
    /// What a listener needs that shows it.
    ///
    /// # Errors
    /// When the cryptography supports none of the TLS versions.
    pub fn server(&self) -> io::Result<Arc<ServerConfig>> {
        server(Arc::clone(&self.0) as _, ALL_VERSIONS).map(Arc::new)
    }

    /// The same for a queue-proxy: TLS 1.3, and nothing is sent that no request has asked for,
    /// because a connection that is idle must be silent.
    pub(crate) fn modern_server(&self) -> io::Result<Arc<ServerConfig>> {
        let mut config = server(Arc::clone(&self.0) as _, &[&TLS13])?;
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// From now on this is shown. One that cannot be used leaves the former in place, and says so
    /// in the log.
    pub fn set(&self, identity: Option<&Identity>) {
        match identity.map(parse).transpose() {
            Ok(parsed) => self.0.0.store(parsed.map(Arc::new)),
            Err(error) => tracing::warn!(error, "a certificate cannot be used"),
        }
    }
}

impl ResolvesServerCert for One {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

fn parse(identity: &Identity) -> Result<CertifiedKey, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is no PEM: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())
        .map_err(|error| format!("the key is no PEM: {error}"))?;
    let provider: CryptoProvider = ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> Identity {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        Identity {
            certificate: made.cert.pem().into(),
            key: made.signing_key.serialize_pem().into(),
        }
    }

    #[test]
    fn hosts_and_all_hosts_of_a_domain() {
        let certificates = Certificates::default();
        certificates.set("*.default.example".into(), Some(&identity("all")));
        certificates.set("a.default.example".into(), Some(&identity("a")));
        let find = |host: &str| certificates.0.find(host);
        let all = find("b.default.example").unwrap();
        assert!(!Arc::ptr_eq(&all, &find("a.default.example").unwrap()));
        assert!(Arc::ptr_eq(&all, &find("c.default.example").unwrap()));
        assert!(find("b.a.default.example").is_none() && find("example").is_none());
        certificates.set("a.default.example".into(), None);
        assert!(Arc::ptr_eq(&all, &find("a.default.example").unwrap()));
    }

    #[test]
    fn a_key_of_another_leaves_the_former() {
        let certificates = Certificates::default();
        let good = identity("a.example");
        certificates.set("a.example".into(), Some(&good));
        let before = certificates.0.find("a.example").unwrap();
        let bad = Identity {
            key: identity("a.example").key,
            ..good
        };
        certificates.set("a.example".into(), Some(&bad));
        assert!(Arc::ptr_eq(
            &before,
            &certificates.0.find("a.example").unwrap()
        ));
    }
}
