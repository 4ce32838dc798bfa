//! Routing, buffering at zero, retries and forwarding.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::thread;

use serving::route::{Change, Visibility};

use super::support::{
    Fixture, any_port, application, echo, header, pod, revision, split, virtual_host,
};
use crate::Face;

#[test]
fn routes_by_host_and_visibility() {
    let fixture = Fixture::new();
    fixture.revision(revision("hello-00001", vec![pod("p", echo("hello"))]));
    fixture.route("hello.default.example.com", "hello-00001");
    let mut local = virtual_host(vec![split(100, "hello-00001")]);
    local.visibility = Visibility::ClusterLocal;
    fixture.host("hello.default.svc.cluster.local", local);

    for (face, host, status) in [
        (Face::External, "hello.default.example.com", 200),
        (Face::External, "HELLO.default.Example.com:8080", 200),
        (Face::External, "hello.default.svc.cluster.local", 404),
        (Face::External, "other.default.example.com", 404),
        (Face::Local, "hello.default.svc.cluster.local", 200),
        (Face::Local, "hello.default.example.com", 200),
        (
            Face::Activator,
            "hello-00001.default.svc.cluster.local",
            200,
        ),
        (
            Face::Activator,
            "hello-00002.default.svc.cluster.local",
            404,
        ),
    ] {
        assert_eq!(
            fixture.get(face, host, "/").status(),
            status,
            "{face:?} {host}"
        );
    }
    fixture
        .gateway
        .apply(Change::Host("hello.default.example.com".into(), None));
    assert_eq!(
        fixture
            .get(Face::External, "hello.default.example.com", "/")
            .status(),
        404
    );
}

#[test]
fn buffers_at_zero_pokes_and_releases() {
    let mut fixture = Fixture::new();
    fixture.revision(revision("hello-00001", vec![]));
    fixture.route("hello.localhost", "hello-00001");
    let answers: Vec<_> = (0..3)
        .map(|_| {
            let mut client = fixture.client(Face::External);
            thread::spawn(move || client.get("hello.localhost", "/").status())
        })
        .collect();
    let poke = fixture.stats.blocking_recv().unwrap();
    assert_eq!(
        (&*poke.revision.name, &*poke.reporter),
        ("hello-00001", "activator")
    );
    assert!(poke.average_concurrent_requests > 0.0);

    let mut starting = pod("p", echo("hello"));
    starting.ready = false;
    fixture.revision(revision("hello-00001", vec![starting.clone()]));
    starting.ready = true;
    fixture.revision(revision("hello-00001", vec![starting]));
    for answer in answers {
        assert_eq!(answer.join().unwrap(), 200);
    }
}

#[test]
fn keeps_connections_and_reads_pipelined_requests() {
    let fixture = Fixture::new();
    fixture.revision(revision("hello-00001", vec![pod("p", echo("hello"))]));
    fixture.route("hello.localhost", "hello-00001");
    let mut client = fixture.client(Face::External);
    let request = |path: &str, body: &str| {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    client.send(&format!(
        "{}{}{}",
        request("/1", "one"),
        request("/2", ""),
        request("/3", "three")
    ));
    for (path, body) in [("/1", "one"), ("/2", ""), ("/3", "three")] {
        let answer = client.read_message().unwrap();
        assert!(
            answer.body.contains(&format!("POST {path} HTTP/1.1")),
            "{answer:?}"
        );
        assert!(answer.body.ends_with(body));
    }
}

#[test]
fn tells_the_application_who_asked() {
    let fixture = Fixture::new();
    fixture.revision(revision("hello-00001", vec![pod("p", echo("hello"))]));
    let mut host = virtual_host(vec![split(100, "hello-00001")]);
    host.rules[0].append_headers = BTreeMap::from([("x-rule".into(), "set".into())]);
    host.rules[0].splits[0].append_headers = BTreeMap::from([
        ("Knative-Serving-Revision".into(), "hello-00001".into()),
        ("x-split".into(), "set".into()),
    ]);
    fixture.host("hello.localhost", host);
    let mut client = fixture.client(Face::External);
    client.send(
        "GET / HTTP/1.1\r\nHost: hello.localhost:8080\r\nX-Split: mine\r\nX-Forwarded-For: 10.0.0.9\r\n\
         Connection: X-Private\r\nX-Private: 1\r\nKnative-Serving-Namespace: x\r\ntraceparent: 00-ab\r\n\
         Proxy-Connection: keep-alive\r\nTE: trailers\r\n\r\n",
    );
    let body = client.read_message().unwrap().body;
    for (name, value) in [
        ("host", Some("hello.localhost:8080")),
        ("x-rule", Some("set")),
        ("x-split", Some("set")),
        ("x-forwarded-for", Some("10.0.0.9, 127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("hello.localhost:8080")),
        (
            "forwarded",
            Some("for=10.0.0.9;host=\"hello.localhost:8080\";proto=http, for=127.0.0.1"),
        ),
        ("traceparent", Some("00-ab")),
        ("te", Some("trailers")),
        ("x-private", None),
        ("knative-serving-namespace", None),
        ("knative-serving-revision", None),
        ("proxy-connection", None),
    ] {
        assert_eq!(header(&body, name), value, "{name} in {body}");
    }
}

#[test]
fn a_refused_connection_goes_to_another_pod() {
    let fixture = Fixture::new();
    // A port on which nothing listens.
    let dead = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    for concurrency in [0, 1, 10] {
        let pods = vec![pod("dead", dead), pod("alive", echo("alive"))];
        let mut facts = revision("hello-00001", pods);
        facts.container_concurrency = concurrency;
        fixture.revision(facts);
        fixture.route("hello.localhost", "hello-00001");
        for _ in 0..10 {
            assert_eq!(
                fixture.get(Face::External, "hello.localhost", "/").status(),
                200
            );
        }
    }
}

#[test]
fn a_stale_connection_is_replaced() {
    // Closes every connection after one answer without having said so.
    let rude = application(|mut client| {
        if client.read_message().is_some() {
            client.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let fixture = Fixture::new();
    fixture.revision(revision("hello-00001", vec![pod("p", rude)]));
    fixture.route("hello.localhost", "hello-00001");
    let mut client = fixture.client(Face::External);
    for _ in 0..200 {
        assert_eq!(client.get("hello.localhost", "/").status(), 200);
    }
}

#[test]
fn a_request_whose_last_pod_dies_under_it_calls_for_another() {
    let mut fixture = Fixture::new();
    let dead = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    fixture.revision(revision("hello-00001", vec![pod("dead", dead)]));
    fixture.route("hello.localhost", "hello-00001");
    let mut client = fixture.client(Face::External);
    client.send("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
    fixture.revision(revision("hello-00001", vec![]));
    let poke = fixture.stats.blocking_recv().unwrap();
    assert_eq!(poke.reporter, "activator");
    fixture.revision(revision("hello-00001", vec![pod("p", echo("hello"))]));
    assert_eq!(client.read_message().unwrap().status(), 200);
}
