//! `kill -9` under load, again and again: the broker as a process of its own, producers that note
//! what was acknowledged, a consumer that notes what it acknowledged.
//!
//! No acknowledged event is lost, and only what the consumer had not acknowledged comes again: it
//! counts as acknowledged [`KNOWN_AFTER`] after its answer, because nobody can write down an answer
//! before it arrives; after a kill that late, with nothing under way, nothing comes again at all.
//! `BROKER_KILLS=100 cargo test -p broker --test kill` for a long run.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests fail by panicking.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::delivery::{Access, Change, Endpoint, Growth, Ingress, Key, Policy, Start, Subscriber};
use api::world::{BROKER, TRIGGER};
use broker::{Broker, Config, Kept};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Kills without `BROKER_KILLS`.
const KILLS: u64 = 5;
const PRODUCERS: u64 = 16;
/// Acknowledged events between two kills, at least and at most.
const BETWEEN_KILLS: (u64, u64) = (200, 1_000);
/// Longest time from the consumer's answer to its being written down, on a very busy machine.
const KNOWN_AFTER: Duration = Duration::from_secs(3);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// Every so many deliveries the consumer refuses one.
const REFUSE_EVERY: u64 = 50;

const ROLE: &str = "BROKER_KILL_ROLE";

/// What happened, as the two ends saw it.
#[derive(Default)]
struct Ledger {
    sent: u64,
    accepted: BTreeSet<u64>,
    /// Which process delivered, counted by kills, and when the consumer answered 200.
    delivered: BTreeMap<u64, Vec<(usize, Instant)>>,
    requests: u64,
    kills: Vec<Instant>,
}

/// The broker's process.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(dir: &Path, consumer: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "broker_process", "--ignored", "--nocapture"])
            .env(ROLE, dir)
            .env("BROKER_KILL_CONSUMER", consumer)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the broker starts");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once("listens at ")?.1.parse().ok())
            .expect("the broker says where it listens");
        Self { child, address }
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().expect("the broker runs");
        self.child.wait().expect("the broker was killed");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what [`Process::start`] runs.
#[test]
#[ignore = "the other side of kill_9_loses_nothing"]
fn broker_process() {
    let Some(dir) = std::env::var_os(ROLE) else {
        return;
    };
    let kept = Kept::open(Path::new(&dir)).expect("the logs open");
    let broker = Broker::start(Config::new(Arc::new(kept))).expect("it starts");
    broker.apply(Change::Ingress(
        Key::new(BROKER, "ns", "default"),
        Some(Arc::new(Ingress {
            uid: "broker-uid".into(),
            hosts: Vec::new(),
            access: Access::default(),
            subscribers: vec![Arc::new(trigger())],
            retention: None,
            bytes_max: None,
            makes_event_types: false,
        })),
    ));
    let address = broker.listen(([127, 0, 0, 1], 0).into()).unwrap();
    println!("listens at {address}");
    loop {
        std::thread::park();
    }
}

fn trigger() -> Subscriber {
    Subscriber {
        uid: "trigger-uid".into(),
        key: Key::new(TRIGGER, "ns", "trigger"),
        filters: Vec::new(),
        target: Some(Endpoint {
            url: std::env::var("BROKER_KILL_CONSUMER").unwrap(),
            ca_certs: None,
            audience: None,
        }),
        reply: None,
        replies_to_ingress: true,
        policy: Policy {
            retry: 1_000,
            backoff: Some((Growth::Linear, Duration::from_millis(10))),
            ..Policy::default()
        },
        ordered: false,
        parallelism: 0,
        start: Start::Now,
        replay: String::new(),
        service_account: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing() {
    let kills = std::env::var("BROKER_KILLS").map_or(KILLS, |n| n.parse().expect("a number"));
    let dir = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let consumer = consume(ledger.clone()).await;
    // Each process is told a path of its own, so that the consumer knows who delivers.
    let mut process = Process::start(dir.path(), &format!("{consumer}0"));
    let (address, producers_follow) = watch::channel(process.address);
    for _ in 0..PRODUCERS {
        tokio::spawn(produce(producers_follow.clone(), ledger.clone()));
    }
    let mut rng = stdx::Rng::new(kills);
    for kill in 1..=kills {
        let (least, most) = BETWEEN_KILLS;
        let more = least + rng.below(most - least);
        let goal = ledger.lock().unwrap().accepted.len() as u64 + more;
        eventually(|| ledger.lock().unwrap().accepted.len() as u64 >= goal).await;
        process.kill();
        ledger.lock().unwrap().kills.push(Instant::now());
        process = Process::start(dir.path(), &format!("{consumer}{kill}"));
        address.send(process.address).unwrap();
    }
    drop(address);
    eventually(|| ledger.lock().unwrap().is_complete()).await;

    tokio::time::sleep(KNOWN_AFTER).await;
    process.kill();
    ledger.lock().unwrap().kills.push(Instant::now());
    let accepted = ledger.lock().unwrap().accepted.len();
    process = Process::start(dir.path(), &format!("{consumer}{}", kills + 1));
    let (address, follow) = watch::channel(process.address);
    tokio::spawn(produce(follow, ledger.clone()));
    eventually(|| ledger.lock().unwrap().accepted.len() > accepted).await;
    drop(address);
    eventually(|| ledger.lock().unwrap().is_complete()).await;
    ledger.lock().unwrap().check();
}

impl Ledger {
    fn is_complete(&self) -> bool {
        let mut accepted = self.accepted.iter();
        accepted.all(|n| self.delivered.contains_key(n))
    }

    fn check(&self) {
        let (mut again, mut longest) = (0, Duration::ZERO);
        for (number, times) in &self.delivered {
            assert!(*number < self.sent, "event {number} was never sent");
            let mut times = times.clone();
            times.sort();
            for pair in times.windows(2) {
                again += 1;
                let [(before, answered), (after, _)] = [pair[0], pair[1]];
                assert!(before < after, "event {number} came again without a kill");
                // What was answered to a process that is dead was not acknowledged.
                let known_for = self.kills[before].saturating_duration_since(answered);
                longest = longest.max(known_for);
                assert!(
                    known_for < KNOWN_AFTER,
                    "event {number} was acknowledged {known_for:?} before the kill and came again"
                );
            }
        }
        println!(
            "{} kills: {} events sent, {} acknowledged, none of these lost; {} delivered, {again} times again, answered {longest:?} before the kill at the earliest",
            self.kills.len(),
            self.sent,
            self.accepted.len(),
            self.delivered.len(),
        );
    }
}

/// Sends one event after the other until the address is gone for good.
async fn produce(mut address: watch::Receiver<SocketAddr>, ledger: Arc<Mutex<Ledger>>) {
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    while address.has_changed().is_ok() {
        let number = {
            let mut ledger = ledger.lock().unwrap();
            ledger.sent += 1;
            ledger.sent - 1
        };
        let to = *address.borrow_and_update();
        let request = Request::post(format!("http://{to}/ns/default"))
            .header("ce-specversion", "1.0")
            .header("ce-id", number.to_string())
            .header("ce-source", "/kill")
            .header("ce-type", "test")
            .body(Full::new(Bytes::from(vec![b'x'; 512])))
            .unwrap();
        match client.request(request).await {
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => {
                ledger.lock().unwrap().accepted.insert(number);
            }
            Ok(answer) => panic!("{}", answer.status()),
            // Killed: this one may be kept or not. The next goes to the next broker.
            Err(_) => {
                let _ = address.changed().await;
            }
        }
    }
}

/// Starts the consumer; answers its URL.
async fn consume(ledger: Arc<Mutex<Ledger>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let ledger = ledger.clone();
            let service = service_fn(move |request| {
                let ledger = ledger.clone();
                async move { Ok::<_, Infallible>(take(request, &ledger).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    url
}

async fn take(request: Request<Incoming>, ledger: &Mutex<Ledger>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(Full::default());
    // The sender may be killed before its event is here.
    let whole = body.collect().await.is_ok();
    let id = head.headers.get("ce-id").and_then(|id| id.to_str().ok());
    let number = id.and_then(|id| id.parse().ok()).filter(|_| whole);
    let process: usize = head.uri.path()[1..].parse().unwrap();
    let mut ledger = ledger.lock().unwrap();
    ledger.requests += 1;
    match number {
        Some(number) if !ledger.requests.is_multiple_of(REFUSE_EVERY) => {
            let times = ledger.delivered.entry(number).or_default();
            times.push((process, Instant::now()));
        }
        _ => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
    }
    response
}

/// Waits for a level.
async fn eventually(mut what: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
