//! EventTransforms: what comes back, what goes on, what is refused.

use serde_json::{Value, json};

use crate::support::{Answer, Consumer, Fixture};

const HOST: &str = "transform.ns.svc.cluster.local";
const EXPRESSION: &str = "{'specversion': '1.0', 'id': id, 'type': type & '.done', \
    'source': source, 'data': {'sum': $sum(data.n)}}";

/// Posts an event whose data are `{"n": [1, 2]}`, as binary or structured.
async fn post(fixture: &Fixture, structured: bool) -> Answer {
    let data = json!({"n": [1, 2]});
    if structured {
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "/test", "type": "t"});
        event["data"] = data;
        let headers = [
            ("host", HOST),
            ("content-type", "application/cloudevents+json"),
        ];
        return fixture.post("/", &headers, &event.to_string()).await;
    }
    let headers = crate::support::event("1", "t");
    let mut headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    headers.push(("host", HOST));
    fixture.post("/", &headers, &data.to_string()).await
}

fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.text).expect("JSON")
}

#[tokio::test]
async fn without_a_sink_the_result_goes_back() {
    let fixture = Fixture::start();
    fixture.set_transform(json!({"jsonata": {"expression": EXPRESSION}}), None);
    for structured in [false, true] {
        let answer = post(&fixture, structured).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(
            answer.headers["content-type"],
            "application/cloudevents+json"
        );
        let event = body(&answer);
        assert_eq!(
            (&event["type"], &event["data"]["sum"]),
            (&json!("t.done"), &json!(3))
        );
    }
    // What is no event is transformed as it is.
    fixture.set_transform(json!({"jsonata": {"expression": "{'twice': a * 2}"}}), None);
    let answer = fixture.post("/", &[("host", HOST)], "{\"a\": 2}").await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(body(&answer), json!({"twice": 4}));
}

#[tokio::test]
async fn an_expression_that_gives_nothing_is_an_error_with_a_reason() {
    let fixture = Fixture::start();
    for expression in ["missing", "$error('no good')", "{", "'text'"] {
        fixture.set_transform(json!({"jsonata": {"expression": expression}}), None);
        let answer = post(&fixture, false).await;
        assert_eq!(answer.status, 500, "{expression}");
        assert!(answer.headers.contains_key("reason"), "{expression}");
    }
    let headers = [
        ("host", HOST),
        ("content-type", "application/cloudevents-batch+json"),
    ];
    assert_eq!(fixture.post("/", &headers, "[]").await.status, 400);
}

#[tokio::test]
async fn a_sink_gets_the_result_and_its_answer_comes_back() {
    let fixture = Fixture::start();
    let mut sink = Consumer::answering(|_, _| {
        let answer = crate::support::event("a", "answer");
        (202, answer, "{\"n\": 5}")
    })
    .await;
    let spec =
        |reply: Value| json!({"jsonata": {"expression": EXPRESSION}, "sink": {}, "reply": reply});
    fixture.set_transform(spec(json!({})), Some(&sink.url));
    let answer = post(&fixture, false).await;
    let got = sink.next().await;
    assert_eq!(got.header("content-type"), "application/cloudevents+json");
    assert_eq!(got.json()["data"], json!({"sum": 3}));
    assert_eq!((answer.status, answer.text.as_str()), (202, "{\"n\": 5}"));
    assert_eq!(answer.headers["ce-type"], "answer");

    fixture.set_transform(spec(json!({"discard": true})), Some(&sink.url));
    let answer = post(&fixture, false).await;
    assert_eq!((answer.status, answer.text.as_str()), (202, ""));

    let reply =
        json!({"jsonata": {"expression": "$merge([$, {'type': 'turned', 'data': data.n}])"}});
    fixture.set_transform(spec(reply), Some(&sink.url));
    let answer = post(&fixture, true).await;
    assert_eq!(answer.status, 202);
    assert_eq!(
        answer.headers["content-type"],
        "application/cloudevents+json"
    );
    let event = body(&answer);
    assert_eq!(
        (&event["type"], &event["data"]),
        (&json!("turned"), &json!(5))
    );

    fixture.set_transform(spec(json!({})), Some("http://127.0.0.1:9"));
    assert_eq!(post(&fixture, false).await.status, 500);
}
