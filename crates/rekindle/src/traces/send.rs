//! Carries batches of spans and of measurements to a collector: OTLP over HTTP with protobuf bodies, or over gRPC. One
//! request at a time, tried again as long as the collector may recover; meanwhile spans wait in
//! their channel, and are lost when it is full.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use broker::{Connect, Stream};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use trace::Span;
use tracing::{debug, warn};

use super::otlp;
use crate::certificates::trusting;

/// Spans in one request (OpenTelemetry's default).
const BATCH_MAX: usize = 512;
/// Spans that may wait (OpenTelemetry's default).
pub(super) const WAITING_MAX: usize = 2048;
/// How long the first span of a batch waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// A collector that takes longer has not got the batch.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause before a batch is sent again; each is twice the one before.
const PAUSE: Duration = Duration::from_secs(1);
/// A batch is sent so often at most.
const ATTEMPTS_MAX: u32 = 5;
/// More is no answer of a collector.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What is sent: where collectors listen for it when the endpoint says no path, and what they call
/// it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signal {
    http_path: &'static str,
    grpc_path: &'static str,
}

/// Spans.
pub(crate) const TRACES: Signal = Signal {
    http_path: "/v1/traces",
    grpc_path: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
};
/// Measurements.
pub(crate) const METRICS: Signal = Signal {
    http_path: "/v1/metrics",
    grpc_path: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
};

/// How a collector is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// `http/protobuf`.
    Http,
    /// `grpc`.
    Grpc,
}

/// Where spans go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Endpoint {
    protocol: Protocol,
    is_tls: bool,
    host: String,
    port: u16,
    /// Host and port as the endpoint has them.
    authority: String,
    path: String,
}

impl Endpoint {
    /// Reads `tracing-endpoint` and its like as OpenTelemetry's exporters do: without a scheme it is
    /// TLS.
    pub(crate) fn parse(protocol: Protocol, text: &str, signal: Signal) -> Result<Self> {
        let whole = match text.contains("://") {
            true => text.to_owned(),
            false => format!("https://{text}"),
        };
        let uri: Uri = whole.parse().context("no URL")?;
        let is_tls = uri.scheme_str() == Some("https");
        let authority = uri.authority().context("no host")?;
        let port = match (protocol, is_tls) {
            (Protocol::Grpc, _) => 4317,
            (Protocol::Http, true) => 443,
            (Protocol::Http, false) => 80,
        };
        let path = match (protocol, uri.path_and_query()) {
            (Protocol::Grpc, _) => signal.grpc_path,
            (Protocol::Http, Some(path)) if has_path(&whole) => path.as_str(),
            (Protocol::Http, _) => signal.http_path,
        };
        let host = authority.host();
        Ok(Self {
            protocol,
            is_tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(port),
            authority: authority.to_string(),
            path: path.to_owned(),
        })
    }
}

/// Whether a URL has a path, be it `/`.
fn has_path(url: &str) -> bool {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    after.contains('/')
}

/// Whether it may go better next time.
enum Failure {
    ForNow(anyhow::Error),
    ForGood(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::ForNow(error.into())
    }
}

/// Sends what comes until the channel is closed and empty.
pub(super) async fn export(
    mut spans: mpsc::Receiver<Span>,
    endpoint: Endpoint,
    connect: Arc<dyn Connect>,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while let Some(first) = spans.recv().await {
        batch.push(first);
        let full_at = Instant::now() + BATCH_WAIT;
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            match timeout_at(full_at, spans.recv_many(&mut batch, room)).await {
                Ok(1..) => {}
                // Nobody sends any more, or the batch has waited long enough.
                Ok(0) | Err(_) => break,
            }
        }
        let body = Bytes::from(otlp::request(&batch, env!("CARGO_PKG_VERSION")));
        let count = batch.len();
        batch.clear();
        if let Err(error) = send(&endpoint, &*connect, body).await {
            let error = crate::builtins::chain(&*error);
            warn!(%error, count, to = endpoint.authority, "spans are lost: tracing-endpoint");
        }
    }
}

/// Sends one batch until it is taken or there is no use.
pub(crate) async fn send(endpoint: &Endpoint, connect: &dyn Connect, body: Bytes) -> Result<()> {
    let mut pause = PAUSE;
    for attempt in 1.. {
        let sent = timeout(PATIENCE, send_once(endpoint, connect, body.clone())).await;
        let sent = sent.unwrap_or_else(|_| Err(Failure::ForNow(anyhow!("no answer in time"))));
        match sent {
            Ok(()) => return Ok(()),
            Err(Failure::ForNow(error)) if attempt < ATTEMPTS_MAX => {
                debug!(%error, "send to a collector again");
            }
            Err(Failure::ForNow(error) | Failure::ForGood(error)) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Ok(())
}

async fn send_once(endpoint: &Endpoint, connect: &dyn Connect, body: Bytes) -> Result<(), Failure> {
    let stream = connect.connect(&endpoint.host, endpoint.port).await?;
    let stream = match endpoint.is_tls {
        true => secure(endpoint, stream).await?,
        false => stream,
    };
    match endpoint.protocol {
        Protocol::Http => post(endpoint, stream, body).await,
        Protocol::Grpc => call(endpoint, stream, body).await,
    }
}

async fn secure(endpoint: &Endpoint, stream: Stream) -> Result<Stream, Failure> {
    let alpn: &[&[u8]] = match endpoint.protocol {
        Protocol::Http => &[b"http/1.1"],
        Protocol::Grpc => &[b"h2"],
    };
    let tls = trusting("", alpn)?;
    let name = ServerName::try_from(endpoint.host.clone())?;
    Ok(Box::new(tls.connect(name, stream).await?))
}

async fn post(endpoint: &Endpoint, stream: Stream, body: Bytes) -> Result<(), Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post(endpoint.path.as_str())
        .header(header::HOST, endpoint.authority.as_str())
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        .body(Full::new(body))?;
    let answer = sender.send_request(request).await;
    connection.abort();
    let status = answer?.status();
    let error = anyhow!("the collector answered {status}");
    match status {
        status if status.is_success() => Ok(()),
        // Those which the protocol has senders try again.
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Err(Failure::ForNow(error)),
        _ => Err(Failure::ForGood(error)),
    }
}

async fn call(endpoint: &Endpoint, stream: Stream, body: Bytes) -> Result<(), Failure> {
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    // Not compressed, and its length.
    let mut framed = BytesMut::with_capacity(5 + body.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(body.len())?);
    framed.put(body);
    let scheme = if endpoint.is_tls { "https" } else { "http" };
    let (authority, path) = (&endpoint.authority, &endpoint.path);
    let request = Request::post(format!("{scheme}://{authority}{path}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(framed.freeze()))?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow!(error))?;
        anyhow::Ok((head, body.trailers().cloned().unwrap_or_default()))
    }
    .await;
    connection.abort();
    let (head, trailers) = answer?;
    if head.status != StatusCode::OK {
        return Err(Failure::ForNow(anyhow!("{} instead of gRPC", head.status)));
    }
    // Without a message the status is in the head.
    let said = [&trailers, &head.headers];
    judge(said.into_iter().find_map(grpc_status))
}

/// `grpc-status` and its message.
fn grpc_status(fields: &HeaderMap) -> Option<(u32, String)> {
    let text = |name: &str| fields.get(name)?.to_str().ok();
    let message = text("grpc-message").unwrap_or_default().to_owned();
    Some((text("grpc-status")?.parse().ok()?, message))
}

fn judge(status: Option<(u32, String)>) -> Result<(), Failure> {
    match status {
        Some((0, _)) => Ok(()),
        // Cancelled, deadline exceeded, exhausted, aborted, out of range, unavailable, data loss.
        Some((code @ (1 | 4 | 8 | 10 | 11 | 14 | 15), message)) => {
            Err(Failure::ForNow(anyhow!("gRPC status {code}: {message}")))
        }
        Some((code, message)) => Err(Failure::ForGood(anyhow!("gRPC status {code}: {message}"))),
        None => Err(Failure::ForGood(anyhow!("an answer without grpc-status"))),
    }
}

/// What `config-observability` names, if it is a protocol that sends.
pub(crate) fn protocol(name: &str) -> Result<Option<Protocol>> {
    Ok(match name {
        "none" => None,
        "http/protobuf" => Some(Protocol::Http),
        "grpc" => Some(Protocol::Grpc),
        other => bail!("nothing can be sent by {other}; use http/protobuf or grpc"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::convert::Infallible;

    use http::Response;
    use hyper::body::{Frame, Incoming};
    use hyper::service::service_fn;
    use tokio::net::TcpListener;

    /// Answers every request with `status` and, as a trailer, `grpc-status`; wants `body`.
    async fn collector(status: u16, grpc_status: &'static str, path: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let answer = move |request: Request<Incoming>| async move {
                let asked = request.uri().path().to_owned();
                let kind = request.headers()["content-type"]
                    .to_str()
                    .unwrap()
                    .to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let expected: (&str, &[u8]) = match path {
                    path if path == TRACES.grpc_path => ("application/grpc", b"\0\0\0\0\x04span"),
                    _ => ("application/x-protobuf", b"span"),
                };
                assert_eq!(
                    (asked.as_str(), kind.as_str(), &*body),
                    (path, expected.0, expected.1)
                );
                let fields = [("grpc-status", grpc_status)];
                let fields =
                    fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
                let trailers = Frame::<Bytes>::trailers(HeaderMap::from_iter(fields));
                let body = futures_util::stream::iter([Ok::<_, Infallible>(trailers)]);
                let body = http_body_util::StreamBody::new(body);
                let answer = Response::builder().status(status).body(body);
                Ok::<_, Infallible>(answer.unwrap())
            };
            let (stream, _) = listener.accept().await.unwrap();
            let io = TokioIo::new(stream);
            // That the client goes is the end.
            let _ = match path {
                path if path == TRACES.grpc_path => {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    server.serve_connection(io, service_fn(answer)).await
                }
                _ => {
                    let server = hyper::server::conn::http1::Builder::new();
                    server.serve_connection(io, service_fn(answer)).await
                }
            };
        });
        port
    }

    #[tokio::test]
    async fn what_a_collector_answers_decides_whether_it_is_asked_again() {
        const TAKEN: &str = "taken";
        for (protocol, status, grpc_status, expected) in [
            (Protocol::Http, 200, "0", TAKEN),
            (Protocol::Http, 503, "0", "again"),
            (Protocol::Http, 400, "0", "never"),
            (Protocol::Grpc, 200, "0", TAKEN),
            (Protocol::Grpc, 200, "14", "again"),
            (Protocol::Grpc, 200, "3", "never"),
        ] {
            let path = match protocol {
                Protocol::Http => TRACES.http_path,
                Protocol::Grpc => TRACES.grpc_path,
            };
            let port = collector(status, grpc_status, path).await;
            let endpoint = Endpoint::parse(protocol, &format!("http://127.0.0.1:{port}"), TRACES);
            let body = Bytes::from_static(b"span");
            let sent = match send_once(&endpoint.unwrap(), &broker::ByMachine, body).await {
                Ok(()) => TAKEN.to_owned(),
                Err(Failure::ForNow(_)) => "again".to_owned(),
                Err(Failure::ForGood(_)) => "never".to_owned(),
            };
            assert_eq!(sent, expected, "{protocol:?} {status} {grpc_status}");
        }
    }

    #[test]
    fn endpoints_are_read_as_opentelemetry_reads_them() {
        let http = Protocol::Http;
        for (protocol, text, expected) in [
            (http, "http://c:4318/v1/traces", "http c 4318 /v1/traces"),
            (http, "http://c:4318", "http c 4318 /v1/traces"),
            (http, "http://c/", "http c 80 /"),
            (http, "c:4318/x?y", "https c 4318 /x?y"),
            (http, "http://[::1]:9/", "http ::1 9 /"),
            (Protocol::Grpc, "http://c:7", "http c 7 GRPC"),
            (Protocol::Grpc, "https://c", "https c 4317 GRPC"),
        ] {
            let endpoint = Endpoint::parse(protocol, text, TRACES).unwrap();
            let scheme = if endpoint.is_tls { "https" } else { "http" };
            let path = endpoint.path.replace(TRACES.grpc_path, "GRPC");
            let seen = format!("{scheme} {} {} {path}", endpoint.host, endpoint.port);
            assert_eq!(seen, expected, "{text}");
        }
        assert!(Endpoint::parse(http, "http://", TRACES).is_err());
    }
}
