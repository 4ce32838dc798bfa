//! Time limits, the full queue, splits, and what the statistics say.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::support::{Fixture, application, echo, pod, revision, split, virtual_host};
use crate::Face;

/// A revision whose application answers as `serve` does, with limits in milliseconds.
fn limited(limits: [u64; 3], head: &'static str, pause: u64) -> Fixture {
    let slow = application(move |mut client| {
        client.read_message();
        client.send(head);
        thread::sleep(Duration::from_millis(pause));
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let fixture = Fixture::new();
    let mut facts = revision("hello-00001", vec![pod("p", slow)]);
    let [total, start, idle] = limits.map(Duration::from_millis);
    facts.timeout = total;
    facts.response_start_timeout = Some(start);
    facts.idle_timeout = Some(idle);
    fixture.revision(facts);
    fixture.route("hello.localhost", "hello-00001");
    fixture
}

#[test]
fn limits_end_a_request_with_504() {
    for (limits, status) in [
        ([50, 0, 0], 504),
        ([0, 50, 0], 504),
        ([0, 0, 50], 504),
        ([10_000, 10_000, 10_000], 200),
        ([0, 0, 0], 200),
    ] {
        let fixture = limited(limits, "", 1_000);
        let answer = fixture.get(Face::External, "hello.localhost", "/");
        assert_eq!(answer.status(), status, "{limits:?}");
        if status == 504 {
            assert_eq!(answer.body, "activator request timeout");
        }
    }
}

#[test]
fn limits_cut_a_response_under_way() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin";
    for (limits, cut) in [
        ([1_000, 0, 0], true),
        ([0, 0, 1_000], true),
        ([0, 1_000, 0], false),
    ] {
        let fixture = limited(limits, HEAD, 3_000);
        let mut client = fixture.client(Face::External);
        client.send("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
        assert!(client.read_head().unwrap().starts_with("HTTP/1.1 200"));
        let mut body = Vec::new();
        let _ = std::io::Read::read_to_end(&mut client.stream, &mut body);
        assert_eq!(body == b"begin", cut, "{limits:?} {}", body.len());
    }
}

#[test]
fn a_waiting_request_times_out_and_frees_its_place() {
    let fixture = Fixture::with(|config| config.queue_depth_max = 1);
    let mut facts = revision("hello-00001", vec![]);
    facts.timeout = Duration::from_millis(100);
    fixture.revision(facts);
    fixture.route("hello.localhost", "hello-00001");
    let mut first = fixture.client(Face::External);
    first.send("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
    // The second finds the queue full, or comes after the first has timed out and waits itself.
    let mut second = fixture.get(Face::External, "hello.localhost", "/");
    while second.status() != 503 {
        assert_eq!(second.status(), 504);
        first = fixture.client(Face::External);
        first.send("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
        second = fixture.get(Face::External, "hello.localhost", "/");
    }
    assert_eq!(second.body, "pending request queue full\n");
    assert_eq!(first.read_message().unwrap().status(), 504);
    fixture.revision(revision("hello-00001", vec![pod("p", echo("hello"))]));
    assert_eq!(
        fixture.get(Face::External, "hello.localhost", "/").status(),
        200
    );
}

#[test]
fn container_concurrency_is_never_exceeded_and_nobody_is_lost() {
    const CLIENTS: usize = 24;
    let running = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let served = Arc::new(AtomicUsize::new(0));
    let busy = |at: usize| {
        let (running, served) = (Arc::clone(&running), Arc::clone(&served));
        application(move |mut client| {
            while client.read_message().is_some() {
                assert!(
                    running[at].fetch_add(1, Ordering::SeqCst) < 2,
                    "too many at once"
                );
                thread::sleep(Duration::from_millis(2));
                running[at].fetch_sub(1, Ordering::SeqCst);
                served.fetch_add(1, Ordering::SeqCst);
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        })
    };
    let fixture = Fixture::new();
    let mut facts = revision("hello-00001", vec![pod("a", busy(0)), pod("b", busy(1))]);
    facts.container_concurrency = 2;
    fixture.revision(facts);
    fixture.route("hello.localhost", "hello-00001");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = fixture.client(Face::External);
            thread::spawn(move || {
                (0..10).for_each(|_| assert_eq!(client.get("hello.localhost", "/").status(), 200));
            })
        })
        .collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    assert_eq!(served.load(Ordering::SeqCst), CLIENTS * 10);
}

#[test]
fn splits_share_by_percentage_and_the_tag_header_chooses() {
    let fixture = Fixture::new();
    fixture.revision(revision("old", vec![pod("old", echo("old"))]));
    fixture.revision(revision("new", vec![pod("new", echo("new"))]));
    let mut host = virtual_host(vec![split(70, "old"), split(30, "new")]);
    let mut tagged = virtual_host(vec![split(100, "new")]).rules.remove(0);
    tagged.headers = BTreeMap::from([("knative-serving-tag".into(), "blue".into())]);
    host.rules.insert(0, tagged);
    fixture.host("hello.localhost", host);
    let mut client = fixture.client(Face::External);
    let new = (0..500).filter(|_| client.get("hello.localhost", "/").body.starts_with("new"));
    let new = new.count();
    // Six standard deviations around 150.
    assert!((89..=211).contains(&new), "{new} of 500 at 30 %");
    client.send("GET / HTTP/1.1\r\nHost: hello.localhost\r\nKnative-Serving-Tag: blue\r\n\r\n");
    assert!(client.read_message().unwrap().body.starts_with("new"));
}

#[test]
fn statistics_count_every_request_once() {
    let mut fixture = Fixture::new();
    fixture.revision(revision("hello-00001", vec![pod("p", echo("hello"))]));
    fixture.route("hello.localhost", "hello-00001");
    let mut client = fixture.client(Face::External);
    for _ in 0..10 {
        client.get("hello.localhost", "/");
    }
    let (mut activator, mut direct, mut proxied) = (0.0, 0.0, 0.0);
    while activator < 10.0 || proxied < 10.0 {
        let stat = fixture.stats.blocking_recv().unwrap();
        match &*stat.reporter {
            "activator" => activator += stat.request_count,
            "p" => {
                proxied += stat.proxied_request_count;
                direct += stat.request_count - stat.proxied_request_count;
            }
            other => panic!("{other} reports"),
        }
    }
    assert_eq!((activator, proxied, direct), (10.0, 10.0, 0.0));
    let metrics = fixture.gateway.metrics();
    let wanted = "http_server_request_duration_seconds_count{k8s_namespace_name=\"default\",\
                  kn_service_name=\"hello\",kn_configuration_name=\"hello\",\
                  kn_revision_name=\"hello-00001\",http_response_status_code=\"200\"} 10";
    assert!(metrics.contains(wanted), "{metrics}");
}

#[test]
fn requests_are_logged() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let fixture = Fixture::with(|config| {
        let sink = Arc::new(move |line: &str| sink.lock().unwrap().push(line.to_owned()));
        let log = crate::request_log::RequestLog::new(
            "{{.Request.Method}} {{.Request.RequestURI}} {{.Response.Code}} {{.Response.Size}} \
             {{.Revision.Name}} {{.Revision.PodName}} {{.TraceID}}",
            sink,
        );
        config.request_log = Some(log.unwrap());
    });
    fixture.revision(revision(
        "hello-00001",
        vec![pod(
            "p",
            application(|mut client| {
                client.read_message();
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
            }),
        )],
    ));
    fixture.route("hello.localhost", "hello-00001");
    let mut client = fixture.client(Face::External);
    client.send("GET /x HTTP/1.1\r\nHost: hello.localhost\r\ntraceparent: 00-abc-def-01\r\n\r\n");
    client.read_message();
    // The line is written after the answer; the next request on the connection comes after it.
    client.get("other.localhost", "/");
    assert_eq!(*lines.lock().unwrap(), ["GET /x 200 5 hello-00001 p abc"]);
}
