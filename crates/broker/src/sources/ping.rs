//! PingSource: the same event whenever the schedule says so.

use std::time::Duration;

use api::cron::Schedule;
use api::delivery::Key;
use api::object::ObjectExt;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cloudevents::Event;
use jiff::Timestamp;
use serde_json::Value;
use tracing::warn;

use super::{Outlet, new_id};

const TYPE: &str = "dev.knative.sources.ping";
/// Events are not all sent on the stroke: each waits up to this long, as with Knative's adapter.
const JITTER_MAX_MS: u64 = 500;
/// On a PingSource that stands for a source of old: the type and the source of its events.
const TYPE_ANNOTATION: &str = "eventing.rekindle.dev/event-type";
const SOURCE_ANNOTATION: &str = "eventing.rekindle.dev/event-source";
/// The schedule where the object has none: every minute.
const SCHEDULE: &str = "* * * * *";

/// What is sent, and when.
pub(super) struct Ping {
    schedule: Schedule,
    kind: String,
    source: String,
    content_type: String,
    data: Option<Bytes>,
}

impl Ping {
    /// Of the object, or what is wrong with its `spec`.
    pub(super) fn new(key: &Key, object: &Value) -> Result<Self, String> {
        let spec = &object["spec"];
        let own = || {
            let Key {
                namespace, name, ..
            } = key;
            format!("/apis/v1/namespaces/{namespace}/pingsources/{name}")
        };
        let text = |field: &str| spec[field].as_str().unwrap_or_default();
        let schedule = match text("schedule") {
            "" => SCHEDULE,
            some => some,
        };
        let schedule = Schedule::parse(schedule, text("timezone"));
        let data = match (text("dataBase64"), text("data")) {
            ("", "") => None,
            ("", data) => Some(Bytes::from(data.to_owned())),
            (coded, _) => {
                let data = STANDARD.decode(coded);
                Some(
                    data.map_err(|error| format!("spec.dataBase64: {error}"))?
                        .into(),
                )
            }
        };
        let content_type = match text("contentType") {
            "" => "application/json",
            some => some,
        };
        Ok(Self {
            schedule: schedule.map_err(|error| format!("spec.schedule: {error}"))?,
            kind: object
                .annotation(TYPE_ANNOTATION)
                .unwrap_or(TYPE)
                .to_owned(),
            source: object
                .annotation(SOURCE_ANNOTATION)
                .map_or_else(own, str::to_owned),
            content_type: content_type.to_owned(),
            data,
        })
    }

    fn event(&self, id: &str, now: Timestamp) -> Result<Event, cloudevents::Error> {
        let mut event = Event::new(id, &self.source, &self.kind)?;
        event.set("time", now.to_string())?;
        if let Some(data) = &self.data {
            event.set_data(&self.content_type, data.clone())?;
        }
        Ok(event)
    }
}

/// Sends until the task ends.
pub(super) async fn run(ping: Ping, outlet: Outlet) {
    while let Some(due) = ping.schedule.next(Timestamp::now()) {
        // The clock may be set while we sleep: what counts is what it shows then.
        while let Ok(wait) = due.duration_since(Timestamp::now()).try_into() {
            if wait == Duration::ZERO {
                break;
            }
            tokio::time::sleep(wait).await;
        }
        let event = ping.event(&new_id(), Timestamp::now());
        let jitter_ms = rand::random_range(0..=JITTER_MAX_MS);
        tokio::time::sleep(Duration::from_millis(jitter_ms)).await;
        match event {
            Ok(event) => {
                outlet.send(event).await;
            }
            Err(error) => return warn!(source = %outlet.name, %error, "it makes no valid events"),
        }
    }
    warn!(source = %outlet.name, "its schedule has no time left");
}

#[cfg(test)]
mod tests {
    use api::world::PING_SOURCE;
    use serde_json::json;

    use super::*;

    fn ping(spec: Value) -> Result<Ping, String> {
        Ping::new(&Key::new(PING_SOURCE, "ns", "p"), &json!({"spec": spec}))
    }

    #[test]
    fn an_event_has_what_the_object_says() {
        let spec = json!({"schedule": "*/2 * * * * *", "contentType": "text/plain", "data": "hi"});
        let event = ping(spec).expect("valid").event("1", Timestamp::UNIX_EPOCH);
        let event = event.expect("valid");
        assert_eq!(
            (event.kind(), event.source()),
            (TYPE, "/apis/v1/namespaces/ns/pingsources/p")
        );
        assert_eq!(event.time(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(event.data_content_type(), Some("text/plain"));
        assert_eq!(event.data().map(|data| &data[..]), Some(&b"hi"[..]));
        let coded = ping(json!({"dataBase64": "aGk="})).expect("valid");
        assert_eq!(coded.data.as_deref(), Some(&b"hi"[..]));
        let old = json!({
            "metadata": {"annotations": {TYPE_ANNOTATION: "old", SOURCE_ANNOTATION: "/old"}},
            "spec": {},
        });
        let old = Ping::new(&Key::new(PING_SOURCE, "ns", "p"), &old).expect("valid");
        let event = old.event("1", Timestamp::UNIX_EPOCH).expect("valid");
        assert_eq!((event.kind(), event.source()), ("old", "/old"));
    }

    #[test]
    fn mistakes_name_their_field() {
        for (spec, field) in [
            (json!({"schedule": "every day"}), "spec.schedule"),
            (json!({"dataBase64": "?"}), "spec.dataBase64"),
        ] {
            let error = ping(spec).err().expect("a mistake");
            assert!(error.starts_with(field), "{error}");
        }
    }
}
