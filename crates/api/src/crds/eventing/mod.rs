//! Knative Eventing: one row per kind. The schemas are made from the types admission reads
//! (`shape`); what they say to `kubectl explain` is in `text`.
//!
//! The version plans work with is stored. Older versions are served with open schemas: conversion
//! knows their spellings, and admission judges them as the stored version.

mod shape;
mod text;

use serde_json::{Value, json};
pub use text::GITHUB_EVENTS;

use super::schema::{open, resource};
use super::{Column, Crd, READY, REASON};

/// The namespace of Knative Eventing's own objects, and its webhook's Service.
const EVENTING: (&str, &str) = ("knative-eventing", "eventing-webhook");

const AGE: Column = ("Age", "date", ".metadata.creationTimestamp");
const URL: Column = ("URL", "string", ".status.address.url");
const SINK: Column = ("Sink", "string", ".status.sinkUri");

const ADDRESSABLE: &str = "duck.knative.dev/addressable";
const SUBSCRIBABLE: &str = "messaging.knative.dev/subscribable";
const SOURCE: &[&str] = &["duck.knative.dev/source", "eventing.knative.dev/source"];
const BINDING: &[&str] = &[
    "duck.knative.dev/source",
    "duck.knative.dev/binding",
    "eventing.knative.dev/source",
];

const OF_EVENTING: &[&str] = &["all", "knative", "eventing"];
const OF_MESSAGING: &[&str] = &["all", "knative", "messaging"];
const OF_CHANNELS: &[&str] = &["all", "knative", "messaging", "channel"];
const OF_FLOWS: &[&str] = &["all", "knative", "flows"];
const OF_SOURCES: &[&str] = &["all", "knative", "sources"];
const OF_BINDINGS: &[&str] = &["all", "knative", "sources", "bindings"];
const OF_SINKS: &[&str] = &["all", "knative", "sink"];

const ADDRESSED: &[Column] = &[URL, AGE, READY, REASON];
const SENDING: &[Column] = &[SINK, AGE, READY, REASON];

/// What each kind is, in a line of its own; a row of the table.
struct Row {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    labels: &'static [&'static str],
    columns: &'static [Column],
    /// Of older versions, where they differ.
    older_columns: &'static [Column],
    /// The stored version first.
    versions: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row {
        group: "eventing.knative.dev",
        kind: "Broker",
        plural: "brokers",
        short_names: &[],
        categories: OF_EVENTING,
        labels: &[ADDRESSABLE],
        columns: &[
            URL,
            AGE,
            READY,
            REASON,
            (
                "Class",
                "string",
                ".metadata.annotations['eventing\\.knative\\.dev/broker\\.class']",
            ),
        ],
        older_columns: &[],
        versions: &["v1", "v1beta1", "v1alpha1"],
    },
    Row {
        group: "eventing.knative.dev",
        kind: "Trigger",
        plural: "triggers",
        short_names: &[],
        categories: OF_EVENTING,
        labels: &[],
        columns: &[
            ("Broker", "string", ".spec.broker"),
            ("Subscriber_URI", "string", ".status.subscriberUri"),
            AGE,
            READY,
            REASON,
        ],
        older_columns: &[],
        versions: &["v1", "v1beta1", "v1alpha1"],
    },
    Row {
        group: "eventing.knative.dev",
        kind: "EventType",
        plural: "eventtypes",
        short_names: &[],
        categories: OF_EVENTING,
        labels: &[],
        columns: &[
            (
                "Type",
                "string",
                ".spec.attributes[?(@.name=='type')].value",
            ),
            (
                "Source",
                "string",
                ".spec.attributes[?(@.name=='source')].value",
            ),
            ("Reference Name", "string", ".spec.reference.name"),
            ("Reference Kind", "string", ".spec.reference.kind"),
            ("Description", "string", ".spec.description"),
            READY,
            REASON,
        ],
        older_columns: &[
            ("Type", "string", ".spec.type"),
            ("Source", "string", ".spec.source"),
            ("Schema", "string", ".spec.schema"),
            ("Reference Name", "string", ".spec.reference.name"),
            ("Reference Kind", "string", ".spec.reference.kind"),
            ("Description", "string", ".spec.description"),
            READY,
            REASON,
        ],
        versions: &["v1beta3", "v1beta2", "v1beta1", "v1alpha1"],
    },
    Row {
        group: "eventing.knative.dev",
        kind: "EventPolicy",
        plural: "eventpolicies",
        short_names: &[],
        categories: OF_EVENTING,
        labels: &[],
        columns: &[READY, REASON],
        older_columns: &[],
        versions: &["v1alpha1"],
    },
    Row {
        group: "eventing.knative.dev",
        kind: "EventTransform",
        plural: "eventtransforms",
        short_names: &[],
        categories: OF_EVENTING,
        labels: &[ADDRESSABLE],
        columns: &[URL, SINK, READY, REASON],
        older_columns: &[],
        versions: &["v1alpha1"],
    },
    Row {
        group: "eventing.knative.dev",
        kind: "RequestReply",
        plural: "requestreplies",
        short_names: &["rr"],
        categories: OF_EVENTING,
        labels: &[ADDRESSABLE],
        columns: &[URL, READY, REASON],
        older_columns: &[],
        versions: &["v1alpha1"],
    },
    Row {
        group: "messaging.knative.dev",
        kind: "Channel",
        plural: "channels",
        short_names: &["ch"],
        categories: OF_CHANNELS,
        labels: &[SUBSCRIBABLE, ADDRESSABLE],
        columns: ADDRESSED,
        older_columns: &[],
        versions: &["v1", "v1beta1", "v1alpha1"],
    },
    Row {
        group: "messaging.knative.dev",
        kind: "InMemoryChannel",
        plural: "inmemorychannels",
        short_names: &["imc"],
        categories: OF_CHANNELS,
        labels: &[SUBSCRIBABLE, ADDRESSABLE],
        columns: ADDRESSED,
        older_columns: &[],
        versions: &["v1", "v1beta1", "v1alpha1"],
    },
    Row {
        group: "messaging.knative.dev",
        kind: "Subscription",
        plural: "subscriptions",
        short_names: &["sub"],
        categories: OF_MESSAGING,
        labels: &[],
        columns: &[AGE, READY, REASON],
        older_columns: &[],
        versions: &["v1", "v1beta1", "v1alpha1"],
    },
    Row {
        group: "flows.knative.dev",
        kind: "Sequence",
        plural: "sequences",
        short_names: &[],
        categories: OF_FLOWS,
        labels: &[ADDRESSABLE],
        columns: ADDRESSED,
        older_columns: &[],
        versions: &["v1", "v1beta1", "v1alpha1"],
    },
    Row {
        group: "flows.knative.dev",
        kind: "Parallel",
        plural: "parallels",
        short_names: &[],
        categories: OF_FLOWS,
        labels: &[ADDRESSABLE],
        columns: ADDRESSED,
        older_columns: &[],
        versions: &["v1", "v1beta1", "v1alpha1"],
    },
    Row {
        group: "sources.knative.dev",
        kind: "ApiServerSource",
        plural: "apiserversources",
        short_names: &[],
        categories: OF_SOURCES,
        labels: SOURCE,
        columns: SENDING,
        older_columns: &[],
        versions: &["v1", "v1beta1", "v1alpha2", "v1alpha1"],
    },
    Row {
        group: "sources.knative.dev",
        kind: "ContainerSource",
        plural: "containersources",
        short_names: &[],
        categories: OF_SOURCES,
        labels: SOURCE,
        columns: SENDING,
        older_columns: &[],
        versions: &["v1", "v1beta1", "v1alpha2"],
    },
    Row {
        group: "sources.knative.dev",
        kind: "SinkBinding",
        plural: "sinkbindings",
        short_names: &[],
        categories: OF_BINDINGS,
        labels: BINDING,
        columns: SENDING,
        older_columns: &[],
        versions: &["v1", "v1beta1", "v1alpha2", "v1alpha1"],
    },
    Row {
        group: "sources.knative.dev",
        kind: "PingSource",
        plural: "pingsources",
        short_names: &[],
        categories: OF_SOURCES,
        labels: SOURCE,
        columns: &[
            SINK,
            ("Schedule", "string", ".spec.schedule"),
            AGE,
            READY,
            REASON,
        ],
        older_columns: &[],
        versions: &["v1", "v1beta2", "v1beta1", "v1alpha2", "v1alpha1"],
    },
    Row {
        group: "sources.knative.dev",
        kind: "IntegrationSource",
        plural: "integrationsources",
        short_names: &[],
        categories: OF_SOURCES,
        labels: SOURCE,
        columns: SENDING,
        older_columns: &[],
        versions: &["v1alpha1"],
    },
    Row {
        group: "sources.knative.dev",
        kind: "GitHubSource",
        plural: "githubsources",
        short_names: &[],
        categories: OF_SOURCES,
        labels: SOURCE,
        columns: &[READY, REASON, SINK, AGE],
        older_columns: &[],
        versions: &["v1alpha1"],
    },
    Row {
        group: "sinks.knative.dev",
        kind: "JobSink",
        plural: "jobsinks",
        short_names: &[],
        categories: OF_SINKS,
        labels: &[ADDRESSABLE],
        columns: ADDRESSED,
        older_columns: &[],
        versions: &["v1alpha1"],
    },
    Row {
        group: "sinks.knative.dev",
        kind: "IntegrationSink",
        plural: "integrationsinks",
        short_names: &[],
        categories: OF_SINKS,
        labels: &[ADDRESSABLE],
        columns: ADDRESSED,
        older_columns: &[],
        versions: &["v1alpha1"],
    },
];

/// Which events a source makes: annotation `registry.knative.dev/eventTypes`.
const EVENT_TYPES: &str = "registry.knative.dev/eventTypes";

/// What the definition of a source says about the events it makes, `[{"type": …, "description": …}]`.
pub fn event_types(kind: &str) -> Value {
    let types = text::event_types(kind).and_then(|types| serde_json::from_str(&types).ok());
    types.unwrap_or_default()
}

pub(super) fn crds() -> Vec<Value> {
    ROWS.iter().map(Row::definition).collect()
}

impl Row {
    fn definition(&self) -> Value {
        let crd = Crd {
            group: self.group,
            kind: self.kind,
            plural: self.plural,
            short_names: self.short_names,
            categories: self.categories,
            labels: self.labels,
            cluster_scoped: false,
            system: EVENTING,
            columns: self.columns,
            versions: self
                .versions
                .iter()
                .map(|name| (*name, self.schema(name)))
                .collect(),
        };
        let mut definition = crd.render();
        let versions = definition["spec"]["versions"].as_array_mut();
        for (index, version) in versions.into_iter().flatten().enumerate() {
            if index > 0 && !self.older_columns.is_empty() {
                version["additionalPrinterColumns"] = super::columns(self.older_columns);
            }
            if self.kind == "Broker" {
                // `kubectl get -o wide` alone shows the class.
                version["additionalPrinterColumns"][4]["priority"] = json!(1);
            }
        }
        if let Some(types) = text::event_types(self.kind) {
            definition["metadata"]["annotations"] = json!({EVENT_TYPES: types});
        }
        definition
    }

    fn schema(&self, version: &str) -> Value {
        let about = text::kind(self.kind);
        if version != self.versions[0] {
            let spec = open("The spec as this version had it; converted when stored.");
            return resource(about, spec, open("What the controller last saw."));
        }
        resource(about, shape::spec(self.kind), shape::status(self.kind))
    }
}
