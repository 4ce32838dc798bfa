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

const OF_2019: &str = "eventing.knative.dev/v1alpha1";

/// What becomes of the spec of a kind of 2019: as it would be stored, or what is wrong.
#[track_caller]
fn check_2019(api_version: &str, kind: &str, old: Option<Value>, new: Value, expected: &str) {
    let object = |spec: Value| {
        json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": "a", "namespace": "ns"},
            "spec": spec,
        })
    };
    let old = old.map(object);
    let request = Review {
        operation: if old.is_some() {
            Operation::Update
        } else {
            Operation::Create
        },
        object: &object(new),
        old: old.as_ref(),
        user: "someone",
    };
    let answer = match review(&request, &Configs::default()) {
        Ok(admitted) => admitted.object["spec"].to_string(),
        Err(denied) => denied.mistakes,
    };
    assert_eq!(answer, expected);
}

#[test]
fn channels_of_2019_have_a_provisioner() {
    let check = |old, new, expected: &str| check_2019(OF_2019, "Channel", old, new, expected);
    check(
        None,
        json!({}),
        "{\"provisioner\":{\"apiVersion\":\"eventing.knative.dev/v1alpha1\",\
         \"kind\":\"ClusterChannelProvisioner\",\"name\":\"in-memory\"}}",
    );
    let on = |name: &str| json!({"provisioner": {"name": name}});
    let fixed = "Immutable fields changed: spec.provisioner";
    check(Some(on("kafka")), on("natss"), fixed);
    check(
        None,
        json!({"provisioner": {"name": "a"}, "subscribable": {"subscribers": [{"uid": "1"}]}}),
        "missing field(s): spec.subscribable.subscriber[0].replyURI, \
         spec.subscribable.subscriber[0].subscriberURI\nexpected at least one of, got none",
    );
}

#[test]
fn subscriptions_of_2019_have_two_ends() {
    let check = |old, new, expected: &str| check_2019(OF_2019, "Subscription", old, new, expected);
    check(
        None,
        json!({"subscriber": {"dnsName": "a"}}),
        "missing field(s): spec.channel\nthe Subscription must reference a channel",
    );
    let channel = |name: &str| json!({"apiVersion": OF_2019, "kind": "Channel", "name": name});
    check(
        None,
        json!({"channel": channel("c"), "subscriber": {"dnsName": "a", "ref": channel("d")}}),
        "expected exactly one, got both: spec.subscriber.dnsName, spec.subscriber.ref",
    );
    check(
        Some(json!({"channel": channel("c"), "subscriber": {"dnsName": "a"}})),
        json!({"channel": channel("d"), "subscriber": {"dnsName": "a"}}),
        "Immutable fields changed: spec.channel",
    );
    check_2019(
        "messaging.knative.dev/v1alpha1",
        "Choice",
        None,
        json!({}),
        "missing field(s): spec.cases",
    );
}
