//! `http-echo` in one file: answers the words of `-text=` on the port of `-listen=` (5678).

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

fn main() {
    end_on_sigterm();
    let flag = |name: &str| {
        std::env::args().find_map(|arg| arg.strip_prefix(name).map(str::to_owned))
    };
    let listen = flag("-listen=").unwrap_or_else(|| ":5678".to_owned());
    let text = flag("-text=").expect("-text=WORDS is required");
    let listener = TcpListener::bind(format!("0.0.0.0{listen}")).expect("listen");
    println!("[INFO] server is listening on {listen}");
    for stream in listener.incoming().flatten() {
        let _ = answer(stream, &text);
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

fn answer(mut stream: TcpStream, text: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let length = text.len() + 1;
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}\n")
}
