//! The events of one ingress that could not be delivered: kept in a log of their own, to be looked
//! at and sent again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::delivery::{Key, Subscriber};
use cloudevents::Event;
use eventing::delivery::Failure;
use futures_util::FutureExt;
use jiff::Timestamp;
use tracing::warn;

use crate::backend::{Backend, BackendError, Journal, Position};
use crate::dispatch::with_failure;
use crate::record::{self, Meta, Record};

/// The name under which it is kept which of them are still open.
const OPEN: &str = "open";
/// Dead letters kept for one ingress; older ones make room.
const LETTERS_MAX: usize = 4_000;
/// The headers of a record say whose event it was …
const SUBSCRIBER: &str = "subscriber";
/// … whether a dead letter sink has it …
const SUNK: &str = "sunk";
/// … and when it was given up, in milliseconds since 1970.
const AT: &str = "at";

/// An event that could not be delivered.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its number in this ingress.
    pub id: u64,
    /// The UID of the Trigger or Subscription.
    pub subscriber: String,
    /// That object, while it is there.
    pub key: Option<Key>,
    /// When it was given up; not known of what an older version kept.
    pub at: Option<Timestamp>,
    /// A dead letter sink took it.
    pub sunk: bool,
    /// The event, with Knative's `knativeerror…` extensions.
    pub event: Event,
}

/// See the module. The log is made with the first letter.
pub(crate) struct DeadLetters {
    backend: Arc<dyn Backend>,
    name: String,
    opened: Mutex<Option<Opened>>,
}

#[derive(Clone)]
struct Opened {
    journal: Arc<dyn Journal>,
    position: Position,
}

impl DeadLetters {
    pub(crate) fn new(backend: Arc<dyn Backend>, name: String) -> Self {
        Self {
            backend,
            name,
            opened: Mutex::default(),
        }
    }

    /// Keeps the event of `record`, which `subscriber` did not take.
    pub(crate) fn add(
        self: &Arc<Self>,
        subscriber: &Subscriber,
        record: &Record,
        failure: &Failure,
        sunk: bool,
    ) {
        let event = with_failure(record.event(), failure, subscriber);
        let sunk: &[u8] = if sunk { b"true" } else { b"false" };
        let at = Timestamp::now().as_millisecond().to_string();
        let own = [
            (SUBSCRIBER, subscriber.uid.as_bytes()),
            (SUNK, sunk),
            (AT, at.as_bytes()),
        ];
        let travelling = record.headers().filter_map(|(name, value)| {
            let name = std::str::from_utf8(name).ok()?;
            Some((name, &value[..]))
        });
        let record = record::encode(
            Meta {
                hops: record.meta().hops,
            },
            &event,
            own.into_iter().chain(travelling),
        );
        let append = match &mut *self.opened() {
            opened @ None => match self.open() {
                Ok(found) => opened.insert(found).journal.append(vec![record]),
                Err(error) => return warn!(%error, "a dead letter is not kept"),
            },
            Some(opened) => opened.journal.append(vec![record]),
        };
        let letters = Arc::clone(self);
        let kept = append.map(move |result| match result {
            Ok(id) => letters.note(|pending| pending.push(id)),
            Err(error) => warn!(%error, "a dead letter is not kept"),
        });
        tokio::spawn(kept);
    }

    /// All of them, the oldest first.
    pub(crate) fn list(&self) -> Result<Vec<DeadLetter>, BackendError> {
        let Some(Opened { journal, position }) = self.snapshot()? else {
            return Ok(Vec::new());
        };
        let mut letters = Vec::new();
        for id in position.pending {
            letters.extend(record_at(&*journal, id)?.map(|record| letter(id, &record)));
        }
        Ok(letters)
    }

    /// One of them, and the record it is kept as.
    pub(crate) fn get(&self, id: u64) -> Result<Option<(DeadLetter, Record)>, BackendError> {
        match self.snapshot()? {
            Some(Opened { journal, position }) if position.pending.contains(&id) => {
                let record = record_at(&*journal, id)?;
                Ok(record.map(|record| (letter(id, &record), record)))
            }
            _ => Ok(None),
        }
    }

    /// It has been dealt with.
    pub(crate) fn remove(&self, id: u64) {
        self.note(|pending| pending.retain(|known| *known != id));
    }

    /// The log and what is open in it, if there ever was a letter.
    fn snapshot(&self) -> Result<Option<Opened>, BackendError> {
        let mut opened = self.opened();
        if opened.is_none() && self.backend.names()?.contains(&self.name) {
            *opened = Some(self.open()?);
        }
        let found = opened.as_ref();
        Ok(found.cloned())
    }

    fn note(&self, change: impl FnOnce(&mut Vec<u64>)) {
        let mut opened = self.opened();
        let Some(Opened { journal, position }) = &mut *opened else {
            return;
        };
        change(&mut position.pending);
        let too_many = position.pending.len().saturating_sub(LETTERS_MAX);
        position.pending.drain(..too_many);
        position.next = journal.end();
        if let Err(error) = journal.set_position(OPEN, position) {
            warn!(%error, "the list of dead letters is not kept");
        }
    }

    fn open(&self) -> Result<Opened, BackendError> {
        let journal = self.backend.open(&self.name)?;
        let known = journal
            .positions(OPEN)?
            .into_iter()
            .find(|(name, _)| name == OPEN);
        let position = known.map(|(_, position)| position).unwrap_or_default();
        let position = whole(position, journal.end());
        Ok(Opened { journal, position })
    }

    fn opened(&self) -> MutexGuard<'_, Option<Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The position with all up to `end` that the log leaves to be read again.
fn whole(mut position: Position, end: u64) -> Position {
    position.pending.extend(position.next..end);
    position.next = end;
    position
}

fn record_at(journal: &dyn Journal, id: u64) -> Result<Option<Record>, BackendError> {
    let mut records = journal.read(id, 1)?.records.into_iter();
    let Some((_, bytes)) = records.find(|(offset, _)| *offset == id) else {
        return Ok(None);
    };
    let record = Record::parse(bytes).map_err(|error| BackendError(error.to_string()))?;
    Ok(Some(record))
}

fn letter(id: u64, record: &Record) -> DeadLetter {
    let header = |name: &str| {
        let value = record.header(name);
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    let at = header(AT).and_then(|at| Timestamp::from_millisecond(at.parse().ok()?).ok());
    DeadLetter {
        id,
        subscriber: header(SUBSCRIBER).unwrap_or_default(),
        key: None,
        at,
        sunk: header(SUNK).as_deref() == Some("true"),
        event: record.event().clone(),
    }
}
