//! The small pages of a queue-proxy: statistics (9090), metrics (9091), the preStop hook (8022).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Queue;
use crate::metrics::{self, QueueMetrics};

/// Which page a port shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Page {
    /// Knative's `Stat` message in protobuf.
    Stats,
    /// Prometheus' text format.
    Metrics,
    /// `/wait-for-drain`.
    Drain,
}

/// Serves one page until the queue-proxy is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    page: Page,
    queue: Arc<Queue>,
    gone: watch::Receiver<()>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let (queue, mut gone) = (Arc::clone(&queue), gone.clone());
        let service = service_fn(move |request| {
            let queue = Arc::clone(&queue);
            async move { Ok::<_, Infallible>(answer(page, queue, &request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            tokio::select! {
                // A client that breaks off is no one's concern.
                _ = connection => {}
                _ = gone.changed() => {}
            }
        });
    }
}

async fn answer(
    page: Page,
    queue: Arc<Queue>,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (content_type, body) = match (page, request.uri().path()) {
        (Page::Stats, "/metrics") => ("application/protobuf", stat(&queue)),
        (Page::Metrics, "/metrics") => {
            let (revision, pod) = (Arc::clone(&queue.revision), Arc::clone(&queue.pod));
            let text = metrics::text(QueueMetrics { revision, pod });
            (
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                text.into_bytes(),
            )
        }
        (Page::Drain, "/wait-for-drain") => {
            queue.wait_for_drain().await;
            ("text/plain; charset=utf-8", Vec::new())
        }
        _ => {
            let mut missing = Response::new(Full::from("404 page not found\n"));
            *missing.status_mut() = http::StatusCode::NOT_FOUND;
            return missing;
        }
    };
    let mut response = Response::new(Full::from(body));
    let value = http::HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, value);
    response
}

/// The Pod's statistics as the message `metrics.Stat` (serving `stat.proto`).
fn stat(queue: &Queue) -> Vec<u8> {
    let report = queue.pod.report(Instant::now());
    let mut out = Vec::with_capacity(96);
    let name = Arc::clone(&queue.pod.facts.load().name);
    // Field 1, a string. A Pod's name is shorter than 254 bytes: its length takes two at most.
    out.push(0x0a);
    if name.len() >= 0x80 {
        out.push((name.len() & 0x7f) as u8 | 0x80);
        out.push((name.len() >> 7) as u8);
    } else {
        out.push(name.len() as u8);
    }
    out.extend_from_slice(name.as_bytes());
    for (field, value) in [
        (2, report.average_concurrency),
        (3, report.average_proxied_concurrency),
        (4, report.request_count),
        (5, report.proxied_count),
        (6, queue.started.elapsed().as_secs_f64()),
    ] {
        // Zero is protobuf's default and is left out.
        if value != 0.0 {
            out.push(field << 3 | 1);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
    out
}
