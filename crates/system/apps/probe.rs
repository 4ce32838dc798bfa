//! A test application that shows its surroundings and misbehaves on demand.
//!
//! `GET /env` its environment, `/headers` the request's head, `/sleep?ms=N` waits, `/exit?code=N`
//! ends, `/file?PATH` a file, `/big?n=N` N bytes, `/echo?ms=N` the
//! request's body after N ms, anything else `ok`. `/ws` becomes a WebSocket that echoes short
//! messages. With `EXIT=N` in the environment it ends at once with that code, with `LISTEN=no` it
//! never listens.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use std::{env, fs, process, thread};

fn main() {
    end_on_sigterm();
    if let Ok(code) = env::var("EXIT") {
        println!("exiting with {code} as told");
        process::exit(code.parse().unwrap_or(1));
    }
    if env::var("LISTEN").as_deref() == Ok("no") {
        loop {
            thread::sleep(Duration::from_secs(3600));
        }
    }
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    println!("listening on {port}");
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).expect("listen on $PORT");
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

fn serve(stream: TcpStream) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(|v| v.trim().to_owned()))
            .and_then(|value| value.parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        println!("{}", head.lines().next().unwrap_or_default());
        if head.starts_with("GET /ws ") {
            return echo_messages(&mut reader, &mut writer);
        }
        let answer = answer(&head, body);
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len()).ok()?;
        writer.write_all(&answer).ok()?;
    }
}

/// A WebSocket (RFC 6455) for one client that sends the RFC's own sample key and masked text
/// messages of at most 125 bytes.
fn echo_messages(reader: &mut impl Read, writer: &mut impl Write) -> Option<()> {
    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    writer.write_all(SWITCH.as_bytes()).ok()?;
    loop {
        let mut head = [0; 6];
        reader.read_exact(&mut head).ok()?;
        let mut message = vec![0; usize::from(head[1] & 0x7f)];
        reader.read_exact(&mut message).ok()?;
        for (at, byte) in message.iter_mut().enumerate() {
            *byte ^= head[2 + at % 4];
        }
        let mut frame = vec![head[0], message.len() as u8];
        frame.extend(message);
        writer.write_all(&frame).ok()?;
        // The opcode of a close.
        if head[0] & 0x0f == 8 {
            return None;
        }
    }
}

fn answer(head: &str, body: Vec<u8>) -> Vec<u8> {
    let target = head.split(' ').nth(1).unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let number = || query.split('=').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0u64);
    match path {
        "/env" => env::vars().map(|(key, value)| format!("{key}={value}\n")).collect::<String>().into(),
        "/headers" => head.as_bytes().to_vec(),
        "/file" => fs::read(query).unwrap_or_else(|error| error.to_string().into_bytes()),
        "/echo" => {
            thread::sleep(Duration::from_millis(number()));
            body
        }
        "/big" => vec![b'x'; number() as usize],
        "/exit" => process::exit(number() as i32),
        "/sleep" => {
            thread::sleep(Duration::from_millis(number()));
            b"slept\n".to_vec()
        }
        _ => b"ok\n".to_vec(),
    }
}
