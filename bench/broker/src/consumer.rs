//! A consumer that takes everything: counts and notes how old the data was.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::link::age;
use crate::load::Latency;

/// Longest time without any delivery.
const PATIENCE: Duration = Duration::from_secs(30);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Ages of what came.
pub(crate) type Ages = Arc<Mutex<Vec<Duration>>>;

/// See the module.
pub(crate) struct Consumer {
    pub(crate) address: SocketAddr,
    pub(crate) ages: Ages,
}

impl Consumer {
    /// Listens on a free port.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let consumer = Self {
            address: listener.local_addr()?,
            ages: Ages::default(),
        };
        let ages = consumer.ages.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, ages.clone()));
            }
        });
        Ok(consumer)
    }

    pub(crate) fn count(&self) -> u64 {
        lock(&self.ages).len() as u64
    }

    /// Waits until so many were delivered.
    pub(crate) async fn wait_for(&self, count: u64) -> Result<()> {
        let (mut seen, mut changed) = (0, Instant::now());
        while seen < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let now = self.count();
            if now > seen {
                (seen, changed) = (now, Instant::now());
            }
            ensure!(
                changed.elapsed() < PATIENCE,
                "{seen} of {count} events were delivered"
            );
        }
        Ok(())
    }

    pub(crate) fn latency(&self) -> Latency {
        let mut ages = lock(&self.ages).clone();
        ages.sort_unstable();
        Latency(ages)
    }
}

pub(crate) fn lock(ages: &Ages) -> std::sync::MutexGuard<'_, Vec<Duration>> {
    ages.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut stream: TcpStream, ages: Ages) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8192);
    loop {
        let end = loop {
            if let Some(end) = end_of_request(&buffer)? {
                break end;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let body = &buffer[end.0..end.1];
        lock(&ages).push(age(body)?);
        buffer.drain(..end.1);
        stream.write_all(ANSWER).await?;
    }
}

/// Where the body of the first request begins and ends, once it is whole.
fn end_of_request(buffer: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(head) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&buffer[..head])?.to_ascii_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .context("a request with a length")?;
    let end = head + 4 + length.trim().parse::<usize>()?;
    Ok((buffer.len() >= end).then_some((head + 4, end)))
}
