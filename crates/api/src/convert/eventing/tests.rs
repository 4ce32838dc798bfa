//! Old manifests, their stored form, and the way back.

use serde_json::{Value, json};

use crate::convert;

/// An object of the old version becomes one of the stored, and comes back as it was.
#[track_caller]
fn check(kind: &str, versions: (&str, &str), old: (Value, Value), new: (Value, Value)) {
    let object = |api_version: &str, (spec, status): (Value, Value)| {
        json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": "x", "namespace": "default", "annotations": {"a": "b"}},
            "spec": spec,
            "status": status,
        })
    };
    let (from, to) = versions;
    let old = object(from, old);
    let up = convert(old.clone(), to).unwrap();
    assert_eq!(up["spec"], new.0);
    assert_eq!(up["status"], new.1);
    assert_eq!(up["apiVersion"], to);
    assert_eq!(convert(up, from).unwrap(), old);
}

const TRIGGER: (&str, &str) = ("eventing.knative.dev/v1alpha1", "eventing.knative.dev/v1");
const CHANNEL: (&str, &str) = ("messaging.knative.dev/v1alpha1", "messaging.knative.dev/v1");

#[test]
fn triggers_of_the_tutorials() {
    let reference = json!({"apiVersion": "v1", "kind": "Service", "name": "hello-display"});
    let spec = json!({
        "broker": "default",
        "filter": {"attributes": {"type": "greeting"}},
        "subscriber": {"ref": reference},
    });
    check(
        "Trigger",
        TRIGGER,
        (spec.clone(), json!({"subscriberURI": "http://a/"})),
        (spec, json!({"subscriberUri": "http://a/"})),
    );
    check(
        "Trigger",
        TRIGGER,
        (
            json!({
                "broker": "b",
                "filter": {"sourceAndType": {"type": "dev.x", "source": ""}},
                "subscriber": {"dnsName": "svc.default"},
            }),
            Value::Null,
        ),
        (
            json!({
                "broker": "b",
                "filter": {"attributes": {"type": "dev.x"}},
                "subscriber": {"uri": "http://svc.default/"},
            }),
            Value::Null,
        ),
    );
    check(
        "Trigger",
        TRIGGER,
        (json!({"broker": "b", "subscriber": reference}), Value::Null),
        (
            json!({"broker": "b", "subscriber": {"ref": reference}}),
            Value::Null,
        ),
    );
}

#[test]
fn a_trigger_listens_to_the_default_broker() {
    for version in ["v1alpha1", "v1beta1"] {
        let old = json!({
            "apiVersion": format!("eventing.knative.dev/{version}"),
            "kind": "Trigger",
            "metadata": {"name": "x"},
            "spec": {"subscriber": {"uri": "http://a"}},
        });
        let up = convert(old, TRIGGER.1).unwrap();
        assert_eq!(up["spec"]["broker"], "default");
    }
}

#[test]
fn brokers_keep_their_channel_template() {
    let template =
        json!({"apiVersion": "messaging.knative.dev/v1alpha1", "kind": "InMemoryChannel"});
    let url = "http://default-broker.default.svc.cluster.local";
    let host = "default-broker.default.svc.cluster.local";
    check(
        "Broker",
        TRIGGER,
        (
            json!({"channelTemplateSpec": template}),
            json!({"address": {"url": url, "hostname": host}}),
        ),
        (json!({}), json!({"address": {"url": url}})),
    );
}

#[test]
fn channels_and_subscriptions() {
    let subscriber = |uri: &str| json!([{"uid": "u", "generation": 1, uri: "http://a"}]);
    check(
        "InMemoryChannel",
        CHANNEL,
        (
            json!({"subscribable": {"subscribers": subscriber("subscriberURI")}}),
            json!({"subscribableStatus": {"subscribers": [{"uid": "u", "ready": "True"}]}}),
        ),
        (
            json!({"subscribers": subscriber("subscriberUri")}),
            json!({"subscribers": [{"uid": "u", "ready": "True"}]}),
        ),
    );
    let channel =
        json!({"apiVersion": "messaging.knative.dev/v1alpha1", "kind": "Channel", "name": "c"});
    check(
        "Subscription",
        CHANNEL,
        (
            json!({"channel": channel, "subscriber": {"ref": channel}, "reply": {"channel": channel}}),
            json!({"physicalSubscription": {"subscriberURI": "http://a", "replyURI": "http://b"}}),
        ),
        (
            json!({"channel": channel, "subscriber": {"ref": channel}, "reply": {"ref": channel}}),
            json!({"physicalSubscription": {"subscriberUri": "http://a", "replyUri": "http://b"}}),
        ),
    );
}

const SOURCE: (&str, &str) = ("sources.knative.dev/v1alpha1", "sources.knative.dev/v1");

#[test]
fn sources() {
    let bare = json!({"apiVersion": "v1", "kind": "Service", "name": "s"});
    let selector = json!({"matchLabels": {"a": "b"}});
    let controller = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    check(
        "ApiServerSource",
        SOURCE,
        (
            json!({
                "mode": "Ref",
                "sink": bare,
                "resources": [
                    {"apiVersion": "v1", "kind": "Pod", "labelSelector": selector},
                    {"apiVersion": "v1", "kind": "Event", "controller": true, "controllerSelector": controller},
                ],
            }),
            Value::Null,
        ),
        (
            json!({
                "mode": "Reference",
                "sink": {"ref": bare},
                "owner": {"apiVersion": "apps/v1", "kind": "Deployment"},
                "resources": [
                    {"apiVersion": "v1", "kind": "Pod", "selector": selector},
                    {"apiVersion": "v1", "kind": "Event"},
                ],
            }),
            Value::Null,
        ),
    );
    let json = "application/json";
    for (version, field) in [
        ("v1alpha1", "data"),
        ("v1alpha2", "jsonData"),
        ("v1beta1", "jsonData"),
    ] {
        let from = format!("sources.knative.dev/{version}");
        for (text, stored) in [("{\"a\":1}", "{\"a\":1}"), ("hi", "{\"body\":\"hi\"}")] {
            check(
                "PingSource",
                (&from, SOURCE.1),
                (json!({"schedule": "* * * * *", field: text}), Value::Null),
                (
                    json!({"schedule": "* * * * *", "contentType": json, "data": stored}),
                    Value::Null,
                ),
            );
        }
    }
    let same =
        json!({"subject": {"apiVersion": "apps/v1", "kind": "Deployment"}, "sink": {"ref": bare}});
    check(
        "SinkBinding",
        SOURCE,
        (same.clone(), Value::Null),
        (same, Value::Null),
    );
}

#[test]
fn flows() {
    let reference = json!({"apiVersion": "v1", "kind": "Service", "name": "s"});
    check(
        "Sequence",
        ("flows.knative.dev/v1alpha1", "flows.knative.dev/v1"),
        (
            json!({"steps": [reference, {"ref": reference}], "reply": reference}),
            json!({"address": {"url": "http://a.b/c", "hostname": "a.b"}}),
        ),
        (
            json!({"steps": [{"ref": reference}, {"ref": reference}], "reply": {"ref": reference}}),
            json!({"address": {"url": "http://a.b/c"}}),
        ),
    );
    check(
        "Parallel",
        ("flows.knative.dev/v1alpha1", "flows.knative.dev/v1"),
        (
            json!({"branches": [{"filter": reference, "subscriber": {"dnsName": "a"}}]}),
            Value::Null,
        ),
        (
            json!({"branches": [{"filter": {"ref": reference}, "subscriber": {"uri": "http://a/"}}]}),
            Value::Null,
        ),
    );
}

#[test]
fn event_types() {
    let named = |name: &str, required: bool, value: &str| json!({"name": name, "required": required, "value": value});
    let bare = |name: &str| json!({"name": name, "required": true});
    let broker =
        json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"});
    for version in ["v1beta2", "v1beta1", "v1alpha1"] {
        let from = format!("eventing.knative.dev/{version}");
        let to = "eventing.knative.dev/v1beta3";
        check(
            "EventType",
            (&from, to),
            (
                json!({"type": "t", "source": "s", "schema": "x", "schemaData": "d", "broker": "default"}),
                Value::Null,
            ),
            (
                json!({
                    "attributes": [
                        named("type", true, "t"), named("schemadata", false, "x"),
                        named("source", true, "s"), bare("specversion"), bare("id"),
                    ],
                    "reference": broker,
                }),
                Value::Null,
            ),
        );
    }
    // What only the new version can say survives a client that writes the old one.
    let new = json!({
        "apiVersion": "eventing.knative.dev/v1beta3",
        "kind": "EventType",
        "metadata": {"name": "x"},
        "spec": {"attributes": [named("type", true, "t"), bare("id"), named("ext", false, "e")]},
    });
    let old = convert(new.clone(), "eventing.knative.dev/v1beta2").unwrap();
    assert_eq!(old["spec"], json!({"type": "t"}));
    assert_eq!(convert(old, "eventing.knative.dev/v1beta3").unwrap(), new);
}

#[test]
fn errors_say_what_to_do() {
    let old = json!({
        "apiVersion": TRIGGER.0,
        "kind": "Trigger",
        "spec": {"filter": {"sourceAndType": {"type": "a"}, "attributes": {"type": "b"}}},
    });
    let error = convert(old.clone(), TRIGGER.1).unwrap_err();
    assert!(error.contains("not both"), "{error}");
    let error = convert(old, "eventing.knative.dev/v7").unwrap_err();
    assert!(error.contains("no such version"), "{error}");
}

mod round_trip;
