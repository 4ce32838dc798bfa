//! ApiServerSource: what happens to objects of the cluster as events. The watching is done by
//! whoever gives [`Watches`]; here is decided what is told and how.

use std::collections::BTreeSet;

use api::object::ObjectExt;
use bytes::Bytes;
use cloudevents::Event;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use serde_json::{Value, json};
use tracing::warn;

use super::{Outlet, new_id};
use crate::filters::Filter;

/// Where events say they come from.
const SOURCE: &str = "https://kubernetes.default.svc";

/// What happened to an object.
#[derive(Clone, Debug)]
pub enum Happened {
    /// It is there, and was not before.
    Added(Value),
    /// It is another than before.
    Updated(Value),
    /// It is gone; its last state.
    Deleted(Value),
}

/// Looks at the cluster's objects. `wire` gives what speaks to the API server.
pub trait Watches: Send + Sync + 'static {
    /// Everything that happens to objects of a kind in all namespaces, those that are there to
    /// begin with included. `plural` is its name in URLs.
    fn watch(
        &self,
        api_version: &str,
        kind: &str,
        plural: &str,
        namespaced: bool,
    ) -> BoxStream<'static, Happened>;
}

/// A broker on its own sees no objects.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoWatches;

impl Watches for NoWatches {
    fn watch(&self, _: &str, _: &str, _: &str, _: bool) -> BoxStream<'static, Happened> {
        futures_util::stream::pending().boxed()
    }
}

/// One line of `spec.resources`.
struct Resource {
    api_version: String,
    kind: String,
    plural: String,
    namespaced: bool,
    selector: Value,
}

/// What is told, and about what.
pub(super) struct ApiServer {
    resources: Vec<Resource>,
    /// `None` is all.
    namespaces: Option<BTreeSet<String>>,
    owner: Option<(String, String)>,
    whole: bool,
    filter: Filter,
}

impl ApiServer {
    /// Of the object's spec and the facts its plan found out.
    pub(super) fn new(source: &api::delivery::Source) -> Self {
        let spec = &source.object["spec"];
        let fact = |name: &str| source.facts.get(name).unwrap_or(&Value::Null);
        let text =
            |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let resources = list(fact("resources")).into_iter().filter_map(|one| {
            Some(Resource {
                api_version: text(&one, "apiVersion"),
                kind: text(&one, "kind"),
                plural: one["plural"].as_str()?.to_owned(),
                namespaced: one["namespaced"].as_bool().unwrap_or(true),
                selector: one["selector"].clone(),
            })
        });
        let namespaces = list(fact("namespaces"));
        let namespaces = namespaces
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned);
        let owner = &spec["owner"];
        Self {
            resources: resources.collect(),
            namespaces: (*fact("allNamespaces") != true).then(|| namespaces.collect()),
            owner: owner
                .is_object()
                .then(|| (text(owner, "apiVersion"), text(owner, "kind"))),
            whole: spec["mode"] == "Resource",
            filter: Filter::new(&list(fact("filters"))),
        }
    }

    /// Whether the source is about this object.
    fn concerns(&self, resource: &Resource, object: &Value) -> bool {
        let here = self.namespaces.as_ref().is_none_or(|namespaces| {
            !resource.namespaced || namespaces.contains(object.namespace())
        });
        let owned = self.owner.as_ref().is_none_or(|(api_version, kind)| {
            let owner = object.controller_owner();
            owner.is_some_and(|owner| {
                owner["apiVersion"] == **api_version && owner["kind"] == **kind
            })
        });
        here && owned && selects(&resource.selector, object)
    }

    fn event(
        &self,
        resource: &Resource,
        verb: &str,
        object: &Value,
    ) -> Result<Event, cloudevents::Error> {
        let Resource {
            api_version,
            kind,
            plural,
            ..
        } = resource;
        let (namespace, name) = (object.namespace(), object.name());
        let mode = if self.whole { "resource" } else { "ref" };
        let mut event = Event::new(
            &new_id(),
            SOURCE,
            &format!("dev.knative.apiserver.{mode}.{verb}"),
        )?;
        let subject = match namespace {
            "" => format!("/apis/{api_version}/{plural}/{name}"),
            some => format!("/apis/{api_version}/namespaces/{some}/{plural}/{name}"),
        };
        event.set("subject", subject)?;
        for (extension, value) in [
            ("apiversion", api_version.as_str()),
            ("kind", kind),
            ("name", name),
            ("namespace", namespace),
        ] {
            if !value.is_empty() {
                event.set(extension, value)?;
            }
        }
        let data = if self.whole {
            let mut whole = object.clone();
            whole["apiVersion"] = json!(api_version);
            whole["kind"] = json!(kind);
            whole
        } else {
            json!({"kind": kind, "namespace": namespace, "name": name, "apiVersion": api_version})
        };
        event.set_data("application/json", Bytes::from(data.to_string()))?;
        Ok(event)
    }
}

/// Sends until the task ends.
pub(super) async fn run(
    source: ApiServer,
    watches: Vec<BoxStream<'static, Happened>>,
    outlet: Outlet,
) {
    let numbered = watches.into_iter().enumerate();
    let mut all: SelectAll<_> = numbered
        .map(|(at, watch)| watch.map(move |happened| (at, happened)).boxed())
        .collect();
    while let Some((at, happened)) = all.next().await {
        let (verb, object) = match &happened {
            Happened::Added(object) => ("add", object),
            Happened::Updated(object) => ("update", object),
            Happened::Deleted(object) => ("delete", object),
        };
        let resource = &source.resources[at];
        if !source.concerns(resource, object) {
            continue;
        }
        match source.event(resource, verb, object) {
            Ok(event) if source.filter.passes(&event) => {
                outlet.send(event).await;
            }
            Ok(_) => {}
            Err(error) => warn!(source = %outlet.name, %error, "an object makes no valid event"),
        }
    }
}

impl ApiServer {
    /// The watches it needs, one for each of its resources.
    pub(super) fn watches(&self, watches: &dyn Watches) -> Vec<BoxStream<'static, Happened>> {
        let resources = self.resources.iter();
        resources
            .map(|one| watches.watch(&one.api_version, &one.kind, &one.plural, one.namespaced))
            .collect()
    }
}

/// Whether a label selector picks an object; `null` picks all.
fn selects(selector: &Value, object: &Value) -> bool {
    let exact = selector["matchLabels"].as_object();
    let mut exact = exact.into_iter().flatten();
    let expressions = selector["matchExpressions"].as_array();
    let mut expressions = expressions.into_iter().flatten();
    exact.all(|(key, value)| object.label(key) == value.as_str())
        && expressions.all(|expression| {
            let label = object.label(expression["key"].as_str().unwrap_or_default());
            let listed = || {
                let values = expression["values"].as_array();
                let mut values = values.into_iter().flatten();
                label.is_some_and(|label| values.any(|value| value == label))
            };
            match expression["operator"].as_str() {
                Some("In") => listed(),
                Some("NotIn") => !listed(),
                Some("Exists") => label.is_some(),
                Some("DoesNotExist") => label.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use api::delivery::{Endpoint, Source};

    use super::*;

    fn source(spec: Value, namespaces: Value) -> ApiServer {
        let resource = json!({"apiVersion": "v1", "kind": "Pod", "plural": "pods", "namespaced": true,
            "selector": spec["resources"][0]["selector"]});
        ApiServer::new(&Source {
            uid: "u".into(),
            object: Arc::new(json!({"spec": spec})),
            sink: Endpoint {
                url: "http://x".to_owned(),
                ca_certs: None,
                audience: None,
            },
            extensions: BTreeMap::new(),
            facts: BTreeMap::from([
                ("resources".to_owned(), json!([resource])),
                ("namespaces".to_owned(), namespaces),
            ]),
        })
    }

    fn pod() -> Value {
        json!({"metadata": {"name": "p", "namespace": "ns", "labels": {"a": "1"}}})
    }

    #[test]
    fn an_event_is_a_reference_or_the_whole() {
        let told = |mode: &str| {
            let source = source(json!({"mode": mode}), json!(["ns"]));
            let event = source
                .event(&source.resources[0], "add", &pod())
                .expect("valid");
            let data: Value = serde_json::from_slice(event.data().expect("data")).expect("JSON");
            assert_eq!(event.subject(), Some("/apis/v1/namespaces/ns/pods/p"));
            (event.kind().to_owned(), data)
        };
        let reference = json!({"kind": "Pod", "namespace": "ns", "name": "p", "apiVersion": "v1"});
        assert_eq!(
            told("Reference"),
            ("dev.knative.apiserver.ref.add".to_owned(), reference)
        );
        let (kind, whole) = told("Resource");
        assert_eq!(kind, "dev.knative.apiserver.resource.add");
        assert_eq!(
            (&whole["kind"], &whole["metadata"]),
            (&json!("Pod"), &pod()["metadata"])
        );
    }

    #[test]
    fn only_what_is_selected_is_told() {
        let select = |selector: Value| json!({"resources": [{"selector": selector}]});
        for (spec, namespaces, expected) in [
            (json!({}), json!(["ns"]), true),
            (json!({}), json!(["other"]), false),
            (
                select(json!({"matchLabels": {"a": "1"}})),
                json!(["ns"]),
                true,
            ),
            (
                select(json!({"matchLabels": {"a": "2"}})),
                json!(["ns"]),
                false,
            ),
            (
                select(
                    json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}),
                ),
                json!(["ns"]),
                false,
            ),
            (
                select(json!({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]})),
                json!(["ns"]),
                true,
            ),
            (
                json!({"owner": {"apiVersion": "apps/v1", "kind": "ReplicaSet"}}),
                json!(["ns"]),
                false,
            ),
        ] {
            let source = source(spec.clone(), namespaces);
            assert_eq!(
                source.concerns(&source.resources[0], &pod()),
                expected,
                "{spec}"
            );
        }
    }
}
