//! A steady load on a Service from inside an instance's network namespace, by clients that notice
//! everything: each request has a body of its own and wants it back. Used by the tests that count
//! lost requests.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpStream;

/// A request that takes longer is lost.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Failures that are told in full.
const TOLD_MAX: usize = 20;

/// How a client asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// GET on one HTTP/1.1 connection that is kept.
    KeepAlive,
    /// POST with a body on one HTTP/1.1 connection that is kept: what must not be sent twice.
    Post,
    /// POST on a new connection each time.
    Anew,
    /// POST over HTTP/2 with prior knowledge, one connection.
    H2c,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::KeepAlive, Self::Post, Self::Anew, Self::H2c];
}

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests that were answered with 200 and what was asked for.
    pub answered: u64,
    /// All others.
    pub failed: u64,
    /// The first of those, with the time since the start of the load.
    pub told: Vec<String>,
    /// The longest that one took.
    pub slowest: Duration,
}

struct Shared {
    address: SocketAddr,
    host: String,
    path: String,
    started: Instant,
    stop: AtomicBool,
    serial: AtomicU64,
    tally: Mutex<Tally>,
}

/// Clients at work; [`Load::stop`] ends them.
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts `each` clients of every kind in the network namespace `netns`; each asks `address`
    /// for `host` and `path` every `pace`, or as soon as it has its answer.
    pub(crate) fn start(
        netns: PathBuf,
        address: SocketAddr,
        (host, path): (&str, &str),
        (each, pace): (usize, Duration),
    ) -> Self {
        let shared = Arc::new(Shared {
            address,
            host: host.to_owned(),
            path: path.to_owned(),
            started: Instant::now(),
            stop: AtomicBool::new(false),
            serial: AtomicU64::new(0),
            tally: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            enter(&netns).expect("the instance's network namespace");
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime
                .expect("a runtime of one thread")
                .block_on(run(&theirs, each, pace));
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// What has become of the requests so far.
    pub fn tally(&self) -> Tally {
        self.shared.tally().clone()
    }

    /// Waits for the last answers and counts.
    pub fn stop(mut self) -> Tally {
        self.end();
        self.tally()
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told by itself, and shows in the tally as silence.
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, client: Client, serial: u64, began: Instant, outcome: Result<()>) {
        let took = began.elapsed();
        let mut tally = self.tally();
        tally.slowest = tally.slowest.max(took);
        let Err(error) = outcome else {
            tally.answered += 1;
            return;
        };
        tally.failed += 1;
        if tally.told.len() < TOLD_MAX {
            let at = began.duration_since(self.started);
            let told = format!("{at:.3?} {client:?} {serial}, after {took:.3?}: {error:#}");
            tally.told.push(told);
        }
    }
}

async fn run(shared: &Arc<Shared>, each: usize, pace: Duration) {
    let clients = Client::ALL
        .into_iter()
        .cycle()
        .take(each * Client::ALL.len());
    let tasks: Vec<_> = clients
        .map(|client| tokio::spawn(keep_asking(Arc::clone(shared), client, pace)))
        .collect();
    for task in tasks {
        let _ = task.await;
    }
}

async fn keep_asking(shared: Arc<Shared>, client: Client, pace: Duration) {
    let mut connection = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let serial = shared.serial.fetch_add(1, Ordering::Relaxed);
        let asked = ask(&shared, client, serial, &mut connection);
        let outcome = tokio::time::timeout(ANSWER_MAX, asked).await;
        let outcome = outcome.unwrap_or_else(|_| bail_late());
        if outcome.is_err() {
            connection = None;
        }
        shared.count(client, serial, began, outcome);
        tokio::time::sleep_until((began + pace).into()).await;
    }
}

fn bail_late() -> Result<()> {
    bail!("no answer in {ANSWER_MAX:?}")
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    /// A connection the server has closed between two requests is no lost request.
    async fn is_open(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }
}

async fn connect(shared: &Shared, client: Client) -> Result<Sender> {
    let stream = TcpStream::connect(shared.address)
        .await
        .context("connect")?;
    stream.set_nodelay(true).context("set_nodelay")?;
    let io = TokioIo::new(stream);
    if client == Client::H2c {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
        tokio::spawn(connection);
        return Ok(Sender::Http2(sender));
    }
    let (sender, connection) = http1::handshake(io).await?;
    tokio::spawn(connection);
    Ok(Sender::Http1(sender))
}

async fn ask(
    shared: &Shared,
    client: Client,
    serial: u64,
    kept: &mut Option<Sender>,
) -> Result<()> {
    let mut still_open = kept.take().filter(|_| client != Client::Anew);
    if let Some(sender) = &mut still_open
        && !sender.is_open().await
    {
        still_open = None;
    }
    let mut sender = match still_open {
        Some(sender) => sender,
        None => connect(shared, client).await?,
    };
    let body = format!("request {serial} of {}", shared.host);
    let request = request(shared, client, &body)?;
    let response = match &mut sender {
        Sender::Http1(sender) => sender.send_request(request).await,
        Sender::Http2(sender) => sender.send_request(request).await,
    }?;
    let status = response.status();
    let said = response
        .into_body()
        .collect()
        .await
        .context("the body")?
        .to_bytes();
    let said = String::from_utf8_lossy(&said);
    ensure!(status == 200, "{status}: {said}");
    if client != Client::KeepAlive {
        ensure!(
            said == body,
            "the answer to another request: {said:?} to {body:?}"
        );
    }
    *kept = Some(sender);
    Ok(())
}

fn request(shared: &Shared, client: Client, body: &str) -> Result<Request<Full<Bytes>>> {
    let target = match client {
        Client::H2c => format!("http://{}{}", shared.host, shared.path),
        _ => shared.path.clone(),
    };
    let mut request = Request::builder().uri(target);
    if client != Client::H2c {
        request = request.header("host", &shared.host);
    }
    if client == Client::Anew {
        request = request.header("connection", "close");
    }
    if client == Client::KeepAlive {
        return Ok(request.body(Full::default())?);
    }
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    Ok(request.method(Method::POST).body(body)?)
}

/// One WebSocket, spoken by hand.
pub struct Channel(StdStream);

impl Channel {
    /// Opens it; the answer must be the one to the sample key of RFC 6455.
    pub(crate) fn open(netns: &Path, address: SocketAddr, host: &str, path: &str) -> Result<Self> {
        let mut stream = within(netns, move || StdStream::connect(address))?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).context("the answer's head")?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        ensure!(head.starts_with("http/1.1 101 "), "no switch: {head}");
        ensure!(head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        Ok(Self(stream))
    }

    /// Sends a text of at most 125 bytes and wants it back.
    pub fn echo(&mut self, text: &str) -> Result<()> {
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len())?];
        let mask = [0x12, 0x34, 0x56, 0x78];
        frame.extend(mask);
        frame.extend(
            text.bytes()
                .zip(mask.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        self.0.write_all(&frame).context("send a message")?;
        let mut head = [0; 2];
        self.0.read_exact(&mut head).context("read a message")?;
        let mut said = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut said).context("read a message")?;
        ensure!(
            head[0] == 0x81 && said == text.as_bytes(),
            "{head:?} {said:?}"
        );
        Ok(())
    }
}

/// Runs `make` on a thread inside the network namespace: the sockets it makes stay there.
pub(crate) fn within<T: Send>(
    netns: &Path,
    make: impl FnOnce() -> std::io::Result<T> + Send,
) -> Result<T> {
    std::thread::scope(|scope| {
        let made = scope.spawn(|| -> Result<T> {
            enter(netns)?;
            Ok(make()?)
        });
        made.join().expect("no panic in making a socket")
    })
}

/// Moves the calling thread into a network namespace.
pub(crate) fn enter(netns: &Path) -> Result<()> {
    let file = File::open(netns).context("open the network namespace")?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .context("enter the network namespace")
}
