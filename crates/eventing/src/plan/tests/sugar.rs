//! Brokers that namespaces and Triggers ask for.

use api::world::BROKER;
use serde_json::Value;

use super::cluster::Cluster;

fn namespace(labels: &str) -> String {
    format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: ns, labels: {{{labels}}}}}}}")
}

fn broker_after(sugar: &str, labels: &str) -> Option<Value> {
    let mut cluster = Cluster::new();
    if !sugar.is_empty() {
        cluster.configure("config-sugar", "namespace-selector", sugar);
    }
    cluster.apply(&namespace(labels));
    let broker = cluster.world.get(BROKER, "ns", "default");
    broker.map(|broker| broker["metadata"]["labels"].clone())
}

#[test]
fn namespaces_get_a_broker_if_they_are_selected() {
    let selector = "{matchExpressions: [{key: injection, operator: In, values: [enabled]}]}";
    for (sugar, labels, wanted) in [
        ("", "", false),
        ("{}", "", true),
        (selector, "", false),
        (selector, "injection: enabled", true),
        ("", "knative-eventing-injection: enabled", true),
        ("", "eventing.knative.dev/injection: enabled", true),
        ("{}", "knative-eventing-injection: disabled", false),
    ] {
        let broker = broker_after(sugar, labels);
        assert_eq!(broker.is_some(), wanted, "{sugar} {labels}");
        let is_old = labels.contains("knative-eventing");
        if let Some(labels) = broker {
            assert_eq!(labels["eventing.knative.dev/injected"], "true");
            let mark = labels.get("eventing.knative.dev/namespaceInjected");
            assert_eq!(mark.is_some(), is_old);
        }
    }
}

#[test]
fn a_trigger_may_ask_for_its_broker() {
    let trigger = "
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: t, MARK}
spec: {broker: default, subscriber: {uri: 'http://x'}}
";
    for mark in [
        "annotations: {eventing.knative.dev/injection: enabled}",
        "annotations: {knative-eventing-injection: enabled}",
    ] {
        let mut cluster = Cluster::new();
        cluster.apply(&trigger.replace("MARK", mark));
        assert!(
            cluster.world.get(BROKER, "ns", "default").is_some(),
            "{mark}"
        );
    }
    let mut cluster = Cluster::new();
    cluster.apply(&trigger.replace("MARK", "labels: {a: b}"));
    assert!(cluster.world.list(BROKER, "").is_empty());
    cluster.configure("config-sugar", "trigger-selector", "{matchLabels: {a: b}}");
    assert!(cluster.world.get(BROKER, "ns", "default").is_some());
}
