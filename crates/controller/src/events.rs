//! Kubernetes Events: what plans, and the node, have to say about objects, repeated ones counted
//! in one Event.

use std::collections::BTreeMap;

use api::object::ObjectExt;
use api::world::EVENT;
use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::request::{Request, path};

/// Events remembered to be counted up; beyond it all are forgotten and start at one.
const REMEMBERED_MAX: usize = 4096;

/// What makes two events the same: object, its part, type, reason, message.
type Same = (String, String, &'static str, String, String);

/// An Event that is stored.
struct Known {
    name: String,
    first: Timestamp,
    count: u64,
}

/// Something that happened to an object.
#[derive(Clone, Copy, Debug)]
pub struct Happening<'a> {
    /// When.
    pub at: Timestamp,
    /// The object (apiVersion, kind, metadata are read).
    pub regarding: &'a Value,
    /// The part of it, as `spec.containers{NAME}`; empty for the whole.
    pub field: &'a str,
    /// `Normal` or `Warning`.
    pub event_type: &'static str,
    /// CamelCase reason.
    pub reason: &'a str,
    /// The sentence for people.
    pub message: &'a str,
}

impl Happening<'_> {
    fn same(&self) -> Same {
        (
            self.regarding.uid().to_owned(),
            self.field.to_owned(),
            self.event_type,
            self.reason.to_owned(),
            self.message.to_owned(),
        )
    }

    fn namespace(&self) -> &str {
        match self.regarding.namespace() {
            "" => "default",
            namespace => namespace,
        }
    }
}

/// Makes the requests that record events.
pub struct Recorder {
    component: String,
    /// The machine the component runs on; empty for one of the cluster.
    host: String,
    known: BTreeMap<Same, Known>,
}

impl Recorder {
    /// The recorder of a component, on a machine if it belongs to one.
    pub fn new(component: &str, host: &str) -> Self {
        Self {
            component: component.to_owned(),
            host: host.to_owned(),
            known: BTreeMap::new(),
        }
    }

    /// The request that records the event: a new one, or the old one with its count raised.
    pub fn record(&mut self, happening: &Happening<'_>) -> Request {
        let same = happening.same();
        if let Some(known) = self.known.get_mut(&same) {
            known.count += 1;
            let uri = path(EVENT, happening.namespace(), &known.name, "");
            let event = event(&self.component, &self.host, happening, known);
            return Request::json(Method::PUT, uri, event.to_string());
        }
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        let name = happening.regarding.name();
        let known = Known {
            name: format!("{name}.{:x}", happening.at.as_nanosecond()),
            first: happening.at,
            count: 1,
        };
        let event = event(&self.component, &self.host, happening, &known);
        let uri = path(EVENT, happening.namespace(), "", "");
        self.known.insert(same, known);
        Request::json(Method::POST, uri, Bytes::from(event.to_string()))
    }

    /// The stored Event is gone, as Events go after a while: the next one is a first one.
    pub fn forget(&mut self, happening: &Happening<'_>) {
        self.known.remove(&happening.same());
    }
}

fn event(component: &str, host: &str, happening: &Happening<'_>, known: &Known) -> Value {
    let regarding = happening.regarding;
    let time = |at: Timestamp| at.strftime("%FT%TZ").to_string();
    let mut event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": happening.namespace(), "name": known.name},
        "involvedObject": {
            "apiVersion": regarding.api_version(),
            "kind": regarding.kind(),
            "namespace": regarding.namespace(),
            "name": regarding.name(),
            "uid": regarding.uid(),
            "resourceVersion": regarding.resource_version(),
        },
        "type": happening.event_type,
        "reason": happening.reason,
        "message": happening.message,
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": host,
        "firstTimestamp": time(known.first),
        "lastTimestamp": time(happening.at),
        "count": known.count,
    });
    if !host.is_empty() {
        event["source"]["host"] = json!(host);
    }
    if !happening.field.is_empty() {
        event["involvedObject"]["fieldPath"] = json!(happening.field);
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_counted() {
        let mut recorder = Recorder::new("kubelet", "machine");
        let regarding = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "namespace": "a", "name": "p", "uid": "u"}});
        let now = Timestamp::from_second(1).unwrap();
        let happening = |message| Happening {
            at: now,
            regarding: &regarding,
            field: "spec.containers{c}",
            event_type: "Normal",
            reason: "Did",
            message,
        };
        let mut record = |message| recorder.record(&happening(message));
        let first = record("it");
        assert_eq!(first.uri, "/api/v1/namespaces/a/events");
        let again = record("it");
        assert_eq!(again.uri, "/api/v1/namespaces/a/events/p.3b9aca00");
        let body: Value = serde_json::from_slice(&again.body).unwrap();
        assert_eq!(body["count"], 2);
        assert_eq!(body["involvedObject"]["fieldPath"], "spec.containers{c}");
        assert_eq!(
            body["source"],
            json!({"component": "kubelet", "host": "machine"})
        );
        assert_eq!(record("else").method, Method::POST);
        recorder.forget(&happening("it"));
        assert_eq!(recorder.record(&happening("it")).method, Method::POST);
    }
}
