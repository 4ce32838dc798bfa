//! A process between two channels: what the client sends goes in, what it writes goes out, and
//! its exit ends the connection.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::hooks::{Process, Reader, TerminalSize, Writer};

/// The numbers the channels of a process have over WebSocket.
pub(super) const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const RESIZE: u8 = 4;

/// Output is forwarded in pieces of at most this many bytes.
const PIECE_BYTES: usize = 32 << 10;

/// What the client does.
pub(super) enum Input {
    /// Bytes for standard input.
    Stdin(Bytes),
    /// End of standard input.
    StdinClosed,
    /// The client's terminal has another size.
    Resize(TerminalSize),
}

/// What the client gets.
pub(super) enum Output {
    /// Bytes of a channel.
    Data(u8, Bytes),
    /// A channel has ended.
    End(u8),
}

/// Reads the size in a message of the resize channel.
pub(super) fn terminal_size(message: &[u8]) -> Option<TerminalSize> {
    let size: Value = serde_json::from_slice(message).ok()?;
    let of = |key: &str| u16::try_from(size[key].as_u64()?).ok();
    Some(TerminalSize {
        width: of("Width")?,
        height: of("Height")?,
    })
}

/// Serves until the process has exited and its output is delivered, or the client is gone.
pub(super) async fn run(
    mut process: Process,
    input: mpsc::Receiver<Input>,
    output: mpsc::Sender<Output>,
) {
    let feed = tokio::spawn(feed(input, process.stdin.take(), process.resize.take()));
    let stdout = forward(process.stdout.take(), STDOUT, &output);
    let stderr = forward(process.stderr.take(), STDERR, &output);
    let finished = async {
        tokio::join!(stdout, stderr);
        process
            .exit
            .await
            .unwrap_or_else(|_| Err("the node went away".to_owned()))
    };
    tokio::select! {
        exit = finished => {
            let status = Bytes::from(status(exit).to_string());
            // A client that is gone needs no status.
            drop(output.send(Output::Data(ERROR, status)).await);
            drop(output.send(Output::End(ERROR)).await);
        }
        () = output.closed() => {}
    }
    feed.abort();
}

async fn feed(
    mut input: mpsc::Receiver<Input>,
    mut stdin: Option<Writer>,
    resize: Option<mpsc::Sender<TerminalSize>>,
) {
    while let Some(event) = input.recv().await {
        match event {
            Input::Stdin(bytes) => {
                if let Some(writer) = &mut stdin {
                    let written = writer.write_all(&bytes).await;
                    if written.is_err() || writer.flush().await.is_err() {
                        stdin = None;
                    }
                }
            }
            Input::StdinClosed => {
                if let Some(mut writer) = stdin.take() {
                    // Dropping it is what ends the input; a failed shutdown changes nothing.
                    drop(writer.shutdown().await);
                }
            }
            Input::Resize(size) => {
                if let Some(resize) = &resize {
                    resize.send(size).await.ok();
                }
            }
        }
    }
}

async fn forward(reader: Option<Reader>, channel: u8, output: &mpsc::Sender<Output>) {
    let Some(mut reader) = reader else { return };
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match reader.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                let bytes = Bytes::copy_from_slice(&piece[..count]);
                if output.send(Output::Data(channel, bytes)).await.is_err() {
                    return;
                }
            }
        }
    }
    drop(output.send(Output::End(channel)).await);
}

/// The message on the error channel, from protocol v4 on.
fn status(exit: Result<i32, String>) -> Value {
    match exit {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(why) => json!({
            "metadata": {},
            "status": "Failure",
            "message": why,
            "reason": "InternalError",
            "details": {"causes": [{"message": why}]},
            "code": 500,
        }),
    }
}
