//! HTTP/1.1 and HTTP/2, with TLS or without, in front of [`Door`]: reads bodies up to the limit and writes
//! answers. One task per connection, none per event.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::{Door, Head};
use crate::answer::Answer;
use crate::workers::Dealer;

/// Longest wait for the head of a request once it has begun.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// Bytes of a body that is too large which are read and thrown away.
const DRAIN_BYTES_MAX: usize = 64 << 20;
/// Pause after a failed accept: out of descriptors, as a rule, and others will be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the task is dropped; connections go round the workers.
pub(crate) async fn serve(
    listener: TcpListener,
    door: Arc<Door>,
    workers: Dealer,
    tls: Option<TlsAcceptor>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                let door = Arc::clone(&door);
                match tls.clone() {
                    Some(tls) => workers.next().spawn(secured(stream, tls, door)),
                    None => workers.next().spawn(connection(stream, door, false)),
                };
            }
            Err(error) => {
                debug!(%error, "accept an event's connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn secured(stream: TcpStream, tls: TlsAcceptor, door: Arc<Door>) {
    match tokio::time::timeout(HEAD_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => connection(stream, door, true).await,
        Ok(Err(error)) => debug!(%error, "TLS with a sender of events"),
        Err(_) => debug!("TLS with a sender of events took too long"),
    }
}

async fn connection<S>(stream: S, door: Arc<Door>, is_secure: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX);
    builder.http2().timer(TokioTimer::new());
    let service = service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(response(exchange(&door, request, is_secure).await)) }
    });
    let served = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        debug!(%error, "a connection to the event ingress ended");
    }
}

async fn exchange(door: &Door, request: Request<Incoming>, is_secure: bool) -> Answer {
    let (parts, body) = request.into_parts();
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(|a| a.as_str()));
    let head = Head {
        method: &parts.method,
        host: host.unwrap_or_default(),
        path: parts.uri.path(),
        headers: &parts.headers,
        is_secure,
    };
    let admitted = match door.admit(&head).await {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    match read(body, door.event_bytes_max()).await {
        Ok(body) => door.take(admitted, &parts.headers, body).await,
        Err(Unread::TooLarge) => door.too_large(),
        Err(Unread::Broken(error)) => {
            let text = format!("the body broke off: {error}");
            Answer::text(http::StatusCode::BAD_REQUEST, text)
        }
    }
}

enum Unread {
    TooLarge,
    Broken(hyper::Error),
}

/// The whole body. What came in one piece, as small events do, is not copied.
async fn read(mut body: Incoming, max: usize) -> Result<Bytes, Unread> {
    if body.size_hint().lower() > max as u64 {
        return refuse(body).await;
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > max {
            return refuse(body).await;
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// Reads on for a while, since a sender that is still writing when the connection closes does not
/// see the answer.
async fn refuse(mut body: Incoming) -> Result<Bytes, Unread> {
    let mut left = DRAIN_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        left = left.saturating_sub(bytes);
        if left == 0 {
            break;
        }
    }
    Err(Unread::TooLarge)
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}
