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
