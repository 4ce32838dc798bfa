//! Heads as values, without a socket.

use http1::framing::Framing;
use proptest::prelude::*;

use super::head::{HeadError, with_request};
use super::response::{Asked, pass_response};

proptest! {
    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = with_request(&bytes, |head| head.len);
        let mut head = b"POST / HTTP/1.1\r\nHost: a\r\n".to_vec();
        head.extend_from_slice(&bytes);
        head.extend_from_slice(b"\r\n\r\n");
        let _ = with_request(&head, |head| head.len);
        let asked = Asked { is_head: false, http_1_0: false, keep_alive: true, upgrade: false };
        let mut response = b"HTTP/1.1 200 OK\r\n".to_vec();
        response.extend_from_slice(&bytes);
        response.extend_from_slice(b"\r\n\r\n");
        let _ = pass_response(&response, asked, &mut Vec::new());
    }
}

#[test]
fn what_a_request_says_of_its_body_and_its_connection() {
    let check = |fields: &str, version: &str| -> Result<(Framing, bool, bool), HeadError> {
        let head = format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        let said = with_request(head.as_bytes(), |head| {
            (head.framing, head.keep_alive, head.upgrade)
        })?;
        Ok(said.unwrap())
    };
    let none = Framing::NONE;
    for (fields, version, expected) in [
        ("", "1.1", (none, true, false)),
        ("", "1.0", (none, false, false)),
        ("Connection: Keep-Alive\r\n", "1.0", (none, true, false)),
        ("Connection: close\r\n", "1.1", (none, false, false)),
        (
            "Content-Length: 7\r\nContent-Length: 7\r\n",
            "1.1",
            (Framing::Length(7), true, false),
        ),
        (
            "Transfer-Encoding: Chunked\r\n",
            "1.1",
            (Framing::chunked(), true, false),
        ),
        ("Upgrade: websocket\r\n", "1.1", (none, true, false)),
        (
            "Upgrade: websocket\r\nConnection: upgrade\r\n",
            "1.1",
            (none, true, true),
        ),
        (
            "Upgrade: h2c\r\nConnection: upgrade, HTTP2-Settings\r\n",
            "1.1",
            (none, true, false),
        ),
    ] {
        assert_eq!(check(fields, version), Ok(expected), "{fields:?}");
    }
}

#[test]
fn what_a_response_says_of_its_body_and_its_connection() {
    let check = |head: &str, is_head: bool| {
        let asked = Asked {
            is_head,
            http_1_0: false,
            keep_alive: true,
            upgrade: false,
        };
        let mut out = Vec::new();
        let passed = pass_response(format!("{head}\r\n").as_bytes(), asked, &mut out)?;
        let (_, head) = passed.unwrap();
        Ok::<_, HeadError>((head.framing, head.keep_alive, head.reusable))
    };
    let none = Framing::NONE;
    for (head, is_head, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
            false,
            (Framing::Length(3), true, true),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
            true,
            (none, true, true),
        ),
        ("HTTP/1.1 204 No Content\r\n", false, (none, true, true)),
        (
            "HTTP/1.1 200 OK\r\n",
            false,
            (Framing::UntilClose, false, false),
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n",
            false,
            (Framing::Length(3), true, false),
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n",
            false,
            (Framing::Length(3), true, false),
        ),
        // Two ways to know the end: the chunks win, and the connection is not trusted further.
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            false,
            (Framing::chunked(), true, false),
        ),
    ] {
        assert_eq!(check(head, is_head), Ok(expected), "{head:?}");
    }
    for head in [
        "HTTP/1.1 101 Switching Protocols\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
        "nonsense\r\n",
    ] {
        assert!(check(head, false).is_err(), "{head:?}");
    }
}
