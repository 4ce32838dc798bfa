//! The server all applications share: a port, a function from request to response, an end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(crate) type Answer = Response<Body>;

/// `$PORT`, else 8080.
pub(crate) fn port() -> u16 {
    let port = std::env::var("PORT").ok();
    port.and_then(|port| port.parse().ok()).unwrap_or(8080)
}

/// A text with a status.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()).boxed_unsync());
    *answer.status_mut() = status;
    answer
}

/// A text with 200.
pub(crate) fn ok(said: impl Into<Bytes>) -> Answer {
    text(StatusCode::OK, said)
}

/// The same to whoever asks.
pub(crate) async fn always(said: &'static str) {
    always_on(port(), said).await;
}

/// The same to whoever asks at `port`.
pub(crate) async fn always_on(port: u16, said: &'static str) {
    on(port, move |_| async move { ok(said) }).await;
}

/// The same to whoever asks over HTTP/2; others are told to.
pub(crate) async fn http2_only(said: &'static str) {
    on(port(), move |request: Request<Incoming>| async move {
        if request.version() == Version::HTTP_2 {
            ok(said)
        } else {
            text(StatusCode::UPGRADE_REQUIRED, "HTTP/2 only\n")
        }
    })
    .await;
}

/// The value of `name` in the query of `request`.
pub(crate) fn query(request: &Request<Incoming>, name: &str) -> Option<String> {
    let pairs = request.uri().query()?.split('&');
    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}

/// A number in the query, 0 without.
pub(crate) fn number(request: &Request<Incoming>, name: &str) -> u64 {
    let value = query(request, name);
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Serves until SIGTERM, then what is under way.
pub(crate) async fn on<F, R>(port: u16, answer: F)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    let mut end = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    let listener = TcpListener::bind(("0.0.0.0", port))
        .await
        .expect("the port is free");
    println!("listening on {port}");
    let busy = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = end.recv() => break,
        };
        let Ok((stream, _)) = stream else { continue };
        let _ = stream.set_nodelay(true);
        let (answer, busy) = (answer.clone(), Arc::clone(&busy));
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                busy.fetch_add(1, Ordering::SeqCst);
                let (answered, busy) = (answer(request), Arc::clone(&busy));
                async move {
                    let answer = answered.await;
                    busy.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, Infallible>(answer)
                }
            });
            let server = auto::Builder::new(TokioExecutor::new());
            let served = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
            let _ = served.await;
        });
    }
    drop(listener);
    while busy.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The last answer's bytes are handed to the kernel by another task.
    tokio::time::sleep(Duration::from_millis(50)).await;
}
