//! The kinds of 2018.

use api::object::ObjectExt;
use serde_json::{Value, json};

use super::{Catalog, Outcome, clean};
use crate::channels::{self, Bus};
use crate::feeds::{self, Source, TypeName};
use crate::{flows, text};

/// What Services are called by.
const DOMAIN: &str = "cluster.local";
const CHANNELS: &str = "channels.knative.dev";
const FEEDS: &str = "feeds.knative.dev";

pub(super) fn outcome(catalog: &Catalog, object: &Value) -> Outcome {
    let group = object.api_version().split('/').next().unwrap_or_default();
    match (group, object.kind()) {
        (CHANNELS, "Bus" | "ClusterBus") => Outcome::Gone(vec![
            "there are no buses any more: a Channel is kept by what its spec.channelTemplate names, \
             and by the installation's default without one"
                .to_owned(),
        ]),
        (CHANNELS, "Channel") => {
            let (channel, notes) = channel(object);
            Outcome::Changed(vec![channel], notes)
        }
        (CHANNELS, "Subscription") => {
            let (subscription, notes) = subscription(catalog, object);
            Outcome::Changed(vec![subscription], notes)
        }
        (FEEDS, "EventSource" | "ClusterEventSource" | "EventType" | "ClusterEventType") => {
            Outcome::Gone(vec![
                "sources are kinds of their own now (sources.knative.dev); an EventType of \
                 eventing.knative.dev only describes events"
                    .to_owned(),
            ])
        }
        (FEEDS, "Feed") => match feed(catalog, object) {
            Ok((source, notes)) => Outcome::Changed(vec![source], notes),
            Err(why) => Outcome::Refused(why),
        },
        ("flows.knative.dev", "Flow") => flow(catalog, object),
        _ => Outcome::Same,
    }
}

fn channel(old: &Value) -> (Value, Vec<String>) {
    let mut new = channels::channel(old);
    clean(&mut new);
    let bus = Bus::of(old).map_or("", |bus| bus.name);
    let mut notes = vec![format!(
        "a Channel of channels.knative.dev is one of messaging.knative.dev; instead of the bus \
         {bus:?} the installation's default channel keeps its events"
    )];
    if old["spec"]["arguments"].is_array() {
        notes.push("spec.arguments were the bus's: today they belong into the spec of a spec.channelTemplate".to_owned());
    }
    let name = old.name();
    notes.push(format!(
        "it is called as {name}-kn-channel instead of {name}-channel"
    ));
    (new, notes)
}

fn is_channel(catalog: &Catalog, namespace: &str) -> impl Fn(&str) -> bool {
    move |name| {
        let known = |kind: &str| catalog.find(kind, namespace, name).is_some();
        known("Channel.channels.knative.dev") || known("Flow.flows.knative.dev")
    }
}

fn subscription(catalog: &Catalog, old: &Value) -> (Value, Vec<String>) {
    let is_channel = is_channel(catalog, old.namespace());
    let mut new = channels::subscription(old, DOMAIN, &is_channel);
    clean(&mut new);
    let mut notes = vec![
        "a Subscription names its channel and who gets the events by reference or URL; a bare name \
         was that of a Service of its namespace"
            .to_owned(),
    ];
    if old["spec"]["arguments"].is_array() {
        notes.push("spec.arguments were the bus's and are left out".to_owned());
    }
    if old.namespace().is_empty() {
        notes.push(
            "the namespace is not said here: complete the host of the URL with it".to_owned(),
        );
    }
    (new, notes)
}

/// The source of a Feed, or why there is none.
fn feed(catalog: &Catalog, old: &Value) -> Result<(Value, Vec<String>), String> {
    let source = source(catalog, old)?;
    let mut new = source.translate(old, &sink(catalog, old))?;
    clean(&mut new);
    let kind = source.kind();
    let mut notes = vec![format!(
        "a Feed is a source of its own kind now: {} of {}",
        kind.kind, kind.group
    )];
    notes.extend(match source {
        Source::K8sEvents => Some(
            "its events are of the types dev.knative.apiserver.resource.add, .update and .delete; \
             the ServiceAccount must be allowed to watch events",
        ),
        Source::GitHub => Some(
            "its events are of types like dev.knative.source.github.pull_request; the Secret held \
             both tokens as JSON under one key, which Rekindle still reads: elsewhere give each a key",
        ),
        Source::Cron => Some("its events are of the type dev.knative.sources.ping"),
    }.map(str::to_owned));
    Ok((new, notes))
}

fn source(catalog: &Catalog, feed: &Value) -> Result<Source, String> {
    let trigger = &feed["spec"]["trigger"];
    let named = TypeName::of(trigger)
        .ok_or("spec.trigger names no event type: write a source of sources.knative.dev")?;
    let mut words = vec![text(trigger, "service"), named.name];
    let (type_kind, source_kind, field) = if named.is_cluster {
        (
            "ClusterEventType",
            "ClusterEventSource",
            "clusterEventSource",
        )
    } else {
        ("EventType", "EventSource", "eventSource")
    };
    let find =
        |kind: &str, name: &str| catalog.find(&format!("{kind}.{FEEDS}"), feed.namespace(), name);
    if let Some(event_type) = find(type_kind, named.name) {
        let name = text(&event_type["spec"], field);
        words.insert(0, name);
        if let Some(source) = find(source_kind, name) {
            words.splice(0..0, feeds::words(source));
        }
    }
    feeds::source(words).map_err(|none| none.advice())
}

fn sink(catalog: &Catalog, feed: &Value) -> Value {
    let action = &feed["spec"]["action"];
    let namespace = feed.namespace();
    if !text(action, "routeName").is_empty() {
        return json!({"ref": {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Route",
            "name": text(action, "routeName"),
        }});
    }
    let is_channel = is_channel(catalog, namespace);
    let name = match text(action, "dnsName") {
        "" => text(action, "channelName"),
        host => host,
    };
    if !name.contains('.') {
        return channels::destination(name, namespace, DOMAIN, &|_| true);
    }
    // The host of a Channel: NAME-channel.NAMESPACE.svc.cluster.local.
    let first = name.split('.').next().unwrap_or_default();
    let of_channel = first.strip_suffix("-channel").unwrap_or_default();
    if is_channel(of_channel) {
        return channels::destination(of_channel, namespace, DOMAIN, &is_channel);
    }
    channels::destination(name, namespace, DOMAIN, &is_channel)
}

fn flow(catalog: &Catalog, old: &Value) -> Outcome {
    let action = &old["spec"]["action"];
    let subscriber = match action["targetURI"].as_str() {
        Some(uri) => json!({"uri": uri}),
        None => {
            let target = &action["target"];
            let api_version = match text(target, "apiVersion").split_once('/') {
                Some(("serving.knative.dev", _)) => "serving.knative.dev/v1",
                _ => text(target, "apiVersion"),
            };
            json!({"ref": {
                "apiVersion": api_version,
                "kind": target["kind"],
                "name": target["name"],
            }})
        }
    };
    let feed_of = flows::feed(old, DOMAIN);
    let (source, why) = match feed(catalog, &feed_of) {
        Ok(found) => found,
        Err(why) => return Outcome::Refused(why),
    };
    let (channel, _) = channel(&flows::channel(old, flows::DEFAULT_BUS));
    let (mut subscription, _) = subscription(catalog, &flows::subscription(old, ""));
    subscription["spec"]["subscriber"] = subscriber;
    let mut notes = vec![
        "a Flow was a source, a Channel and a Subscription, which are written out; for one target \
         the source's sink could name it without the Channel"
            .to_owned(),
    ];
    notes.extend(why.into_iter().skip(1));
    Outcome::Changed(vec![channel, subscription, source], notes)
}
