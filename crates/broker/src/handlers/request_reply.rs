//! RequestReply: an event goes to a Broker, and whoever sent it waits for the event that answers
//! it. The correlation is a random number that only the two of them see.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::delivery;
use cloudevents::Event;
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode};
use jiff::SignedDuration;
use tokio::sync::oneshot;

use super::Handler;
use crate::answer::Answer;
use crate::dispatch::encode;
use crate::ingress::{Guard, forwarded};
use crate::sender::{Address, Sender};

/// How long is waited where the object does not say: `requestreply-default-timeout`.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The last segment of the path to which the Broker sends answers.
const REPLY: &str = "/reply";

/// See the module.
pub(crate) struct RequestReply {
    guard: Arc<Guard>,
    sender: Sender,
    broker: Address,
    correlation: String,
    reply: String,
    timeout: Duration,
    waiting: Mutex<BTreeMap<String, oneshot::Sender<Event>>>,
}

impl RequestReply {
    /// Of the object; its Broker is the sink.
    pub(crate) fn new(
        guard: Arc<Guard>,
        sender: &Sender,
        handler: &delivery::Handler,
    ) -> Result<Self, String> {
        let spec = &handler.object["spec"];
        let text = |field: &str, default: &str| spec[field].as_str().unwrap_or(default).to_owned();
        let broker = handler.sink.as_ref().ok_or("its Broker has no address")?;
        let timeout = text("timeout", "").parse::<SignedDuration>().ok();
        Ok(Self {
            guard,
            broker: sender.address(broker, None),
            sender: sender.clone(),
            correlation: text("correlationAttribute", "correlationid"),
            reply: text("replyAttribute", "replyid"),
            timeout: timeout
                .and_then(|timeout| timeout.try_into().ok())
                .unwrap_or(TIMEOUT),
            waiting: Mutex::default(),
        })
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, oneshot::Sender<Event>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, mut event: Event, headers: &HeaderMap) -> Answer {
        let id = uuid::Uuid::new_v4().to_string();
        if let Err(error) = event.set(&self.correlation, id.as_str()) {
            return Answer::text(StatusCode::BAD_REQUEST, error.to_string());
        }
        let (tell, told) = oneshot::channel();
        self.waiting().insert(id.clone(), tell);
        let waiting = Waiting { of: self, id };
        let (mut out, body) = encode(&event, None);
        for (name, value) in headers.iter().filter(|(name, _)| forwarded(name.as_str())) {
            out.append(name, value.clone());
        }
        match self
            .sender
            .post(&self.broker, out, body, self.timeout)
            .await
        {
            Ok(answer) if answer.status.is_success() => {}
            Ok(answer) => return answer,
            Err(failure) => return Answer::text(StatusCode::BAD_GATEWAY, failure.to_string()),
        }
        let reply = tokio::time::timeout(self.timeout, told).await;
        drop(waiting);
        let Ok(Ok(reply)) = reply else {
            let text = format!(
                "no event with {} = {} of the request came within {:?}",
                self.reply, self.correlation, self.timeout
            );
            return Answer::text(StatusCode::GATEWAY_TIMEOUT, text);
        };
        let (headers, body) = encode(&reply, None);
        Answer {
            status: StatusCode::OK,
            headers,
            body,
        }
    }

    fn answer(&self, event: Event) -> Answer {
        let Some(id) = event.get(&self.reply).map(|id| id.as_text().into_owned()) else {
            let text = format!("the event has no {}", self.reply);
            return Answer::text(StatusCode::BAD_REQUEST, text);
        };
        // Whoever asked may have gone, or been answered by another.
        if let Some(tell) = self.waiting().remove(&id) {
            let _ = tell.send(event);
        }
        Answer::empty(StatusCode::ACCEPTED)
    }
}

/// Somebody waits; forgotten when he does not any more.
struct Waiting<'a> {
    of: &'a RequestReply,
    id: String,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.of.waiting().remove(&self.id);
    }
}

impl Handler for RequestReply {
    fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.guard)
    }

    fn handle<'a>(
        &'a self,
        event: Event,
        headers: &'a HeaderMap,
        path: &'a str,
    ) -> BoxFuture<'a, Answer> {
        if path.trim_end_matches('/').ends_with(REPLY) {
            return Box::pin(std::future::ready(self.answer(event)));
        }
        Box::pin(self.ask(event, headers))
    }
}
