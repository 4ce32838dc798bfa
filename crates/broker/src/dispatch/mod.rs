//! From the log to the subscribers: [`reader`] follows the log and hands out, [`lane`] lies in
//! between, [`consumer`] drives one subscriber's `eventing::delivery` machine, [`courier`] sends.
//! Started by `topic`.

mod consumer;
mod courier;
mod lane;
mod message;
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::delivery::{Start, Subscriber};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;

pub(crate) use courier::{hand_on, with_failure};
pub(crate) use lane::Lane;
pub(crate) use message::{encode, forward, reply};

use crate::backend::{BackendError, Position};
use crate::filters::Index;
use crate::sender::Sender;
use crate::stats::Delivered;
use crate::topic::Topic;

/// Between a consumer's UID and what it replayed, in the name of its position.
const REPLAY: char = '!';

/// Who is to be handed events.
pub(crate) struct Lanes {
    index: Index,
    all: Vec<Arc<Lane>>,
}

/// Someone who still needs a part of the log.
pub(crate) struct Follower {
    /// Kind, namespace and name.
    pub(crate) name: String,
    /// The name of its position.
    pub(crate) position: String,
    pub(crate) lane: Arc<Lane>,
}

/// A running consumer.
pub(crate) struct Running {
    spec: Arc<Subscriber>,
    changes: watch::Sender<Arc<Subscriber>>,
    lane: Arc<Lane>,
    position: String,
    stats: Arc<Delivered>,
    _task: Abort,
}

impl Running {
    pub(crate) fn spec(&self) -> &Arc<Subscriber> {
        &self.spec
    }

    pub(crate) fn stats(&self) -> &Arc<Delivered> {
        &self.stats
    }

    pub(crate) fn lane(&self) -> &Lane {
        &self.lane
    }
}

/// A task that ends when this is dropped.
pub(crate) struct Abort(pub(crate) JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reader and consumers of one ingress.
pub(crate) struct Dispatch {
    consumers: BTreeMap<Arc<str>, Running>,
    lanes: watch::Sender<Arc<Lanes>>,
    worker: Handle,
    sender: Sender,
    _reader: Abort,
}

impl Dispatch {
    /// Starts on `worker`, with nobody to deliver to.
    pub(crate) fn start(topic: &Arc<Topic>, worker: Handle, sender: Sender) -> Self {
        let (lanes, follow) = watch::channel(Arc::new(Lanes {
            index: Index::new(std::iter::empty()),
            all: Vec::new(),
        }));
        let reader = worker.spawn(reader::run(Arc::clone(topic), follow));
        Self {
            consumers: BTreeMap::new(),
            lanes,
            worker,
            sender,
            _reader: Abort(reader),
        }
    }

    /// The consumers by UID.
    pub(crate) fn consumers(&self) -> &BTreeMap<Arc<str>, Running> {
        &self.consumers
    }

    /// Names and lanes of the consumers.
    pub(crate) fn lanes(&self) -> Vec<Follower> {
        let follower = |running: &Running| {
            let key = &running.spec.key;
            Follower {
                name: format!("{} {}/{}", key.kind.kind, key.namespace, key.name),
                position: running.position.clone(),
                lane: Arc::clone(&running.lane),
            }
        };
        self.consumers.values().map(follower).collect()
    }

    /// Delivers to `subscribers` from now on and to nobody else.
    pub(crate) fn set(&mut self, topic: &Arc<Topic>, subscribers: &[Arc<Subscriber>]) {
        let wanted: BTreeSet<&Arc<str>> = subscribers.iter().map(|known| &known.uid).collect();
        self.consumers.retain(|uid, _| wanted.contains(uid));
        for subscriber in subscribers {
            match self.consumers.get_mut(&subscriber.uid) {
                Some(running) if running.spec == *subscriber => {}
                Some(running) if !begins_anew(&running.spec, subscriber) => {
                    running.spec = Arc::clone(subscriber);
                    running.changes.send_replace(Arc::clone(subscriber));
                }
                _ => match self.begin(topic, subscriber) {
                    Ok(running) => {
                        self.consumers.insert(Arc::clone(&subscriber.uid), running);
                    }
                    Err(error) => {
                        error!(subscriber = %topic.name(), %error, "a subscriber gets nothing: its position cannot be kept");
                    }
                },
            }
        }
        let running: Vec<&Running> = self.consumers.values().collect();
        let filters = running.iter().map(|running| &*running.spec.filters);
        self.lanes.send_replace(Arc::new(Lanes {
            index: Index::new(filters),
            all: running
                .iter()
                .map(|running| Arc::clone(&running.lane))
                .collect(),
        }));
    }

    fn begin(
        &self,
        topic: &Arc<Topic>,
        subscriber: &Arc<Subscriber>,
    ) -> Result<Running, BackendError> {
        let (name, position) = initial(topic, subscriber)?;
        let lane = Arc::new(Lane::new(&position));
        let stats = Arc::new(Delivered::default());
        let (changes, follow) = watch::channel(Arc::clone(subscriber));
        let consumer = consumer::Consumer::new(
            Arc::clone(topic),
            Arc::clone(&lane),
            self.sender.clone(),
            follow,
            (name.clone(), position),
            Arc::clone(&stats),
        );
        Ok(Running {
            spec: Arc::clone(subscriber),
            changes,
            lane,
            position: name,
            stats,
            _task: Abort(self.worker.spawn(consumer.run())),
        })
    }
}

/// Whether the change is one of `replay`.
fn begins_anew(old: &Subscriber, new: &Subscriber) -> bool {
    !new.replay.is_empty() && old.replay != new.replay
}

/// The name under which a consumer's position is kept. Another `replay` is another name, and so
/// a new beginning.
fn position_name(subscriber: &Subscriber) -> String {
    if subscriber.replay.is_empty() {
        return subscriber.uid.to_string();
    }
    format!("{}{REPLAY}{}", subscriber.uid, subscriber.replay)
}

/// Whether `name` is one of this consumer's, whatever was replayed.
fn is_position_of(name: &str, uid: &str) -> bool {
    let rest = name.strip_prefix(uid);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(REPLAY))
}

/// Where a consumer goes on, or begins, and the name its position has. A beginning is kept at
/// once, so that a restart does not begin anew.
fn initial(topic: &Topic, subscriber: &Subscriber) -> Result<(String, Position), BackendError> {
    let journal = topic.journal();
    let known = journal.positions(&subscriber.uid)?.into_iter();
    let known: Vec<_> = known
        .filter(|(name, _)| is_position_of(name, &subscriber.uid))
        .collect();
    let wanted = position_name(subscriber);
    let goes_on = known
        .iter()
        // An empty `replay` never begins anew.
        .find(|(name, _)| subscriber.replay.is_empty() || *name == wanted);
    if let Some(found) = goes_on {
        return Ok(found.clone());
    }
    let next = match subscriber.start {
        Start::Now => journal.end(),
        Start::Offset(offset) => offset.min(journal.end()),
        Start::Time(time) => journal.at_time(milliseconds(time))?,
    };
    let position = Position {
        next: next.max(journal.start()),
        pending: Vec::new(),
    };
    journal.set_position(&wanted, &position)?;
    for (name, _) in known {
        journal.forget(&name)?;
    }
    Ok((wanted, position))
}

fn milliseconds(time: Timestamp) -> u64 {
    time.as_millisecond().try_into().unwrap_or(0)
}
