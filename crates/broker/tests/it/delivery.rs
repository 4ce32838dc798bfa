//! From a POST to the subscribers: what goes to whom, how often, with what on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Consumer, Fixture, endpoint, trigger, with_type};
use api::delivery::{Format, Growth, Policy};

#[tokio::test]
async fn an_event_reaches_whoever_wants_it() {
    let fixture = Fixture::start();
    let (mut all, mut some) = (Consumer::start().await, Consumer::start().await);
    fixture.set_broker(vec![
        trigger("all", &all.url),
        with_type(trigger("some", &some.url), "wanted"),
    ]);
    fixture.send("1", "other").await;
    fixture.send("2", "wanted").await;
    assert_eq!(some.ids(1).await, ["2"]);
    let mut ids = all.ids(2).await;
    ids.sort();
    assert_eq!(ids, ["1", "2"]);
    assert!(some.is_quiet());
}

#[tokio::test]
async fn a_request_has_what_knative_puts_on_it() {
    let fixture = Fixture::start();
    let mut consumer = Consumer::start().await;
    fixture.set_broker(vec![trigger("t", &consumer.url)]);
    let headers = [
        ("ce-specversion", "0.3"),
        ("ce-id", "1"),
        ("ce-source", "/test"),
        ("ce-type", "t"),
        ("ce-knativebrokerttl", "7"),
        ("content-type", "text/plain"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("knative-x", "y"),
        ("accept-language", "de"),
    ];
    let answer = fixture.post("/ns/default", &headers, "hello").await;
    assert_eq!((answer.status, answer.text.as_str()), (202, ""));
    let got = consumer.next().await;
    for (name, value) in [
        ("ce-specversion", "0.3"),
        ("ce-id", "1"),
        ("content-type", "text/plain"),
        ("prefer", "reply"),
        ("kn-namespace", "ns"),
        ("knative-x", "y"),
        ("traceparent", headers[6].1),
        ("ce-knativebrokerttl", ""),
        ("accept-language", ""),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    assert!(got.header("ce-knativearrivaltime").ends_with('Z'));
    assert_eq!(got.body, "hello");
}

#[tokio::test]
async fn a_reply_enters_the_broker_again() {
    let fixture = Fixture::start();
    let mut first = Consumer::answering(|_, _| {
        let reply = crate::support::event("reply", "answer");
        (200, reply, "\"again\"")
    })
    .await;
    let mut second = Consumer::start().await;
    fixture.set_broker(vec![
        with_type(trigger("first", &first.url), "question"),
        with_type(trigger("second", &second.url), "answer"),
    ]);
    fixture.send("1", "question").await;
    assert_eq!(first.ids(1).await, ["1"]);
    let reply = second.next().await;
    assert_eq!(
        (reply.header("ce-id"), reply.body.as_str()),
        ("reply", "\"again\"")
    );
    assert!(first.is_quiet());
}

#[tokio::test]
async fn two_that_answer_each_other_come_to_an_end() {
    let fixture = Fixture::start();
    let mut echo = Consumer::answering(|_, _| (200, crate::support::event("e", "t"), "1")).await;
    let mut dead = Consumer::start().await;
    let mut subscriber = trigger("echo", &echo.url);
    subscriber.policy.dead_letter = Some(endpoint(&dead.url));
    fixture.set_broker(vec![subscriber]);
    fixture.send("1", "t").await;
    echo.ids(255).await;
    // The last reply is not taken, and what it answered is a dead letter.
    assert_eq!(dead.next().await.header("ce-knativeerrorcode"), "400");
    assert!(echo.is_quiet());
}

#[tokio::test]
async fn failures_are_retried_and_buried() {
    let fixture = Fixture::start();
    let mut consumer = Consumer::answering(|_, headers| {
        let fails = headers["ce-type"] == "bad";
        if fails {
            (500, Vec::new(), "no")
        } else {
            (200, Vec::new(), "")
        }
    })
    .await;
    let mut dead = Consumer::start().await;
    let mut subscriber = trigger("t", &consumer.url);
    subscriber.policy = Policy {
        retry: 2,
        backoff: Some((Growth::Exponential, Duration::from_millis(5))),
        dead_letter: Some(endpoint(&dead.url)),
        ..Policy::default()
    };
    fixture.set_broker(vec![subscriber]);
    fixture.send("1", "bad").await;
    assert_eq!(consumer.ids(3).await, ["1", "1", "1"]);
    let letter = dead.next().await;
    for (name, value) in [
        ("ce-id", "1"),
        ("ce-knativeerrorcode", "500"),
        ("ce-knativeerrordest", consumer.url.as_str()),
        ("ce-knativeerrordata", "bm8="),
    ] {
        assert_eq!(letter.header(name), value, "{name}");
    }
    fixture.send("2", "good").await;
    assert_eq!(consumer.ids(1).await, ["2"]);
}

#[tokio::test]
async fn the_format_is_the_one_asked_for() {
    let fixture = Fixture::start();
    let (mut json, mut same) = (Consumer::start().await, Consumer::start().await);
    let mut structured = trigger("json", &json.url);
    structured.policy.format = Some(Format::Json);
    fixture.set_broker(vec![structured, trigger("same", &same.url)]);
    fixture.send("1", "t").await;
    let got = json.next().await;
    assert!(
        got.header("content-type")
            .starts_with("application/cloudevents+json")
    );
    assert_eq!(
        (&got.json()["id"], &got.json()["data"]),
        (&"1".into(), &serde_json::json!({}))
    );
    assert_eq!(same.next().await.header("ce-id"), "1");
}

#[tokio::test]
async fn what_was_accepted_outlives_a_restart() {
    let mut fixture = Fixture::start();
    let nobody = trigger("t", "http://127.0.0.1:1/");
    let mut patient = nobody.clone();
    patient.policy.retry = 1000;
    patient.policy.backoff = Some((Growth::Linear, Duration::from_secs(3600)));
    fixture.set_broker(vec![patient.clone()]);
    for id in ["1", "2", "3"] {
        fixture.send(id, "t").await;
    }
    fixture.stop();
    fixture.go();
    let mut consumer = Consumer::start().await;
    patient.target = Some(endpoint(&consumer.url));
    fixture.set_broker(vec![patient.clone()]);
    let mut ids = consumer.ids(3).await;
    ids.sort();
    assert_eq!(ids, ["1", "2", "3"]);
    fixture.send("4", "t").await;
    assert_eq!(
        consumer.ids(1).await,
        ["4"],
        "what was delivered is not delivered again"
    );
}

#[tokio::test]
async fn a_channel_relays_answers() {
    let fixture = Fixture::start();
    let mut worker =
        Consumer::answering(|_, _| (200, crate::support::event("r", "answer"), "1")).await;
    let mut next = Consumer::start().await;
    let mut subscription = trigger("s", &worker.url);
    subscription.replies_to_ingress = false;
    subscription.reply = Some(endpoint(&next.url));
    fixture.set_channel(vec![subscription]);
    let headers = crate::support::event("1", "question");
    let mut headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    headers.push(("host", "c-kn-channel.ns.svc.cluster.local"));
    assert_eq!(fixture.post("/", &headers, "{}").await.status, 202);
    let got = worker.next().await;
    assert_eq!(
        (got.header("ce-id"), got.header("ce-knativearrivaltime")),
        ("1", "")
    );
    assert_eq!(next.ids(1).await, ["r"]);
}

#[tokio::test]
async fn what_nobody_took_can_be_sent_again() {
    let mut fixture = Fixture::start();
    let mut consumer = Consumer::answering(|number, _| {
        if number == 0 {
            (400, Vec::new(), "broken")
        } else {
            (200, Vec::new(), "")
        }
    })
    .await;
    let subscriber = trigger("t", &consumer.url);
    fixture.set_broker(vec![subscriber.clone()]);
    fixture.send("1", "t").await;
    fixture.send("2", "t").await;
    consumer.ids(2).await;
    let letters = fixture.dead_letters(1).await;
    assert_eq!(letters[0].event.id(), "1");
    let code = letters[0].event.get("knativeerrorcode");
    assert_eq!(
        code.map(|code| code.as_text().into_owned()).as_deref(),
        Some("400")
    );
    fixture.stop();
    fixture.go();
    fixture.set_broker(vec![subscriber]);
    let letters = fixture.dead_letters(1).await;
    let sent = fixture
        .broker()
        .resend(&Fixture::key(), letters[0].id, false)
        .await;
    sent.expect("it is taken now");
    // The other one may come once more: the end may have come before its position was kept.
    let again = loop {
        let got = consumer.next().await;
        if got.header("ce-id") == "1" {
            break got;
        }
    };
    assert_eq!(again.header("ce-knativeerrorcode"), "");
    fixture.dead_letters(0).await;
}

#[tokio::test]
async fn a_handler_answers_at_its_address() {
    let fixture = Fixture::start();
    fixture.set_log_sink("sink.ns.svc.cluster.local");
    let headers = crate::support::event("1", "t");
    let mut headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    headers.push(("host", "sink.ns.svc.cluster.local"));
    assert_eq!(fixture.post("/", &headers, "{}").await.status, 204);
}

#[tokio::test]
async fn sources_send_to_a_broker_without_a_socket() {
    let fixture = Fixture::start();
    let mut consumer = Consumer::start().await;
    fixture.set_broker(vec![trigger("t", &consumer.url)]);
    let spec = serde_json::json!({"timer": {"period": 5, "message": "tick", "repeatCount": 2}});
    fixture.set_timer(
        spec,
        "http://broker-ingress.knative-eventing.svc.cluster.local/ns/default",
    );
    for _ in 0..2 {
        let got = consumer.next().await;
        assert_eq!(got.header("ce-type"), "dev.knative.eventing.timer");
        assert_eq!((got.header("ce-color"), got.body.as_str()), ("red", "tick"));
    }
}

#[tokio::test]
async fn a_request_waits_for_the_event_that_answers_it() {
    let fixture = Fixture::start();
    let worker = Consumer::answering(|_, headers| {
        let id = headers["ce-correlationid"]
            .to_str()
            .expect("text")
            .to_owned();
        let mut reply = crate::support::event("r", "answer");
        reply.push(("ce-replyid", id));
        (200, reply, "42")
    })
    .await;
    let back = format!(
        "http://{}/ns/rr/reply",
        "request-reply.knative-eventing.svc"
    );
    let mut answers = trigger("back", &back);
    answers.filters = vec![serde_json::json!({"attributes": {"replyid": ""}})];
    fixture.set_broker(vec![
        with_type(trigger("worker", &worker.url), "question"),
        answers,
    ]);
    fixture.set_request_reply();
    let headers = crate::support::event("1", "question");
    let mut headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    headers.push(("host", "request-reply.knative-eventing.svc.cluster.local"));
    let answer = fixture.post("/ns/rr", &headers, "{}").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "42"));
    assert_eq!(answer.headers["ce-type"], "answer");
}

#[tokio::test]
async fn github_is_believed_when_it_has_signed() {
    let fixture = Fixture::start();
    let mut consumer = Consumer::start().await;
    fixture.set_github("gh.ns.svc.cluster.local", &consumer.url);
    let signature = "sha256=adbde1ce40c89c14215687d5d762a47df6dfaefcfad61e2e86718ffc8498571b";
    let post = async |signature: &str| {
        let headers = [
            ("host", "gh.ns.svc.cluster.local"),
            ("x-github-event", "push"),
            ("x-github-delivery", "d-1"),
            ("x-hub-signature-256", signature),
            ("content-type", "application/json"),
        ];
        fixture.post("/", &headers, "{}").await.status
    };
    assert_eq!(post(signature).await, 202);
    assert_eq!(post(&signature.replace('=', "=00")).await, 401);
    let got = consumer.next().await;
    assert_eq!(got.header("ce-type"), "dev.knative.source.github.push");
    assert_eq!(got.header("ce-source"), "https://github.com/a/b");
    assert_eq!((got.header("ce-id"), got.body.as_str()), ("d-1", "{}"));
}

#[tokio::test]
async fn kinds_of_events_are_told_once() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let fixture = Fixture::telling(tell);
    let mut broker = crate::support::ingress("uid", &[], Vec::new());
    fixture.set(broker.clone());
    fixture.send("0", "silent").await;
    broker.makes_event_types = true;
    fixture.set(broker);
    for (id, kind) in [("1", "a"), ("2", "a"), ("3", "b")] {
        fixture.send(id, kind).await;
    }
    for expected in ["a", "b"] {
        let observed: broker::Observed = told.recv().await.expect("it is told");
        assert_eq!(
            (observed.r#type.as_str(), observed.source.as_str()),
            (expected, "/test")
        );
        assert_eq!(
            (&*observed.ingress.name, &*observed.uid),
            ("default", "uid")
        );
    }
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn an_event_stays_in_its_trace() {
    let fixture = Fixture::start();
    let mut consumer = Consumer::start().await;
    fixture.set_broker(vec![trigger("t", &consumer.url)]);
    let (header, extension) = (
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    );
    for (own, expected) in [
        (vec![("traceparent", header)], header),
        (vec![("ce-traceparent", extension)], extension),
        (
            vec![("traceparent", header), ("ce-traceparent", extension)],
            header,
        ),
    ] {
        let headers = crate::support::event("1", "t");
        let mut headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        headers.extend(own);
        assert_eq!(
            fixture.post("/ns/default", &headers, "{}").await.status,
            202
        );
        assert_eq!(consumer.next().await.header("traceparent"), expected);
    }
}

#[tokio::test]
async fn what_a_source_made_waits_for_its_sink_through_a_restart() {
    let mut fixture = Fixture::start();
    let mends = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&mends);
    let mut sink = Consumer::answering(move |_, _| {
        let status = if mended.load(Ordering::SeqCst) {
            202
        } else {
            503
        };
        (status, Vec::new(), "")
    })
    .await;
    let spec = serde_json::json!({"timer": {"period": 5, "message": "tick", "repeatCount": 1}});
    fixture.set_timer(spec, &sink.url);
    // It was asked, and has not taken the event.
    sink.next().await;
    fixture.stop();
    while !sink.is_quiet() {}
    mends.store(true, Ordering::SeqCst);
    fixture.go();
    let other = serde_json::json!({"timer": {"period": 5, "message": "tock", "repeatCount": 1}});
    fixture.set_timer(other, &sink.url);
    let mut missing = vec!["tick", "tock"];
    while !missing.is_empty() {
        let got = sink.next().await;
        missing.retain(|body| *body != got.body);
    }
}
