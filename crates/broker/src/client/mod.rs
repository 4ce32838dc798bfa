//! Sends requests over HTTP/1.1: keeps connections, follows no redirect, ends what takes too long.
//! Called by `sender`, which first looks whether the address is this broker's own. A [`pool`] has
//! the connections to one receiver, a [`wire`] is one of them.

mod connect;
mod pool;
mod tls;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use api::delivery::{Endpoint, Key};
use arc_swap::ArcSwap;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Uri};
use rustls::RootCertStore;
use tokio_rustls::TlsConnector;
use tracing::warn;

pub use connect::{ByMachine, Connect, Duplex, Stream};
pub use tls::tls_connector;

use crate::answer::Answer;
use pool::Pool;

/// The TLS of a client, exchanged when other certificates are trusted.
type Tls = Arc<ArcSwap<TlsConnector>>;

/// Which connections serve: the certificates that are trusted besides, or none without TLS; host and
/// port.
type PoolKey = (Option<Option<String>>, String, u16);

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("cannot reach it: {0}")]
    Unreachable(String),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer broke off: {0}")]
    Broken(String),
    #[error("no token for audience {audience}: {reason}")]
    Token { audience: String, reason: String },
}

/// Why an endpoint cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{url}: not an absolute http:// or https:// URL")]
    Url { url: String },
    #[error("{url}: CACerts: {reason}")]
    Certificates { url: String, reason: String },
}

/// All connections to others.
pub(crate) struct Client {
    connect: Arc<dyn Connect>,
    system: RootCertStore,
    /// Trusted besides: the certificates of ConfigMaps.
    bundles: Mutex<BTreeMap<Key, Arc<str>>>,
    /// The TLS for each set of certificates endpoints name. It changes with the bundles.
    by_trust: Mutex<BTreeMap<Option<String>, Tls>>,
    /// Gone when nobody sends there any more.
    pools: Mutex<BTreeMap<PoolKey, Weak<Pool>>>,
    answer_bytes_max: usize,
}

impl Client {
    /// A client that reads answers of up to `answer_bytes_max` bytes.
    pub(crate) fn new(connect: Arc<dyn Connect>, answer_bytes_max: usize) -> Self {
        Self {
            connect,
            system: tls::system_roots(),
            bundles: Mutex::default(),
            by_trust: Mutex::default(),
            pools: Mutex::default(),
            answer_bytes_max,
        }
    }

    /// What is needed to send to `endpoint`, found out once.
    pub(crate) fn target(&self, endpoint: &Endpoint) -> Result<Target, Error> {
        let url = || endpoint.url.clone();
        let uri = absolute(&endpoint.url).ok_or_else(|| Error::Url { url: url() })?;
        let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
        let trust = is_secure.then(|| endpoint.ca_certs.clone());
        let tls = match &trust {
            Some(trust) => Some(
                self.tls(trust.as_ref())
                    .map_err(|reason| Error::Certificates { url: url(), reason })?,
            ),
            None => None,
        };
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Ok(Target {
            head: head(&uri).into(),
            pool: self.pool((trust, host.to_owned(), port), tls),
            uri,
            answer_bytes_max: self.answer_bytes_max,
        })
    }

    /// The connections that all share who send there.
    fn pool(&self, key: PoolKey, tls: Option<Tls>) -> Arc<Pool> {
        let mut pools = self.pools();
        if let Some(pool) = pools.get(&key).and_then(Weak::upgrade) {
            return pool;
        }
        let pool = Pool::new(Arc::clone(&self.connect), tls, &key.1, key.2);
        let pool = Arc::new(pool);
        pools.insert(key, Arc::downgrade(&pool));
        pool
    }

    fn tls(&self, trust: Option<&String>) -> Result<Tls, String> {
        let mut by_trust = self.by_trust.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tls) = by_trust.get(&trust.cloned()) {
            return Ok(Arc::clone(tls));
        }
        let connector = self.connector(trust.map(String::as_str))?;
        let tls: Tls = Arc::new(ArcSwap::from_pointee(connector));
        by_trust.insert(trust.cloned(), Arc::clone(&tls));
        Ok(tls)
    }

    /// Closes connections that have been idle for long. To be called now and then.
    pub(crate) fn tidy(&self) {
        self.pools().retain(|_, pool| {
            let pool = pool.upgrade();
            pool.inspect(|pool| pool.tidy()).is_some()
        });
    }

    fn pools(&self) -> MutexGuard<'_, BTreeMap<PoolKey, Weak<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Believes besides, from the next connection on, those who descend from the certificates of
    /// `pem`; `None` takes back what `key` said.
    pub(crate) fn trust(&self, key: Key, pem: Option<Arc<str>>) {
        let mut bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        match pem {
            Some(pem) => drop(bundles.insert(key, pem)),
            None => drop(bundles.remove(&key)),
        }
        drop(bundles);
        let by_trust = self.by_trust.lock().unwrap_or_else(PoisonError::into_inner);
        for (trust, tls) in by_trust.iter() {
            match self.connector(trust.as_deref()) {
                Ok(connector) => tls.store(Arc::new(connector)),
                Err(reason) => warn!(reason, "whom to trust stays as it was"),
            }
        }
    }

    fn connector(&self, trust: Option<&str>) -> Result<TlsConnector, String> {
        let bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        let mut roots = self.system.clone();
        for (key, pem) in bundles.iter() {
            // One bad bundle is no reason to believe nobody.
            if let Err(reason) = tls::add(&mut roots, pem) {
                warn!(name = &*key.name, reason, "a trust bundle is left out");
            }
        }
        tls::connector(&roots, trust)
    }
}

/// The beginning of each request to `uri`.
fn head(uri: &Uri) -> Vec<u8> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let host = uri.host().unwrap_or_default();
    let is_usual = match uri.port_u16() {
        None => true,
        Some(443) => uri.scheme() == Some(&Scheme::HTTPS),
        Some(80) => uri.scheme() == Some(&Scheme::HTTP),
        Some(_) => false,
    };
    let port = uri.port_u16().filter(|_| !is_usual);
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("POST {path} HTTP/1.1\r\nhost: {host}{port}\r\n").into_bytes()
}

/// `headers` as lines of a request's head.
pub(crate) fn lines(headers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::with_capacity(64 * headers.len());
    for (name, value) in headers {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

/// The URL in parts; a path is added where there is none.
fn absolute(url: &str) -> Option<Uri> {
    let mut parts = url.parse::<Uri>().ok()?.into_parts();
    let scheme = parts.scheme.as_ref()?;
    if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
        return None;
    }
    let path = parts.path_and_query.take();
    parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).ok()
}

/// An endpoint, ready to be sent to.
#[derive(Clone)]
pub(crate) struct Target {
    uri: Uri,
    /// Request line and host.
    head: Arc<[u8]>,
    pool: Arc<Pool>,
    answer_bytes_max: usize,
}

impl Target {
    /// The address.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Posts and reads the whole answer, within `timeout`. The head has `lines`, each with its end;
    /// the length of the body is added.
    pub(crate) async fn post(
        &self,
        lines: [&[u8]; 3],
        body: &[u8],
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let length = format!("content-length: {}\r\n\r\n", body.len());
        let [first, second, third] = lines;
        let parts = [&self.head, first, second, third, length.as_bytes()];
        let answer = self.pool.exchange(&parts, body, self.answer_bytes_max);
        tokio::time::timeout(timeout, answer)
            .await
            .unwrap_or(Err(Failure::Timeout(timeout)))
    }
}

/// An error and its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests;
