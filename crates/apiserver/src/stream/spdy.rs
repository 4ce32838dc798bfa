//! SPDY/3.1 connections: frames in as events, frames out through a queue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use spdy::{Codec, Frame, Headers};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::session::{ERROR, Input, Output, RESIZE, STDERR, STDIN, STDOUT, terminal_size};
use crate::hooks::{Duplex, ExecOptions};

/// A client that does not open its streams within this time is given up.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// So many frames may wait in either direction.
const PENDING: usize = 32;

/// What the client does on a connection.
pub(super) enum Event {
    Open { id: u32, headers: Headers },
    Data { id: u32, fin: bool, bytes: Bytes },
    Reset { id: u32 },
}

/// Events from the client and frames to it. The tasks behind end when either is dropped or the
/// connection breaks.
pub(super) fn connection(
    io: impl Duplex + 'static,
) -> (mpsc::Receiver<Event>, mpsc::Sender<Frame>) {
    let (reader, writer) = tokio::io::split(io);
    let codec = Arc::new(Mutex::new(Codec::default()));
    let (event_sender, events) = mpsc::channel(PENDING);
    let (frames, frame_receiver) = mpsc::channel(PENDING);
    tokio::spawn(write(writer, Arc::clone(&codec), frame_receiver));
    tokio::spawn(read(reader, codec, event_sender, frames.clone()));
    (events, frames)
}

async fn read<S: Duplex>(
    mut reader: ReadHalf<S>,
    codec: Arc<Mutex<Codec>>,
    events: mpsc::Sender<Event>,
    frames: mpsc::Sender<Frame>,
) {
    let mut piece = vec![0; 32 << 10];
    while let Ok(count @ 1..) = reader.read(&mut piece).await {
        lock(&codec).receive(&piece[..count]);
        loop {
            let frame = lock(&codec).next_frame();
            let event = match frame {
                Ok(Some(Frame::SynStream { id, headers, .. })) => {
                    let reply = Frame::SynReply {
                        id,
                        fin: false,
                        headers: Headers::new(),
                    };
                    drop(frames.send(reply).await);
                    Event::Open { id, headers }
                }
                Ok(Some(Frame::Data { id, fin, bytes })) => Event::Data {
                    id,
                    fin,
                    bytes: bytes.into(),
                },
                Ok(Some(Frame::Reset { id, .. })) => Event::Reset { id },
                Ok(Some(Frame::Ping(number))) => {
                    drop(frames.send(Frame::Ping(number)).await);
                    continue;
                }
                Ok(Some(Frame::GoAway)) => return,
                Ok(Some(Frame::SynReply { .. } | Frame::Ignored)) => continue,
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "SPDY connection ended");
                    return;
                }
            };
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}

async fn write<S: Duplex>(
    mut writer: WriteHalf<S>,
    codec: Arc<Mutex<Codec>>,
    mut frames: mpsc::Receiver<Frame>,
) {
    while let Some(frame) = frames.recv().await {
        let last = frame == Frame::GoAway;
        let bytes = lock(&codec).encode(&frame);
        if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
            return;
        }
        if last {
            break;
        }
    }
    // The other side may be gone already.
    drop(writer.shutdown().await);
}

fn lock(codec: &Mutex<Codec>) -> std::sync::MutexGuard<'_, Codec> {
    codec.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of a header.
pub(super) fn header<'a>(headers: &'a Headers, name: &str) -> &'a str {
    let found = headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map_or("", |(_, value)| value)
}

/// The channels of a process, once the client has opened all of its streams.
pub(super) async fn process_streams(
    io: impl Duplex + 'static,
    options: &ExecOptions,
) -> Option<(mpsc::Receiver<Input>, mpsc::Sender<Output>)> {
    let (mut events, frames) = connection(io);
    let wanted = 1
        + usize::from(options.stdin)
        + usize::from(options.stdout)
        + usize::from(options.stderr)
        + usize::from(options.tty);
    let mut streams = BTreeMap::new();
    let mut early = Vec::new();
    let opened = tokio::time::timeout(OPEN_TIMEOUT, async {
        while streams.len() < wanted {
            match events.recv().await? {
                Event::Open { id, headers } => {
                    if let Some(channel) = channel(header(&headers, "streamtype")) {
                        streams.insert(id, channel);
                    }
                }
                other => early.push(other),
            }
        }
        Some(())
    });
    opened.await.ok().flatten()?;
    let (input_sender, input) = mpsc::channel(PENDING);
    let (output, output_receiver) = mpsc::channel(PENDING);
    let ids = streams
        .iter()
        .map(|(id, channel)| (*channel, *id))
        .collect();
    tokio::spawn(async move {
        // When the client is gone, so is the receiver of the output, which ends the session.
        tokio::select! {
            () = deliver(early, events, streams, input_sender) => {}
            () = emit(output_receiver, ids, frames) => {}
        }
    });
    Some((input, output))
}

fn channel(stream_type: &str) -> Option<u8> {
    match stream_type {
        "stdin" => Some(STDIN),
        "stdout" => Some(STDOUT),
        "stderr" => Some(STDERR),
        "error" => Some(ERROR),
        "resize" => Some(RESIZE),
        _ => None,
    }
}

async fn deliver(
    early: Vec<Event>,
    mut events: mpsc::Receiver<Event>,
    streams: BTreeMap<u32, u8>,
    input: mpsc::Sender<Input>,
) {
    let mut early = early.into_iter();
    loop {
        let event = match early.next() {
            Some(event) => event,
            None => match events.recv().await {
                Some(event) => event,
                None => return,
            },
        };
        let Event::Data { id, fin, bytes } = event else {
            continue;
        };
        let sent = match streams.get(&id) {
            Some(&STDIN) => {
                let data = bytes.is_empty() || input.send(Input::Stdin(bytes)).await.is_ok();
                data && (!fin || input.send(Input::StdinClosed).await.is_ok())
            }
            Some(&RESIZE) => match terminal_size(&bytes) {
                Some(size) => input.send(Input::Resize(size)).await.is_ok(),
                None => true,
            },
            _ => true,
        };
        if !sent {
            return;
        }
    }
}

async fn emit(
    mut output: mpsc::Receiver<Output>,
    ids: BTreeMap<u8, u32>,
    frames: mpsc::Sender<Frame>,
) {
    while let Some(event) = output.recv().await {
        let (channel, fin, bytes) = match event {
            Output::Data(channel, bytes) => (channel, false, bytes.to_vec()),
            Output::End(channel) => (channel, true, Vec::new()),
        };
        let Some(id) = ids.get(&channel) else {
            continue;
        };
        if frames
            .send(Frame::Data {
                id: *id,
                fin,
                bytes,
            })
            .await
            .is_err()
        {
            return;
        }
        if channel == ERROR && fin {
            break;
        }
    }
    drop(frames.send(Frame::GoAway).await);
}
