//! Kinds of Knative's extensions that manifests of 2019 to 2024 name and nothing here runs: definitions
//! that let a client find the kind, so that the refusal of an object can say what to use instead.
//! Whoever brings a real definition replaces these: they are made where there is none.

use serde_json::{Value, json};

/// How the descriptions of these definitions begin: with another one, the kind is somebody's.
const MARK: &str = "Not served here:";
const DEFINITIONS: &str = "apiextensions.k8s.io";

/// A kind nothing here runs.
struct Row {
    group: &'static str,
    kind: &'static str,
    /// The first is the latest.
    versions: &'static [&'static str],
    instead: &'static str,
}

const SOURCES: &str = "sources.knative.dev";
const MESSAGING: &str = "messaging.knative.dev";
const EVENTING: &str = "eventing.knative.dev";
const BINDINGS: &str = "bindings.knative.dev";
const BY_CONTAINER: &str = "use a ContainerSource (sources.knative.dev/v1) with an image that reads \
                            it and posts to $K_SINK";
const BY_CHANNEL: &str = "use a Channel (messaging.knative.dev/v1): its events are in a log on the \
                          disk and outlive a restart";
const BY_SECRET: &str = "give the credentials to the Pod by env of a Secret; a SinkBinding \
                         (sources.knative.dev/v1) tells it where to send events";

macro_rules! rows {
    ($($group:ident $kind:literal [$($version:literal),*] $instead:expr;)*) => {
        &[$(Row { group: $group, kind: $kind, versions: &[$($version),*], instead: $instead }),*]
    };
}

const ROWS: &[Row] = rows! {
    SOURCES "KafkaSource" ["v1", "v1beta1", "v1alpha1"]
        "use a ContainerSource (sources.knative.dev/v1) with an image that reads the topics and posts \
         to $K_SINK";
    SOURCES "AwsSqsSource" ["v1alpha1"] BY_CONTAINER;
    SOURCES "CamelSource" ["v1alpha1"]
        "use a Pipe of Apache Camel K (camel.apache.org/v1), or a ContainerSource";
    SOURCES "CouchDbSource" ["v1alpha1"] BY_CONTAINER;
    SOURCES "PrometheusSource" ["v1alpha1"] BY_CONTAINER;
    SOURCES "CephSource" ["v1alpha1"] BY_CONTAINER;
    SOURCES "BitbucketSource" ["v1alpha1"] BY_CONTAINER;
    SOURCES "GitLabSource" ["v1alpha1"] BY_CONTAINER;
    SOURCES "RedisStreamSource" ["v1alpha1"] BY_CONTAINER;
    SOURCES "RabbitmqSource" ["v1alpha1"] BY_CONTAINER;
    MESSAGING "KafkaChannel" ["v1beta1", "v1alpha1"] BY_CHANNEL;
    MESSAGING "NatssChannel" ["v1beta1", "v1alpha1"] BY_CHANNEL;
    MESSAGING "NatsJetStreamChannel" ["v1alpha1"] BY_CHANNEL;
    EVENTING "KafkaSink" ["v1alpha1"]
        "use a Trigger with a Service that writes to the topic, or an IntegrationSink \
         (sinks.knative.dev/v1alpha1)";
    EVENTING "RabbitmqBrokerConfig" ["v1alpha1"]
        "leave it out: a Broker here keeps its events in a log on the disk and needs no other system";
    BINDINGS "KafkaBinding" ["v1beta1", "v1alpha1"] BY_SECRET;
    BINDINGS "GitHubBinding" ["v1alpha1"] BY_SECRET;
    BINDINGS "GitLabBinding" ["v1alpha1"] BY_SECRET;
};

impl Row {
    fn plural(&self) -> String {
        format!("{}s", self.kind.to_lowercase())
    }

    fn name(&self) -> String {
        format!("{}.{}", self.plural(), self.group)
    }

    fn definition(&self) -> Value {
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let schema = json!({
            "type": "object",
            "description": format!("{MARK} {}.", self.instead),
            "properties": {"spec": open, "status": open},
        });
        let versions = self.versions.iter().enumerate().map(|(index, version)| {
            json!({
                "name": version,
                "served": true,
                "storage": index == 0,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": schema},
            })
        });
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.name()},
            "spec": {
                "group": self.group,
                "names": {
                    "kind": self.kind,
                    "listKind": format!("{}List", self.kind),
                    "plural": self.plural(),
                    "singular": self.kind.to_lowercase(),
                },
                "scope": "Namespaced",
                "versions": versions.collect::<Vec<_>>(),
            },
        })
    }
}

fn find(group: &str, kind: &str) -> Option<&'static Row> {
    ROWS.iter()
        .find(|row| row.group == group && row.kind == kind)
}

/// The definitions, to be made where there are none.
pub fn elsewhere() -> Vec<Value> {
    ROWS.iter().map(Row::definition).collect()
}

/// What to use instead of a kind that nothing here runs.
pub fn instead(group: &str, kind: &str) -> Option<&'static str> {
    find(group, kind).map(|row| row.instead)
}

/// Why an object of this kind is refused; `None` for kinds that are served, or whose definition, which
/// `read` finds by API group, plural and name, is somebody's own.
pub fn refusal(
    group: &str,
    kind: &str,
    read: impl FnOnce(&str, &str, &str) -> Option<Value>,
) -> Option<String> {
    let row = find(group, kind)?;
    let definition = read(DEFINITIONS, "customresourcedefinitions", &row.name())?;
    let versions = definition["spec"]["versions"].as_array()?;
    let is_ours = |version: &Value| {
        let about = version["schema"]["openAPIV3Schema"]["description"].as_str();
        about.is_some_and(|about| about.starts_with(MARK))
    };
    let instead = row.instead;
    versions
        .iter()
        .all(is_ours)
        .then(|| format!("{kind} of {group} is not served here: {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_such_and_no_kind_is_served_twice() {
        let served = super::super::crds();
        for definition in elsewhere() {
            let version = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            schema::Schema::from_crd(version).expect("structural");
            let name = &definition["metadata"]["name"];
            let twice = served.iter().any(|crd| crd["metadata"]["name"] == *name);
            assert!(!twice, "{name}");
        }
    }

    #[test]
    fn only_what_is_nobodys_is_refused() {
        let refused = |definition: Option<Value>| {
            refusal(SOURCES, "KafkaSource", |_, plural, name| {
                assert_eq!(plural, "customresourcedefinitions");
                assert_eq!(name, "kafkasources.sources.knative.dev");
                definition
            })
        };
        let ours = find(SOURCES, "KafkaSource").map(Row::definition);
        let said = refused(ours.clone()).expect("nothing here runs it");
        assert!(said.contains("use a ContainerSource"), "{said}");
        let mut real = ours.expect("there is one");
        real["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] =
            json!("A source.");
        assert_eq!(refused(Some(real)), None);
        assert_eq!(refused(None), None);
        assert_eq!(refusal(SOURCES, "PingSource", |_, _, _| None), None);
    }
}
