//! What is known of every Broker and channel at this moment: for `rekindle trigger describe`, for
//! the console's API and for metrics.

use api::delivery::Key;
use eventing::delivery::Counts;

use crate::broker::{Broker, Running};
use crate::stats::ByStatus;

/// A Broker or channel.
#[derive(Clone, Debug)]
pub struct IngressStatus {
    /// The object.
    pub key: Key,
    /// The first event that is still there.
    pub start: u64,
    /// The offset the next event gets.
    pub end: u64,
    /// Bytes its log takes.
    pub bytes: u64,
    /// Answers to producers by status code.
    pub received: ByStatus,
    /// Its subscribers.
    pub subscribers: Vec<SubscriberStatus>,
}

/// A Trigger or Subscription.
#[derive(Clone, Debug)]
pub struct SubscriberStatus {
    /// The object.
    pub key: Key,
    /// Its UID.
    pub uid: String,
    /// Where it gets its events.
    pub url: String,
    /// What became of them since this process began.
    pub counts: Counts,
    /// Events of the log it has not passed, whether they match or not.
    pub lag: u64,
    /// Attempts by status code, 0 without an answer.
    pub attempts: ByStatus,
}

impl Broker {
    /// All of it, in the order of kinds, namespaces and names.
    pub fn status(&self) -> Vec<IngressStatus> {
        self.with_ingresses(|all| {
            let all = all.iter();
            all.map(|(key, running)| status(key, running)).collect()
        })
    }
}

fn status(key: &Key, running: &Running) -> IngressStatus {
    let journal = running.topic.journal();
    let end = journal.end();
    let consumers = running.dispatch.consumers().values();
    let subscribers = consumers.map(|consumer| {
        let spec = consumer.spec();
        SubscriberStatus {
            key: spec.key.clone(),
            uid: spec.uid.to_string(),
            url: spec
                .target
                .as_ref()
                .or(spec.reply.as_ref())
                .map(|endpoint| endpoint.url.clone())
                .unwrap_or_default(),
            counts: consumer.stats().counts(),
            lag: consumer.lane().lag(running.topic.tail(), end),
            attempts: consumer.stats().durations(),
        }
    });
    IngressStatus {
        key: key.clone(),
        start: journal.start(),
        end,
        bytes: journal.bytes(),
        received: running.topic.stats().durations(),
        subscribers: subscribers.collect(),
    }
}
