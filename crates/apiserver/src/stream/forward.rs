//! Port-forward: pairs of a data and an error stream, each pair one connection into the Pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use spdy::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::spdy::{Event, connection, header};
use super::websocket::Messages;
use crate::hooks::{Duplex, PodBackend};

/// Bytes are forwarded in pieces of at most this size.
const PIECE_BYTES: usize = 32 << 10;
/// So many pieces may wait for one connection.
const PENDING: usize = 32;

type Pod = (String, String);

/// The streams of one connection that the client is still opening.
#[derive(Default)]
struct Pair {
    data: Option<u32>,
    error: Option<u32>,
    port: u16,
}

/// Serves port-forward over SPDY until the client is gone.
pub(super) async fn over_spdy(io: impl Duplex + 'static, backend: Arc<dyn PodBackend>, pod: Pod) {
    let (mut events, frames) = connection(io);
    let mut pairs = BTreeMap::<String, Pair>::new();
    // Without a receiver of its own, a stream's data waits here for its partner.
    let mut inputs = BTreeMap::<u32, mpsc::Sender<Option<Bytes>>>::new();
    let mut waiting = BTreeMap::<u32, mpsc::Receiver<Option<Bytes>>>::new();
    while let Some(event) = events.recv().await {
        match event {
            Event::Open { id, headers } => {
                let request = header(&headers, "requestid").to_owned();
                let pair = pairs.entry(request.clone()).or_default();
                pair.port = header(&headers, "port").parse().unwrap_or_default();
                if header(&headers, "streamtype") == "error" {
                    pair.error = Some(id);
                } else {
                    pair.data = Some(id);
                    let (sender, receiver) = mpsc::channel(PENDING);
                    inputs.insert(id, sender);
                    waiting.insert(id, receiver);
                }
                let (Some(data), Some(error)) = (pair.data, pair.error) else {
                    continue;
                };
                let port = pair.port;
                pairs.remove(&request);
                let Some(input) = waiting.remove(&data) else {
                    continue;
                };
                let (backend, pod, frames) = (Arc::clone(&backend), pod.clone(), frames.clone());
                tokio::spawn(async move {
                    let outcome = pump(&*backend, &pod, port, input, data, &frames).await;
                    finish(outcome, (data, error), &frames).await;
                });
            }
            Event::Data { id, fin, bytes } => {
                let Some(input) = inputs.get(&id) else {
                    continue;
                };
                // A connection that has ended takes no more; its streams are closed by then.
                if !bytes.is_empty() {
                    drop(input.send(Some(bytes)).await);
                }
                if fin {
                    drop(input.send(None).await);
                    inputs.remove(&id);
                }
            }
            Event::Reset { id } => drop(inputs.remove(&id)),
        }
    }
}

async fn pump(
    backend: &dyn PodBackend,
    pod: &Pod,
    port: u16,
    mut input: mpsc::Receiver<Option<Bytes>>,
    data: u32,
    frames: &mpsc::Sender<Frame>,
) -> Result<(), String> {
    let connection = backend.port_forward((&pod.0, &pod.1), port).await;
    let connection = connection.map_err(|error| error.message)?;
    let (mut reader, mut writer) = tokio::io::split(connection);
    let upstream = async {
        while let Some(Some(bytes)) = input.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
        drop(writer.shutdown().await);
    };
    let downstream = async {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = reader.read(&mut piece).await {
            let bytes = piece[..count].to_vec();
            if frames
                .send(Frame::Data {
                    id: data,
                    fin: false,
                    bytes,
                })
                .await
                .is_err()
            {
                return;
            }
        }
    };
    tokio::pin!(upstream);
    tokio::pin!(downstream);
    // The Pod's side ends the connection; a client that has nothing more to send waits for it.
    tokio::select! {
        () = &mut downstream => {}
        () = &mut upstream => downstream.await,
    }
    Ok(())
}

async fn finish(
    outcome: Result<(), String>,
    (data, error): (u32, u32),
    frames: &mpsc::Sender<Frame>,
) {
    if let Err(why) = outcome {
        let bytes = why.into_bytes();
        drop(
            frames
                .send(Frame::Data {
                    id: error,
                    fin: false,
                    bytes,
                })
                .await,
        );
    }
    for id in [data, error] {
        drop(
            frames
                .send(Frame::Data {
                    id,
                    fin: true,
                    bytes: Vec::new(),
                })
                .await,
        );
    }
}

/// Serves port-forward over WebSocket channels: two per port, data and error, each introduced by
/// the port's number.
pub(super) async fn over_websocket(
    io: impl Duplex + 'static,
    protocol: &str,
    backend: Arc<dyn PodBackend>,
    pod: Pod,
    ports: &[u16],
) {
    let mut socket = Messages::new(io, protocol).await;
    let (output, mut outputs) = mpsc::channel::<(u8, Vec<u8>)>(PENDING);
    let mut inputs = BTreeMap::new();
    for (index, port) in ports.iter().enumerate() {
        let Ok(data) = u8::try_from(index * 2) else {
            break;
        };
        for channel in [data, data + 1] {
            socket.send(channel, &port.to_le_bytes()).await;
        }
        let (sender, receiver) = mpsc::channel(PENDING);
        inputs.insert(data, sender);
        let (backend, pod, output, port) =
            (Arc::clone(&backend), pod.clone(), output.clone(), *port);
        tokio::spawn(async move {
            if let Err(why) = pump_channel(&*backend, &pod, port, receiver, data, &output).await {
                drop(output.send((data + 1, why.into_bytes())).await);
            }
        });
    }
    drop(output);
    loop {
        tokio::select! {
            message = socket.next() => {
                let Some((channel, bytes)) = message else { return };
                if let Some(input) = inputs.get(&channel) {
                    drop(input.send(bytes).await);
                }
            }
            piece = outputs.recv() => {
                let Some((channel, bytes)) = piece else { break };
                if !socket.send(channel, &bytes).await {
                    return;
                }
            }
        }
    }
    socket.close().await;
}

async fn pump_channel(
    backend: &dyn PodBackend,
    pod: &Pod,
    port: u16,
    mut input: mpsc::Receiver<Bytes>,
    data: u8,
    output: &mpsc::Sender<(u8, Vec<u8>)>,
) -> Result<(), String> {
    let connection = backend.port_forward((&pod.0, &pod.1), port).await;
    let (mut reader, mut writer) = tokio::io::split(connection.map_err(|error| error.message)?);
    let upstream = async {
        while let Some(bytes) = input.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    let downstream = async {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = reader.read(&mut piece).await {
            if output.send((data, piece[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = upstream => {}
        () = downstream => {}
    }
    Ok(())
}
