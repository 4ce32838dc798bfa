//! Trace context on the way through, and the spans of it.

use std::net::SocketAddr;

use tokio::sync::mpsc;
use trace::{Span, Tracer};

use super::support::{Fixture, application, echo, header, pod, revision};
use crate::Face;

const CLIENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A gateway that traces everything before an application at `address`.
pub(super) fn traced(address: SocketAddr) -> (Fixture, mpsc::Receiver<Span>) {
    let tracer = Tracer::default();
    let (sink, spans) = mpsc::channel(64);
    tracer.start(1.0, Box::new(move |span| drop(sink.try_send(span))));
    let fixture = Fixture::with(|config| config.tracer = tracer);
    fixture.revision(revision("hello-00001", vec![pod("p", address)]));
    fixture.route("hello.localhost", "hello-00001");
    (fixture, spans)
}

/// Waits for the spans of one request through the gateway: the gateway's, the activator's two, the
/// queue-proxy's. Looks that each is part of the one before, and gives the `traceparent` that the
/// application should have got.
pub(super) fn expected_traceparent(
    spans: &mut mpsc::Receiver<Span>,
    client: Option<&str>,
) -> String {
    let [gateway, wait, proxy, queue] = [(); 4].map(|()| spans.blocking_recv().unwrap());
    assert_eq!(
        [&gateway, &wait, &proxy, &queue].map(|span| &*span.service),
        ["gateway", "activator", "activator", "hello"]
    );
    assert_eq!(
        [wait.parent, proxy.parent, queue.parent],
        [Some(gateway.id), Some(gateway.id), Some(proxy.id)]
    );
    assert!(gateway.start_ns <= wait.start_ns && wait.end_ns == proxy.start_ns);
    assert!(proxy.start_ns <= proxy.end_ns && queue.end_ns == gateway.end_ns);
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let trace_id = hex(&gateway.trace_id);
    match client {
        Some(client) => {
            let parent = hex(&gateway.parent.unwrap());
            assert_eq!(client, format!("00-{trace_id}-{parent}-01"));
        }
        None => assert_eq!(gateway.parent, None),
    }
    format!("00-{trace_id}-{}-01", hex(&queue.id))
}

#[test]
fn the_application_goes_on_with_the_clients_trace() {
    let (fixture, mut spans) = traced(echo("hello"));
    let mut client = fixture.client(Face::External);
    for came_with in [Some(CLIENT), None] {
        let field = came_with.map_or(String::new(), |text| format!("traceparent: {text}\r\n"));
        client.send(&format!(
            "GET /x?y=1 HTTP/1.1\r\nHost: hello.localhost\r\ntracestate: a=b\r\n{field}\r\n"
        ));
        let body = client.read_message().unwrap().body;
        let expected = expected_traceparent(&mut spans, came_with);
        assert_eq!(header(&body, "traceparent"), Some(&*expected), "{body}");
        assert_eq!(body.matches("traceparent").count(), 1, "{body}");
        assert_eq!(header(&body, "tracestate"), Some("a=b"));
    }
}

#[test]
fn a_span_says_what_was_asked_and_answered() {
    let unwell = application(|mut client| {
        client.read_message();
        client.send("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n");
    });
    let (fixture, mut spans) = traced(unwell);
    fixture.get(Face::External, "hello.localhost", "/x?y=1");
    let span = spans.blocking_recv().unwrap();
    assert!(span.failed, "{span:?}");
    let mut said = String::new();
    for (name, value) in &span.attributes {
        said.push_str(&format!("{name} {value:?}\n"));
    }
    for part in [
        "k8s.namespace.name Text(\"default\")",
        "kn.revision.name Text(\"hello-00001\")",
        "http.request.method Text(\"GET\")",
        "url.path Text(\"/x\")",
        "url.query Text(\"y=1\")",
        "k8s.pod.name Text(\"p\")",
        "http.response.status_code Number(503)",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}
