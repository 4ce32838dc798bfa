//! EventTransform: what a JSONata expression makes of an event goes back to the sender, or on to a
//! sink, whose answer may be transformed in turn. As Knative's image `transform-jsonata` has it.

use std::sync::Arc;
use std::time::Duration;

use api::delivery;
use bytes::Bytes;
use cloudevents::{Event, Mode};
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::Handler;
use crate::answer::Answer;
use crate::dispatch::reply;
use crate::ingress::{Guard, forwarded};
use crate::jsonata;
use crate::sender::{Address, Sender};

/// How long the sink may take.
const SINK_MAX: Duration = Duration::from_secs(600);
const REASON: HeaderName = HeaderName::from_static("reason");
const STRUCTURED: &str = "application/cloudevents+json";
const JSON: &str = "application/json";

/// See the module.
pub(crate) struct EventTransform {
    guard: Arc<Guard>,
    sender: Sender,
    expression: Arc<str>,
    sink: Option<Sink>,
}

/// Where results go.
struct Sink {
    address: Address,
    then: Then,
}

/// What becomes of the sink's answer.
enum Then {
    Pass,
    Discard,
    Transform(Arc<str>),
}

impl EventTransform {
    /// Of the object's spec.
    pub(crate) fn new(
        guard: Arc<Guard>,
        sender: &Sender,
        handler: &delivery::Handler,
    ) -> Result<Self, String> {
        let spec = &handler.object["spec"];
        let expression = |of: &Value| of["jsonata"]["expression"].as_str().map(Arc::from);
        let then = match expression(&spec["reply"]) {
            Some(expression) => Then::Transform(expression),
            None if spec["reply"]["discard"] == true => Then::Discard,
            None => Then::Pass,
        };
        let has_sink = spec["sink"].is_object();
        let sink = handler.sink.as_ref().map(|endpoint| Sink {
            address: sender.address(endpoint, handler.service_account.as_deref()),
            then,
        });
        if has_sink && sink.is_none() {
            return Err("its sink has no address".to_owned());
        }
        Ok(Self {
            guard,
            sender: sender.clone(),
            expression: expression(spec).ok_or("it has no jsonata expression")?,
            sink,
        })
    }

    async fn transform(&self, input: Value, headers: &HeaderMap) -> Answer {
        let (content_type, body) = match apply(&self.expression, input).await {
            Ok(result) => result,
            Err(why) => return failed(&why),
        };
        let Some(sink) = &self.sink else {
            return answer(StatusCode::OK, content_type, body);
        };
        let mut out = HeaderMap::new();
        out.insert(CONTENT_TYPE, content_type);
        for (name, value) in headers.iter().filter(|(name, _)| forwarded(name.as_str())) {
            out.append(name, value.clone());
        }
        let sent = self.sender.post(&sink.address, out, body, SINK_MAX).await;
        match sent {
            Ok(got) => after(&sink.then, got).await,
            Err(failure) => failed(&format!("{}: {failure}", sink.address.url())),
        }
    }
}

/// What the sender hears of the sink's answer.
async fn after(then: &Then, got: Answer) -> Answer {
    match then {
        Then::Discard => Answer::empty(got.status),
        Then::Pass => {
            let mut passed = Answer::empty(got.status);
            for (name, value) in &got.headers {
                if name == CONTENT_TYPE || name.as_str().starts_with("ce-") {
                    passed.headers.append(name, value.clone());
                }
            }
            passed.body = got.body;
            passed
        }
        Then::Transform(expression) => {
            let input = match reply(&got) {
                Some(Ok(event)) => structured(&event),
                _ => loose(&got.body),
            };
            match apply(expression, input).await {
                Ok((content_type, body)) => answer(got.status, content_type, body),
                Err(why) => failed(&why),
            }
        }
    }
}

/// Media type and bytes of what the expression makes of `input`.
async fn apply(expression: &Arc<str>, input: Value) -> Result<(HeaderValue, Bytes), String> {
    let result = jsonata::evaluate(expression, input).await;
    let result = result.map_err(|error| error.to_string())?;
    let Some(result) = result.filter(|result| result.is_object() || result.is_array()) else {
        return Err("the expression gives neither an object nor an array".to_owned());
    };
    let content_type = match &result["contenttype"] {
        Value::String(stated) if !stated.is_empty() => stated.as_str(),
        _ if result["specversion"].is_null() => JSON,
        _ => STRUCTURED,
    };
    let content_type = HeaderValue::from_str(content_type);
    let content_type = content_type.map_err(|_| "contenttype is no media type".to_owned())?;
    Ok((content_type, result.to_string().into()))
}

fn answer(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Answer {
    let mut answer = Answer::empty(status);
    answer.headers.insert(CONTENT_TYPE, content_type);
    answer.body = body;
    answer
}

fn failed(why: &str) -> Answer {
    let mut answer = Answer::text(StatusCode::INTERNAL_SERVER_ERROR, why);
    let line: String = why.chars().filter(|c| !c.is_control()).collect();
    if let Ok(reason) = HeaderValue::from_str(&line) {
        answer.headers.insert(REASON, reason);
    }
    answer
}

/// The event as expressions see it: in the JSON format.
fn structured(event: &Event) -> Value {
    loose(&cloudevents::encode(event, Mode::Structured).body)
}

/// JSON, or text.
fn loose(body: &[u8]) -> Value {
    serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

impl Handler for EventTransform {
    fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.guard)
    }

    fn handle<'a>(
        &'a self,
        event: Event,
        headers: &'a HeaderMap,
        _: &'a str,
    ) -> BoxFuture<'a, Answer> {
        Box::pin(self.transform(structured(&event), headers))
    }

    fn other<'a>(&'a self, headers: &'a HeaderMap, body: &Bytes) -> Option<BoxFuture<'a, Answer>> {
        Some(Box::pin(self.transform(loose(body), headers)))
    }
}
