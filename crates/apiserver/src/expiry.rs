//! Events go after an hour, as Kubernetes' `--event-ttl` has it, and the oldest go sooner when
//! there are too many. One task, started by [`crate::ApiServer::open`].

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::auth::User;
use crate::core::{Core, decode_stored};
use crate::store::Entry;
use crate::write::{self, Call, DeleteOptions};

/// How long an Event stays after its last change.
const TTL: SignedDuration = SignedDuration::from_hours(1);
/// Events kept at the most, some megabytes.
const EVENTS_MAX: usize = 4096;
/// How often is looked.
const PERIOD: Duration = Duration::from_secs(10);

/// Runs until the server is closed.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        sweep(&core, Timestamp::now()).await;
    }
}

/// Removes the Events that are too old by `now`, or too many.
async fn sweep(core: &Arc<Core>, now: Timestamp) {
    let resource = core.builtin("", "events");
    let mut events = core.store.list(resource.id, "");
    events.sort_by_key(|event| event.revision);
    let surplus = events.len().saturating_sub(EVENTS_MAX);
    let user = User::admin("system:apiserver");
    for (place, event) in events.iter().enumerate() {
        // They lie in the order of their last change: what follows is younger.
        if place >= surplus && !is_old(event, now) {
            return;
        }
        let call = Call::internal(core, &resource, event.namespace(), &user);
        if let Err(status) = write::delete(&call, event.name(), &DeleteOptions::default()).await
            && status.reason != "NotFound"
        {
            let (path, message) = (&*event.path, status.message);
            tracing::warn!(path, message, "an old Event stays");
            return;
        }
    }
}

fn is_old(event: &Entry, now: Timestamp) -> bool {
    let Ok(event) = decode_stored(event) else {
        return false;
    };
    let times = [
        &event["series"]["lastObservedTime"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["metadata"]["creationTimestamp"],
    ];
    let time = |value: &&Value| value.as_str()?.parse::<Timestamp>().ok();
    let last = times.iter().filter_map(time).max();
    last.is_some_and(|last| now.duration_since(last) >= TTL)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{ApiServer, Config};

    #[tokio::test]
    async fn old_events_go_and_young_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let server = ApiServer::open(Config::new(dir.path())).await.unwrap();
        let core = &server.core;
        let resource = core.builtin("", "events");
        let user = User::admin("test");
        let now = Timestamp::now();
        for (name, minutes) in [("old", 61), ("young", 59), ("new", 0)] {
            let last = now - SignedDuration::from_mins(minutes);
            let event = json!({
                "metadata": {"name": name, "creationTimestamp": "2020-01-01T00:00:00Z"},
                "involvedObject": {"namespace": "default"},
                "lastTimestamp": last.strftime("%FT%TZ").to_string(),
            });
            let call = Call::internal(core, &resource, "default", &user);
            write::create(&call, event).await.unwrap();
        }
        let names = || -> Vec<String> {
            let events = core.store.list(resource.id, "");
            events.iter().map(|event| event.name().to_owned()).collect()
        };
        // What was made just now counts as seen just now: creation is the server's to say.
        sweep(core, now).await;
        assert_eq!(names(), ["new", "old", "young"]);
        sweep(core, now + SignedDuration::from_mins(30)).await;
        assert_eq!(names(), ["new", "old", "young"]);
        sweep(core, now + SignedDuration::from_mins(61)).await;
        assert!(names().is_empty());
    }
}
