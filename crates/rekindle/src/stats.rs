//! Statistics from a gateway to an autoscaler in another process: the leading process of
//! controllers listens and writes its address and a token into a Secret; the gateway's process
//! watches the Secret and posts what there is to report, in batches.
//!
//! Nothing is kept for a leader that does not answer. The next second's report says all that
//! matters again, the requests that wait for a Pod among it, so that either side may be started
//! anew at any time. `wire` starts [`forward`], `controllers` starts [`serve`].

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::api::config::SYSTEM_NAMESPACE;
use ::api::object::ObjectExt;
use ::api::route::RevisionKey;
use ::api::world::SECRET;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as URL_SAFE};
use bytes::Bytes;
use controller::request::{self, Request};
use controller::watch::{Update, watch};
use futures_util::StreamExt;
use http::{Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serving::autoscale::Stat;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tracing::debug;

/// The Secret by which gateways find the autoscaler.
const SECRET_NAME: &str = "autoscaler-stats";
const PATH: &str = "/stats";
/// Reports in one request; more go in the next.
const BATCH_MAX: usize = 1024;
/// The largest request that is read.
const BODY_BYTES_MAX: usize = 4 << 20;
/// A leader that takes longer than this for a batch has not got it.
const POST_TIMEOUT: Duration = Duration::from_secs(2);

/// A [`Stat`] as it travels.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    namespace: String,
    revision: String,
    reporter: String,
    average_concurrent_requests: f64,
    average_proxied_concurrent_requests: f64,
    request_count: f64,
    proxied_request_count: f64,
    #[serde(default)]
    so_far: bool,
}

impl From<Stat> for Line {
    fn from(stat: Stat) -> Self {
        Self {
            namespace: stat.revision.namespace.to_string(),
            revision: stat.revision.name.to_string(),
            reporter: stat.reporter,
            average_concurrent_requests: stat.average_concurrent_requests,
            average_proxied_concurrent_requests: stat.average_proxied_concurrent_requests,
            request_count: stat.request_count,
            proxied_request_count: stat.proxied_request_count,
            so_far: stat.so_far,
        }
    }
}

impl From<Line> for Stat {
    fn from(line: Line) -> Self {
        Self {
            revision: RevisionKey::new(&line.namespace, &line.revision),
            reporter: line.reporter,
            average_concurrent_requests: line.average_concurrent_requests,
            average_proxied_concurrent_requests: line.average_proxied_concurrent_requests,
            request_count: line.request_count,
            proxied_request_count: line.proxied_request_count,
            so_far: line.so_far,
        }
    }
}

/// Where the reports go while this process leads; empty while it does not.
#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Option<mpsc::Sender<Stat>>>>);

impl Sink {
    /// From now on reports go there, or nowhere.
    pub(crate) fn set(&self, to: Option<mpsc::Sender<Stat>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    fn get(&self) -> Option<mpsc::Sender<Stat>> {
        let sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.clone()
    }
}

/// An autoscaler's address and what a gateway shows to be let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Door {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The bearer token.
    pub(crate) token: String,
}

impl Door {
    /// A door at `address` with a token nobody knows yet.
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            token: URL_SAFE.encode(rand::random::<[u8; 32]>()),
        }
    }

    /// Lets gateways know.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub(crate) async fn announce(&self, client: &Client) -> Result<(), request::Error> {
        let secret = json!({
            "apiVersion": SECRET.api_version(),
            "kind": SECRET.kind,
            "metadata": {"namespace": SYSTEM_NAMESPACE, "name": SECRET_NAME},
            "data": {
                "address": STANDARD.encode(self.address.to_string()),
                "token": STANDARD.encode(&self.token),
            },
        });
        let path = |name| request::path(SECRET, SYSTEM_NAMESPACE, name, "");
        let patch = Request {
            method: Method::PATCH,
            uri: path(SECRET_NAME),
            body: secret.to_string().into(),
            content_type: "application/merge-patch+json",
        };
        match request::call(client, patch).await {
            Err(error) if error.is_not_found() => {
                let create = Request::json(Method::POST, path(""), secret.to_string());
                request::call(client, create).await.map(drop)
            }
            answer => answer.map(drop),
        }
    }

    /// The door a Secret tells of; `None` for any other Secret.
    fn of(secret: &[u8]) -> Option<Self> {
        let secret: Value = serde_json::from_slice(secret).ok()?;
        if (secret.namespace(), secret.name()) != (SYSTEM_NAMESPACE, SECRET_NAME) {
            return None;
        }
        let text = |key: &str| {
            let bytes = STANDARD.decode(secret["data"][key].as_str()?).ok()?;
            String::from_utf8(bytes).ok()
        };
        Some(Self {
            address: text("address")?.parse().ok()?,
            token: text("token")?,
        })
    }
}

/// Takes reports in until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, token: String, sink: Sink) {
    let expected: Arc<str> = format!("Bearer {token}").into();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, as a rule: others will be closed.
                debug!(%error, "accept on the listener for statistics");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (expected, sink) = (Arc::clone(&expected), sink.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let (expected, sink) = (Arc::clone(&expected), sink.clone());
                async move {
                    let mut response = Response::new(Full::<Bytes>::default());
                    *response.status_mut() = take(request, &expected, &sink).await;
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                debug!(%error, "a gateway's connection ended");
            }
        });
    }
}

async fn take(request: http::Request<Incoming>, expected: &str, sink: &Sink) -> StatusCode {
    if (request.method(), request.uri().path()) != (&Method::POST, PATH) {
        return StatusCode::NOT_FOUND;
    }
    let shown = request.headers().get(header::AUTHORIZATION);
    if !shown.is_some_and(|shown| is_same(shown.as_bytes(), expected.as_bytes())) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(body) = Limited::new(request.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
    else {
        return StatusCode::BAD_REQUEST;
    };
    let Ok(lines) = serde_json::from_slice::<Vec<Line>>(&body.to_bytes()) else {
        return StatusCode::BAD_REQUEST;
    };
    let Some(sink) = sink.get() else {
        return StatusCode::SERVICE_UNAVAILABLE;
    };
    for line in lines {
        // A full channel loses one second of one reporter; the next second follows.
        drop(sink.try_send(line.into()));
    }
    StatusCode::NO_CONTENT
}

/// Compares in a time that says nothing of where the two differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && differences == 0
}

/// Posts reports to whoever leads, until the gateway is gone.
pub(crate) async fn forward(client: Client, mut stats: mpsc::Receiver<Stat>) {
    let mut secrets = Box::pin(watch(client, SECRET));
    let mut door = None;
    let mut connection = None;
    loop {
        let first = tokio::select! {
            Some(update) = secrets.next() => {
                if let Some(told) = newest(update) {
                    connection = None;
                    door = Some(told);
                }
                continue;
            }
            stat = stats.recv() => match stat {
                Some(stat) => stat,
                None => return,
            },
        };
        let mut batch = vec![Line::from(first)];
        while batch.len() < BATCH_MAX
            && let Ok(stat) = stats.try_recv()
        {
            batch.push(stat.into());
        }
        let Some(door) = &door else { continue };
        let sent = tokio::time::timeout(POST_TIMEOUT, post(&mut connection, door, &batch)).await;
        match sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(()) => {}
            Err(error) => {
                debug!(%error, address = %door.address, "the autoscaler did not take a report");
                connection = None;
            }
        }
    }
}

fn newest(update: Update) -> Option<Door> {
    match update {
        Update::Put(secrets) => secrets.iter().rev().find_map(|secret| Door::of(secret)),
        Update::Restarted | Update::Gone(_) | Update::Synced { .. } | Update::NotServed => None,
    }
}

type Connection = SendRequest<Full<Bytes>>;

async fn post(to: &mut Option<Connection>, door: &Door, batch: &[Line]) -> io::Result<()> {
    let body = serde_json::to_vec(batch)?;
    let request = http::Request::post(PATH)
        .header(header::HOST, door.address.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {}", door.token))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(io::Error::other)?;
    let connection = match to {
        Some(connection) if !connection.is_closed() => connection,
        _ => to.insert(connect(door.address).await?),
    };
    connection.ready().await.map_err(io::Error::other)?;
    let response = connection.send_request(request).await;
    let response = response.map_err(io::Error::other)?;
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(io::Error::other(status.to_string())),
    }
}

async fn connect(address: SocketAddr) -> io::Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(%error, "the connection to the autoscaler ended");
        }
    });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(name: &str) -> Stat {
        Stat {
            revision: RevisionKey::new("a", name),
            reporter: "activator".to_owned(),
            average_concurrent_requests: 1.5,
            average_proxied_concurrent_requests: 0.5,
            request_count: 3.0,
            proxied_request_count: 1.0,
            so_far: false,
        }
    }

    #[tokio::test]
    async fn a_report_arrives_whole_and_only_with_the_token() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Door::new(listener.local_addr().unwrap());
        let sink = Sink::default();
        tokio::spawn(serve(listener, door.token.clone(), sink.clone()));
        let batch = [Line::from(stat("x"))];
        let refused = |error: io::Result<()>| error.unwrap_err().to_string();

        let early = post(&mut None, &door, &batch).await;
        assert_eq!(refused(early), "503 Service Unavailable", "nobody leads");
        let (sender, mut received) = mpsc::channel(8);
        sink.set(Some(sender));
        let mut connection = None;
        post(&mut connection, &door, &batch).await.unwrap();
        post(&mut connection, &door, &batch).await.unwrap();
        assert_eq!(received.recv().await, Some(stat("x")));
        assert_eq!(received.recv().await, Some(stat("x")));
        let stranger = Door::new(door.address);
        let forged = post(&mut None, &stranger, &batch).await;
        assert_eq!(refused(forged), "401 Unauthorized");
        assert!(received.try_recv().is_err());
    }

    #[test]
    fn a_door_is_read_from_its_secret_alone() {
        let secret = |name: &str, address: &str| {
            json!({
                "metadata": {"namespace": SYSTEM_NAMESPACE, "name": name},
                "data": {"address": STANDARD.encode(address), "token": STANDARD.encode("t")},
            })
            .to_string()
        };
        let door = Door::of(secret(SECRET_NAME, "127.0.0.1:9").as_bytes());
        let expected = Door {
            address: "127.0.0.1:9".parse().unwrap(),
            token: "t".to_owned(),
        };
        assert_eq!(door, Some(expected));
        assert_eq!(Door::of(secret("other", "127.0.0.1:9").as_bytes()), None);
        assert_eq!(Door::of(secret(SECRET_NAME, "nowhere").as_bytes()), None);
    }
}
