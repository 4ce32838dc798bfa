//! An event's trace: from its producer through the Broker to its consumer, with its spans at a
//! collector.

use system::Instance;

use crate::event_support::{
    BROKER, SOON, consumer, load_consumer, ready, rolled_out, seen, send, trigger,
};
use crate::traces::{Collector, configure};

const PRODUCER: &str = "00f067aa0ba902b7";

/// The `traceparent` with which the consumer got this event.
fn got(instance: &Instance, id: &str) -> Option<String> {
    let seen = seen(instance, "takes");
    let of_event = seen
        .split("data: ")
        .find(|one| one.contains(&format!("ce-id: {id}\n")))?;
    let mut lines = of_event.lines();
    let line = lines.find_map(|line| line.strip_prefix("traceparent: "))?;
    Some(line.to_owned())
}

#[test]
fn a_collector_gets_the_spans_of_an_event_and_the_consumer_its_place_in_the_trace() {
    let instance = Instance::start();
    let (collector, address) = Collector::start(&instance);
    load_consumer(&instance);
    let takes = "{ref: {apiVersion: v1, kind: Service, name: takes}}";
    let manifest = [
        BROKER.to_owned(),
        consumer("takes", ""),
        trigger("all", "type: traced", takes, "{retry: 5}"),
    ];
    instance.apply(&manifest.concat()).expect();
    rolled_out(&instance, &["takes"]);
    ready(&instance, "broker/default trigger/all");
    configure(
        &instance,
        "knative-eventing",
        &serde_json::json!({
            "tracing-protocol": "http/protobuf",
            "tracing-endpoint": format!("http://{address}/v1/traces"),
            "tracing-sampling-rate": "1",
        }),
    );
    // Each event in a trace of its own: the configuration holds from one of them on.
    let mut number = 0x1000;
    let (mut trace_id, mut consumers) = (String::new(), String::new());
    instance.eventually(SOON, || {
        number += 1;
        trace_id = format!("{number:032x}");
        let came_with = format!("00-{trace_id}-{PRODUCER}-01");
        let header = format!("traceparent: {came_with}");
        let id = number.to_string();
        let (status, text) = send(
            &instance,
            "broker default",
            (&id, "traced"),
            &[&header],
            "{}",
        );
        assert_eq!(status, "202", "{text}");
        instance.eventually(SOON, || {
            consumers = got(&instance, &id).unwrap_or_default();
            !consumers.is_empty()
        });
        consumers != came_with
    });
    instance.eventually(SOON, || collector.of(&trace_id).len() >= 2);
    let all = collector.of(&trace_id);
    let (mut parent, mut way) = (PRODUCER.to_owned(), Vec::new());
    while consumers != format!("00-{trace_id}-{parent}-01") {
        let next = all.iter().find(|span| span.parent == parent);
        let next =
            next.unwrap_or_else(|| panic!("no child of {parent}, way to {consumers}: {all:#?}"));
        way.push((next.service.as_str(), next.name.as_str()));
        parent.clone_from(&next.id);
    }
    let expected = [
        ("mt-broker-ingress", "broker:default.default"),
        ("mt-broker-filter", "trigger:all.default"),
    ];
    assert_eq!(way, expected, "{all:#?}");
}
