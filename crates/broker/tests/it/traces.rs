//! Traces from the producer to the consumer: each span is part of the one before.

use trace::{Parent, Span, SpanKind, Value};

use crate::support::{Consumer, Fixture, event, trigger};

const PRODUCER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNRECORDED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn attribute<'a>(span: &'a Span, name: &str) -> Option<&'a Value> {
    let mut attributes = span.attributes.iter();
    Some(&attributes.find(|(known, _)| *known == name)?.1)
}

/// A broker with Trigger `t` and what it traces.
struct Traced {
    fixture: Fixture,
    consumer: Consumer,
    spans: tokio::sync::mpsc::UnboundedReceiver<Span>,
}

async fn traced(rate: f64) -> Traced {
    let fixture = Fixture::start();
    // Refused once: each attempt is a span.
    let consumer =
        Consumer::answering(|n, _| (if n == 0 { 503 } else { 200 }, Vec::new(), "")).await;
    let mut trigger = trigger("t", &consumer.url);
    trigger.policy.retry = 1;
    fixture.set_broker(vec![trigger]);
    let (sink, spans) = tokio::sync::mpsc::unbounded_channel();
    let sink = Box::new(move |span| drop(sink.send(span)));
    fixture.tracer.start(rate, sink);
    Traced {
        fixture,
        consumer,
        spans,
    }
}

impl Traced {
    /// Sends an event with one header more; gives the `traceparent` of each of its attempts.
    async fn send(&mut self, own: (&'static str, &str), attempts: usize) -> Vec<String> {
        let mut headers = event("1", "kind");
        headers.push((own.0, own.1.to_owned()));
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let answer = self.fixture.post("/ns/default", &headers, "{}").await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        let mut got = Vec::new();
        for _ in 0..attempts {
            got.push(self.consumer.next().await.header("traceparent").to_owned());
        }
        got
    }

    async fn span(&mut self) -> Span {
        let next = tokio::time::timeout(crate::support::PATIENCE, self.spans.recv()).await;
        next.expect("a span in time").expect("it is traced")
    }
}

#[tokio::test]
async fn the_consumer_goes_on_with_the_producers_trace() {
    // The header, or the extension of the event where there is none.
    for name in ["traceparent", "ce-traceparent"] {
        let mut traced = traced(1.0).await;
        let got = traced.send((name, PRODUCER), 2).await;
        let producer = Parent::parse(PRODUCER).expect("good");
        let ingress = traced.span().await;
        assert_eq!(
            (&*ingress.service, &*ingress.name),
            ("mt-broker-ingress", "broker:default.ns")
        );
        assert_eq!(
            (ingress.kind, ingress.parent),
            (SpanKind::Server, Some(producer.id))
        );
        assert_eq!(
            attribute(&ingress, "http.response.status_code"),
            Some(&Value::Number(202))
        );
        assert_eq!(
            attribute(&ingress, "cloudevents.event_type"),
            Some(&Value::Text("kind".into()))
        );
        for (attempt, (got, status)) in got.iter().zip([503, 200]).enumerate() {
            let sent = traced.span().await;
            assert_eq!(
                (&*sent.service, &*sent.name),
                ("mt-broker-filter", "trigger:t.ns")
            );
            assert_eq!(
                (sent.kind, sent.parent),
                (SpanKind::Client, Some(ingress.id))
            );
            assert_eq!(
                attribute(&sent, "http.response.status_code"),
                Some(&Value::Number(status))
            );
            assert_eq!(sent.failed, attempt == 0);
            let consumer = Parent::parse(got).expect("good");
            assert_eq!(
                (consumer.trace_id, consumer.id),
                (producer.trace_id, sent.id)
            );
            assert!(consumer.is_sampled && sent.trace_id == producer.trace_id);
            assert!(ingress.start_ns <= sent.start_ns && sent.start_ns <= sent.end_ns);
        }
    }
}

#[tokio::test]
async fn a_trace_that_is_not_recorded_is_passed_on() {
    let mut traced = traced(1e-12).await;
    let got = traced.send(("traceparent", UNRECORDED), 2).await;
    assert_eq!(got, [UNRECORDED, UNRECORDED]);
    let got = traced.send(("accept", "nothing"), 1).await;
    assert!(got.iter().all(|got| got.ends_with("-00")), "{got:?}");
    assert!(traced.spans.try_recv().is_err());
}

#[tokio::test]
async fn an_answer_is_traced_behind_the_delivery_it_answers() {
    let fixture = Fixture::start();
    let answering = Consumer::answering(|n, _| {
        let answer = event("answer", "answer");
        (200, if n == 0 { answer } else { Vec::new() }, "")
    });
    let consumer = answering.await;
    fixture.set_broker(vec![trigger("t", &consumer.url)]);
    let (sink, mut spans) = tokio::sync::mpsc::unbounded_channel();
    let sink = Box::new(move |span| drop(sink.send(span)));
    fixture.tracer.start(1.0, sink);
    fixture.send("1", "kind").await;
    let mut all: Vec<Span> = Vec::new();
    while all.len() < 4 {
        let next = tokio::time::timeout(crate::support::PATIENCE, spans.recv()).await;
        all.push(next.expect("a span in time").expect("it is traced"));
    }
    // In, to the subscriber, its answer in, to the subscriber.
    all.sort_by_key(|span| span.start_ns);
    for pair in all.windows(2) {
        assert_eq!(pair[1].parent, Some(pair[0].id), "{all:?}");
    }
    let kinds = [
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Server,
        SpanKind::Client,
    ];
    assert_eq!([0, 1, 2, 3].map(|at| all[at].kind), kinds);
}

#[tokio::test]
async fn a_transform_has_a_span_and_its_sink_is_behind_it() {
    let fixture = Fixture::start();
    let mut sink = Consumer::start().await;
    let spec = serde_json::json!({"jsonata": {"expression": "$"}, "sink": {"uri": sink.url}});
    fixture.set_transform(spec, Some(&sink.url));
    let (tell, mut spans) = tokio::sync::mpsc::unbounded_channel();
    let tell = Box::new(move |span| drop(tell.send(span)));
    fixture.tracer.start(1.0, tell);
    let mut headers = event("1", "kind");
    headers.push(("traceparent", PRODUCER.to_owned()));
    headers.push(("host", "transform.ns.svc.cluster.local".to_owned()));
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let answer = fixture.post("/", &headers, "{}").await;
    assert!(answer.status < 300, "{answer:?}");
    let next = tokio::time::timeout(crate::support::PATIENCE, spans.recv()).await;
    let span = next.expect("a span in time").expect("it is traced");
    assert_eq!(&*span.name, "eventtransform:transform.ns");
    let producer = Parent::parse(PRODUCER).expect("good");
    assert_eq!(span.parent, Some(producer.id));
    let got = sink.next().await;
    let behind = Parent::parse(got.header("traceparent")).expect("good");
    assert_eq!((behind.trace_id, behind.id), (producer.trace_id, span.id));
}
