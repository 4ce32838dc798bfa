//! What kinds of events come to a Broker or channel: told to whoever makes EventTypes of them, where
//! the feature `eventtype-auto-create` asks for that.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use api::delivery::Key;
use cloudevents::Event;
use futures_util::future::{BoxFuture, ready};
use tracing::debug;

/// How long a kind that was told is not told again: whoever removes an EventType sees it again.
const TOLD_FOR: Duration = Duration::from_secs(30);
/// Kinds remembered for one ingress; beyond it the memory begins anew.
const REMEMBERED_MAX: usize = 10_000;

/// A kind of event that came to an ingress.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observed {
    /// The Broker or channel.
    pub ingress: Key,
    /// Its UID.
    pub uid: Arc<str>,
    /// The attribute `type`.
    pub r#type: String,
    /// The attribute `source`.
    pub source: String,
    /// The attribute `dataschema`, if it is there.
    pub schema: Option<String>,
    /// `1.0` or `0.3`.
    pub version: &'static str,
}

/// Makes EventTypes.
pub trait EventTypes: Send + Sync + 'static {
    /// Sees to it that there is one for this.
    fn observed(&self, observed: Observed) -> BoxFuture<'static, Result<(), String>>;
}

/// A broker on its own makes none.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoEventTypes;

impl EventTypes for NoEventTypes {
    fn observed(&self, _: Observed) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(ready(Ok(())))
    }
}

/// What was seen at one ingress.
pub(crate) struct Seen {
    ingress: Key,
    uid: Arc<str>,
    told: Mutex<(HashSet<u64>, Instant)>,
    tell: Arc<dyn EventTypes>,
}

impl Seen {
    pub(crate) fn new(ingress: &Key, uid: &Arc<str>, tell: Arc<dyn EventTypes>) -> Self {
        Self {
            ingress: ingress.clone(),
            uid: Arc::clone(uid),
            told: Mutex::new((HashSet::new(), Instant::now())),
            tell,
        }
    }

    /// What is new about `events`.
    pub(crate) fn news(&self, events: &[Event]) -> Vec<Observed> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (kinds, since) = &mut *told;
        if since.elapsed() > TOLD_FOR || kinds.len() >= REMEMBERED_MAX {
            kinds.clear();
            *since = Instant::now();
        }
        let new = events.iter().filter(|event| kinds.insert(kind(event)));
        new.map(|event| self.observed(event)).collect()
    }

    /// Tells it, some time.
    pub(crate) fn tell(&self, news: Vec<Observed>) {
        for observed in news {
            let told = self.tell.observed(observed);
            tokio::spawn(async move {
                if let Err(error) = told.await {
                    debug!(%error, "an EventType is not made");
                }
            });
        }
    }

    fn observed(&self, event: &Event) -> Observed {
        let schema = event.get("dataschema").or_else(|| event.get("schemaurl"));
        Observed {
            ingress: self.ingress.clone(),
            uid: Arc::clone(&self.uid),
            r#type: event.kind().to_owned(),
            source: event.source().to_owned(),
            schema: schema.map(|schema| schema.as_text().into_owned()),
            version: event.version().as_str(),
        }
    }
}

fn kind(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    (event.kind(), event.source()).hash(&mut hasher);
    hasher.finish()
}
