//! EventTransform on the real binary: as a Trigger's subscriber, before a sink, and with an
//! expression that is none.

use system::Instance;

use crate::event_support::{
    BROKER, SOON, consumer, load_consumer, post, ready, rolled_out, seen, trigger,
};

/// `$` made the subject of an event of another type.
const EXPRESSION: &str = r#"{
        "specversion": "1.0",
        "id": id,
        "type": "user.greeted",
        "source": source,
        "subject": "Hello " & id,
        "data": {"before": $}
      }"#;

fn transform(name: &str, spec: &str) -> String {
    format!(
        "
---
apiVersion: eventing.knative.dev/v1alpha1
kind: EventTransform
metadata: {{name: {name}}}
spec:
{spec}
"
    )
}

fn jsonata(expression: &str) -> String {
    format!("  jsonata:\n    expression: |\n      {expression}\n")
}

const TO_SINK: &str = "  sink: {ref: {apiVersion: v1, kind: Service, name: greeted}}\n";

#[test]
fn events_are_transformed_between_triggers_and_on_their_way_to_a_sink() {
    let instance = Instance::start();
    load_consumer(&instance);
    let to_transform =
        "{ref: {apiVersion: eventing.knative.dev/v1alpha1, kind: EventTransform, name: greet}}";
    let to_greeted = "{ref: {apiVersion: v1, kind: Service, name: greeted}}";
    let structured = "{format: json}";
    let before_sink = [
        jsonata(EXPRESSION),
        TO_SINK.to_owned(),
        "  reply: {discard: true}".to_owned(),
    ];
    let manifest = [
        BROKER.to_owned(),
        consumer("greeted", ""),
        transform("greet", &jsonata(EXPRESSION)),
        transform("forward", &before_sink.concat()),
        trigger("users", "type: user.registered", to_transform, "{}"),
        trigger("users-too", "type: user.too", to_transform, structured),
        trigger("greeted", "type: user.greeted", to_greeted, "{}"),
    ];
    instance.apply(&manifest.concat()).expect();
    rolled_out(&instance, &["greeted"]);
    ready(
        &instance,
        "broker/default eventtransform/greet eventtransform/forward \
         trigger/users trigger/users-too trigger/greeted",
    );
    // In binary mode, and in structured mode by the Trigger's format.
    assert_eq!(
        post(&instance, "broker default", "1", "user.registered"),
        "202"
    );
    assert_eq!(post(&instance, "broker default", "2", "user.too"), "202");
    let has = |words: &[&str]| {
        let seen = seen(&instance, "greeted");
        words.iter().all(|word| seen.contains(word))
    };
    // What comes back from a transformation is structured, and stays so.
    instance.eventually(SOON, || {
        has(&["\"Hello 1\"", "\"Hello 2\"", "\"user.registered\""])
    });
    assert!(!has(&["\"Hello 3\""]));
    let status = post(&instance, "eventtransform forward", "3", "any");
    assert_eq!(status, "200");
    instance.eventually(SOON, || {
        has(&["\"Hello 3\"", "content-type: application/cloudevents+json"])
    });
}

#[test]
fn an_expression_that_is_none_shows_in_the_status() {
    let instance = Instance::start();
    instance
        .apply(&transform("bad", &jsonata("{\"open\": ")))
        .expect();
    let message =
        "get eventtransform bad -o jsonpath={.status.conditions[?(@.type=='Ready')].message}";
    instance.eventually(SOON, || {
        let said = instance.kubectl(message).stdout;
        said.starts_with("jsonata.expression is not valid JSONata: ")
    });
    instance
        .apply(&transform("bad", &jsonata(EXPRESSION)))
        .expect();
    ready(&instance, "eventtransform/bad");
}
