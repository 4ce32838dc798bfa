//! The sources of 2019, `sources.eventing.knative.dev/v1alpha1` (Eventing 0.2 to 0.13), as those of
//! `sources.knative.dev`.

use api::object::ObjectExt;
use api::world::{
    API_SERVER_SOURCE, CHANNEL, CONTAINER_SOURCE, GITHUB_SOURCE, Kind, PING_SOURCE, SINK_BINDING,
};
use serde_json::{Value, json};

use crate::channels::metadata;
use crate::moved::EVENTING;
use crate::text;

/// On a PingSource: the type and the source of its events, where they are not its own.
const EVENT_TYPE: &str = "eventing.rekindle.dev/event-type";
const EVENT_SOURCE: &str = "eventing.rekindle.dev/event-source";

/// Why there is no such source today: reason and sentence.
pub type Refusal = (&'static str, String);

/// The source of today that `old` stands for.
///
/// # Errors
/// For kinds that need a cloud's own client, and where the object lacks something.
pub fn translate(old: &Value) -> Result<(Kind, Value), Refusal> {
    let spec = &old["spec"];
    let (kind, mut new) = match old.kind() {
        "CronJobSource" => (PING_SOURCE, cron(spec)),
        "ApiServerSource" => (API_SERVER_SOURCE, api_server(spec)),
        "KubernetesEventSource" => (API_SERVER_SOURCE, kubernetes_events(old)),
        "ContainerSource" => (CONTAINER_SOURCE, container(spec)),
        "GitHubSource" => (GITHUB_SOURCE, spec.clone()),
        "SinkBinding" => (SINK_BINDING, spec.clone()),
        "AwsSqsSource" => return Err(not_here("Amazon SQS")),
        "CamelSource" => return Err(not_here("Apache Camel")),
        "KafkaSource" => return Err(not_here("Apache Kafka")),
        "GcpPubSubSource" => return Err(not_here("Google Cloud Pub/Sub")),
        other => return Err(("NotSupported", format!("{other} is no source of 2019"))),
    };
    new["sink"] = destination(&spec["sink"]);
    if kind == API_SERVER_SOURCE && !text(spec, "serviceAccountName").is_empty() {
        new["serviceAccountName"] = spec["serviceAccountName"].clone();
    }
    let mut metadata = metadata(old);
    if old.kind() == "CronJobSource" {
        let (namespace, name) = (old.namespace(), old.name());
        let source = format!("/apis/v1/namespaces/{namespace}/cronjobsources/{name}");
        if !metadata["annotations"].is_object() {
            metadata["annotations"] = json!({});
        }
        metadata["annotations"][EVENT_TYPE] = json!("dev.knative.cronjob.event");
        metadata["annotations"][EVENT_SOURCE] = json!(source);
    }
    let object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": metadata,
        "spec": new,
    });
    Ok((kind, object))
}

fn not_here(what: &str) -> Refusal {
    let why = format!(
        "Events of {what} need its own client, which is not built in: run an image that has it \
         as a ContainerSource."
    );
    ("NotSupported", why)
}

/// A sink is an object itself, or a Destination.
fn destination(sink: &Value) -> Value {
    let mut sink = sink.clone();
    if sink["kind"].is_string() && !sink["ref"].is_object() {
        sink = json!({"ref": sink});
    }
    // The channels of 2019 are those of `messaging.knative.dev`.
    if (text(&sink["ref"], "apiVersion"), text(&sink["ref"], "kind")) == (EVENTING, CHANNEL.kind) {
        sink["ref"]["apiVersion"] = json!(CHANNEL.api_version());
    }
    sink
}

/// Data that are no JSON object are wrapped in one, as the adapter did.
fn cron(spec: &Value) -> Value {
    let data = text(spec, "data");
    let is_object = serde_json::from_str::<Value>(data).is_ok_and(|data| data.is_object());
    let data = match is_object {
        true => data.to_owned(),
        false => json!({"body": data}).to_string(),
    };
    json!({
        "schedule": spec["schedule"],
        "contentType": "application/json",
        "data": data,
    })
}

fn api_server(spec: &Value) -> Value {
    let listed = spec["resources"].as_array().into_iter().flatten();
    let resources: Vec<Value> = listed
        .map(|resource| {
            let mut new = json!({
                "apiVersion": resource["apiVersion"],
                "kind": resource["kind"],
            });
            if resource["labelSelector"].is_object() {
                new["selector"] = resource["labelSelector"].clone();
            }
            new
        })
        .collect();
    let mode = match text(spec, "mode") {
        "Resource" => "Resource",
        _ => "Reference",
    };
    let mut new = json!({"mode": mode, "resources": resources});
    let mut controllers = spec["resources"].as_array().into_iter().flatten();
    let owner = controllers.find_map(|resource| {
        let selector = &resource["controllerSelector"];
        (!text(selector, "kind").is_empty())
            .then(|| json!({"apiVersion": selector["apiVersion"], "kind": selector["kind"]}))
    });
    if let Some(owner) = owner {
        new["owner"] = owner;
    }
    new
}

fn kubernetes_events(old: &Value) -> Value {
    let mut new = json!({
        "mode": "Resource",
        "resources": [{"apiVersion": "v1", "kind": "Event"}],
    });
    let namespace = text(&old["spec"], "namespace");
    if !namespace.is_empty() && namespace != old.namespace() {
        new["namespaceSelector"] =
            json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    }
    new
}

/// A container was told its sink by the argument `--sink`.
fn container(spec: &Value) -> Value {
    if spec["template"].is_object() {
        return json!({"template": spec["template"]});
    }
    let list = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
    let mut args = list("args");
    let has_sink = |arg: &Value| {
        let arg = arg.as_str().unwrap_or_default().trim_start_matches('-');
        arg == "sink" || arg.starts_with("sink=")
    };
    if !args.iter().any(has_sink) {
        args.push(json!("--sink=$(K_SINK)"));
    }
    let mut pod = json!({"containers": [{
        "name": "source",
        "image": spec["image"],
        "args": args,
        "env": list("env"),
    }]});
    if !text(spec, "serviceAccountName").is_empty() {
        pod["serviceAccountName"] = spec["serviceAccountName"].clone();
    }
    json!({"template": {"spec": pod}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(kind: &str, spec: Value) -> Result<Value, &'static str> {
        let old = json!({
            "apiVersion": "sources.eventing.knative.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": "s", "namespace": "ns", "uid": "u"},
            "spec": spec,
        });
        translate(&old)
            .map(|(_, new)| new)
            .map_err(|(reason, _)| reason)
    }

    #[test]
    fn a_cron_job_source_is_a_ping_source_with_events_of_old() {
        let sink = json!({"apiVersion": "v1", "kind": "Service", "name": "display"});
        let spec = json!({"schedule": "*/2 * * * *", "data": "hi", "sink": sink});
        assert_eq!(
            new("CronJobSource", spec),
            Ok(json!({
                "apiVersion": "sources.knative.dev/v1",
                "kind": "PingSource",
                "metadata": {"name": "s", "namespace": "ns", "annotations": {
                    EVENT_TYPE: "dev.knative.cronjob.event",
                    EVENT_SOURCE: "/apis/v1/namespaces/ns/cronjobsources/s",
                }},
                "spec": {
                    "schedule": "*/2 * * * *",
                    "contentType": "application/json",
                    "data": "{\"body\":\"hi\"}",
                    "sink": {"ref": sink},
                },
            }))
        );
    }

    #[test]
    fn specs_are_translated() {
        let uri = json!({"uri": "http://x"});
        let channel = json!({"ref": {"apiVersion": "eventing.knative.dev/v1alpha1", "kind": "Channel", "name": "c"}});
        for (kind, mut spec, sink, mut expected) in [
            (
                "ApiServerSource",
                json!({"mode": "Ref", "serviceAccountName": "sa", "resources": [
                    {"apiVersion": "v1", "kind": "Pod", "controller": true,
                     "controllerSelector": {"apiVersion": "apps/v1", "kind": "ReplicaSet"},
                     "labelSelector": {"matchLabels": {"a": "b"}}},
                ]}),
                &uri,
                json!({"mode": "Reference", "serviceAccountName": "sa",
                    "owner": {"apiVersion": "apps/v1", "kind": "ReplicaSet"},
                    "resources": [{"apiVersion": "v1", "kind": "Pod", "selector": {"matchLabels": {"a": "b"}}}]}),
            ),
            (
                "KubernetesEventSource",
                json!({"namespace": "other", "serviceAccountName": "sa"}),
                &uri,
                json!({"mode": "Resource", "serviceAccountName": "sa",
                    "resources": [{"apiVersion": "v1", "kind": "Event"}],
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}),
            ),
            (
                "ContainerSource",
                json!({"image": "i", "args": ["--period=1"], "serviceAccountName": "sa"}),
                &uri,
                json!({"template": {"spec": {"serviceAccountName": "sa", "containers": [
                    {"name": "source", "image": "i", "args": ["--period=1", "--sink=$(K_SINK)"], "env": []},
                ]}}}),
            ),
            (
                "GitHubSource",
                json!({"ownerAndRepository": "a/b"}),
                &channel,
                json!({"ownerAndRepository": "a/b"}),
            ),
        ] {
            spec["sink"] = sink.clone();
            expected["sink"] = sink.clone();
            if sink["ref"].is_object() {
                expected["sink"]["ref"]["apiVersion"] = json!("messaging.knative.dev/v1");
            }
            let new = new(kind, spec).expect("it is translated");
            assert_eq!(new["spec"], expected, "{kind}");
        }
        for kind in [
            "AwsSqsSource",
            "CamelSource",
            "GcpPubSubSource",
            "KafkaSource",
        ] {
            assert_eq!(new(kind, json!({})), Err("NotSupported"));
        }
    }
}
