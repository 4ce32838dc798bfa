//! Any object of an older version, through the stored one and back, reads as it was written.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::convert::{convert, stored};

/// A JSON object of those fields that are there.
fn fields(entries: Vec<(&'static str, Option<Value>)>) -> Value {
    let present = entries
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

fn name() -> BoxedStrategy<Value> {
    "[a-z][a-z0-9]{0,5}".prop_map(Value::from).boxed()
}

fn maybe(value: BoxedStrategy<Value>) -> BoxedStrategy<Option<Value>> {
    prop::option::of(value).boxed()
}

fn one_of(values: &'static [&'static str]) -> BoxedStrategy<Value> {
    prop::sample::select(values).prop_map(Value::from).boxed()
}

fn reference() -> BoxedStrategy<Value> {
    let kinds = one_of(&["Service", "Channel"]);
    (kinds, name(), maybe(name()))
        .prop_map(|(kind, name, namespace)| {
            fields(vec![
                ("apiVersion", Some(json!("serving.knative.dev/v1alpha1"))),
                ("kind", Some(kind)),
                ("name", Some(name)),
                ("namespace", namespace),
            ])
        })
        .boxed()
}

/// A destination of today.
fn destination() -> BoxedStrategy<Value> {
    let by_reference = reference().prop_map(|reference| json!({"ref": reference}));
    prop_oneof![by_reference, Just(json!({"uri": "http://a.example/x"}))].boxed()
}

/// A destination as it could be spelled until v0.13.
fn destination_of_old() -> BoxedStrategy<Value> {
    let by_name = name().prop_map(|name| json!({"dnsName": name}));
    prop_oneof![destination(), reference(), by_name].boxed()
}

fn template() -> BoxedStrategy<Value> {
    Just(json!({"apiVersion": "messaging.knative.dev/v1alpha1", "kind": "InMemoryChannel"})).boxed()
}

/// One kind in one older version, with a spec.
fn object(
    kind: &'static str,
    api_version: &'static str,
    spec: BoxedStrategy<Value>,
) -> BoxedStrategy<Value> {
    spec.prop_map(move |spec| {
        json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": "a", "namespace": "ns"},
            "spec": spec,
        })
    })
    .boxed()
}

fn broker() -> BoxedStrategy<Value> {
    (maybe(template()), maybe(template()), maybe(reference()))
        .prop_map(|(old, new, config)| {
            fields(vec![
                ("channelTemplate", old),
                ("channelTemplateSpec", new),
                ("config", config),
            ])
        })
        .boxed()
}

fn trigger() -> BoxedStrategy<Value> {
    let words = || one_of(&["", "a.b", "c"]);
    let by_type = (maybe(words()), maybe(words())).prop_map(
        |(source, kind)| json!({"sourceAndType": fields(vec![("source", source), ("type", kind)])}),
    );
    let by_attributes = name().prop_map(|value| json!({"attributes": {"x": value}}));
    let filter = prop_oneof![by_type, by_attributes].boxed();
    (name(), maybe(filter), destination_of_old())
        .prop_map(|(broker, filter, subscriber)| {
            fields(vec![
                ("broker", Some(broker)),
                ("filter", filter),
                ("subscriber", Some(subscriber)),
            ])
        })
        .boxed()
}

fn channel() -> BoxedStrategy<Value> {
    let subscriber = (name(), maybe(name())).prop_map(|(uid, reply)| {
        fields(vec![
            ("uid", Some(uid)),
            ("subscriberURI", Some(json!("http://a"))),
            ("replyURI", reply),
        ])
    });
    let list = prop::collection::vec(subscriber, 0..3);
    let list = list.prop_map(|list| json!({"subscribers": list})).boxed();
    (maybe(list), maybe(template()))
        .prop_map(|(subscribable, template)| {
            fields(vec![
                ("subscribable", subscribable),
                ("channelTemplate", template),
            ])
        })
        .boxed()
}

fn subscription() -> BoxedStrategy<Value> {
    let by_channel = reference().prop_map(|channel| json!({"channel": channel}));
    let reply = prop_oneof![by_channel, destination_of_old()].boxed();
    (reference(), destination_of_old(), maybe(reply))
        .prop_map(|(channel, subscriber, reply)| {
            fields(vec![
                ("channel", Some(channel)),
                ("subscriber", Some(subscriber)),
                ("reply", reply),
            ])
        })
        .boxed()
}

fn event_type() -> BoxedStrategy<Value> {
    (name(), maybe(name()), maybe(name()), maybe(name()))
        .prop_map(|(kind, source, schema, broker)| {
            fields(vec![
                ("type", Some(kind)),
                ("source", source),
                ("schema", schema),
                ("broker", broker),
            ])
        })
        .boxed()
}

fn sequence() -> BoxedStrategy<Value> {
    let steps = prop::collection::vec(destination_of_old(), 1..4);
    (steps, maybe(template()), maybe(destination_of_old()))
        .prop_map(|(steps, template, reply)| {
            fields(vec![
                ("steps", Some(steps.into())),
                ("channelTemplate", template),
                ("reply", reply),
            ])
        })
        .boxed()
}

fn parallel() -> BoxedStrategy<Value> {
    let branch = (
        maybe(destination_of_old()),
        destination_of_old(),
        maybe(destination_of_old()),
    );
    let branch = branch.prop_map(|(filter, subscriber, reply)| {
        fields(vec![
            ("filter", filter),
            ("subscriber", Some(subscriber)),
            ("reply", reply),
        ])
    });
    (
        prop::collection::vec(branch, 1..3),
        maybe(destination_of_old()),
    )
        .prop_map(|(branches, reply)| {
            fields(vec![("branches", Some(branches.into())), ("reply", reply)])
        })
        .boxed()
}

fn api_server_source() -> BoxedStrategy<Value> {
    let labels = name().prop_map(|value| json!({"matchLabels": {"a": value}}));
    let owner = name().prop_map(|kind| json!({"apiVersion": "apps/v1", "kind": kind, "uid": ""}));
    let resource = (
        name(),
        maybe(labels.boxed()),
        maybe(owner.boxed()),
        any::<Option<bool>>(),
    );
    let resource = resource.prop_map(|(kind, labels, owner, controller)| {
        fields(vec![
            ("apiVersion", Some(json!("v1"))),
            ("kind", Some(kind)),
            ("labelSelector", labels),
            ("controllerSelector", owner),
            ("controller", controller.map(Value::from)),
        ])
    });
    let resources = prop::collection::vec(resource, 1..3);
    (
        resources,
        maybe(one_of(&["Ref", "Resource"])),
        destination_of_old(),
    )
        .prop_map(|(resources, mode, sink)| {
            fields(vec![
                ("resources", Some(resources.into())),
                ("mode", mode),
                ("sink", Some(sink)),
            ])
        })
        .boxed()
}

/// A PingSource whose data is in `field`.
fn ping_source(field: &'static str) -> BoxedStrategy<Value> {
    let data = one_of(&["{\"a\":1}", "hello", "[1]", "\"quoted\"", ""]);
    (maybe(data), destination())
        .prop_map(move |(data, sink)| {
            fields(vec![
                ("schedule", Some(json!("*/2 * * * *"))),
                (field, data),
                ("sink", Some(sink)),
            ])
        })
        .boxed()
}

fn sink_binding() -> BoxedStrategy<Value> {
    (reference(), destination_of_old())
        .prop_map(|(subject, sink)| json!({"subject": subject, "sink": sink}))
        .boxed()
}

fn old() -> BoxedStrategy<Value> {
    let of_eventing = prop_oneof![
        object("Broker", "eventing.knative.dev/v1alpha1", broker()),
        object("Broker", "eventing.knative.dev/v1beta1", broker()),
        object("Trigger", "eventing.knative.dev/v1alpha1", trigger()),
        object("EventType", "eventing.knative.dev/v1alpha1", event_type()),
        object("EventType", "eventing.knative.dev/v1beta1", event_type()),
        object("EventType", "eventing.knative.dev/v1beta2", event_type()),
    ];
    let of_messaging = prop_oneof![
        object("Channel", "messaging.knative.dev/v1alpha1", channel()),
        object(
            "InMemoryChannel",
            "messaging.knative.dev/v1alpha1",
            channel()
        ),
        object(
            "Subscription",
            "messaging.knative.dev/v1alpha1",
            subscription()
        ),
        object("Sequence", "flows.knative.dev/v1alpha1", sequence()),
        object("Parallel", "flows.knative.dev/v1alpha1", parallel()),
    ];
    let of_sources = prop_oneof![
        object(
            "ApiServerSource",
            "sources.knative.dev/v1alpha1",
            api_server_source()
        ),
        object(
            "PingSource",
            "sources.knative.dev/v1alpha1",
            ping_source("data")
        ),
        object(
            "PingSource",
            "sources.knative.dev/v1alpha2",
            ping_source("jsonData")
        ),
        object(
            "PingSource",
            "sources.knative.dev/v1beta1",
            ping_source("jsonData")
        ),
        object(
            "PingSource",
            "sources.knative.dev/v1beta2",
            ping_source("data")
        ),
        object(
            "SinkBinding",
            "sources.knative.dev/v1alpha1",
            sink_binding()
        ),
        object(
            "SinkBinding",
            "sources.knative.dev/v1alpha2",
            sink_binding()
        ),
    ];
    prop_oneof![of_eventing, of_messaging, of_sources].boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_was_written_reads_back(old in old()) {
        let asked = old["apiVersion"].as_str().unwrap().to_owned();
        let version = stored(&asked, old["kind"].as_str().unwrap()).unwrap();
        let new = convert(old.clone(), &version).unwrap();
        let back = convert(new.clone(), &asked).unwrap();
        prop_assert_eq!(&back, &old, "stored as {}", new);
        prop_assert_eq!(convert(back, &version).unwrap(), new);
    }
}
