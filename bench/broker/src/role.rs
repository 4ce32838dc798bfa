//! Our broker as a process: the crate alone, one thread, with the Triggers it is told.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use api::delivery::{Access, Change, Endpoint, Growth, Ingress, Key, Policy, Start, Subscriber};
use api::world::{BROKER, TRIGGER};
use broker::{Backend as _, Broker, Config, Kept};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::consumer::Consumer;
use crate::link::{Http, Link};
use crate::server::{Running, Server, free_address};

const UID: &str = "broker-uid";
/// Longest wait for a process to take events.
const START_MAX: Duration = Duration::from_secs(120);

/// What the broker's process is told, as JSON on its command line.
#[derive(Clone)]
pub(crate) struct Setup {
    dir: PathBuf,
    consumer: Option<String>,
    triggers: usize,
    kinds: usize,
}

impl Setup {
    pub(crate) fn without_consumers(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            consumer: None,
            triggers: 0,
            kinds: 1,
        }
    }

    pub(crate) fn consumers(
        dir: &Path,
        consumer: &Consumer,
        triggers: usize,
        kinds: usize,
    ) -> Self {
        Self {
            dir: dir.to_owned(),
            consumer: Some(format!("http://{}/", consumer.address)),
            triggers,
            kinds,
        }
    }

    /// One consumer that does not answer.
    pub(crate) fn down(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            consumer: Some("http://127.0.0.1:9/".to_owned()),
            triggers: 1,
            kinds: 1,
        }
    }

    fn to_json(&self, address: SocketAddr) -> Value {
        json!({
            "dir": self.dir, "consumer": self.consumer, "triggers": self.triggers,
            "kinds": self.kinds, "address": address.to_string(),
        })
    }
}

/// This project's broker.
pub(crate) struct Ours {
    /// Of each event's data, at most [`crate::link::DATA_BYTES`].
    pub(crate) data_bytes: usize,
}

impl Server for Ours {
    fn name(&self) -> &'static str {
        "rekindle (202 after fdatasync)"
    }

    fn start<'a>(&'a self, _: &'a Path, setup: &'a Setup) -> BoxFuture<'a, Result<Running>> {
        Box::pin(async move {
            let address = free_address()?;
            let program = std::env::current_exe()?;
            let setup = setup.to_json(address).to_string();
            let mut running = Running::spawn(&program, &["role", &setup], address)?;
            wait_for_port(&mut running).await?;
            Ok(running)
        })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, Result<Box<dyn Link>>> {
        Box::pin(async move {
            Ok(Box::new(Http::connect(address, self.data_bytes).await?) as Box<dyn Link>)
        })
    }

    fn subscribe<'a>(
        &'a self,
        _: &'a Running,
        _: &'a Consumer,
        _: usize,
        _: usize,
    ) -> BoxFuture<'a, Result<Option<JoinHandle<()>>>> {
        // Its Triggers are there from the start.
        Box::pin(async { Ok(None) })
    }

    fn depth(&self) -> usize {
        1
    }
}

/// Waits until `running` listens.
pub(crate) async fn wait_for_port(running: &mut Running) -> Result<()> {
    let begun = Instant::now();
    while tokio::net::TcpStream::connect(running.address)
        .await
        .is_err()
    {
        running.check()?;
        ensure!(begun.elapsed() < START_MAX, "it does not listen");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// The process.
pub(crate) fn run(setup: &Value) -> Result<()> {
    let text = |name: &str| setup[name].as_str().map(str::to_owned);
    let number = |name: &str| setup[name].as_u64().unwrap_or_default();
    let dir = PathBuf::from(text("dir").context("dir")?);
    let consumer = text("consumer");
    let triggers =
        (0..number("triggers")).map(|n| trigger(n, number("kinds"), consumer.as_deref()));
    let kept = Kept::open(&dir)?;
    let broker = Broker::start(Config::new(Arc::new(kept)))?;
    broker.apply(Change::Ingress(
        Key::new(BROKER, "ns", "default"),
        Some(Arc::new(Ingress {
            uid: UID.into(),
            hosts: Vec::new(),
            access: Access::default(),
            subscribers: triggers.map(Arc::new).collect(),
            retention: None,
            bytes_max: None,
            makes_event_types: false,
        })),
    ));
    broker.listen(text("address").context("address")?.parse()?)?;
    loop {
        std::thread::park();
    }
}

fn trigger(number: u64, kinds: u64, consumer: Option<&str>) -> Subscriber {
    let filters = match kinds {
        1 => Vec::new(),
        _ => vec![json!({"attributes": {"type": format!("kind-{}", number % kinds)}})],
    };
    Subscriber {
        uid: format!("trigger-{number}").into(),
        key: Key::new(TRIGGER, "ns", &format!("trigger-{number}")),
        filters,
        target: consumer.map(|url| Endpoint {
            url: url.to_owned(),
            ca_certs: None,
            audience: None,
        }),
        reply: None,
        replies_to_ingress: true,
        policy: Policy {
            retry: 1_000_000,
            backoff: Some((Growth::Linear, Duration::from_secs(1))),
            ..Policy::default()
        },
        ordered: false,
        parallelism: 0,
        start: Start::Now,
        replay: String::new(),
        service_account: None,
    }
}

/// Repeats the first record of the log in `dir` until there are `count`.
pub(crate) fn fill(dir: &Path, count: u64) -> Result<()> {
    let kept = Kept::open(dir)?;
    let journal = kept.open(UID)?;
    let batch = journal.read(0, 1)?;
    let (_, record) = batch.records.first().context("one record to repeat")?;
    let records = vec![record.clone(); 8192];
    let mut waiting = std::collections::VecDeque::new();
    let mut there = journal.end();
    while there < count {
        let more = (count - there).min(records.len() as u64);
        waiting.push_back(journal.append(records[..more as usize].to_vec()));
        there += more;
        if waiting.len() > 2
            && let Some(append) = waiting.pop_front()
        {
            block_on(append)?;
        }
    }
    for append in waiting {
        block_on(append)?;
    }
    kept.close();
    Ok(())
}

fn block_on<T>(append: BoxFuture<'static, Result<T, broker::AppendError>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(append)?)
}
