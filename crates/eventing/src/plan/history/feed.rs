//! Feed → the source of `sources.knative.dev` that makes the events it asks for.

use api::conditions::Set;
use api::draft::{Draft, set_or_remove};
use api::object::ObjectExt;
use api::world::{
    CLUSTER_EVENT_SOURCE, CLUSTER_EVENT_TYPE, Context, EVENT_SOURCE, FEED, FEED_EVENT_TYPE, Key,
    Plan, World,
};
use history::channels;
use history::feeds::{self, NoSource, Source, TypeName};
use serde_json::{Value, json};

use super::keep;

const DEPENDENCIES: &str = "DependenciesSatisfied";
const SET: Set = Set::living(&[DEPENDENCIES]);

/// Plans one Feed.
pub(crate) fn plan(cx: &Context, key: &Key, world: &World) -> Plan {
    let Some(mut draft) = Draft::of(cx, world, FEED, key) else {
        return Plan::default();
    };
    let mut conditions = draft.conditions(SET);
    let sink = sink(&draft);
    match wanted(&draft, &sink) {
        Ok((source, want)) => {
            conditions.mark_true(DEPENDENCIES);
            remove_others(&mut draft, Some(source));
            let kind = source.kind();
            draft.status["feedContext"] = json!({"context": {"kind": kind.kind, "name": key.name}});
            keep(&mut draft, &mut conditions, "Ready", kind, want);
        }
        Err((reason, why)) => {
            remove_others(&mut draft, None);
            set_or_remove(&mut draft.status, "feedContext", None);
            conditions.mark_false(DEPENDENCIES, reason, &why);
        }
    }
    draft.finish(conditions)
}

/// The source that is meant, and the object it becomes.
fn wanted(draft: &Draft<'_>, sink: &Value) -> Result<(Source, Value), (&'static str, String)> {
    let source = find(draft)?;
    let want = source.translate(&draft.object, sink);
    Ok((source, want.map_err(|why| ("FeedInvalid", why))?))
}

/// Which source is meant: by the EventType and its EventSource where they are there, else by the
/// names of those that came with a release.
fn find(draft: &Draft<'_>) -> Result<Source, (&'static str, String)> {
    let trigger = &draft.object["spec"]["trigger"];
    let Some(name) = TypeName::of(trigger) else {
        let why = "The trigger names neither an eventType nor a clusterEventType.".to_owned();
        return Err(("EventTypeMissing", why));
    };
    let found = if name.is_cluster {
        draft.world.get(CLUSTER_EVENT_TYPE, "", name.name)
    } else {
        draft.get(FEED_EVENT_TYPE, name.name)
    };
    let service = trigger["service"].as_str().unwrap_or_default();
    let mut words = vec![service.to_owned(), name.name.to_owned()];
    if let Some(event_type) = &found {
        let spec = &event_type["spec"];
        let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
        let (own, of_cluster) = (text("eventSource"), text("clusterEventSource"));
        let source = if own.is_empty() {
            draft.world.get(CLUSTER_EVENT_SOURCE, "", &of_cluster)
        } else {
            draft.get(EVENT_SOURCE, &own)
        };
        let called: Vec<String> = source
            .iter()
            .flat_map(|source| feeds::words(source).map(str::to_owned))
            .collect();
        // What the objects say comes before what the trigger calls it.
        words.splice(0..0, called.into_iter().chain([own, of_cluster]));
    }
    feeds::source(words.iter().map(String::as_str)).map_err(|none| match found {
        Some(_) => ("EventSourceNotBuiltIn", none.advice()),
        None => missing(name, &none),
    })
}

fn missing(name: TypeName<'_>, none: &NoSource) -> (&'static str, String) {
    let (kind, reason) = if name.is_cluster {
        ("ClusterEventType", "ClusterEventTypeDoesNotExist")
    } else {
        ("EventType", "EventTypeDoesNotExist")
    };
    let why = format!("{kind} {:?} does not exist; {}", name.name, none.advice());
    (reason, why)
}

/// Where the events go, as a Destination.
fn sink(draft: &Draft<'_>) -> Value {
    let action = &draft.object["spec"]["action"];
    let text = |field: &str| action[field].as_str().unwrap_or_default();
    let (namespace, domain) = (draft.namespace(), draft.cx.cluster_domain.as_str());
    if !text("routeName").is_empty() {
        return json!({"ref": {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Route",
            "name": text("routeName"),
        }});
    }
    if !text("channelName").is_empty() {
        // A bare name is that of a Channel, a host is taken as it is.
        let is_channel = |name: &str| !name.contains('.');
        return channels::destination(text("channelName"), namespace, domain, &is_channel);
    }
    channels::destination(text("dnsName"), namespace, domain, &|_| false)
}

/// What stood for the Feed before its trigger named another source.
fn remove_others(draft: &mut Draft<'_>, source: Option<Source>) {
    let uid = draft.object.uid().to_owned();
    for other in [Source::K8sEvents, Source::GitHub, Source::Cron] {
        if Some(other) == source {
            continue;
        }
        let children = draft.world.owned(other.kind(), draft.namespace(), &uid);
        for child in children {
            draft.delete(other.kind(), &child);
        }
    }
}
