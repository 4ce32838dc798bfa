//! Connections to applications that hyper carries: HTTP/2 with prior knowledge, shared by many
//! requests, and HTTP/1.1 for clients that came by HTTP/2, one request at a time.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serving::route::Protocol;

use crate::h1::{connect, connect_address};
use crate::pod::{LANES, PodState};
use crate::wire::Wire;
use crate::worker::Worker;

/// Requests on one HTTP/2 connection before another one is opened; servers usually allow no more.
const STREAMS_MAX: usize = 100;
/// What the application may send ahead on one stream.
const STREAM_WINDOW: u32 = 1 << 20;
/// What it may send ahead on a connection.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Idle HTTP/1.1 connections kept per worker.
const IDLE_MAX: usize = 256;

/// A request on a shared connection, counted while it lives.
pub(crate) struct Stream(Option<Arc<AtomicUsize>>);

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(streams) = &self.0 {
            streams.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

struct Shared {
    sender: http2::SendRequest<Incoming>,
    streams: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Lane {
    shared: Vec<Shared>,
    idle: Vec<http1::SendRequest<Incoming>>,
}

/// A Pod's connections of this kind, by worker.
#[derive(Default)]
pub(crate) struct Connections([Mutex<Lane>; LANES]);

impl Connections {
    fn lane(&self, lane: usize) -> MutexGuard<'_, Lane> {
        self.0[lane].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what is idle; requests under way keep their connection.
    pub(crate) fn clear(&self) {
        for lane in 0..LANES {
            *self.lane(lane) = Lane::default();
        }
    }
}

/// Why there is no answer.
pub(super) enum SendError {
    /// Nothing was sent: here is the request again.
    Unsent(Box<Request<Incoming>>, io::Error),
    /// The connection broke under it.
    Broken(hyper::Error),
}

/// Sends a request to the Pod and waits for the head of the answer.
pub(super) async fn send(
    worker: &Worker,
    pod: &Arc<PodState>,
    protocol: Protocol,
    request: Request<Incoming>,
) -> Result<(Response<Incoming>, Stream), SendError> {
    match protocol {
        Protocol::H2c => send_h2(worker, pod, request).await,
        Protocol::Http1 => send_h1(worker, pod, request).await,
    }
}

async fn send_h2(
    worker: &Worker,
    pod: &Arc<PodState>,
    request: Request<Incoming>,
) -> Result<(Response<Incoming>, Stream), SendError> {
    let (mut sender, stream) = match take_shared(worker, pod) {
        Some(taken) => taken,
        None => match open_shared(worker, pod).await {
            Ok(opened) => opened,
            Err(error) => return Err(SendError::Unsent(Box::new(request), error)),
        },
    };
    match sender.try_send_request(request).await {
        Ok(response) => Ok((response, stream)),
        Err(error) => Err(unsent_or_broken(error)),
    }
}

fn take_shared(worker: &Worker, pod: &PodState) -> Option<(http2::SendRequest<Incoming>, Stream)> {
    let mut lane = pod.connections.lane(worker.lane);
    lane.shared.retain(|shared| !shared.sender.is_closed());
    let free = lane
        .shared
        .iter()
        .find(|shared| shared.streams.load(Ordering::Relaxed) < STREAMS_MAX)?;
    free.streams.fetch_add(1, Ordering::Relaxed);
    Some((free.sender.clone(), Stream(Some(Arc::clone(&free.streams)))))
}

async fn open_shared(
    worker: &Worker,
    pod: &PodState,
) -> io::Result<(http2::SendRequest<Incoming>, Stream)> {
    let stream = connect(worker, pod).await?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "HTTP/2 connection to an application");
        }
    });
    let streams = Arc::new(AtomicUsize::new(1));
    let shared = Shared {
        sender: sender.clone(),
        streams: Arc::clone(&streams),
    };
    pod.connections.lane(worker.lane).shared.push(shared);
    Ok((sender, Stream(Some(streams))))
}

async fn send_h1(
    worker: &Worker,
    pod: &Arc<PodState>,
    request: Request<Incoming>,
) -> Result<(Response<Incoming>, Stream), SendError> {
    let mut sender = match take_idle(worker, pod) {
        Some(sender) => sender,
        None => match open(worker, pod).await {
            Ok(sender) => sender,
            Err(error) => return Err(SendError::Unsent(Box::new(request), error)),
        },
    };
    let response = sender
        .try_send_request(request)
        .await
        .map_err(unsent_or_broken)?;
    let (pod, lane) = (Arc::clone(pod), worker.lane);
    // The connection is free again once the answer's body has been read.
    tokio::spawn(async move {
        if sender.ready().await.is_ok() {
            let mut lane = pod.connections.lane(lane);
            if lane.idle.len() < IDLE_MAX {
                lane.idle.push(sender);
            }
        }
    });
    Ok((response, Stream(None)))
}

fn take_idle(worker: &Worker, pod: &PodState) -> Option<http1::SendRequest<Incoming>> {
    let mut lane = pod.connections.lane(worker.lane);
    while let Some(sender) = lane.idle.pop() {
        if sender.is_ready() {
            return Some(sender);
        }
    }
    None
}

async fn open(worker: &Worker, pod: &PodState) -> io::Result<http1::SendRequest<Incoming>> {
    handshake(connect(worker, pod).await?).await
}

async fn handshake(stream: Wire) -> io::Result<http1::SendRequest<Incoming>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "HTTP/1.1 connection to an application");
        }
    });
    Ok(sender)
}

/// Sends a request to an address that is no Pod's, on a connection of its own.
pub(super) async fn send_to_address(
    worker: &Worker,
    address: &str,
    request: Request<Incoming>,
) -> Result<(Response<Incoming>, Stream), SendError> {
    let opened = async { handshake(connect_address(worker, address).await?).await };
    let mut sender = match opened.await {
        Ok(sender) => sender,
        Err(error) => return Err(SendError::Unsent(Box::new(request), error)),
    };
    let response = sender
        .try_send_request(request)
        .await
        .map_err(unsent_or_broken)?;
    Ok((response, Stream(None)))
}

fn unsent_or_broken(mut error: hyper::client::conn::TrySendError<Request<Incoming>>) -> SendError {
    match error.take_message() {
        Some(request) => SendError::Unsent(Box::new(request), io::Error::other(error.into_error())),
        None => SendError::Broken(error.into_error()),
    }
}
