//! One subscriber: its `eventing::delivery` machine says what to send when, this task does it and
//! keeps the position. Events it holds are few; what waits for its next attempt is read again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use api::delivery::Subscriber;
use eventing::delivery::{
    Answer, Counts, Delivery, Input, Outcome, Output, Recipient, Rules, Verdict,
};
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use stdx::{Instant, Machine};
use tokio::sync::watch;
use tracing::{debug, error, warn};

use super::courier::{Courier, Reply};
use super::lane::{Lane, Next};
use crate::backend::Position;
use crate::filters::Filter;
use crate::record::Record;
use crate::sender::Sender;
use crate::stats::Delivered;
use crate::topic::Topic;

/// Events kept in memory for one consumer; the others are read again when they are sent.
const HELD_MAX: usize = 128;
/// Bytes of them.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Bytes read at once by a consumer that is behind, at least and at most.
const CHUNK_BYTES: std::ops::RangeInclusive<usize> = (4 << 10)..=(64 << 10);

/// What became of a request.
struct Done {
    offset: u64,
    answer: Answer,
    reply: Option<Reply>,
    took: Duration,
}

/// See the module.
pub(super) struct Consumer {
    topic: Arc<Topic>,
    lane: Arc<Lane>,
    sender: Sender,
    spec: watch::Receiver<Arc<Subscriber>>,
    stats: Arc<Delivered>,
    filter: Filter,
    courier: Arc<Courier>,
    machine: Delivery,
    held: BTreeMap<u64, Arc<Record>>,
    held_bytes: usize,
    replies: BTreeMap<u64, Reply>,
    requests: FuturesUnordered<BoxFuture<'static, Done>>,
    origin: Clock,
    /// The name of its position.
    name: String,
    kept: Position,
    /// As they were told last.
    counts: Counts,
    /// Bytes of an event, lately.
    event_bytes: usize,
}

impl Consumer {
    pub(super) fn new(
        topic: Arc<Topic>,
        lane: Arc<Lane>,
        sender: Sender,
        spec: watch::Receiver<Arc<Subscriber>>,
        (name, position): (String, Position),
        stats: Arc<Delivered>,
    ) -> Self {
        let subscriber = Arc::clone(&spec.borrow());
        let start = topic.journal().start();
        let pending = position.pending.iter().copied();
        let unfinished = pending.filter(|offset| *offset >= start);
        Self {
            filter: Filter::new(&subscriber.filters),
            courier: Arc::new(Courier::new(&sender, &topic, &subscriber)),
            machine: Delivery::new(Rules::of(&subscriber), position.next, unfinished),
            topic,
            lane,
            sender,
            spec,
            stats,
            held: BTreeMap::new(),
            held_bytes: 0,
            replies: BTreeMap::new(),
            requests: FuturesUnordered::new(),
            origin: Clock::now(),
            name,
            kept: position,
            counts: Counts::default(),
            event_bytes: 1024,
        }
    }

    /// Delivers until the subscriber is gone.
    pub(super) async fn run(mut self) {
        loop {
            let more = self.fill();
            self.act();
            self.keep_position();
            let due = self.machine.poll_timeout();
            let lane = Arc::clone(&self.lane);
            tokio::select! {
                Some(done) = self.requests.next(), if !self.requests.is_empty() => {
                    self.answered(done);
                    while let Some(Some(done)) = self.requests.next().now_or_never() {
                        self.answered(done);
                    }
                }
                () = lane.changed.notified() => {}
                () = tokio::task::yield_now(), if more => {}
                () = sleep_until(self.origin, due), if due.is_some() => {
                    let now = self.now();
                    self.machine.handle_timeout(now);
                }
                changed = self.spec.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.change();
                }
            }
        }
    }

    fn now(&self) -> Instant {
        Instant::from_origin(self.origin.elapsed())
    }

    /// Offers the machine what is there, as far as it has room, or a stretch of the log. Says
    /// whether there may be more.
    fn fill(&mut self) -> bool {
        while self.machine.room() > 0 {
            // Before the queue is looked at: what comes in between is not counted as seen.
            let tail = self.topic.tail();
            match self.lane.next() {
                Next::Event((offset, record)) => self.offer(offset, record),
                Next::Nothing => {
                    if tail > self.machine.next() {
                        self.tell(Input::Scanned(tail));
                    }
                    return false;
                }
                Next::Behind => return self.catch_up(tail),
            }
        }
        false
    }

    /// Reads a stretch of the log before `tail`. Says whether there may be more.
    fn catch_up(&mut self, tail: u64) -> bool {
        let from = self.lane.behind().unwrap_or(tail).max(self.machine.next());
        if from >= tail {
            self.lane.read_to(from);
            return false;
        }
        let wanted = self.machine.room().saturating_mul(self.event_bytes);
        let bytes = wanted.clamp(*CHUNK_BYTES.start(), *CHUNK_BYTES.end());
        let batch = match self.topic.journal().read(from, bytes) {
            Ok(batch) => batch,
            Err(error) => {
                error!(ingress = %self.topic.name(), %error, "the event log cannot be read: a subscriber waits");
                return false;
            }
        };
        let mut next = batch.next.max(from + 1);
        for (offset, bytes) in batch.records {
            if offset >= tail || self.machine.room() == 0 {
                next = offset;
                break;
            }
            self.event_bytes = (self.event_bytes * 7 + bytes.len()) / 8 + 1;
            match Record::parse(bytes) {
                Ok(record) if self.filter.passes(record.event()) => {
                    self.offer(offset, Arc::new(record));
                }
                Ok(_) => {}
                Err(error) => {
                    warn!(ingress = %self.topic.name(), offset, %error, "an event is skipped")
                }
            }
        }
        let next = next.min(tail);
        self.tell(Input::Scanned(next));
        self.lane.read_to(next);
        true
    }

    fn offer(&mut self, offset: u64, record: Arc<Record>) {
        let size = record.size();
        let room = self.held.len() < HELD_MAX && self.held_bytes + size <= HELD_BYTES_MAX;
        if room || self.held.is_empty() {
            self.held_bytes += size;
            self.held.insert(offset, record);
        }
        self.tell(Input::Offer(offset));
    }

    fn tell(&mut self, input: Input) {
        let now = self.now();
        self.machine.handle(now, input);
    }

    /// Does what the machine wants done.
    fn act(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send { offset, to, .. } => self.send(offset, &to),
                Output::Finished(offset, outcome) => self.finished(offset, &outcome),
                Output::Commit(position) => self.lane.commit(position),
            }
        }
    }

    fn send(&mut self, offset: u64, to: &Recipient) {
        let Some(record) = self.record(offset) else {
            // Retention took it: there is nothing left to deliver.
            warn!(ingress = %self.topic.name(), offset, "an event is gone before it was delivered");
            let gone = Answer::status(http::StatusCode::GONE.as_u16());
            let done = Done {
                offset,
                answer: gone,
                reply: None,
                took: Duration::ZERO,
            };
            self.requests.push(Box::pin(std::future::ready(done)));
            return;
        };
        let courier = Arc::clone(&self.courier);
        let reply = self.replies.get(&offset).cloned();
        let to = to.clone();
        self.requests.push(Box::pin(async move {
            let begun = Clock::now();
            let (answer, reply) = courier.carry(&record, &to, reply).await;
            Done {
                offset,
                answer,
                reply,
                took: begun.elapsed(),
            }
        }));
    }

    fn record(&mut self, offset: u64) -> Option<Arc<Record>> {
        if let Some(record) = self.held.get(&offset) {
            return Some(Arc::clone(record));
        }
        let batch = self.topic.journal().read(offset, 1).ok()?;
        let (found, bytes) = batch.records.into_iter().next()?;
        let record = Record::parse(bytes).ok().filter(|_| found == offset)?;
        Some(Arc::new(record))
    }

    fn answered(&mut self, done: Done) {
        let Done {
            offset,
            answer,
            reply,
            took,
        } = done;
        self.stats.answered(&answer, took);
        if let Some(reply) = reply {
            self.replies.insert(offset, reply);
        }
        if answer.verdict() != Verdict::Taken {
            // It may be long until the next attempt: it is read again then.
            self.let_go(offset);
        }
        self.tell(Input::Answered(offset, answer));
    }

    fn finished(&mut self, offset: u64, outcome: &Outcome) {
        self.replies.remove(&offset);
        if let Outcome::GivenUp(failure) | Outcome::DeadLettered(failure) = outcome {
            let subscriber = Arc::clone(&self.spec.borrow());
            let sink = matches!(outcome, Outcome::DeadLettered(_));
            debug!(subscriber = %subscriber.key.name, offset, ?failure, sink, "an event was not delivered");
            if let Some(record) = self.record(offset) {
                self.topic.dead().add(&subscriber, &record, failure, sink);
            }
        }
        self.let_go(offset);
    }

    fn let_go(&mut self, offset: u64) {
        if let Some(record) = self.held.remove(&offset) {
            self.held_bytes -= record.size();
        }
    }

    fn change(&mut self) {
        let subscriber = Arc::clone(&self.spec.borrow_and_update());
        self.filter = Filter::new(&subscriber.filters);
        self.courier = Arc::new(Courier::new(&self.sender, &self.topic, &subscriber));
        self.tell(Input::Change(Rules::of(&subscriber)));
    }

    /// Writes down what is done, whenever that is news. What was passed without being sent is written
    /// with the next event that is finished, or when there is nothing to do: until then it is
    /// only read again after a crash.
    fn keep_position(&mut self) {
        let counts = self.machine.counts();
        let is_idle = self.machine.open().next().is_none();
        self.lane.set_idle(is_idle);
        let has_finished = counts.finished() != self.counts.finished();
        if counts != self.counts {
            self.stats.set_counts(counts);
            self.counts = counts;
        }
        let is_due = has_finished || (is_idle && self.machine.next() != self.kept.next);
        if !is_due {
            return;
        }
        let position = Position {
            next: self.machine.next(),
            pending: self.machine.open().collect(),
        };
        self.lane.commit(position.low());
        let journal = self.topic.journal();
        if let Err(error) = journal.set_position(&self.name, &position) {
            error!(ingress = %self.topic.name(), %error, "a subscriber's position cannot be kept: it may get events twice");
        }
        self.kept = position;
    }
}

async fn sleep_until(origin: Clock, due: Option<Instant>) {
    if let Some(due) = due {
        let at = origin + due.since_origin();
        tokio::time::sleep_until(at.into()).await;
    }
}
