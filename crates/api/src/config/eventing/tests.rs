//! ConfigMaps: defaults, what is refused, who gets which Broker.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::features::Encryption;
use super::*;

fn data(key: &str, value: &str) -> Data {
    Data::from([(key.to_owned(), value.to_owned())])
}

#[test]
fn stock_is_valid_and_means_the_defaults() {
    let mut shipped = Eventing::default();
    let mut examples = Eventing::default();
    for object in stock() {
        validate(&object).unwrap_or_else(|error| panic!("{}: {error}", object["metadata"]));
        let name = object["metadata"]["name"].as_str().unwrap();
        shipped
            .apply(name, &crate::config::data_of(&object))
            .unwrap();
        let example = object["data"]["_example"].as_str().unwrap();
        let shown: Option<BTreeMap<String, String>> = serde_saphyr::from_str(example).unwrap();
        let shown = shown.unwrap_or_default();
        if !shown.is_empty() {
            let object = json!({"metadata": {"name": name}, "data": shown});
            validate(&object).unwrap_or_else(|error| panic!("the example of {name}: {error}"));
            examples.apply(name, &shown).unwrap();
        }
    }
    assert_eq!(shipped, Eventing::default());
    assert_eq!(examples, Eventing::default());
}

/// ConfigMap, key, value, and what is said of it.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    (
        "config-features",
        "delivery-timeout",
        "maybe",
        "cannot parse the feature flag 'delivery-timeout' = 'maybe'",
    ),
    (
        "config-features",
        "transport-encryption",
        "some",
        "cannot parse the feature flag",
    ),
    (
        "config-features",
        "requestreply-default-timeout",
        "30s",
        "cannot parse",
    ),
    (
        "config-br-defaults",
        "a",
        "b",
        "ConfigMap is missing (or empty) key: \"default-br-config\" : map[a:b]",
    ),
    (
        "config-br-defaults",
        "default-br-config",
        "- a",
        "Failed to parse the entry",
    ),
    (
        "config-br-defaults",
        "default-br-config",
        "clusterDefault: {name: n}",
        "name must be a string, not false",
    ),
    (
        "default-ch-webhook",
        "default-ch-config",
        "",
        "is missing (or empty) key",
    ),
    (
        "config-sugar",
        "namespace-selector",
        "- a",
        "failed to parse \"namespace-selector\"",
    ),
    (
        "config-sugar",
        "trigger-selector",
        "matchExpressions: [{key: a, operator: Is}]",
        "\"Is\" is not a valid",
    ),
    (
        "config-ping-defaults",
        "data-max-size",
        "x",
        "failed to parse \"data-max-size\"",
    ),
    (
        "config-kreference-mapping",
        "Pod.v1",
        "{{ .Nope }}",
        "error executing template",
    ),
    (
        "config-br-default-channel",
        "channel-template-spec",
        "kind: X",
        "apiVersion",
    ),
    (
        "config-tracing",
        "sample-rate",
        "2",
        "must be in [0, 1] range",
    ),
    (
        "config-imc-event-dispatcher",
        "MaxIdleConnections",
        "x",
        "failed to parse",
    ),
    (
        "config-observability",
        "metrics-protocol",
        "x",
        "unsupported protocol",
    ),
    (
        "config-logging",
        "loglevel.controller",
        "loud",
        "invalid logging level",
    ),
];

#[test]
fn refusals_name_the_key() {
    for (name, key, value, expected) in REFUSED {
        let object = json!({"metadata": {"name": name}, "data": {*key: value}});
        let error = validate(&object).expect_err(key).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn features_are_read() {
    let features = Features::parse(&data("transport-encryption", "Strict")).unwrap();
    assert_eq!(features.transport_encryption, Encryption::Strict);
    let features = Features::parse(&data("apiserversources-nodeselector-zone", " a ")).unwrap();
    assert_eq!(features.node_selector["zone"], "a");
    let features = Features::parse(&data("delivery-retryafter", "Enabled")).unwrap();
    assert!(features.delivery_retry_after);
    // A flag of another version is no reason to stop.
    assert_eq!(
        Features::parse(&data("strict-subscriber", "enabled")).unwrap(),
        Features::default()
    );
}

#[test]
fn brokers_get_the_defaults_of_class_and_namespace() {
    let text = "
clusterDefault:
  brokerClass: MT
  apiVersion: v1
  kind: ConfigMap
  name: common
  brokerClasses:
    Kafka: {apiVersion: v1, kind: ConfigMap, name: kafka-common}
namespaceDefaults:
  a: {brokerClass: Kafka}
  b:
    brokerClass: Rabbit
    apiVersion: r/v1
    kind: Config
    name: rabbit
    disallowDifferentNamespaceConfig: true
    brokerClasses:
      Kafka: {apiVersion: v1, kind: ConfigMap, name: kafka-b}
";
    let defaults = BrokerDefaults::parse(&data("default-br-config", text)).unwrap();
    let check = |namespace: &str, class: Option<&str>, expected: (&str, &str)| {
        let config = defaults.config(namespace, class).unwrap();
        let got = (
            defaults.class(namespace).unwrap(),
            config["name"].as_str().unwrap(),
        );
        assert_eq!(got, expected, "{namespace} {class:?}");
    };
    check("other", None, ("MT", "common"));
    check("other", Some("MT"), ("MT", "common"));
    check("other", Some("Kafka"), ("MT", "kafka-common"));
    check("other", Some("Unknown"), ("MT", "common"));
    check("a", None, ("Kafka", "kafka-common"));
    check("b", None, ("Rabbit", "rabbit"));
    check("b", Some("Rabbit"), ("Rabbit", "rabbit"));
    check("b", Some("Kafka"), ("Rabbit", "kafka-b"));
    check("b", Some("MT"), ("Rabbit", "common"));
    assert!(defaults.disallows_other_namespaces("b"));
    assert!(!defaults.disallows_other_namespaces("other"));
}

#[test]
fn channels_get_the_template_of_their_namespace() {
    let text = "
clusterDefault: {apiVersion: m/v1, kind: A}
namespaceDefaults:
  x: {apiVersion: m/v1, kind: B, spec: {n: 1}}
";
    let defaults = ChannelDefaults::parse(&data("default-ch-config", text)).unwrap();
    let template = |namespace: &str| defaults.template(namespace).unwrap();
    assert_eq!(template("y"), json!({"apiVersion": "m/v1", "kind": "A"}));
    assert_eq!(
        template("x"),
        json!({"apiVersion": "m/v1", "kind": "B", "spec": {"n": 1}})
    );
}

#[test]
fn kinds_stand_for_urls() {
    let text = "https://{{ .SystemNamespace }}.x/{{ .Namespace }}/{{ .Name }}?{{ .UID }}";
    let mapping = Mapping::parse(&data("Pod.v1", text)).unwrap();
    let url = mapping.url("v1", "Pod", ("ns", "p"), "u").unwrap();
    assert_eq!(url, "https://knative-eventing.x/ns/p?u");
    assert_eq!(mapping.url("g/v1", "Pod", ("ns", "p"), "u"), None);
    let sugar = Sugar::parse(&data("namespace-selector", "{}")).unwrap();
    assert_eq!(
        (sugar.namespaces, sugar.triggers),
        (Some(Value::Object(Default::default())), None)
    );
}
