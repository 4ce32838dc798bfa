//! HTTP as a client of the gateway speaks it: the address is the gateway's, the `Host` is the
//! route's (Knative's own test client calls that spoofing).

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// The longest that any request may take.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// One question to the gateway.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The `Host`.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// The method.
    pub method: Method,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
    /// HTTP/2 with prior knowledge instead of HTTP/1.1.
    pub http2: bool,
}

impl Ask {
    /// `GET path` of the host in `url`.
    pub fn get(url: &str, path: &str) -> Self {
        Self {
            host: host(url).to_owned(),
            path: path.to_owned(),
            method: Method::GET,
            headers: Vec::new(),
            body: Bytes::new(),
            http2: false,
        }
    }

    /// With a header more.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// The host of a URL.
pub fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, read as text.
    pub body: String,
    /// The trailers, if any.
    pub trailers: HeaderMap,
    /// Whether the body came to its end as announced.
    pub whole: bool,
}

impl Answer {
    /// Itself, if the status is 200.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.status == 200, "{}: {}", self.status, self.body.trim());
        Ok(self)
    }
}

/// Asks and reads the answer to its end.
pub async fn ask(gateway: SocketAddr, ask: &Ask) -> Result<Answer> {
    let asked = async {
        let response = send(gateway, ask).await?;
        read(response).await
    };
    tokio::time::timeout(ANSWER_MAX, asked)
        .await
        .with_context(|| format!("no answer from {}{}", ask.host, ask.path))?
}

/// Asks and returns with the head of the answer.
pub async fn send(gateway: SocketAddr, ask: &Ask) -> Result<Response<Incoming>> {
    let stream = TcpStream::connect(gateway).await.context("connect")?;
    stream.set_nodelay(true)?;
    let io = TokioIo::new(stream);
    let mut request = Request::builder().method(&ask.method);
    for (name, value) in &ask.headers {
        request = request.header(*name, value);
    }
    let body = Full::new(ask.body.clone());
    let response = if ask.http2 {
        let request = request.version(Version::HTTP_2);
        let request = request.uri(format!("http://{}{}", ask.host, ask.path));
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        sender.send_request(request.body(body)?).await?
    } else {
        let request = request.uri(&ask.path).header("host", &ask.host);
        let (mut sender, connection) = http1::handshake(io).await?;
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request.body(body)?).await?
    };
    Ok(response)
}

async fn read(response: Response<Incoming>) -> Result<Answer> {
    let (head, mut body) = response.into_parts();
    let mut text = Vec::new();
    let mut trailers = HeaderMap::new();
    let mut whole = true;
    while let Some(frame) = body.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => text.extend_from_slice(&data),
            Ok(Err(frame)) => trailers = frame.into_trailers().unwrap_or_default(),
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8_lossy(&text).into_owned(),
        trailers,
        whole,
    })
}
