//! One connection of a producer: sends an event and waits for its acknowledgement.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes of an event's data.
pub(crate) const DATA_BYTES: usize = 1024;

/// See the module.
pub(crate) trait Link {
    /// Sends `count` events of a kind at once and returns when all are acknowledged.
    fn send(&mut self, kind: usize, count: usize) -> BoxFuture<'_, Result<()>>;
}

/// Binary CloudEvents over HTTP/1.1.
pub(crate) struct Http {
    stream: TcpStream,
    data_bytes: usize,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Http {
    pub(crate) async fn connect(address: std::net::SocketAddr, data_bytes: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            data_bytes,
            request: Vec::new(),
            buffer: vec![0; 4096],
        })
    }

    async fn answer(&mut self) -> Result<()> {
        let mut filled = 0;
        while !self.buffer[..filled].ends_with(b"\r\n\r\n") {
            let n = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(n > 0, "the broker closed the connection");
            filled += n;
        }
        let line = &self.buffer[..filled.min(80)];
        let is_taken = line.starts_with(b"HTTP/1.1 202");
        ensure!(is_taken, "refused: {}", String::from_utf8_lossy(line));
        Ok(())
    }
}

impl Link for Http {
    fn send(&mut self, kind: usize, count: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            for _ in 0..count {
                self.request.clear();
                let head = format!(
                    "POST /ns/default HTTP/1.1\r\nhost: broker\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /bench\r\nce-type: kind-{kind}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
                    self.data_bytes
                );
                self.request.extend_from_slice(head.as_bytes());
                self.request.extend_from_slice(&data()[..self.data_bytes]);
                self.stream.write_all(&self.request).await?;
                self.answer().await?;
            }
            Ok(())
        })
    }
}

/// Data that begins with the time of sending.
pub(crate) fn data() -> [u8; DATA_BYTES] {
    let mut data = [b'x'; DATA_BYTES];
    data[..16].copy_from_slice(format!("{:016x}", now().as_nanos()).as_bytes());
    data
}

/// How old data is.
pub(crate) fn age(data: &[u8]) -> Result<Duration> {
    let text = std::str::from_utf8(data.get(..16).context("data of sixteen bytes")?)?;
    let sent = Duration::from_nanos(u64::from_str_radix(text, 16)?);
    Ok(now().saturating_sub(sent))
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
