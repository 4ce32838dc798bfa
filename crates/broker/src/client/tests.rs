//! The client against receivers that answer byte by byte what they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::delivery::Endpoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{ByMachine, Client, Failure, Target, absolute};

const PATIENCE: Duration = Duration::from_secs(60);
const BODY: &[u8] = b"0123456789";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a receiver does with a connection.
#[derive(Clone, Copy)]
enum Does {
    /// Answers each request so, and closes once it has answered this many.
    Answers(&'static str, usize),
    /// Reads one request and closes.
    Closes,
    /// Answers when the head has come, and reads no further.
    AnswersEarly(&'static str),
}

struct Receiver {
    target: Target,
    connections: Arc<AtomicUsize>,
}

/// A receiver that does so with each connection in turn, and the last from then on.
async fn receiver(does: &'static [Does]) -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let address = listener.local_addr().expect("it is bound");
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream, does[number.min(does.len() - 1)]));
        }
    });
    let client = Client::new(Arc::new(ByMachine), 1000);
    let target = client.target(&Endpoint {
        url: format!("http://{address}/in?a=b"),
        ca_certs: None,
        audience: None,
    });
    Receiver {
        target: target.expect("an address"),
        connections,
    }
}

async fn serve(mut stream: TcpStream, does: Does) -> std::io::Result<()> {
    let mut read = Vec::new();
    let mut answered = 0;
    loop {
        let head = loop {
            let end = read.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        if let Does::AnswersEarly(answer) = does {
            stream.write_all(answer.as_bytes()).await?;
            // Open, and silent.
            std::future::pending::<()>().await;
        }
        while read.len() < head + BODY.len() {
            if stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        }
        let Does::Answers(answer, count) = does else {
            return Ok(());
        };
        let said = String::from_utf8_lossy(&read[..head]).into_owned();
        assert!(
            said.starts_with("POST /in?a=b HTTP/1.1\r\nhost: 127.0.0.1:"),
            "{said}"
        );
        assert!(said.contains("\r\nce-id: 1\r\n"), "{said}");
        assert_eq!(&read[head..], BODY);
        read.clear();
        stream.write_all(answer.as_bytes()).await?;
        answered += 1;
        if answered == count {
            return Ok(());
        }
    }
}

impl Receiver {
    async fn post(&self) -> Result<(u16, String), Failure> {
        let lines: [&[u8]; 3] = [b"ce-id: 1\r\n", b"", b""];
        let answer = self.target.post(lines, BODY, PATIENCE).await?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Ok((answer.status.as_u16(), body))
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// It does not close.
const ALWAYS: usize = usize::MAX;
/// What a receiver does, the answer, and how many connections two requests take.
static ANSWERS: [([Does; 1], u16, &str, usize); 9] = [
    ([Does::Answers(OK, ALWAYS)], 200, "ok", 1),
    (
        [Does::Answers(
            "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
            ALWAYS,
        )],
        202,
        "",
        1,
    ),
    (
        [Does::Answers("HTTP/1.1 204 No Content\r\n\r\n", ALWAYS)],
        204,
        "",
        1,
    ),
    (
        [Does::Answers(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;x\r\nk\r\n0\r\nt: 1\r\n\r\n",
            ALWAYS,
        )],
        200,
        "ok",
        1,
    ),
    (
        [Does::Answers(
            "HTTP/1.1 103 Early\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            ALWAYS,
        )],
        200,
        "ok",
        1,
    ),
    // A redirect is an answer.
    (
        [Does::Answers(
            "HTTP/1.1 307 There\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n",
            ALWAYS,
        )],
        307,
        "",
        1,
    ),
    // After these the connection is of no more use.
    (
        [Does::Answers("HTTP/1.1 200 OK\r\n\r\nok", 1)],
        200,
        "ok",
        2,
    ),
    (
        [Does::Answers(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
            ALWAYS,
        )],
        200,
        "ok",
        2,
    ),
    (
        [Does::Answers(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
            ALWAYS,
        )],
        200,
        "ok",
        2,
    ),
];

#[tokio::test]
async fn an_answer_is_read_whole_however_it_is_framed() {
    for (number, (does, status, body, connections)) in ANSWERS.iter().enumerate() {
        let receiver = receiver(does).await;
        for _ in 0..2 {
            let answer = receiver.post().await.expect("an answer");
            assert_eq!(answer, (*status, (*body).to_owned()), "case {number}");
        }
        assert_eq!(receiver.connections(), *connections, "case {number}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_no_attempt() {
    // Noticed before it is used, or only then: the event arrives.
    for does in [
        &[Does::Answers(OK, 1)] as &[_],
        &[Does::Answers(OK, 2), Does::Answers(OK, usize::MAX)],
    ] {
        let receiver = receiver(does).await;
        for _ in 0..6 {
            assert_eq!(receiver.post().await.expect("an answer").0, 200);
        }
        assert!(receiver.connections() > 1);
    }
}

#[tokio::test]
async fn a_new_connection_without_an_answer_is_a_failure() {
    let receiver = receiver(&[Does::Closes]).await;
    let failure = receiver.post().await.expect_err("no answer");
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure}");
    assert_eq!(receiver.connections(), 1, "it is tried once");
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_is_whole() {
    let receiver = receiver(&[Does::AnswersEarly(
        "HTTP/1.1 413 Large\r\ncontent-length: 0\r\n\r\n",
    )])
    .await;
    // More than the sockets hold.
    let body = vec![b'x'; 64 << 20];
    let lines: [&[u8]; 3] = [b"", b"", b""];
    let answer = receiver.target.post(lines, &body, PATIENCE).await;
    assert_eq!(answer.expect("an answer").status, 413);
}

#[tokio::test]
async fn bad_answers_are_failures() {
    static CASES: [([Does; 1], &str); 5] = [
        (
            [Does::Answers(
                "HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n",
                1,
            )],
            "larger than 1000",
        ),
        (
            [Does::Answers(
                "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
                1,
            )],
            "broke off",
        ),
        (
            [Does::Answers(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nz\r\n",
                1,
            )],
            "broke off",
        ),
        (
            [Does::Answers(
                "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
                1,
            )],
            "cannot be read",
        ),
        (
            [Does::Answers("SSH-2.0-OpenSSH\r\n\r\n", 1)],
            "cannot be read",
        ),
    ];
    for (does, expected) in &CASES {
        let receiver = receiver(does).await;
        let failure = receiver.post().await.expect_err(expected).to_string();
        assert!(failure.contains(expected), "{failure}");
    }
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let receiver = receiver(&[Does::AnswersEarly("")]).await;
    let lines: [&[u8]; 3] = [b"", b"", b""];
    let timeout = Duration::from_millis(20);
    let answer = receiver.target.post(lines, BODY, timeout).await;
    assert!(matches!(answer, Err(Failure::Timeout(of)) if of == timeout));
}

#[test]
fn only_absolute_urls_are_addresses() {
    let of = |url| absolute(url).map(|uri| uri.to_string());
    assert_eq!(of("http://a.b.svc"), Some("http://a.b.svc/".into()));
    assert_eq!(of("https://a:1/x?y=z"), Some("https://a:1/x?y=z".into()));
    assert_eq!(of("ftp://a"), None);
    assert_eq!(of("/only/a/path"), None);
    assert_eq!(of(""), None);
}
