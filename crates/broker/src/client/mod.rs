//! Sends requests over HTTP/1.1: keeps connections, follows no redirect, ends what takes too long.
//! Called by `sender`, which first looks whether the address is this broker's own.

mod connect;
mod tls;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::delivery::{Endpoint, Key};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use tokio_rustls::TlsConnector;
use tracing::warn;

pub use connect::{ByMachine, Connect, Duplex, Stream};
pub use tls::tls_connector;

use crate::answer::Answer;

/// Idle connections kept per destination.
const IDLE_PER_HOST_MAX: usize = 100;
/// How long an idle connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The TLS of a client, exchanged when other certificates are trusted.
type Tls = Arc<ArcSwap<TlsConnector>>;

type Http = hyper_util::client::legacy::Client<connect::Connector, Full<Bytes>>;

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
    /// One client, that is one pool of connections, for each set of certificates endpoints name,
    /// and its TLS, which changes with the bundles.
    by_trust: Mutex<BTreeMap<Option<String>, (Http, Tls)>>,
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
            answer_bytes_max,
        }
    }

    /// What is needed to send to `endpoint`, found out once.
    pub(crate) fn target(&self, endpoint: &Endpoint) -> Result<Target, Error> {
        let url = || endpoint.url.clone();
        let uri = absolute(&endpoint.url).ok_or_else(|| Error::Url { url: url() })?;
        let trust = endpoint
            .ca_certs
            .clone()
            .filter(|_| uri.scheme() == Some(&Scheme::HTTPS));
        let mut by_trust = self.by_trust.lock().unwrap_or_else(PoisonError::into_inner);
        let http = match by_trust.get(&trust) {
            Some((http, _)) => http.clone(),
            None => {
                let (http, tls) = self
                    .http(trust.as_deref())
                    .map_err(|reason| Error::Certificates { url: url(), reason })?;
                by_trust.insert(trust, (http.clone(), tls));
                http
            }
        };
        Ok(Target {
            uri,
            http,
            answer_bytes_max: self.answer_bytes_max,
        })
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
        for (trust, (_, tls)) in by_trust.iter() {
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

    fn http(&self, trust: Option<&str>) -> Result<(Http, Tls), String> {
        let tls: Tls = Arc::new(ArcSwap::from_pointee(self.connector(trust)?));
        let connector = connect::Connector {
            connect: Arc::clone(&self.connect),
            tls: Arc::clone(&tls),
        };
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
            .build(connector);
        Ok((http, tls))
    }
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
    http: Http,
    answer_bytes_max: usize,
}

impl Target {
    /// The address.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Posts and reads the whole answer, within `timeout`.
    pub(crate) async fn post(
        &self,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        tokio::time::timeout(timeout, self.exchange(headers, body))
            .await
            .unwrap_or(Err(Failure::Timeout(timeout)))
    }

    async fn exchange(&self, headers: HeaderMap, body: Bytes) -> Result<Answer, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        let response = self
            .http
            .request(request)
            .await
            .map_err(|error| Failure::Unreachable(chain(&error)))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.answer_bytes_max).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Failure::TooLarge(self.answer_bytes_max)
            } else {
                Failure::Broken(chain(error.as_ref()))
            }
        })?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
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
mod tests {
    use super::*;

    #[test]
    fn only_absolute_urls_are_addresses() {
        let of = |url| absolute(url).map(|uri| uri.to_string());
        assert_eq!(of("http://a.b.svc"), Some("http://a.b.svc/".into()));
        assert_eq!(of("https://a:1/x?y=z"), Some("https://a:1/x?y=z".into()));
        assert_eq!(of("ftp://a"), None);
        assert_eq!(of("/only/a/path"), None);
        assert_eq!(of(""), None);
    }
}
