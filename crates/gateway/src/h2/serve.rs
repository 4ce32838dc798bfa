//! Takes a client connection over from the HTTP/1.1 path and answers its requests through hyper.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serving::route::Protocol;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout_at;

use super::body::{Answer, Relayed};
use super::headers::{rewrite_request, strip_hop_by_hop};
use super::upstream::{SendError, Stream, send, send_to_address};
use crate::front::{Decision, Forward, Headers, HostCache, Limits, Query, Via};
use crate::record::Record;
use crate::reply::Reply;
use crate::retry::Retry;
use crate::seat::Seat;
use crate::timer::Timer;
use crate::worker::{InFlight, Origin, Worker};

/// What the client may send ahead on one stream.
const STREAM_WINDOW: u32 = 1 << 20;
/// Requests a client may have under way on one connection.
const STREAMS_MAX: u32 = 1000;
/// All header fields of a request together.
const HEADERS_SIZE_MAX: u32 = 64 * 1024;
/// How often a client is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(60);
/// How long a client may take to a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// What the client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    Http1,
    Http2,
}

struct Connection {
    worker: Arc<Worker>,
    origin: Arc<Origin>,
    peer: String,
    /// The random number the first request was decided with already; odd when there is none.
    first_draw: AtomicU64,
}

/// Serves a connection of which `read_ahead` was read already. `draw` is the random number with
/// which the first request was decided to come here: it is decided with the same one again.
pub(crate) async fn take_over<S>(
    io: S,
    read_ahead: Vec<u8>,
    version: Version,
    (worker, origin): (Arc<Worker>, Arc<Origin>),
    draw: Option<u64>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::new(Connection {
        worker,
        peer: origin.peer.ip().to_canonical().to_string(),
        origin,
        first_draw: AtomicU64::new(draw.map_or(NO_DRAW, |draw| draw % NO_DRAW)),
    });
    let service = service_fn(move |request| {
        let connection = Arc::clone(&connection);
        async move { Ok::<_, Infallible>(connection.answer(request).await) }
    });
    let io = TokioIo::new(Rewound {
        read_ahead: read_ahead.into(),
        io,
    });
    let served = match version {
        Version::Http2 => {
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(4 * STREAM_WINDOW)
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(HEADERS_SIZE_MAX)
                .keep_alive_interval(Some(PING_INTERVAL))
                .serve_connection(io, service)
                .await
        }
        Version::Http1 => {
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(io, service)
                .await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "client connection");
    }
}

/// No number is decided yet. A multiple of 100, so that the remainder keeps its share.
const NO_DRAW: u64 = 1_000_000;

impl Connection {
    async fn answer(&self, mut request: Request<Incoming>) -> Response<Answer> {
        let in_flight = InFlight::new(&self.worker);
        let started = Instant::now();
        let host = request
            .uri()
            .authority()
            .map(|authority| authority.as_str())
            .or_else(|| {
                request
                    .headers()
                    .get(HOST)
                    .and_then(|host| host.to_str().ok())
            })
            .unwrap_or_default()
            .to_owned();
        let mut record = Record::of_request(&self.worker, &request, &self.origin, started);
        let reply = match self.decide(&request, &host) {
            Decision::Reply(reply) => reply,
            Decision::Probe(queue) => queue.answer_probe().await,
            Decision::Forward(forward) => {
                record.attach(&forward.via);
                let traceparent = self.trace(&mut record, &forward, &request, &host);
                self.rewrite(&mut request, &forward, &host);
                if let Some(value) = traceparent.and_then(|text| text.parse().ok()) {
                    request.headers_mut().insert("traceparent", value);
                }
                match self.carry(request, &forward, &mut record, started).await {
                    Ok((response, seat, stream)) => {
                        record.serve_by(seat.pod());
                        let limits = forward.limits;
                        let flight = (in_flight, stream);
                        return relay(response, seat, limits, record, flight, started);
                    }
                    Err(reply) => reply,
                }
            }
        };
        record.finish(reply.status, reply.body.len() as u64);
        own(&reply)
    }

    fn decide(&self, request: &Request<Incoming>, host: &str) -> Decision {
        let fields = Fields(request.headers());
        let text = |name: &str| fields.get(name);
        let query = Query {
            host,
            target: request
                .uri()
                .path_and_query()
                .map_or("/", |target| target.as_str()),
            network_probe: text("k-network-probe"),
            user_agent: text("user-agent").unwrap_or_default(),
            proxied: text("k-proxy-request") == Some("activator"),
            headers: &fields,
        };
        let first = self.first_draw.swap(NO_DRAW, Ordering::Relaxed);
        let draw = if first == NO_DRAW {
            rand::random()
        } else {
            first
        };
        self.origin
            .front
            .decide(&query, self.origin.https, draw, &mut HostCache::default())
    }

    /// Begins a trace; gives the application's place in it.
    fn trace(
        &self,
        record: &mut Record,
        forward: &Forward,
        request: &Request<Incoming>,
        host: &str,
    ) -> Option<String> {
        let target = request.uri().path_and_query();
        let target = target.map_or("/", |target| target.as_str());
        let line = [request.method().as_str(), target, host];
        let version = match request.version() {
            http::Version::HTTP_2 => "2",
            _ => "1.1",
        };
        record.trace(
            &self.origin,
            forward,
            &Fields(request.headers()),
            (line, version),
        )
    }

    /// Makes the request one for the application.
    fn rewrite(&self, request: &mut Request<Incoming>, forward: &Forward, host: &str) {
        let scheme = if self.origin.https { "https" } else { "http" };
        let set = forward.set_headers();
        rewrite_request(request.headers_mut(), &self.peer, scheme, host, set);
        if forward.proxied && self.worker.mark_proxied {
            let activator = HeaderValue::from_static("activator");
            request.headers_mut().insert("k-proxy-request", activator);
        }
        let host = forward.rewrite_host().unwrap_or(host);
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        let uri = match forward.protocol {
            Protocol::H2c => format!("http://{host}{path}").parse(),
            Protocol::Http1 => path.parse(),
        };
        // Both parts come from a valid URI; a host that is not one is not routed.
        *request.uri_mut() = uri.unwrap_or_else(|_| Uri::from_static("/"));
        request.headers_mut().remove(HOST);
        if forward.protocol == Protocol::Http1
            && let Ok(host) = HeaderValue::from_str(host)
        {
            request.headers_mut().insert(HOST, host);
        }
        *request.version_mut() = match forward.protocol {
            Protocol::H2c => http::Version::HTTP_2,
            Protocol::Http1 => http::Version::HTTP_11,
        };
    }

    /// Waits for a slot and sends the request, again while nothing of it was sent.
    async fn carry(
        &self,
        request: Request<Incoming>,
        forward: &Forward,
        record: &mut Record,
        started: Instant,
    ) -> Result<(Response<Incoming>, Seat, Stream), Reply> {
        let carried = self.carry_unlimited(request, forward, record, started);
        match forward.limits.first_byte(started) {
            Some(deadline) => timeout_at(deadline.into(), carried)
                .await
                .unwrap_or_else(|_| Err(Reply::text(504, forward.timeout_text))),
            None => carried.await,
        }
    }

    async fn carry_unlimited(
        &self,
        mut request: Request<Incoming>,
        forward: &Forward,
        record: &mut Record,
        started: Instant,
    ) -> Result<(Response<Incoming>, Seat, Stream), Reply> {
        let mut seat = Seat::new(&self.worker, forward, started);
        let mut retry = Retry::default();
        loop {
            if poll_fn(|cx| seat.poll(cx)).await.is_err() {
                return Err(Reply::queue_full());
            }
            record.seat(seat.pod());
            let sent = match (seat.pod(), &forward.via) {
                (None, Via::Address(address)) => {
                    send_to_address(&self.worker, address, request).await
                }
                (Some(pod), _) => send(&self.worker, pod, forward.protocol, request).await,
                (None, _) => return Err(Reply::bad_gateway("no Pod was granted")),
            };
            match sent {
                Ok((response, stream)) => return Ok((response, seat, stream)),
                Err(SendError::Broken(error)) => {
                    return Err(Reply::bad_gateway(&error.to_string()));
                }
                Err(SendError::Unsent(unsent, error)) => {
                    let Some(pause) = retry.pause(Instant::now()) else {
                        return Err(Reply::bad_gateway(&error.to_string()));
                    };
                    tokio::time::sleep(pause).await;
                    request = *unsent;
                    seat.move_on(&self.worker);
                }
            }
        }
    }
}

/// The application's answer, which holds the slots until its end.
fn relay(
    response: Response<Incoming>,
    seat: Seat,
    limits: Limits,
    mut record: Record,
    flight: (InFlight, Stream),
    started: Instant,
) -> Response<Answer> {
    let (mut parts, inner) = response.into_parts();
    record.begin(parts.status.as_u16());
    strip_hop_by_hop(&mut parts.headers);
    let body = Answer::Relayed(Box::new(Relayed {
        inner,
        timer: Timer::default(),
        total: limits.total.map(|limit| started + limit),
        idle: limits.idle,
        last_frame: Instant::now(),
        record,
        _held: (seat, flight.0, flight.1),
    }));
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    response
}

fn own(reply: &Reply) -> Response<Answer> {
    let body = (!reply.body.is_empty()).then(|| Bytes::from(reply.body.clone().into_owned()));
    let mut builder = Response::builder().status(reply.status);
    if body.is_some() {
        builder = builder
            .header("content-type", "text/plain; charset=utf-8")
            .header("x-content-type-options", "nosniff");
    }
    if let Some((name, value)) = &reply.header {
        builder = builder.header(*name, value);
    }
    builder
        .body(Answer::Own(body))
        .unwrap_or_else(|_| Response::new(Answer::Own(None)))
}

struct Fields<'a>(&'a http::HeaderMap);

impl<'a> Headers<'a> for Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A stream whose beginning was read by another.
struct Rewound<S> {
    read_ahead: Bytes,
    io: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let count = self.read_ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.read_ahead.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
