//! What ingress answers, and why.

use http::{Method, Request};

use crate::support::{Consumer, Fixture, event, trigger};

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");
const BATCH: (&str, &str) = ("content-type", "application/cloudevents-batch+json");

/// Checks the status of a POST and that its body says `hint`.
#[track_caller]
fn check(answer: &crate::support::Answer, status: u16, hint: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert!(
        answer.text.contains(hint),
        "{:?} says {hint:?}",
        answer.text
    );
}

#[tokio::test]
async fn every_mistake_has_its_status_and_a_hint() {
    let fixture = Fixture::start();
    fixture.set_broker(Vec::new());
    let binary = event("1", "t");
    let binary: Vec<_> = binary.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let whole = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
    for (path, headers, body, status, hint) in [
        ("/ns/default", &binary[..], "{}", 202, ""),
        ("/ns/default/", &binary, "{}", 202, ""),
        ("/ns/default", &[STRUCTURED], whole, 202, ""),
        ("/ns/default", &[BATCH], "[]", 202, ""),
        ("/", &binary, "{}", 404, "/NAMESPACE/BROKER"),
        ("/ns", &binary, "{}", 400, "/NAMESPACE/BROKER"),
        ("/ns/other", &binary, "{}", 404, "no Broker"),
        ("/ns/default", &binary[1..], "{}", 400, "specversion"),
        ("/ns/default", &[], "{}", 400, "not a CloudEvent"),
        ("/ns/default", &[STRUCTURED], "{", 400, "not valid JSON"),
        ("/ns/default", &[BATCH], "{}", 400, ""),
        (
            "/ns/default",
            &[("content-type", "application/cloudevents+xml")],
            "<a/>",
            415,
            "json",
        ),
        (
            "/ns/default",
            &[
                ("ce-specversion", "19.0"),
                ("ce-id", "1"),
                ("ce-source", "/s"),
                ("ce-type", "t"),
            ],
            "",
            400,
            "19.0",
        ),
        (
            "/ns/default",
            &[
                binary[0],
                binary[1],
                binary[2],
                binary[3],
                ("ce-knativebrokerttl", "1"),
            ],
            "",
            400,
            "knativebrokerttl",
        ),
    ] {
        let answer = fixture.post(path, headers, body).await;
        check(&answer, status, hint);
    }
}

#[tokio::test]
async fn other_methods_are_told_which() {
    let fixture = Fixture::start();
    fixture.set_broker(Vec::new());
    let uri = format!("http://{}/ns/default", fixture.address);
    let request = |method| Request::builder().method(method).uri(&uri);
    let options = fixture.request(request(Method::OPTIONS), "").await;
    assert_eq!(options.status, 200);
    assert_eq!(options.headers["webhook-allowed-origin"], "*");
    assert_eq!(options.headers["webhook-allowed-rate"], "*");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = fixture.request(request(method), "").await;
        check(&answer, 405, "POST");
        assert_eq!(answer.headers["allow"], "POST, OPTIONS");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_the_limit() {
    let fixture = Fixture::start();
    fixture.set_broker(Vec::new());
    let headers = event("1", "t");
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let body = "x".repeat(broker::EVENT_BYTES_MAX + 1);
    let answer = fixture.post("/ns/default", &headers, &body).await;
    check(&answer, 413, &broker::EVENT_BYTES_MAX.to_string());
}

#[tokio::test]
async fn a_batch_is_as_many_events() {
    let fixture = Fixture::start();
    let mut consumer = Consumer::start().await;
    fixture.set_broker(vec![trigger("t", &consumer.url)]);
    let one = |id| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"}}"#);
    let body = format!("[{},{}]", one(1), one(2));
    let answer = fixture.post("/ns/default", &[BATCH], &body).await;
    check(&answer, 202, "");
    for id in [1, 2] {
        let got = consumer.next().await;
        let content_type = got.header("content-type");
        assert!(
            content_type.starts_with("application/cloudevents+json"),
            "{content_type}"
        );
        assert!(got.json()["id"].as_str().is_some(), "{id}");
    }
}

#[tokio::test]
async fn a_full_log_says_who_holds_it_up() {
    let fixture = Fixture::start();
    let mut slow = trigger("slow", "http://127.0.0.1:1/");
    slow.policy.retry = 1000;
    slow.policy.backoff = Some((
        api::delivery::Growth::Linear,
        std::time::Duration::from_secs(60),
    ));
    fixture.set_broker_with_limit(vec![slow], 10_000);
    let headers = event("1", "t");
    let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let body = "x".repeat(1000);
    let mut accepted = 0;
    let answer = loop {
        let answer = fixture.post("/ns/default", &headers, &body).await;
        if answer.status != 202 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 100_000, "the limit is never reached");
    };
    check(&answer, 429, "Trigger ns/slow");
    assert!(answer.headers.contains_key("retry-after"));
}
