//! What an event costs on its way through a broker, on one core:
//! `cargo run --release -p cloudevents --example measure`.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use cloudevents::{Event, Filter, Index, Limits, Mode, decode_one, encode};
use serde_json::json;

const ROUNDS: u32 = 200_000;
const DATA_BYTES: usize = 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let limits = Limits::default();
    let data = Bytes::from(json!({"text": "x".repeat(DATA_BYTES - 12)}).to_string());
    let headers = [
        ("host", "broker-ingress.knative-eventing.svc.cluster.local"),
        ("content-length", "1024"),
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "c8f6c6a6-0001-4bd5-8d1d-5a1e0c9f5c6f"),
        ("ce-source", "/orders/eu-west-1"),
        ("ce-type", "com.example.orders.t42"),
        ("ce-time", "2026-01-11T14:56:07.123456Z"),
        ("ce-subject", "4711"),
    ];
    let binary = || decode_one(&headers[..], data.clone(), &limits);
    let mut event = binary()?;
    let structured = encode(&event, Mode::Structured);
    event.set("knativearrivaltime", "2026-01-11T14:56:07.2Z")?;
    let record = Bytes::from(event.to_record());
    let mut index = Index::default();
    for subscriber in 0..1_000u32 {
        let kind = format!("com.example.orders.t{}", subscriber % 100);
        let filter =
            json!({"filter": {"attributes": {"type": kind, "source": "/orders/eu-west-1"}}});
        index.add(subscriber, Filter::of_trigger(&filter)?);
    }
    assert_eq!(index.matching(&event).len(), 10);
    let cesql = [json!({"cesql": "type LIKE '%.t42' AND subject IN ('1', '4711')"})];
    let cesql = Filter::compile(&cesql)?;

    println!(
        "one event with {} bytes of data, {} in the log",
        data.len(),
        record.len()
    );
    measure("decode, binary", || binary().is_ok());
    measure("decode, structured", || {
        decode_one(&structured.headers, structured.body.clone(), &limits).is_ok()
    });
    measure("to the log", || !event.to_record().is_empty());
    measure("from the log", || Event::from_record(&record).is_ok());
    measure("1,000 filters, 10 match", || {
        index.matching(&event).len() == 10
    });
    measure("one CESQL filter", || cesql.matches(&event));
    measure("encode, binary", || {
        !encode(&event, Mode::Binary).headers.is_empty()
    });
    measure("encode, structured", || {
        !encode(&event, Mode::Structured).body.is_empty()
    });
    measure("in, to the log, back, filtered, out", || {
        let Ok(event) = binary() else { return false };
        let record = Bytes::from(event.to_record());
        let event = Event::from_record(&record);
        event.is_ok_and(|event| {
            cesql.matches(&event) && !encode(&event, Mode::Binary).headers.is_empty()
        })
    });
    Ok(())
}

fn measure(what: &str, mut once: impl FnMut() -> bool) {
    let started = Instant::now();
    for _ in 0..ROUNDS {
        assert!(black_box(once()), "{what}");
    }
    let each = started.elapsed() / ROUNDS;
    let rate = 1.0 / each.as_secs_f64();
    println!("{what:40} {each:>10.2?}  {rate:>12.0}/s");
}
