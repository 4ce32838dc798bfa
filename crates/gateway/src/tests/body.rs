//! Bodies of every kind on their way through: chunks, trailers, streams, tunnels.

use std::io::{Read as _, Write as _};
use std::sync::mpsc;
use std::thread;

use super::support::{Client, Fixture, application, echo, pod, revision};
use crate::Face;

/// A gateway before one application, reached as `hello.localhost`.
fn before(serve: impl Fn(Client) + Send + Sync + 'static) -> Fixture {
    let fixture = Fixture::new();
    fixture.revision(revision("hello-00001", vec![pod("p", application(serve))]));
    fixture.route("hello.localhost", "hello-00001");
    fixture
}

#[test]
fn chunks_and_trailers_pass_both_ways() {
    let fixture = before(|mut client| {
        let request = client.read_message().unwrap();
        assert_eq!(request.body, "3|abc|0|X-Sum: 1|");
        client.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n\
             5\r\nhello\r\n0\r\nX-End: yes\r\n\r\n",
        );
    });
    let mut client = fixture.client(Face::External);
    client.send(
        "POST / HTTP/1.1\r\nHost: hello.localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    client.send("0\r\nX-Sum: 1\r\n\r\n");
    assert_eq!(client.read_message().unwrap().body, "5|hello|0|X-End: yes|");
}

#[test]
fn server_sent_events_are_not_held_back() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let fixture = before(move |mut client| {
        client.read_message().unwrap();
        client.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        for n in 0..3 {
            client.send(&format!("data: {n}\n\n"));
            wait.lock().unwrap().recv().unwrap();
        }
    });
    let mut client = fixture.client(Face::External);
    client.send("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
    client.read_head().unwrap();
    for n in 0..3 {
        assert_eq!(client.read_line().unwrap(), format!("data: {n}"));
        assert_eq!(client.read_line().unwrap(), "");
        go.send(()).unwrap();
    }
    assert!(client.is_closed());
}

#[test]
fn a_tunnel_opens_after_101() {
    let fixture = before(|mut client| {
        let head = client.read_head().unwrap();
        assert!(head.to_lowercase().contains("upgrade: websocket"), "{head}");
        client.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi",
        );
        let mut bytes = [0; 4];
        while client.stream.read_exact(&mut bytes).is_ok() {
            bytes.reverse();
            client.stream.get_mut().write_all(&bytes).unwrap();
        }
    });
    let mut client = fixture.client(Face::External);
    client.send(
        "GET /ws HTTP/1.1\r\nHost: hello.localhost\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let head = client.read_head().unwrap();
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols"),
        "{head}"
    );
    let mut bytes = [0; 2];
    client.stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hi");
    for _ in 0..3 {
        client.send("abcd");
        let mut bytes = [0; 4];
        client.stream.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"dcba");
    }
}

#[test]
fn a_tunnel_brings_the_answer_to_a_client_that_has_finished() {
    let fixture = before(|mut client| {
        client.read_head().unwrap();
        client
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        let mut all = String::new();
        client.stream.read_to_string(&mut all).unwrap();
        client.send(&format!("got {all}"));
    });
    let mut client = fixture.client(Face::External);
    client.send(
        "GET / HTTP/1.1\r\nHost: hello.localhost\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    );
    client.read_head().unwrap();
    client.send("last words");
    client
        .stream
        .get_ref()
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    let mut answer = String::new();
    client.stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "got last words");
}

#[test]
fn large_bodies_stream_both_ways_at_once() {
    const SIZE: usize = 16 * 1024 * 1024;
    // Answers with what comes, while it comes.
    let fixture = before(|mut client| {
        client.read_head().unwrap();
        client.send(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"
        ));
        let mut buffer = vec![0; 100_000];
        let mut left = SIZE;
        while left > 0 {
            let count = client.stream.read(&mut buffer).unwrap();
            client.stream.get_mut().write_all(&buffer[..count]).unwrap();
            left -= count;
        }
    });
    let mut client = fixture.client(Face::External);
    client.send(&format!(
        "POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: {SIZE}\r\n\r\n"
    ));
    let mut sender = client.stream.get_ref().try_clone().unwrap();
    let byte = |at: usize| (at % 251) as u8;
    let sending = thread::spawn(move || {
        let body: Vec<u8> = (0..SIZE).map(byte).collect();
        sender.write_all(&body).unwrap();
    });
    client.read_head().unwrap();
    let mut received = vec![0; SIZE];
    client.stream.read_exact(&mut received).unwrap();
    sending.join().unwrap();
    assert!(
        received
            .iter()
            .enumerate()
            .all(|(at, received)| *received == byte(at))
    );
}

#[test]
fn continue_is_passed_on() {
    let fixture = before(|mut client| {
        let head = client.read_head().unwrap();
        assert!(
            head.to_lowercase().contains("expect: 100-continue"),
            "{head}"
        );
        client.send("HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = [0; 4];
        client.stream.read_exact(&mut body).unwrap();
        assert_eq!(&body, b"data");
        client.send("HTTP/1.1 204 No Content\r\n\r\n");
    });
    let mut client = fixture.client(Face::External);
    client.send(
        "PUT / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    );
    assert!(client.read_head().unwrap().starts_with("HTTP/1.1 100"));
    client.send("data");
    assert_eq!(client.read_message().unwrap().status(), 204);
}

#[test]
fn answers_without_a_body() {
    let fixture = before(|mut client| {
        while let Some(request) = client.read_message() {
            let status = if request.head.starts_with("HEAD") {
                "200 OK"
            } else {
                "304 Not Modified"
            };
            client.send(&format!(
                "HTTP/1.1 {status}\r\nContent-Length: 1234\r\n\r\n"
            ));
        }
    });
    let mut client = fixture.client(Face::External);
    for method in ["HEAD", "GET", "HEAD"] {
        client.send(&format!(
            "{method} / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n"
        ));
        let head = client.read_head().unwrap();
        assert!(head.contains("Content-Length: 1234"), "{head}");
    }
}

#[test]
fn a_client_of_version_1_0_gets_no_chunks() {
    let fixture = before(|mut client| {
        client.read_message().unwrap();
        client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        client.send("2\r\nde\r\n0\r\n\r\n");
    });
    let mut client = fixture.client(Face::External);
    client.send("GET / HTTP/1.0\r\nHost: hello.localhost\r\n\r\n");
    let answer = client.read_message().unwrap();
    assert_eq!(
        (answer.header("transfer-encoding"), &*answer.body),
        (None, "abcde")
    );
}

#[test]
fn a_body_that_ends_with_the_connection() {
    let fixture = before(|mut client| {
        client.read_message().unwrap();
        client.send("HTTP/1.0 200 OK\r\n\r\nuntil the end");
    });
    let answer = fixture.get(Face::External, "hello.localhost", "/");
    assert_eq!(answer.body, "until the end");
}

#[test]
fn an_answer_before_the_body_was_read() {
    let fixture = before(|mut client| {
        client.read_head().unwrap();
        client.send(
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    });
    let mut client = fixture.client(Face::External);
    client
        .send("POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 10000000\r\n\r\nbegin");
    assert_eq!(client.read_message().unwrap().status(), 413);
    assert!(client.is_closed());
}

#[test]
fn a_broken_off_answer_is_broken_off() {
    let fixture = before(|mut client| {
        client.read_message().unwrap();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    });
    let mut client = fixture.client(Face::External);
    client.send("GET / HTTP/1.1\r\nHost: hello.localhost\r\n\r\n");
    client.read_head().unwrap();
    let mut rest = Vec::new();
    let _ = client.stream.read_to_end(&mut rest);
    assert_eq!(rest, b"only this");
}

#[test]
fn an_empty_answer_is_502() {
    let fixture = before(|mut client| drop(client.read_message()));
    let mut client = fixture.client(Face::External);
    client.send("POST / HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.read_message().unwrap().status(), 502);
}

#[test]
fn echo_keeps_its_connection_open_for_the_next() {
    let fixture = Fixture::new();
    fixture.revision(revision("hello-00001", vec![pod("p", echo("hello"))]));
    fixture.route("hello.localhost", "hello-00001");
    let mut client = fixture.client(Face::External);
    for n in 0..20 {
        let body = "x".repeat(n * 1000);
        client.send(&format!(
            "POST /{n} HTTP/1.1\r\nHost: hello.localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let answer = client.read_message().unwrap();
        assert!(answer.body.ends_with(&body) && answer.body.contains(&format!("/{n} ")));
    }
}
