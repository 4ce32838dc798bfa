//! The sources of 2019: `sources.eventing.knative.dev/v1alpha1`. What they say is left open.

use serde_json::{Value, json};

use super::schema::{open, resource, status};
use super::{Column, Crd, RANK, READY, REASON};

const GROUP: &str = "sources.eventing.knative.dev";
/// The namespace of Knative Eventing's own objects, and its webhook's Service.
const EVENTING: (&str, &str) = ("knative-eventing", "eventing-webhook");
const COLUMNS: &[Column] = &[
    READY,
    REASON,
    ("Sink", "string", ".status.sinkUri"),
    ("Age", "date", ".metadata.creationTimestamp"),
];

/// Kind, plural, what it is today.
const ROWS: [(&str, &str, &str); 10] = [
    ("CronJobSource", "cronjobsources", "made into a PingSource"),
    (
        "ApiServerSource",
        "apiserversources",
        "made into an ApiServerSource of sources.knative.dev",
    ),
    (
        "KubernetesEventSource",
        "kuberneteseventsources",
        "made into an ApiServerSource of the namespace's Events",
    ),
    (
        "ContainerSource",
        "containersources",
        "made into a ContainerSource of sources.knative.dev",
    ),
    (
        "GitHubSource",
        "githubsources",
        "made into a GitHubSource of sources.knative.dev",
    ),
    (
        "SinkBinding",
        "sinkbindings",
        "made into a SinkBinding of sources.knative.dev",
    ),
    (
        "AwsSqsSource",
        "awssqssources",
        "kept, but Amazon's client is not built in",
    ),
    (
        "GcpPubSubSource",
        "gcppubsubsources",
        "kept, but Google's client is not built in",
    ),
    (
        "KafkaSource",
        "kafkasources",
        "kept, but Apache Kafka's client is not built in",
    ),
    (
        "CamelSource",
        "camelsources",
        "kept, but Apache Camel is not built in",
    ),
];

pub(super) fn crds() -> Vec<Value> {
    ROWS.iter().map(definition).collect()
}

fn definition((kind, plural, today): &(&'static str, &'static str, &'static str)) -> Value {
    let mut spec = open("What it said in 2019.");
    let mut seen = status([]);
    for schema in [&mut spec, &mut seen] {
        schema["x-kubernetes-preserve-unknown-fields"] = json!(true);
    }
    let about = format!("{kind} of 2019: {today}.");
    let crd = Crd {
        group: GROUP,
        kind,
        plural,
        short_names: &[],
        categories: &["knative", "eventing", "sources"],
        labels: &["duck.knative.dev/source"],
        cluster_scoped: false,
        system: EVENTING,
        columns: COLUMNS,
        versions: vec![("v1alpha1", resource(&about, spec, seen))],
    };
    let mut definition = crd.render();
    definition["metadata"]["annotations"] = json!({RANK.0: RANK.1});
    definition
}
