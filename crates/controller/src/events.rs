//! Kubernetes Events: what plans have to say about objects, repeated ones counted in one Event.

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

/// What makes two events the same: object, type, reason, message.
type Same = (String, &'static str, String, String);

/// Makes the requests that record events.
pub(crate) struct Recorder {
    component: &'static str,
    known: BTreeMap<Same, Value>,
}

impl Recorder {
    pub(crate) fn new(component: &'static str) -> Self {
        let known = BTreeMap::new();
        Self { component, known }
    }

    /// The request that records the event: a new one, or the old one with its count raised.
    pub(crate) fn record(
        &mut self,
        now: Timestamp,
        regarding: &Value,
        event_type: &'static str,
        reason: &str,
        message: &str,
    ) -> Request {
        let (reason, message) = (reason.to_owned(), message.to_owned());
        let same = (regarding.uid().to_owned(), event_type, reason, message);
        let time = json!(now.strftime("%FT%TZ").to_string());
        if let Some(event) = self.known.get_mut(&same) {
            event["count"] = json!(event["count"].as_u64().unwrap_or_default() + 1);
            event["lastTimestamp"] = time;
            let uri = path(EVENT, event.namespace(), event.name(), "");
            return Request::json(Method::PUT, uri, event.to_string());
        }
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        let event = self.event(now, regarding, &same);
        let uri = path(EVENT, event.namespace(), "", "");
        let request = Request::json(Method::POST, uri, Bytes::from(event.to_string()));
        self.known.insert(same, event);
        request
    }

    fn event(&self, now: Timestamp, regarding: &Value, same: &Same) -> Value {
        let (_, event_type, reason, message) = same;
        let namespace = match regarding.namespace() {
            "" => "default",
            namespace => namespace,
        };
        let time = now.strftime("%FT%TZ").to_string();
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "namespace": namespace,
                "name": format!("{}.{:x}", regarding.name(), now.as_nanosecond()),
            },
            "involvedObject": {
                "apiVersion": regarding.api_version(),
                "kind": regarding.kind(),
                "namespace": regarding.namespace(),
                "name": regarding.name(),
                "uid": regarding.uid(),
                "resourceVersion": regarding.resource_version(),
            },
            "type": event_type,
            "reason": reason,
            "message": message,
            "source": {"component": self.component},
            "reportingComponent": self.component,
            "reportingInstance": "",
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_are_counted() {
        let mut recorder = Recorder::new("deployment-controller");
        let regarding = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "namespace": "a", "name": "p", "uid": "u"}});
        let now = Timestamp::from_second(1).unwrap();
        let mut record = |message| recorder.record(now, &regarding, "Normal", "Did", message);
        let first = record("it");
        assert_eq!(first.uri, "/api/v1/namespaces/a/events");
        let again = record("it");
        assert_eq!(again.uri, "/api/v1/namespaces/a/events/p.3b9aca00");
        let body: Value = serde_json::from_slice(&again.body).unwrap();
        assert_eq!(body["count"], 2);
        assert_eq!(record("else").method, Method::POST);
    }
}
