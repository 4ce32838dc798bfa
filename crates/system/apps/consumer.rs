//! A consumer of events in one file, on `$PORT` (8080): prints the headers and body of every
//! request, answers `$STATUS` (200). With `$REPLY_TYPE` a 200 carries an event: the one that came,
//! with that type, `$APPEND` behind its data, and `replyid` where it had a `correlationid`. With
//! `$SEND` it sends one event of that type to `$K_SINK` first, as a source does.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

fn main() {
    end_on_sigterm();
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).expect("listen on $PORT");
    if let Ok(kind) = env::var("SEND") {
        thread::spawn(move || while send(&kind).is_none() {
            thread::sleep(std::time::Duration::from_millis(100));
        });
    }
    for stream in listener.incoming().flatten() {
        thread::spawn(move || serve(stream));
    }
}

/// As the first process of a container this program gets only the signals it asks for: without
/// this SIGTERM would be ignored and the container killed at the end of its grace period.
fn end_on_sigterm() {
    const SIGTERM: i32 = 15;
    unsafe extern "C" {
        fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
        fn _exit(code: i32) -> !;
    }
    extern "C" fn end(_: i32) {
        // SAFETY: _exit may be called from a signal handler and does not return.
        unsafe { _exit(0) }
    }
    // SAFETY: the handler only calls what a signal handler may call.
    unsafe { signal(SIGTERM, end) };
}

/// One event to `$K_SINK`; `None` where that was not taken.
fn send(kind: &str) -> Option<()> {
    let sink = env::var("K_SINK").ok()?;
    let rest = sink.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut stream = TcpStream::connect(address).ok()?;
    let head = format!(
        "POST /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 2\r\n\
         Content-Type: application/json\r\nce-specversion: 1.0\r\nce-id: sent\r\n\
         ce-source: /container\r\nce-type: {kind}\r\n\r\n{{}}"
    );
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).ok()?;
    answer.contains(" 20").then_some(())
}

/// Answers every request of one connection until the client closes it.
fn serve(stream: TcpStream) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let of = |name: &str| headers.iter().find(|(known, _)| known == name);
        let length = of("content-length").and_then(|(_, value)| value.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        let mut text = String::from("request\n");
        for (name, value) in &headers {
            text.push_str(&format!("{name}: {value}\n"));
        }
        println!("{text}data: {}", String::from_utf8_lossy(&body));
        writer.write_all(&answer(&headers, body)).ok()?;
    }
}

fn answer(headers: &[(String, String)], mut body: Vec<u8>) -> Vec<u8> {
    let status = env::var("STATUS").unwrap_or_else(|_| "200".to_owned());
    let reply = env::var("REPLY_TYPE").ok().filter(|_| status == "200");
    let mut head = format!("HTTP/1.1 {status} Answer\r\n");
    let Some(kind) = reply else {
        let text = if status == "200" { "" } else { "as it was told to" };
        head.push_str(&format!("Content-Length: {}\r\n\r\n{text}", text.len()));
        return head.into_bytes();
    };
    for (name, value) in headers {
        match name.as_str() {
            "ce-type" => head.push_str(&format!("ce-type: {kind}\r\n")),
            "ce-correlationid" => {
                head.push_str(&format!("{name}: {value}\r\nce-replyid: {value}\r\n"));
            }
            "content-type" => head.push_str(&format!("{name}: {value}\r\n")),
            name if name.starts_with("ce-") => head.push_str(&format!("{name}: {value}\r\n")),
            _ => {}
        }
    }
    body.extend(env::var("APPEND").unwrap_or_default().bytes());
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut answer = head.into_bytes();
    answer.extend(body);
    answer
}
