//! Traces leave by OTLP: a collector gets the spans of a request whose parent is the client's.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use system::{App, Instance};

const PATIENCE: Duration = Duration::from_secs(60);

const PROBE: &str = "
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: probe}
spec: {template: {spec: {containers: [{image: example.com/probe}]}}}
";

/// Fields of a protobuf message by number; a number's value as its bytes.
type Fields = BTreeMap<u64, Vec<Vec<u8>>>;

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn fields(mut bytes: &[u8]) -> Fields {
    let mut fields = Fields::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes).expect("a tag");
        let value = match tag & 7 {
            0 => varint(&mut bytes).expect("a number").to_le_bytes().to_vec(),
            wire_type => {
                let length = match wire_type {
                    1 => 8,
                    2 => usize::try_from(varint(&mut bytes).expect("a length")).expect("small"),
                    other => panic!("wire type {other}"),
                };
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                value.to_vec()
            }
        };
        fields.entry(tag >> 3).or_default().push(value);
    }
    fields
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A span as the tests look at it: everything as text.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    trace_id: String,
    pub(crate) id: String,
    pub(crate) parent: String,
}

/// All spans of an ExportTraceServiceRequest.
fn spans(body: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    for of_resource in &fields(body)[&1] {
        let of_resource = fields(of_resource);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let attributes = fields(&of_resource[&1][0]);
        let service = attributes[&1].iter().map(|pair| fields(pair));
        let service = service.filter(|pair| pair[&1][0] == b"service.name");
        let service: Vec<String> = service
            .map(|pair| text(&fields(&pair[&2][0])[&1][0]))
            .collect();
        for of_scope in &of_resource[&2] {
            for span in &fields(of_scope)[&2] {
                let span = fields(span);
                let one = |number: u64| span.get(&number).map_or(&[][..], |all| &all[0]);
                found.push(Span {
                    service: service[0].clone(),
                    name: text(one(5)),
                    trace_id: hex(one(1)),
                    id: hex(one(2)),
                    parent: hex(one(4)),
                });
            }
        }
    }
    found
}

/// A number as the tests look at it: its service, its metric, and an attribute of it.
pub(crate) type Measured = (String, String, String);

/// All numbers of an ExportMetricsServiceRequest, with each attribute.
fn measured(body: &[u8]) -> Vec<Measured> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let value = |pair: &[u8]| text(&fields(&fields(pair)[&2][0])[&1][0]);
    let mut found = Vec::new();
    for of_resource in &fields(body)[&1] {
        let of_resource = fields(of_resource);
        let service = value(&fields(&of_resource[&1][0])[&1][0]);
        for of_scope in &of_resource[&2] {
            for metric in &fields(of_scope)[&2] {
                let metric = fields(metric);
                let kinds = [(5, 7), (7, 7), (9, 9)].into_iter();
                let points = kinds.flat_map(|(kind, attributes)| {
                    let data = metric.get(&kind).map(|data| fields(&data[0]));
                    let points = data
                        .and_then(|mut data| data.remove(&1))
                        .unwrap_or_default();
                    points.into_iter().map(move |point| (point, attributes))
                });
                for (point, attributes) in points {
                    for pair in fields(&point).get(&attributes).into_iter().flatten() {
                        found.push((service.clone(), text(&metric[&1][0]), value(pair)));
                    }
                }
            }
        }
    }
    found
}

/// An HTTP server that keeps the spans and the numbers it is sent.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Vec<Span>>>, Arc<Mutex<Vec<Measured>>>);

impl Collector {
    /// One that listens inside the instance's network; and where.
    pub(crate) fn start(instance: &Instance) -> (Self, SocketAddr) {
        let listener = instance.within(|| TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("listen in the instance's namespace");
        let address = listener.local_addr().expect("it is bound");
        let collector = Self::default();
        collector.serve(listener);
        (collector, address)
    }

    fn serve(&self, listener: TcpListener) {
        let collector = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                collector.take(stream).expect("a request");
            }
        });
    }

    fn take(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.parse().expect("a length");
            }
            head.push(line);
        }
        assert!(head.contains(&"content-type: application/x-protobuf".to_owned()));
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        match head[0].as_str() {
            "post /v1/traces http/1.1" => self.lock().extend(spans(&body)),
            "post /v1/metrics http/1.1" => *self.numbers() = measured(&body),
            other => panic!("{other}"),
        }
        let mut stream = stream;
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Span>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The numbers it was sent last.
    pub(crate) fn numbers(&self) -> std::sync::MutexGuard<'_, Vec<Measured>> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spans of one trace.
    pub(crate) fn of(&self, trace_id: &str) -> Vec<Span> {
        let all = self.lock();
        let of_trace = all.iter().filter(|span| span.trace_id == trace_id);
        of_trace.cloned().collect()
    }
}

/// Asks the application in the trace given; gives the `traceparent` that it got.
fn ask(instance: &Instance, traceparent: &str) -> String {
    let url = format!("http://{}/headers", instance.address("http"));
    let mut curl = instance.inside("curl");
    curl.args(["-sSf", "--max-time", "30", "-H"]);
    curl.args(["Host: probe.default.localhost", "-H"]);
    curl.args([&format!("traceparent: {traceparent}"), &url]);
    let head = system::run(&mut curl, "").expect();
    let mut got = head
        .lines()
        .filter_map(|line| line.strip_prefix("traceparent: "));
    let text = got.next().expect("the application is in a trace");
    assert_eq!(got.next(), None, "{head}");
    text.to_owned()
}

/// Sets `config-observability` of a part of Knative.
pub(crate) fn configure(instance: &Instance, namespace: &str, data: &serde_json::Value) {
    instance.configure(namespace, "config-observability", data);
}

const PARENT: &str = "00f067aa0ba902b7";

#[test]
fn a_collector_gets_the_spans_of_a_clients_trace() {
    let instance = Instance::start();
    let (collector, address) = Collector::start(&instance);
    instance.load(App::Probe, "example.com/probe");
    instance.apply(PROBE).expect();
    instance
        .kubectl("wait ksvc/probe --for=condition=Ready --timeout=60s")
        .expect();
    let untraced = format!("00-{:032x}-{PARENT}-01", 0xabc);
    assert_eq!(ask(&instance, &untraced), untraced, "passed on as it came");

    configure(
        &instance,
        "knative-serving",
        &serde_json::json!({
            "tracing-protocol": "http/protobuf",
            "tracing-endpoint": format!("http://{address}/v1/traces"),
            "tracing-sampling-rate": "1",
        }),
    );
    // Each request in a trace of its own: the configuration holds from one of them on.
    let mut last = 0x1000;
    let mut got = String::new();
    instance.eventually(PATIENCE, || {
        last += 1;
        let came_with = format!("00-{last:032x}-{PARENT}-01");
        got = ask(&instance, &came_with);
        got != came_with
    });
    let trace_id = format!("{last:032x}");
    instance.eventually(PATIENCE, || {
        let all = collector.of(&trace_id);
        let has = |service: &str| all.iter().any(|span| span.service == service);
        ["gateway", "activator", "probe"].into_iter().all(has)
    });
    // From the client's span down to the one the application was told of.
    let all = collector.of(&trace_id);
    let (mut parent, mut way) = (PARENT.to_owned(), Vec::new());
    while got != format!("00-{trace_id}-{parent}-01") {
        let next = all
            .iter()
            .find(|span| span.parent == parent && span.name != "throttler_try");
        let next = next.unwrap_or_else(|| panic!("no child of {parent}, way to {got}: {all:#?}"));
        way.push(next.service.as_str());
        parent.clone_from(&next.id);
    }
    assert_eq!(way, ["gateway", "activator", "probe"], "{all:#?}");

    configure(
        &instance,
        "knative-serving",
        &serde_json::json!({"tracing-protocol": "none", "tracing-endpoint": ""}),
    );
    instance.eventually(PATIENCE, || ask(&instance, &untraced) == untraced);
}
