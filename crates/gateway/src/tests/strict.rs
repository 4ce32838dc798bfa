//! Requests that two readers could understand differently are refused.

use super::support::{Fixture, echo, pod, revision};
use crate::Face;

#[test]
fn ambiguous_requests_are_refused_and_the_connection_closed() {
    let fixture = Fixture::new();
    fixture.revision(revision("hello-00001", vec![pod("p", echo("hello"))]));
    fixture.route("a", "hello-00001");
    let long = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded: 1\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            501,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
            400,
        ),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        (&long, 431),
    ] {
        let mut client = fixture.client(Face::External);
        client.send(request);
        let answer = client.read_message().unwrap();
        let shown = &request[..request.len().min(100)];
        assert_eq!(answer.status(), status, "{shown:?} {answer:?}");
        assert!(client.is_closed(), "{shown:?}");
    }
}

#[test]
fn an_absolute_target_names_the_host() {
    let fixture = Fixture::new();
    fixture.revision(revision("hello-00001", vec![pod("p", echo("hello"))]));
    fixture.route("a", "hello-00001");
    let mut client = fixture.client(Face::External);
    client.send("GET http://a:80/path?x=1 HTTP/1.1\r\nHost: b\r\n\r\n");
    let answer = client.read_message().unwrap();
    assert!(
        answer.body.contains("GET /path?x=1 HTTP/1.1\nhost: a:80"),
        "{answer:?}"
    );
}
