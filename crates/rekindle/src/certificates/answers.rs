//! The answers to the challenges of ACME: what is asked at `/.well-known/acme-challenge/TOKEN`
//! (RFC 8555 section 8.3). The gateway sends here by the Service `acme-challenges`, as the Ingress
//! says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ::api::networking::CHALLENGE_PATH;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Who answers, if anybody in this process does.
#[derive(Clone, Default)]
pub(crate) struct Answers(Option<Table>);

/// Answers by token.
#[derive(Clone, Default)]
pub(super) struct Table(Arc<Mutex<BTreeMap<String, String>>>);

impl Answers {
    /// Answers at `address`.
    pub(crate) async fn serve(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("answer challenges at {address}"))?;
        let table = Table::default();
        let answers = table.clone();
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(answers.clone().connection(stream))),
                    Err(error) => {
                        tracing::warn!(%error, "accept a connection");
                        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                    }
                }
            }
        });
        Ok(Self(Some(table)))
    }

    pub(super) const fn table(&self) -> Option<&Table> {
        self.0.as_ref()
    }
}

impl Table {
    pub(super) fn set(&self, token: &str, answer: &str) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(token.to_owned(), answer.to_owned());
    }

    fn find(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(CHALLENGE_PATH)?;
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(token).cloned()
    }

    async fn connection(self, stream: tokio::net::TcpStream) {
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let found = self.find(request.uri().path());
            async move {
                let mut response = Response::new(Full::new(Bytes::new()));
                match found {
                    Some(answer) => *response.body_mut() = Full::new(answer.into()),
                    None => *response.status_mut() = StatusCode::NOT_FOUND,
                }
                Ok::<_, Infallible>(response)
            }
        });
        let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        if let Err(error) = served.await {
            tracing::debug!(%error, "a client that asks for a challenge");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_are_answered() {
        let table = Table::default();
        table.set("abc", "abc.thumbprint");
        let find = |path| table.find(path);
        assert_eq!(
            find("/.well-known/acme-challenge/abc").as_deref(),
            Some("abc.thumbprint")
        );
        assert_eq!(find("/.well-known/acme-challenge/ab"), None);
        assert_eq!(find("/abc"), None);
    }
}
