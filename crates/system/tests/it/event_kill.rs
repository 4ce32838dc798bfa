//! The daemon is killed with SIGKILL again and again while events are posted to a Broker and
//! delivered: no acknowledged event is lost, and only what the consumer had not acknowledged comes
//! again. `REKINDLE_EVENT_KILLS=100` for a long run.
//!
//! Producers and consumer are this test binary once more, in the instance's network namespace.

#![allow(clippy::print_stdout)] // The two processes talk in lines.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use system::Instance;

/// Kills without `REKINDLE_EVENT_KILLS`.
const KILLS: usize = 5;
/// Acknowledged events between two kills.
const BETWEEN_KILLS: usize = 300;
const PRODUCERS: u64 = 16;
/// Longest time from the consumer's answer to its being written down, on a very busy machine.
const KNOWN_AFTER: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(90);

const BROKER: &str = "
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: default}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: all}
spec:
  broker: default
  subscriber: {uri: 'http://127.0.0.1:PORT/'}
  delivery: {retry: 1000, backoffPolicy: linear, backoffDelay: PT0.1S}
";

#[test]
fn kill_9_under_load_loses_no_acknowledged_event() {
    let kills =
        std::env::var("REKINDLE_EVENT_KILLS").map_or(KILLS, |n| n.parse().expect("a number"));
    let mut instance = Instance::start();
    let mut ends = Ends::start(&instance);
    let port = ends.told("consumer ");
    instance.apply(&BROKER.replace("PORT", &port)).expect();
    instance
        .kubectl("wait broker/default trigger/all --for=condition=Ready --timeout=60s")
        .expect();
    let ip = instance
        .kubectl("get svc -n knative-eventing broker-ingress -o jsonpath={.spec.clusterIP}")
        .expect();
    ends.tell(&format!("target {ip}:80"));
    for kill in 1..=kills {
        ends.wait_accepted(kill * BETWEEN_KILLS);
        instance.kill_9();
        ends.tell("killed");
        instance.restart();
    }
    ends.tell("end");
    let verdict = ends.told("verdict ");
    assert!(verdict.starts_with("good"), "{verdict}\n{}", instance.log());
    println!("{kills} kills: {verdict}");
}

/// The process of producers and consumer.
struct Ends {
    child: Child,
    input: ChildStdin,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Ends {
    fn start(instance: &Instance) -> Self {
        let program = std::env::current_exe().expect("this binary");
        let mut child = instance
            .inside(program.to_str().expect("a path in UTF-8"))
            .args([
                "--exact",
                "event_kill::both_ends",
                "--ignored",
                "--nocapture",
            ])
            .env("REKINDLE_EVENT_ENDS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test binary starts once more");
        let output = child.stdout.take().expect("it is piped");
        Self {
            input: child.stdin.take().expect("it is piped"),
            lines: Box::new(BufReader::new(output).lines().map_while(Result::ok)),
            child,
        }
    }

    /// What follows `word` in the next line that has it.
    fn told(&mut self, word: &str) -> String {
        let found = self
            .lines
            .find_map(|line| line.split_once(word).map(|(_, rest)| rest.to_owned()));
        found.unwrap_or_else(|| panic!("the other process ended without {word:?}"))
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the other process reads");
    }

    fn wait_accepted(&mut self, count: usize) {
        while self.told("accepted ").parse::<usize>().expect("a number") < count {}
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What happened, as the two ends saw it.
#[derive(Default)]
struct Ledger {
    accepted: BTreeSet<u64>,
    /// When the consumer answered 200, for each delivery.
    delivered: BTreeMap<u64, Vec<Instant>>,
    kills: Vec<Instant>,
}

impl Ledger {
    fn is_complete(&self) -> bool {
        self.accepted.iter().all(|n| self.delivered.contains_key(n))
    }

    fn verdict(&self) -> String {
        let lost = self
            .accepted
            .iter()
            .filter(|n| !self.delivered.contains_key(n));
        let lost = lost.count();
        let (mut again, mut unexcused) = (0, 0);
        for times in self.delivered.values() {
            for pair in times.windows(2) {
                again += 1;
                // A kill about the time of the answer: nobody had written it down, or it went to
                // a process that was dead.
                let excused = self.kills.iter().any(|kill| {
                    *kill <= pair[1]
                        && *kill + KNOWN_AFTER > pair[0]
                        && *kill < pair[0] + KNOWN_AFTER
                });
                unexcused += usize::from(!excused);
            }
        }
        let is_good = lost == 0 && unexcused == 0;
        format!(
            "{}: {} acknowledged, {lost} lost, {} delivered, {again} times again, {unexcused} of these acknowledged by the consumer before",
            if is_good { "good" } else { "bad" },
            self.accepted.len(),
            self.delivered.len(),
        )
    }
}

/// Not a test: what [`Ends::start`] runs.
#[test]
#[ignore = "the other side of kill_9_under_load_loses_no_acknowledged_event"]
fn both_ends() {
    if std::env::var_os("REKINDLE_EVENT_ENDS").is_none() {
        return;
    }
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    println!("consumer {}", listener.local_addr().expect("bound").port());
    let consumer = ledger.clone();
    thread::spawn(move || consume(&listener, &consumer));
    let is_over = Arc::new(AtomicBool::new(false));
    let number = Arc::new(AtomicU64::new(0));
    for line in io::stdin().lines().map_while(Result::ok) {
        match line.split_once(' ') {
            Some(("target", target)) => {
                for _ in 0..PRODUCERS {
                    let (target, ledger) = (target.to_owned(), ledger.clone());
                    let (is_over, number) = (is_over.clone(), number.clone());
                    thread::spawn(move || produce(&target, &ledger, &is_over, &number));
                }
            }
            None if line == "killed" => ledger.lock().expect("no panic").kills.push(Instant::now()),
            _ => break,
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    while !ledger.lock().expect("no panic").is_complete() && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(20));
    }
    println!("verdict {}", ledger.lock().expect("no panic").verdict());
}

/// Posts one event after the other; a connection that breaks is made again.
fn produce(target: &str, ledger: &Mutex<Ledger>, is_over: &AtomicBool, number: &AtomicU64) {
    while !is_over.load(Ordering::Relaxed) {
        if produce_on_one(target, ledger, is_over, number).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn produce_on_one(
    target: &str,
    ledger: &Mutex<Ledger>,
    is_over: &AtomicBool,
    number: &AtomicU64,
) -> io::Result<()> {
    let mut stream = TcpStream::connect(target)?;
    // The forwarder may take a connection while nobody is behind it.
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    while !is_over.load(Ordering::Relaxed) {
        let id = number.fetch_add(1, Ordering::Relaxed);
        write!(
            stream,
            "POST /default/default HTTP/1.1\r\nhost: broker-ingress.knative-eventing.svc.cluster.local\r\nce-specversion: 1.0\r\nce-id: {id}\r\nce-source: /kill\r\nce-type: test\r\ncontent-length: 0\r\n\r\n"
        )?;
        let head = read_head(&mut stream)?;
        if !head.starts_with("HTTP/1.1 202") {
            // Not ready yet after a restart.
            return Err(io::Error::other(head));
        }
        let mut ledger = ledger.lock().expect("no panic");
        ledger.accepted.insert(id);
        println!("accepted {}", ledger.accepted.len());
    }
    Ok(())
}

/// A request's or answer's head, which has no body behind it here.
fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => head.extend_from_slice(&buffer[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&head)
        .to_ascii_lowercase()
        .replacen("http", "HTTP", 1))
}

fn consume(listener: &TcpListener, ledger: &Arc<Mutex<Ledger>>) {
    for stream in listener.incoming().map_while(Result::ok) {
        let ledger = ledger.clone();
        thread::spawn(move || {
            // It ends when the daemon is killed.
            let _ = take(stream, &ledger);
        });
    }
}

fn take(mut stream: TcpStream, ledger: &Mutex<Ledger>) -> io::Result<()> {
    loop {
        let head = read_head(&mut stream)?;
        let id = head.lines().find_map(|line| line.strip_prefix("ce-id:"));
        let id = id.and_then(|id| id.trim().parse::<u64>().ok());
        let id = id.ok_or_else(|| io::Error::other("an event without its ID"))?;
        let mut locked = ledger.lock().expect("no panic");
        locked.delivered.entry(id).or_default().push(Instant::now());
        drop(locked);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
}
