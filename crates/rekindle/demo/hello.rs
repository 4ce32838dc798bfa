//! The demo's application: a small HTTP server in one static binary, built by `build.rs`, packed
//! into an image by `rekindle demo`. Answers `Hello $TARGET!` on `$PORT`; knows nothing of Rekindle.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

fn main() {
    end_on_sigterm();
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let target = env::var("TARGET").unwrap_or_else(|_| "World".to_owned());
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).expect("listen on $PORT");
    let body = format!("Hello {target}!\n");
    for stream in listener.incoming().flatten() {
        let body = body.clone();
        thread::spawn(move || serve(stream, &body));
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

/// Answers every request of one connection until the client closes it.
fn serve(stream: TcpStream, body: &str) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    loop {
        let mut body_length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                body_length = value.trim().parse().ok()?;
            }
        }
        std::io::copy(&mut std::io::Read::take(&mut reader, body_length), &mut std::io::sink()).ok()?;
        writer.write_all(answer.as_bytes()).ok()?;
    }
}
