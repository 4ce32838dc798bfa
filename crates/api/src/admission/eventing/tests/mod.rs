//! What Knative Eventing's webhooks say, kind by kind: here of Brokers, Triggers, channels and
//! Subscriptions.

mod kinds;
mod sources;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::super::{Operation, Review, review};
use crate::config::Configs;
use crate::config::eventing::Features;

/// A request of `alice`'s.
fn ask(object: &Value, old: Option<&Value>, configs: &Configs) -> Result<Value, String> {
    let asked = Review {
        operation: match old {
            Some(_) => Operation::Update,
            None => Operation::Create,
        },
        object,
        old,
        user: "alice",
    };
    let admitted = review(&asked, configs).map_err(|denied| denied.text())?;
    Ok(admitted.object)
}

fn object(api_version: &str, kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "x", "namespace": "ns"},
        "spec": spec,
    })
}

/// The whole refusal of a new object.
#[track_caller]
fn refused(api_version: &str, kind: &str, spec: Value, expected: Expect) {
    let object = object(api_version, kind, &spec);
    let error = ask(&object, None, &Configs::default()).expect_err("admitted");
    expected.assert_eq(&error);
}

/// The refusal of a change from one spec to another.
#[track_caller]
fn fixed(api_version: &str, kind: &str, specs: [Value; 2], expected: Expect) {
    let [old, new] = specs.map(|spec| object(api_version, kind, &spec));
    let old = ask(&old, None, &Configs::default()).expect("the old one is good");
    let error = ask(&new, Some(&old), &Configs::default()).expect_err("admitted");
    expected.assert_eq(&error);
}

/// Metadata and spec of a new object with everything filled in.
#[track_caller]
fn filled(api_version: &str, kind: &str, spec: Value, expected: Expect) {
    let object = object(api_version, kind, &spec);
    let admitted = ask(&object, None, &Configs::default()).unwrap();
    let shown = json!({"metadata": admitted["metadata"], "spec": admitted["spec"]});
    expected.assert_eq(&serde_json::to_string_pretty(&shown).unwrap());
}

const EVENTING: &str = "eventing.knative.dev/v1";
const MESSAGING: &str = "messaging.knative.dev/v1";

fn service() -> Value {
    json!({"ref": {"apiVersion": "v1", "kind": "Service", "name": "s"}})
}

#[test]
fn brokers_are_filled_in() {
    filled(
        EVENTING,
        "Broker",
        json!({}),
        expect![[r#"
        {
          "metadata": {
            "annotations": {
              "eventing.knative.dev/broker.class": "MTChannelBasedBroker",
              "eventing.knative.dev/creator": "alice",
              "eventing.knative.dev/lastModifier": "alice"
            },
            "name": "x",
            "namespace": "ns"
          },
          "spec": {
            "config": {
              "apiVersion": "v1",
              "kind": "ConfigMap",
              "name": "config-br-default-channel",
              "namespace": "knative-eventing"
            },
            "delivery": {
              "backoffDelay": "PT0.2S",
              "backoffPolicy": "exponential",
              "retry": 10
            }
          }
        }"#]],
    );
}

#[test]
fn triggers_are_filled_in() {
    filled(
        EVENTING,
        "Trigger",
        json!({"broker": "b", "subscriber": service()}),
        expect![[r#"
            {
              "metadata": {
                "annotations": {
                  "eventing.knative.dev/creator": "alice",
                  "eventing.knative.dev/lastModifier": "alice"
                },
                "labels": {
                  "eventing.knative.dev/broker": "b"
                },
                "name": "x",
                "namespace": "ns"
              },
              "spec": {
                "broker": "b",
                "filter": {},
                "subscriber": {
                  "ref": {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": "s",
                    "namespace": "ns"
                  }
                }
              }
            }"#]],
    );
}

#[test]
fn channels_are_filled_in() {
    filled(
        MESSAGING,
        "Channel",
        json!({}),
        expect![[r#"
        {
          "metadata": {
            "annotations": {
              "messaging.knative.dev/creator": "alice",
              "messaging.knative.dev/lastModifier": "alice",
              "messaging.knative.dev/subscribable": "v1"
            },
            "name": "x",
            "namespace": "ns"
          },
          "spec": {
            "channelTemplate": {
              "apiVersion": "messaging.knative.dev/v1",
              "kind": "InMemoryChannel"
            }
          }
        }"#]],
    );
    filled(
        MESSAGING,
        "InMemoryChannel",
        json!({}),
        expect![[r#"
        {
          "metadata": {
            "annotations": {
              "messaging.knative.dev/creator": "alice",
              "messaging.knative.dev/lastModifier": "alice",
              "messaging.knative.dev/subscribable": "v1"
            },
            "name": "x",
            "namespace": "ns"
          },
          "spec": {}
        }"#]],
    );
}

#[test]
fn brokers_are_checked() {
    refused(
        EVENTING,
        "Broker",
        json!({"config": {"name": "c"}}),
        expect![[
            r#"admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: missing field(s): spec.config.apiVersion, spec.config.kind"#
        ]],
    );
    refused(
        EVENTING,
        "Broker",
        json!({"confg": {}}),
        expect![[
            r#"admission webhook "webhook.eventing.knative.dev" denied the request: mutation failed: cannot decode incoming new object: json: unknown field "confg""#
        ]],
    );
    let config =
        |name: &str| json!({"config": {"apiVersion": "v1", "kind": "ConfigMap", "name": name}});
    fixed(
        EVENTING,
        "Broker",
        [config("a"), config("b")],
        expect![[r#"
            admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: Immutable fields changed (-old +new): spec
            {v1.BrokerSpec}.Config.Name:
            	-: "a"
            	+: "b"
        "#]],
    );
    let classed = |class: &str| {
        let mut broker = object(EVENTING, "Broker", &json!({}));
        broker["metadata"]["annotations"] = json!({"eventing.knative.dev/broker.class": class});
        broker
    };
    let old = ask(&classed("Kafka"), None, &Configs::default()).unwrap();
    let error = ask(&classed("Other"), Some(&old), &Configs::default()).unwrap_err();
    expect![[r#"
        admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: Immutable annotations changed (-old +new): annotations
        {string}:
        	-: "Kafka"
        	+: "Other"
    "#]].assert_eq(&error);
}

#[test]
fn triggers_are_checked() {
    refused(
        EVENTING,
        "Trigger",
        json!({}),
        expect![[r#"
        admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: expected at least one, got none: spec.subscriber.ref, spec.subscriber.uri
        missing field(s): spec.broker"#]],
    );
    let filters = json!([{"exact": {"a_b": "c"}, "prefix": {"d": "e"}}]);
    let spec = json!({
        "broker": "b",
        "subscriber": {"uri": "/relative"},
        "filter": {"attributes": {"Type": "x"}},
        "filters": filters,
        "delivery": {"retry": -1, "timeout": "PT0S", "backoffDelay": "1s", "backoffPolicy": "x",
            "format": "xml", "retryAfterMax": "PT1S"},
    });
    refused(
        EVENTING,
        "Trigger",
        spec,
        expect![[r#"
        admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: invalid key name "Type": spec.filter.attributes[Type]
        Attribute name must start with a letter and can only contain lowercase alphanumeric
        invalid key name "a_b": spec.filters[0].exact[a_b]
        Attribute name must start with a letter and can only contain lowercase alphanumeric
        invalid value: -1: spec.delivery.retry
        invalid value: 1s: spec.delivery.backoffDelay
        invalid value: PT0S: spec.delivery.timeout
        invalid value: Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent: spec.subscriber.uri
        invalid value: x: spec.delivery.backoffPolicy
        invalid value: xml: spec.delivery.format
        multiple dialects found, filters can have only one dialect set: 
        must not set the field(s): spec.delivery.retryAfterMax"#]],
    );
    let of = |broker: &str| json!({"broker": broker, "subscriber": service()});
    fixed(
        EVENTING,
        "Trigger",
        [of("a"), of("b")],
        expect![[r#"
        admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: Immutable fields changed (-old +new): broker, spec
        {string}:
        	-: "a"
        	+: "b"
    "#]],
    );
}

#[test]
fn expressions_of_triggers_are_compiled() {
    let of = |cesql: &str| json!({"broker": "b", "subscriber": service(), "filters": [{"cesql": cesql}]});
    let good = object(EVENTING, "Trigger", &of("type LIKE 'a%' AND EXISTS source"));
    ask(&good, None, &Configs::default()).unwrap();
    refused(
        EVENTING,
        "Trigger",
        of("type = "),
        expect![[r#"
        admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: invalid value: type = : spec.filters[0].cesql
        expected a value, found the end at character 8"#]],
    );
}

#[test]
fn annotations_of_triggers_are_checked() {
    let mut trigger = object(
        EVENTING,
        "Trigger",
        &json!({"broker": "b", "subscriber": service()}),
    );
    let cases = [
        ("knative.dev/dependency", "{"),
        (
            "knative.dev/dependency",
            r#"{"kind": "PingSource", "namespace": "other"}"#,
        ),
        ("eventing.knative.dev/injection", "yes"),
        ("eventing.knative.dev/injection", "enabled"),
    ];
    let mut told = String::new();
    for (key, value) in cases {
        trigger["metadata"]["annotations"] = json!({key: value});
        let error = ask(&trigger, None, &Configs::default()).unwrap_err();
        told.push_str(&format!("{error}\n"));
    }
    expect![[r#"
        admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: The provided annotation was not a corev1.ObjectReference: "{": metadata.annotations[knative.dev/dependency]
        unexpected end of JSON input
        admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: Namespace must be empty or equal to the trigger namespace "ns": metadata.annotations[knative.dev/dependency].namespace
        missing field(s): metadata.annotations[knative.dev/dependency].apiVersion, metadata.annotations[knative.dev/dependency].name
        admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: The provided injection annotation value can only be "enabled" or "disabled", not "yes": metadata.annotations[eventing.knative.dev/injection]
        admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: The provided injection annotation is only used for default broker, but non-default broker specified here: "b": metadata.annotations[eventing.knative.dev/injection]
    "#]].assert_eq(&told);
}

#[test]
fn channels_are_checked() {
    let subscribers = json!([{"uid": "u", "subscriberUri": "http://a"}]);
    refused(
        MESSAGING,
        "Channel",
        json!({"channelTemplate": {}, "subscribers": subscribers}),
        expect![[r#"
            admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: missing field(s): spec.channelTemplate.apiVersion, spec.channelTemplate.kind
            must not set the field(s): spec.subscribable.subscribers"#]],
    );
    let of = |kind: &str| json!({"channelTemplate": {"apiVersion": "m/v1", "kind": kind}});
    fixed(
        MESSAGING,
        "Channel",
        [of("A"), of("B")],
        expect![[r#"
            admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: Immutable fields changed (-old +new): spec
            {v1.ChannelSpec}.ChannelTemplate.TypeMeta.Kind:
            	-: "A"
            	+: "B"
        "#]],
    );
    refused(
        MESSAGING,
        "InMemoryChannel",
        json!({"subscribers": [{"uid": "u"}]}),
        expect![[r#"
            admission webhook "validation.inmemorychannel.eventing.knative.dev" denied the request: validation failed: missing field(s): spec.subscribable.subscriber[0].replyURI, spec.subscribable.subscriber[0].subscriberURI
            expected at least one of, got none"#]],
    );
    fixed(
        MESSAGING,
        "InMemoryChannel",
        [json!({}), json!({"subscribers": subscribers})],
        expect![[r#"
            admission webhook "validation.inmemorychannel.eventing.knative.dev" denied the request: validation failed: Channel.Spec.Subscribers changed by user alice which was not the system:serviceaccount:knative-eventing:eventing-controller service account: spec.subscribers
            {[]v1.SubscriberSpec}[?->0]:
            	+: v1.SubscriberSpec: "{Name:<nil> UID:u Generation:0 SubscriberURI:http://a SubscriberCACerts:<nil> SubscriberAudience:<nil> ReplyURI:<nil> ReplyCACerts:<nil> ReplyAudience:<nil> Delivery:<nil> Auth:<nil>}"
        "#]],
    );
}

#[test]
fn the_controller_may_change_subscribers() {
    let of = |spec| object(MESSAGING, "InMemoryChannel", &spec);
    let (old, new) = (
        of(json!({})),
        of(json!({"subscribers": [{"uid": "u", "replyUri": "http://a"}]})),
    );
    for user in [
        "system:rekindle",
        "system:serviceaccount:knative-eventing:eventing-controller",
    ] {
        let asked = Review {
            operation: Operation::Update,
            object: &new,
            old: Some(&old),
            user,
        };
        review(&asked, &Configs::default()).unwrap();
    }
}

#[test]
fn listening_elsewhere_needs_a_right() {
    let mut on = Configs::default();
    on.eventing.features.cross_namespace_event_links = true;
    let mut channel =
        json!({"apiVersion": "m/v1", "kind": "Channel", "name": "c", "namespace": "a"});
    let of = |channel: &Value| {
        object(
            MESSAGING,
            "Subscription",
            &json!({"channel": channel, "subscriber": service()}),
        )
    };
    let admitted = ask(&of(&channel), None, &on).unwrap();
    let features = &on.eventing.features;
    let needed = super::super::needed(&admitted, features).unwrap();
    assert_eq!(needed.resources, ["channels", "Channel"]);
    expect![[r#"admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: user alice is not authorized to get target resource in namespace: a: spec.ChannelNamespace"#]].assert_eq(&needed.denied("alice").text());
    assert_eq!(super::super::needed(&admitted, &Features::default()), None);
    channel["namespace"] = json!("ns");
    assert_eq!(super::super::needed(&of(&channel), features), None);
    let broker = json!({"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "b", "namespace": "a"});
    let trigger = object(
        EVENTING,
        "Trigger",
        &json!({"brokerRef": broker, "subscriber": service()}),
    );
    let admitted = ask(&trigger, None, &on).unwrap();
    let needed = super::super::needed(&admitted, features).unwrap();
    assert_eq!(
        (needed.group.as_str(), needed.name.as_str()),
        ("eventing.knative.dev", "b")
    );
}

#[test]
fn subscriptions_are_checked() {
    refused(
        MESSAGING,
        "Subscription",
        json!({"subscriber": service()}),
        expect![[r#"
            admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: missing field(s): spec.channel
            the Subscription must reference a channel"#]],
    );
    let channel = |name: &str| json!({"apiVersion": "m/v1", "kind": "Channel", "name": name});
    let mut elsewhere = channel("c");
    elsewhere["namespace"] = json!("other");
    refused(
        MESSAGING,
        "Subscription",
        json!({"channel": elsewhere}),
        expect![[r#"
            admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: missing field(s): spec.subscriber
            the Subscription must reference a subscriber
            must not set the field(s): spec.channel.namespace
            only name, apiVersion and kind are supported fields"#]],
    );
    let of = |name: &str| json!({"channel": channel(name), "subscriber": service()});
    fixed(
        MESSAGING,
        "Subscription",
        [of("a"), of("b")],
        expect![[r#"
            admission webhook "validation.webhook.eventing.knative.dev" denied the request: validation failed: Immutable fields changed (-old +new): spec
            {v1.SubscriptionSpec}.Channel.Name:
            	-: "a"
            	+: "b"
        "#]],
    );
}
