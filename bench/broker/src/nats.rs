//! NATS JetStream, spoken by hand: a stream in files, acknowledged publications, push consumers
//! with explicit acknowledgement.
//!
//! Its acknowledgement is weaker than ours: this version writes to the file and syncs it every two
//! minutes (`sync_interval`), and it cannot be told to sync before it answers.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::consumer::{Ages, Consumer, lock};
use crate::link::{DATA_BYTES, Link, age, data};
use crate::role::{Setup, wait_for_port};
use crate::server::{Running, Server, free_address};

/// Longest wait for JetStream behind its port.
const READY_TRIES: u32 = 600;

/// Numbers of subscriptions below are for other things.
const SUBSCRIPTIONS: usize = 100;

/// The peer.
pub(crate) struct Nats;

impl Server for Nats {
    fn name(&self) -> &'static str {
        "NATS JetStream (acknowledged after write, synced every two minutes)"
    }

    fn start<'a>(&'a self, dir: &'a Path, _: &'a Setup) -> BoxFuture<'a, Result<Running>> {
        Box::pin(async move {
            let address = free_address()?;
            let port = address.port().to_string();
            let dir = dir.join("nats");
            let dir = dir.to_str().context("a directory in UTF-8")?;
            let arguments = ["-a", "127.0.0.1", "-p", &port, "-js", "-sd", dir];
            let program = Path::new("nats-server");
            let mut running = Running::spawn(program, &arguments, address)?;
            wait_for_port(&mut running).await?;
            for _ in 0..READY_TRIES {
                if make_stream(address).await.is_ok() {
                    return Ok(running);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            bail!("JetStream is not ready")
        })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, Result<Box<dyn Link>>> {
        Box::pin(async move {
            let mut connection = Connection::open(address).await?;
            let inbox = format!("_INBOX.{}", connection.local_port()?);
            connection
                .send(format!("SUB {inbox} 1\r\n").as_bytes())
                .await?;
            Ok(Box::new(Producer { connection, inbox }) as Box<dyn Link>)
        })
    }

    fn subscribe<'a>(
        &'a self,
        running: &'a Running,
        consumer: &'a Consumer,
        count: usize,
        kinds: usize,
    ) -> BoxFuture<'a, Result<Option<JoinHandle<()>>>> {
        Box::pin(async move {
            let mut connection = Connection::open(running.address).await?;
            for n in 0..count {
                // A wildcard would not count as someone who wants deliveries.
                let subscription = format!("SUB deliver.{n} {}\r\n", SUBSCRIPTIONS + n);
                connection.send(subscription.as_bytes()).await?;
                let name = format!("consumer-{n}");
                let config = json!({"stream_name": "bench", "config": {
                    "durable_name": name, "deliver_subject": format!("deliver.{n}"),
                    "filter_subject": format!("bench.{}", n % kinds),
                    "ack_policy": "explicit", "deliver_policy": "all", "max_ack_pending": 1000,
                }});
                let subject = format!("$JS.API.CONSUMER.DURABLE.CREATE.bench.{name}");
                connection.request(&subject, &config.to_string()).await?;
            }
            let ages = consumer.ages.clone();
            Ok(Some(tokio::spawn(async move {
                // It ends with the server.
                let _ = take(connection, ages).await;
            })))
        })
    }

    fn depth(&self) -> usize {
        16
    }
}

async fn make_stream(address: SocketAddr) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    let config = json!({
        "name": "bench", "subjects": ["bench.>"], "storage": "file", "retention": "limits",
        "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "num_replicas": 1,
        "discard": "old",
    });
    let subject = "$JS.API.STREAM.CREATE.bench";
    connection.request(subject, &config.to_string()).await
}

/// Takes and acknowledges what is delivered.
async fn take(mut connection: Connection, ages: Ages) -> Result<()> {
    loop {
        let message = connection.message().await?;
        lock(&ages).push(age(&message.data)?);
        let reply = message.reply.context("where to acknowledge")?;
        let ack = format!("PUB {reply} 4\r\n+ACK\r\n");
        connection.send(ack.as_bytes()).await?;
    }
}

struct Producer {
    connection: Connection,
    inbox: String,
}

impl Link for Producer {
    fn send(&mut self, kind: usize, count: usize) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut bytes = Vec::with_capacity(count * (DATA_BYTES + 64));
            for _ in 0..count {
                let head = format!("PUB bench.{kind} {} {DATA_BYTES}\r\n", self.inbox);
                bytes.extend_from_slice(head.as_bytes());
                bytes.extend_from_slice(&data());
                bytes.extend_from_slice(b"\r\n");
            }
            self.connection.send(&bytes).await?;
            for _ in 0..count {
                let answer = self.connection.message().await?;
                let text = String::from_utf8_lossy(&answer.data);
                ensure!(!text.contains("\"error\""), "refused: {text}");
            }
            Ok(())
        })
    }
}

/// The client's side of the protocol, as far as it is needed here.
struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
}

struct Message {
    reply: Option<String>,
    data: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            stream: BufReader::with_capacity(64 << 10, stream),
            line: String::new(),
        };
        connection.read_line().await?;
        connection
            .send(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\",\"version\":\"1\"}\r\n")
            .await?;
        Ok(connection)
    }

    fn local_port(&self) -> Result<u16> {
        Ok(self.stream.get_ref().local_addr()?.port())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(bytes).await?)
    }

    /// Asks the server's API and checks its answer.
    async fn request(&mut self, subject: &str, body: &str) -> Result<()> {
        let inbox = format!("_INBOX.api.{}", self.local_port()?);
        let text = format!(
            "SUB {inbox} 9\r\nUNSUB 9 1\r\nPUB {subject} {inbox} {}\r\n{body}\r\n",
            body.len()
        );
        self.send(text.as_bytes()).await?;
        let wait = tokio::time::timeout(Duration::from_secs(5), self.message());
        let answer = wait.await.context("no answer from JetStream")??;
        let text = String::from_utf8_lossy(&answer.data);
        ensure!(!text.contains("\"error\""), "{subject}: {text}");
        Ok(())
    }

    /// The next message; answers pings on the way.
    async fn message(&mut self) -> Result<Message> {
        loop {
            self.read_line().await?;
            let words: Vec<&str> = self.line.split_whitespace().collect();
            let (reply, length) = match words.as_slice() {
                ["MSG", _, _, length] => (None, length.parse::<usize>()?),
                ["MSG", _, _, reply, length] => (Some((*reply).to_owned()), length.parse()?),
                ["PING"] => {
                    self.send(b"PONG\r\n").await?;
                    continue;
                }
                ["-ERR", ..] => bail!("{}", self.line.trim()),
                _ => continue,
            };
            let mut data = vec![0; length + 2];
            self.stream.read_exact(&mut data).await?;
            data.truncate(length);
            return Ok(Message { reply, data });
        }
    }

    async fn read_line(&mut self) -> Result<()> {
        self.line.clear();
        let read = self.stream.read_line(&mut self.line).await?;
        ensure!(read > 0, "NATS closed the connection");
        Ok(())
    }
}
