//! What was refused in 2018, in the words of the time.

use serde_json::{Value, json};

use crate::admission::{Operation, Review, review};
use crate::config::Configs;

fn object(kind: &str, spec: &Value) -> Value {
    let group = match kind {
        "Flow" => "flows",
        "Feed" | "EventType" | "EventSource" => "feeds",
        _ => "channels",
    };
    json!({
        "apiVersion": format!("{group}.knative.dev/v1alpha1"),
        "kind": kind,
        "metadata": {"name": "a", "namespace": "ns"},
        "spec": spec,
    })
}

fn answer(kind: &str, old: Option<&Value>, new: &Value) -> String {
    let old = old.map(|old| object(kind, old));
    let request = Review {
        operation: if old.is_some() {
            Operation::Update
        } else {
            Operation::Create
        },
        object: &object(kind, new),
        old: old.as_ref(),
        user: "someone",
    };
    match review(&request, &Configs::default()) {
        Ok(admitted) => {
            assert_eq!(&admitted.object["spec"], new, "nothing is filled in");
            "admitted".to_owned()
        }
        Err(denied) => denied.mistakes,
    }
}

#[track_caller]
fn check(kind: &str, spec: Value, expected: &str) {
    assert_eq!(answer(kind, None, &spec), expected);
}

#[test]
fn channels_are_on_one_bus() {
    check("Channel", json!({"bus": "stub"}), "admitted");
    check(
        "Channel",
        json!({"clusterBus": "stub", "arguments": []}),
        "admitted",
    );
    check(
        "Channel",
        json!({}),
        "expected exactly one, got neither: spec.bus, spec.clusterBus",
    );
    check(
        "Channel",
        json!({"bus": "a", "clusterBus": "b"}),
        "expected exactly one, got both: spec.bus, spec.clusterBus",
    );
    let old = json!({"bus": "a"});
    let same = json!({"bus": "a", "arguments": [{"name": "x", "value": "y"}]});
    assert_eq!(answer("Channel", Some(&old), &same), "admitted");
    let moved = answer("Channel", Some(&old), &json!({"bus": "b"}));
    assert!(
        moved.starts_with("Immutable fields changed (-old +new): spec\n"),
        "{moved}"
    );
}

#[test]
fn subscriptions_name_a_channel() {
    check(
        "Subscription",
        json!({"channel": "c", "subscriber": "s"}),
        "admitted",
    );
    check(
        "Subscription",
        json!({"subscriber": "s"}),
        "missing field(s): spec.channel\nthe Subscription must reference a Channel",
    );
    let old = json!({"channel": "c", "subscriber": "s"});
    let new = json!({"channel": "c", "subscriber": "t"});
    assert_eq!(answer("Subscription", Some(&old), &new), "admitted");
    let moved = answer(
        "Subscription",
        Some(&old),
        &json!({"channel": "d", "subscriber": "s"}),
    );
    assert!(moved.starts_with("Immutable fields changed"), "{moved}");
}

#[test]
fn buses_have_parameters_with_names() {
    let spec =
        json!({"parameters": {"channel": [{"name": "Size of it"}]}, "dispatcher": {"image": "i"}});
    let found = answer("Bus", None, &spec);
    let expected = "invalid key name \"Size of it\": spec.parameters.channel[0].name\n";
    assert!(found.starts_with(expected), "{found}");
    check(
        "ClusterBus",
        json!({"dispatcher": {"name": "d", "image": "i"}, "volumes": []}),
        "admitted",
    );
}

#[test]
fn feeds_and_event_types() {
    let action = json!({"dnsName": "echo.default.svc.cluster.local"});
    check(
        "Feed",
        json!({"trigger": {"eventType": "pullrequest"}, "action": action}),
        "admitted",
    );
    check(
        "Feed",
        json!({"trigger": {}, "action": {"dnsName": "Echo_"}}),
        "expected exactly one, got neither: spec.trigger.clusterEventType, spec.trigger.eventType\n\
         invalid value: Echo_: spec.action.dnsName\n\
         a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
         '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex \
         used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    );
    check("EventType", json!({}), "missing field(s): spec.eventSource");
    let old = json!({"eventSource": "github"});
    let new = json!({"eventSource": "gitlab"});
    assert_eq!(
        answer("EventType", Some(&old), &new),
        "Immutable fields changed: spec.eventSource"
    );
    check(
        "EventSource",
        json!({"type": "github", "source": "github.com"}),
        "admitted",
    );
}

#[test]
fn flows_have_a_trigger_and_an_action() {
    let trigger = json!({"eventType": "dev.knative.k8s.event", "resource": "k8sevents/events"});
    let target =
        json!({"kind": "Route", "apiVersion": "serving.knative.dev/v1alpha1", "name": "r"});
    check(
        "Flow",
        json!({"trigger": trigger, "action": {"target": target}}),
        "admitted",
    );
    check(
        "Flow",
        json!({}),
        "missing field(s): spec.action, spec.trigger",
    );
    check(
        "Flow",
        json!({"trigger": trigger, "action": {"target": target, "targetURI": "http://x"}}),
        "expected exactly one, got both: spec.action.target, spec.action.targetURI",
    );
    check(
        "Flow",
        json!({"trigger": {"eventType": "x"}, "action": {"targetURI": "x"}}),
        "invalid value: x: spec.action.targetURI\nmissing field(s): spec.trigger.resource",
    );
}
