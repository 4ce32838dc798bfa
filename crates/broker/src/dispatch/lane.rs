//! What lies between the one reader of an ingress and one of its consumers: a short queue, and the
//! rule of who reads for whom.
//!
//! A consumer that keeps up is *live*: the reader puts the events that match into its queue. One
//! whose queue is full falls *behind*: it reads the log itself, at its own pace and with its own
//! filter, until it has come to where the reader stands; then it is live again. The queue is
//! therefore bounded, and a slow consumer costs the others nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::backend::Position;
use crate::record::Record;

/// Events in a queue.
const QUEUE_MAX: usize = 256;
/// Bytes of events in a queue; the first event of a queue may be any size.
const QUEUE_BYTES_MAX: usize = 1 << 20;

/// An event and where it stands in the log.
pub(crate) type Offered = (u64, Arc<Record>);

/// See the module.
pub(crate) struct Lane {
    state: Mutex<State>,
    /// There is something to take, or to read.
    pub(crate) changed: Notify,
    committed: AtomicU64,
    /// The consumer has nothing to do.
    idle: AtomicBool,
    /// Whether `state.behind` is set, to be asked without the lock.
    is_behind: AtomicBool,
}

struct State {
    queue: VecDeque<Offered>,
    bytes: usize,
    /// Where the consumer has read to, while it is behind.
    behind: Option<u64>,
}

/// What a consumer finds in its lane.
pub(crate) enum Next {
    /// The next event.
    Event(Offered),
    /// Nothing: all matching events before the reader's position have been taken.
    Nothing,
    /// It has to read itself.
    Behind,
}

impl Lane {
    /// The lane of a consumer that stands at `position`.
    pub(crate) fn new(position: &Position) -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                bytes: 0,
                behind: Some(position.next),
            }),
            changed: Notify::new(),
            committed: AtomicU64::new(position.low()),
            idle: AtomicBool::new(false),
            is_behind: AtomicBool::new(true),
        }
    }

    /// The reader has an event that matches.
    pub(crate) fn offer(&self, offset: u64, record: &Arc<Record>) {
        let mut state = self.state();
        if state.behind.is_some() {
            return;
        }
        let size = record.size();
        let full = state.queue.len() >= QUEUE_MAX
            || (state.bytes + size > QUEUE_BYTES_MAX && !state.queue.is_empty());
        if full {
            // What is in the queue is taken first; reading goes on where it ends.
            self.set_behind(&mut state, Some(offset));
            return;
        }
        state.bytes += size;
        state.queue.push_back((offset, Arc::clone(record)));
        drop(state);
        self.changed.notify_one();
    }

    /// The reader stands at `position` and reads on: whoever has come as far is live. Says whether
    /// it is.
    pub(crate) fn meet(&self, position: u64) -> bool {
        if !self.is_behind() {
            return true;
        }
        let mut state = self.state();
        if state.behind == Some(position) {
            self.set_behind(&mut state, None);
        }
        state.behind.is_none()
    }

    /// Whether the consumer reads for itself.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Acquire)
    }

    /// The next event for the consumer.
    pub(crate) fn next(&self) -> Next {
        let mut state = self.state();
        match state.queue.pop_front() {
            Some(offered) => {
                state.bytes -= offered.1.size();
                Next::Event(offered)
            }
            None if state.behind.is_some() => Next::Behind,
            None => Next::Nothing,
        }
    }

    /// Where the consumer that is behind has to read; `None` when it is not.
    pub(crate) fn behind(&self) -> Option<u64> {
        self.state().behind
    }

    /// The consumer that is behind has read to `position`.
    pub(crate) fn read_to(&self, position: u64) {
        let mut state = self.state();
        if let Some(behind) = &mut state.behind {
            *behind = position;
        }
    }

    fn set_behind(&self, state: &mut State, behind: Option<u64>) {
        state.behind = behind;
        self.is_behind.store(behind.is_some(), Ordering::Release);
    }

    /// The consumer needs nothing before `position`.
    pub(crate) fn commit(&self, position: u64) {
        self.committed.store(position, Ordering::Relaxed);
    }

    /// The consumer says whether it has anything to do besides what is in the queue.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::Relaxed);
    }

    /// Events the consumer has not passed, in a log that ends at `end` and is read up to `tail`.
    pub(crate) fn lag(&self, tail: u64, end: u64) -> u64 {
        // Without matches nobody tells an idle consumer how far the reader is.
        let passed = if self.is_idle() { tail } else { 0 };
        end.saturating_sub(self.committed().max(passed))
    }

    /// Whether the consumer is live and has done with everything it was handed.
    fn is_idle(&self) -> bool {
        let state = self.state();
        self.idle.load(Ordering::Relaxed) && state.behind.is_none() && state.queue.is_empty()
    }

    /// What the consumer needs nothing before, as it said last.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use cloudevents::Event;

    use super::*;
    use crate::record::{self, Meta};

    fn record() -> Arc<Record> {
        let event = Event::new("1", "/s", "t").expect("valid");
        let bytes = record::encode(Meta { hops: 1 }, &event, std::iter::empty());
        Arc::new(Record::parse(bytes).expect("a record"))
    }

    fn take(lane: &Lane) -> Option<u64> {
        match lane.next() {
            Next::Event((offset, _)) => Some(offset),
            _ => None,
        }
    }

    #[test]
    fn who_falls_behind_misses_nothing() {
        let lane = Lane::new(&Position {
            next: 5,
            pending: Vec::new(),
        });
        assert!(!lane.meet(7), "it has to read 5 and 6 first");
        lane.offer(7, &record());
        assert!(matches!(lane.next(), Next::Behind));
        lane.read_to(8);
        assert!(lane.meet(8));
        let end = 8 + QUEUE_MAX as u64 + 10;
        for offset in 8..end {
            lane.offer(offset, &record());
        }
        let taken: Vec<u64> = std::iter::from_fn(|| take(&lane)).collect();
        let full = 8 + QUEUE_MAX as u64;
        assert_eq!(taken, (8..full).collect::<Vec<_>>());
        assert_eq!(
            lane.behind(),
            Some(full),
            "it reads on where the queue ended"
        );
        lane.read_to(end);
        assert!(lane.meet(end) && matches!(lane.next(), Next::Nothing));
    }
}
