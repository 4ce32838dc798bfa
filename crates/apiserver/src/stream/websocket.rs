//! Several channels over one WebSocket: the first byte of a message is the channel's number. And
//! the plain tunnel that carries SPDY.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::session::{Input, Output, RESIZE, STDIN, terminal_size};
use crate::hooks::Duplex;

/// Says in protocol v5 that the channel in the second byte is closed.
const CLOSE: u8 = 255;
/// So many messages may wait in either direction.
const PENDING: usize = 16;
/// The tunnel's buffer (bytes).
const TUNNEL_BYTES: usize = 64 << 10;

/// How messages are written down.
#[derive(Clone, Copy)]
struct Framing {
    /// Text messages, the rest of the message in base64.
    base64: bool,
    /// The client can close single channels.
    closes: bool,
}

impl Framing {
    fn of(protocol: &str) -> Self {
        Self {
            base64: protocol.contains("base64"),
            closes: protocol.starts_with("v5."),
        }
    }

    fn encode(self, channel: u8, bytes: &[u8]) -> Message {
        if self.base64 {
            // Channel numbers are digits in this framing.
            return Message::text(format!("{channel}{}", STANDARD.encode(bytes)));
        }
        let mut message = Vec::with_capacity(bytes.len() + 1);
        message.push(channel);
        message.extend_from_slice(bytes);
        Message::binary(message)
    }

    /// Channel and content of a message.
    fn decode(self, message: Bytes) -> Option<(u8, Bytes)> {
        let channel = *message.first()?;
        if !self.base64 {
            return Some((channel, message.slice(1..)));
        }
        let content = STANDARD.decode(&message[1..]).ok()?;
        Some((channel.checked_sub(b'0')?, content.into()))
    }
}

/// The channels of a process over an upgraded connection.
pub(super) async fn channels(
    io: impl Duplex + 'static,
    protocol: &str,
) -> (mpsc::Receiver<Input>, mpsc::Sender<Output>) {
    let framing = Framing::of(protocol);
    let (sink, stream) = WebSocketStream::from_raw_socket(io, Role::Server, None)
        .await
        .split();
    let (input_sender, input) = mpsc::channel(PENDING);
    let (output, output_receiver) = mpsc::channel(PENDING);
    tokio::spawn(receive(stream, framing, input_sender, output.clone()));
    tokio::spawn(send(sink, framing, output_receiver));
    (input, output)
}

async fn receive<S: Duplex>(
    mut stream: SplitStream<WebSocketStream<S>>,
    framing: Framing,
    input: mpsc::Sender<Input>,
    output: mpsc::Sender<Output>,
) {
    while let Some(Ok(message)) = stream.next().await {
        if message.is_close() {
            break;
        }
        if !message.is_binary() && !message.is_text() {
            continue;
        }
        let event = match framing.decode(message.into_data()) {
            Some((STDIN, bytes)) => Input::Stdin(bytes),
            Some((RESIZE, bytes)) => match terminal_size(&bytes) {
                Some(size) => Input::Resize(size),
                None => continue,
            },
            Some((CLOSE, channel)) if framing.closes && channel.first() == Some(&STDIN) => {
                Input::StdinClosed
            }
            _ => continue,
        };
        if input.send(event).await.is_err() {
            break;
        }
    }
    // The client is gone: the session sees its output closed once the sender side ends too.
    drop(output.send(Output::End(CLOSE)).await);
}

async fn send<S: Duplex>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    framing: Framing,
    mut output: mpsc::Receiver<Output>,
) {
    while let Some(event) = output.recv().await {
        let message = match event {
            Output::Data(channel, bytes) => framing.encode(channel, &bytes),
            Output::End(super::session::ERROR | CLOSE) => break,
            Output::End(_) => continue,
        };
        if sink.send(message).await.is_err() {
            return;
        }
    }
    // The other side may be gone already.
    drop(sink.send(normal_closure()).await);
    drop(sink.close().await);
}

/// Clients report any other way to end a connection as an error.
fn normal_closure() -> Message {
    Message::Close(Some(CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::from_static(""),
    }))
}

/// Messages of one port: the channel and its bytes, in both directions.
pub(super) struct Messages<S> {
    socket: WebSocketStream<S>,
    framing: Framing,
}

impl<S: Duplex> Messages<S> {
    pub(super) async fn new(io: S, protocol: &str) -> Self {
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        Self {
            socket,
            framing: Framing::of(protocol),
        }
    }

    /// The next message; `None` once the client is gone. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<(u8, Bytes)> {
        loop {
            let message = self.socket.next().await?.ok()?;
            if message.is_close() {
                return None;
            }
            if message.is_binary() || message.is_text() {
                let decoded = self.framing.decode(message.into_data());
                if decoded.is_some() {
                    return decoded;
                }
            }
        }
    }

    /// Sends bytes of a channel; `false` once the client is gone.
    pub(super) async fn send(&mut self, channel: u8, bytes: &[u8]) -> bool {
        self.socket
            .send(self.framing.encode(channel, bytes))
            .await
            .is_ok()
    }

    pub(super) async fn close(mut self) {
        // The other side may be gone already.
        drop(self.socket.close(None).await);
    }
}

/// The byte stream inside a WebSocket whose messages are nothing but pieces of it.
pub(super) async fn tunnel(io: impl Duplex + 'static) -> DuplexStream {
    let (mut sink, mut stream) = WebSocketStream::from_raw_socket(io, Role::Server, None)
        .await
        .split();
    let (ours, theirs) = tokio::io::duplex(TUNNEL_BYTES);
    let (mut from_us, mut to_us) = tokio::io::split(theirs);
    tokio::spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            if message.is_close() {
                break;
            }
            if message.is_binary() && to_us.write_all(&message.into_data()).await.is_err() {
                break;
            }
        }
        drop(to_us.shutdown().await);
    });
    tokio::spawn(async move {
        let mut piece = vec![0; TUNNEL_BYTES / 2];
        while let Ok(count @ 1..) = from_us.read(&mut piece).await {
            if sink
                .send(Message::binary(piece[..count].to_vec()))
                .await
                .is_err()
            {
                return;
            }
        }
        drop(sink.close().await);
    });
    ours
}
