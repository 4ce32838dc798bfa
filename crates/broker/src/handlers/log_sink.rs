//! IntegrationSink with `log`: writes every event down, as Knative's image for it does.

use std::sync::Arc;

use cloudevents::Event;
use futures_util::future::{BoxFuture, ready};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tracing::{debug, error, info, trace, warn};

use super::Handler;
use crate::answer::Answer;
use crate::ingress::Guard;

/// The logger's name where the object gives none.
const NAME: &str = "log-sink";

/// See the module.
pub(crate) struct LogSink {
    guard: Arc<Guard>,
    name: String,
    level: String,
    show_headers: bool,
    show_body: bool,
}

impl LogSink {
    /// Of the object's `spec.log`.
    pub(crate) fn new(guard: Arc<Guard>, log: &Value) -> Self {
        let text = |field: &str, default: &str| log[field].as_str().unwrap_or(default).to_owned();
        Self {
            guard,
            name: text("loggerName", NAME),
            level: text("level", "INFO"),
            show_headers: log["showHeaders"].as_bool().unwrap_or(true),
            show_body: log["showBody"].as_bool().unwrap_or(true),
        }
    }

    fn line(&self, event: &Event) -> String {
        let mut parts = Vec::new();
        if self.show_headers {
            let attributes = event.attributes();
            let mut shown: Vec<String> = attributes
                .map(|one| format!("ce-{}={}", one.name.as_str(), one.value.as_text()))
                .collect();
            shown.insert(0, format!("ce-specversion={}", event.version()));
            parts.push(format!("Headers: {{{}}}", shown.join(", ")));
        }
        if self.show_body {
            let data = event.data().map_or(&[][..], |data| &data[..]);
            parts.push(format!("Body: {}", String::from_utf8_lossy(data)));
        }
        parts.join(", ")
    }
}

impl Handler for LogSink {
    fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.guard)
    }

    fn handle<'a>(&'a self, event: Event, _: &'a HeaderMap, _: &'a str) -> BoxFuture<'a, Answer> {
        let (name, line) = (&self.name, self.line(&event));
        match self.level.as_str() {
            "ERROR" => error!(logger = %name, "{line}"),
            "WARN" => warn!(logger = %name, "{line}"),
            "DEBUG" => debug!(logger = %name, "{line}"),
            "TRACE" => trace!(logger = %name, "{line}"),
            _ => info!(logger = %name, "{line}"),
        }
        Box::pin(ready(Answer::empty(StatusCode::NO_CONTENT)))
    }
}

#[cfg(test)]
mod tests {
    use api::delivery::Access;
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_shows_what_is_asked_for() {
        let mut event = Event::new("1", "/s", "t").expect("valid");
        event
            .set_data("text/plain", Bytes::from_static(b"hello"))
            .expect("valid");
        let line =
            |log: Value| LogSink::new(Arc::new(Guard::new(&Access::default())), &log).line(&event);
        assert_eq!(
            line(json!({})),
            "Headers: {ce-specversion=1.0, ce-id=1, ce-source=/s, ce-type=t, \
             ce-datacontenttype=text/plain}, Body: hello"
        );
        assert_eq!(line(json!({"showHeaders": false})), "Body: hello");
    }
}
