//! IntegrationSource with `timer`: a message every so many milliseconds, as often as is asked for.

use std::time::Duration;

use bytes::Bytes;
use cloudevents::Event;
use serde_json::Value;
use tokio::time::MissedTickBehavior;
use tracing::warn;

use super::{Outlet, new_id};

const TYPE: &str = "dev.knative.eventing.timer";
const SOURCE: &str = "dev.knative.eventing.timer-source";
const SUBJECT: &str = "timer-source";
const PERIOD_MS: u64 = 1000;

/// What is sent, how often, how many times.
pub(super) struct Timer {
    period: Duration,
    message: Bytes,
    content_type: String,
    /// `None` has no end.
    count: Option<u64>,
}

impl Timer {
    /// Of the object's `spec.timer`.
    pub(super) fn new(timer: &Value) -> Self {
        let text = |field: &str| timer[field].as_str().unwrap_or_default().to_owned();
        let content_type = match text("contentType") {
            empty if empty.is_empty() => "text/plain".to_owned(),
            some => some,
        };
        Self {
            period: Duration::from_millis(timer["period"].as_u64().unwrap_or(PERIOD_MS).max(1)),
            message: text("message").into(),
            content_type,
            count: timer["repeatCount"].as_u64().filter(|count| *count > 0),
        }
    }

    fn event(&self) -> Result<Event, cloudevents::Error> {
        let mut event = Event::new(&new_id(), SOURCE, TYPE)?;
        event.set("subject", SUBJECT)?;
        event.set_data(&self.content_type, self.message.clone())?;
        Ok(event)
    }
}

/// Sends until the count is reached or the task ends.
pub(super) async fn run(timer: Timer, outlet: Outlet) {
    let mut ticks = tokio::time::interval(timer.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut left = timer.count;
    while left != Some(0) {
        ticks.tick().await;
        match timer.event() {
            Ok(event) => {
                outlet.send(event).await;
            }
            Err(error) => return warn!(source = %outlet.name, %error, "it makes no valid events"),
        }
        left = left.map(|left| left - 1);
    }
}
