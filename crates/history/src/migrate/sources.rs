//! Sources of `sources.eventing.knative.dev` (2018 to 2020), and those of extensions.

use api::object::ObjectExt;
use serde_json::{Value, json};

use super::eventing::converted;
use super::{Catalog, Outcome, clean, remove};
use crate::moved::references;

const OLD: &str = "sources.eventing.knative.dev/v1alpha1";

pub(super) fn outcome(_: &Catalog, object: &Value) -> Outcome {
    let (api_version, kind) = (object.api_version(), object.kind());
    if let Some(replacement) = extension(api_version, kind) {
        return Outcome::Refused(replacement.to_owned());
    }
    if api_version != OLD {
        return Outcome::Same;
    }
    match kind {
        "ContainerSource" => container(object),
        "CronJobSource" => cron(object),
        "KubernetesEventSource" => kubernetes_events(object),
        "GitHubSource" => {
            let note =
                "sources.knative.dev/v1alpha1 instead of sources.eventing.knative.dev/v1alpha1";
            of_today(object.clone(), "v1alpha1", "GitHubSource", note)
        }
        _ => Outcome::Same,
    }
}

/// What to use instead of a source or channel that was never part of Knative itself.
fn extension(api_version: &str, kind: &str) -> Option<&'static str> {
    let group = api_version.split('/').next().unwrap_or_default();
    let of_sources = ["sources.eventing.knative.dev", "sources.knative.dev"].contains(&group);
    let found = match kind {
        "AwsSqsSource" if of_sources => {
            "use an IntegrationSource (sources.knative.dev/v1alpha1) with spec.aws.sqs"
        }
        "GcpPubSubSource" if of_sources => {
            "use a ContainerSource (sources.knative.dev/v1) with an image that reads the topic and \
             posts to $K_SINK"
        }
        "KafkaSource" if of_sources => {
            "KafkaSource (sources.knative.dev/v1) comes with Knative's extension for Apache Kafka; \
             without it use a ContainerSource with an image that reads the topics and posts to $K_SINK"
        }
        "CamelSource" if of_sources => {
            "use a Pipe of Apache Camel K (camel.apache.org/v1), or an IntegrationSource \
             (sources.knative.dev/v1alpha1)"
        }
        "CouchDbSource" | "PrometheusSource" | "CephSource" | "BitbucketSource" if of_sources => {
            "use a ContainerSource (sources.knative.dev/v1) with an image that reads it and posts \
             to $K_SINK"
        }
        _ => return None,
    };
    Some(found)
}

fn of_today(mut new: Value, version: &str, kind: &str, note: &str) -> Outcome {
    new["apiVersion"] = json!(format!("sources.knative.dev/{version}"));
    new["kind"] = json!(kind);
    let mut notes = vec![note.to_owned()];
    let sink = &mut new["spec"]["sink"];
    if sink["kind"].is_string() {
        let reference = sink.take();
        *sink = json!({"ref": reference});
        notes.push("a sink's object stands in its ref".to_owned());
    }
    references(&mut new["spec"]);
    if let Some(spec) = new["spec"].as_object_mut() {
        spec.retain(|_, value| !value.is_null());
    }
    clean(&mut new);
    Outcome::Changed(vec![new], notes)
}

fn container(old: &Value) -> Outcome {
    let mut new = old.clone();
    let spec = &mut new["spec"];
    if spec["template"].is_null() {
        let mut container = json!({"name": "source"});
        for field in ["image", "args", "env"] {
            if !spec[field].is_null() {
                container[field] = spec[field].take();
            }
        }
        let mut pod = json!({"containers": [container]});
        if !spec["serviceAccountName"].is_null() {
            pod["serviceAccountName"] = spec["serviceAccountName"].take();
        }
        spec["template"] = json!({"spec": pod});
    }
    let note = "image, args and env stand in the Pod template of sources.knative.dev/v1; where the \
                events go is told by $K_SINK, no more by --sink";
    of_today(new, "v1", "ContainerSource", note)
}

/// A CronJobSource is a PingSource whose data is wrapped as it was then.
fn cron(old: &Value) -> Outcome {
    let mut new = old.clone();
    new["apiVersion"] = json!("sources.knative.dev/v1alpha1");
    new["kind"] = json!("PingSource");
    remove(&mut new["spec"], &["serviceAccountName", "resources"]);
    match converted(&new, OLD) {
        Outcome::Changed(objects, mut notes) => {
            notes.push(
                "a CronJobSource is a PingSource: its events are of the type \
                 dev.knative.sources.ping, not dev.knative.cronjob.event"
                    .to_owned(),
            );
            Outcome::Changed(objects, notes)
        }
        other => other,
    }
}

fn kubernetes_events(old: &Value) -> Outcome {
    let mut new = old.clone();
    let own = new.namespace().to_owned();
    let spec = &mut new["spec"];
    let namespace = spec["namespace"].take();
    spec["mode"] = json!("Resource");
    spec["resources"] = json!([{"apiVersion": "v1", "kind": "Event"}]);
    if namespace.is_string() && namespace != *own {
        spec["namespaceSelector"] =
            json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    }
    let note = "a KubernetesEventSource is an ApiServerSource of Events: its events are of the types \
                dev.knative.apiserver.resource.add, .update and .delete";
    of_today(new, "v1", "ApiServerSource", note)
}
