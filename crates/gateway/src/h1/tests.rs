//! Heads and framing as values, without a socket.

use proptest::prelude::*;

use super::framing::Framing;
use super::head::{HeadError, with_request};
use super::response::{Asked, pass_response};

/// Feeds the pieces one after the other: how much belongs to the body, and whether it has ended.
fn scan(pieces: &[&[u8]]) -> Result<(usize, bool), super::framing::Malformed> {
    let mut framing = Framing::chunked();
    let mut total = 0;
    for piece in pieces {
        let count = framing.accept(piece)?;
        total += count;
        if count < piece.len() {
            break;
        }
    }
    Ok((total, framing.is_done()))
}

fn encode(chunks: &[Vec<u8>], extension: &str, trailers: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        out.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
    out
}

proptest! {
    #[test]
    fn a_chunked_body_ends_where_it_ends_however_it_is_cut(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        extension in "|;a|;a=b| ;x=\"y\"",
        trailers in "|X: 1\r\n|X: 1\r\nY-z:\r\n",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        next in "GET|0|\r\n",
    ) {
        let body = encode(&chunks, &extension, &trailers);
        let mut stream = body.clone();
        stream.extend_from_slice(next.as_bytes());
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        prop_assert_eq!(scan(&pieces).unwrap(), (body.len(), true));
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = scan(&[&bytes]);
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
fn malformed_chunks_are_refused() {
    for body in [
        "\r\n",
        "x\r\n",
        "1 x\r\na\r\n0\r\n\r\n",
        "1\na\n0\n\n",
        "1\r\nab\r\n0\r\n\r\n",
        "1\r\na\n0\r\n\r\n",
        "-1\r\n",
        "0x1\r\n",
        "fffffffffffffffff\r\n",
        "0\r\nX : 1\r\n\r\n",
        "0\r\n: 1\r\n\r\n",
        "0\r\nX: 1\n\r\n",
        "1;\n\r\na\r\n",
    ] {
        assert!(scan(&[body.as_bytes()]).is_err(), "{body:?}");
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
