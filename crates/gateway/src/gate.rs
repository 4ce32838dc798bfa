//! A pure throttle under a mutex, with its statistics and its waiters: where tasks meet the cores
//! of `serving::throttle`. One gate per revision (a `Pool`) and one per Pod (a `Breaker`).
//!
//! Grants are handed over while the lock is held, so that a waiter that gives up either leaves the
//! queue or finds its grant: no slot is lost between the two.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use serving::throttle::{
    Acquire, Admission, Breaker, PodId, Pool, RequestReport, RequestStats, Ticket,
};
use tokio::sync::oneshot;

use crate::clock::machine_time;

/// What a throttle said at once.
pub(crate) enum Entry<G> {
    Granted(G),
    Queued(Ticket),
    Full,
}

/// What the gate needs of a pure throttle.
pub(crate) trait Throttle: Send {
    /// The slot that was given.
    type Grant: Copy + Send;

    fn acquire(&mut self, avoid: Option<Self::Grant>) -> Entry<Self::Grant>;
    fn release(&mut self, grant: Self::Grant);
    fn cancel(&mut self, ticket: Ticket) -> bool;
    fn poll_output(&mut self) -> Option<(Ticket, Self::Grant)>;
}

impl Throttle for Pool {
    type Grant = PodId;

    fn acquire(&mut self, avoid: Option<PodId>) -> Entry<PodId> {
        match Self::acquire(self, avoid) {
            Acquire::Pod(pod) => Entry::Granted(pod),
            Acquire::Queued(ticket) => Entry::Queued(ticket),
            Acquire::Full => Entry::Full,
        }
    }

    fn release(&mut self, pod: PodId) {
        Self::release(self, pod);
    }

    fn cancel(&mut self, ticket: Ticket) -> bool {
        Self::cancel(self, ticket)
    }

    fn poll_output(&mut self) -> Option<(Ticket, PodId)> {
        Self::poll_output(self).map(|grant| (grant.ticket, grant.pod))
    }
}

impl Throttle for Breaker {
    type Grant = ();

    fn acquire(&mut self, _avoid: Option<()>) -> Entry<()> {
        match Self::acquire(self) {
            Admission::Admitted => Entry::Granted(()),
            Admission::Queued(ticket) => Entry::Queued(ticket),
            Admission::Full => Entry::Full,
        }
    }

    fn release(&mut self, (): ()) {
        Self::release(self);
    }

    fn cancel(&mut self, ticket: Ticket) -> bool {
        Self::cancel(self, ticket)
    }

    fn poll_output(&mut self) -> Option<(Ticket, ())> {
        Self::poll_output(self).map(|ticket| (ticket, ()))
    }
}

pub(crate) struct GateState<T: Throttle> {
    pub(crate) throttle: T,
    stats: RequestStats,
    waiters: HashMap<Ticket, oneshot::Sender<T::Grant>>,
}

impl<T: Throttle> GateState<T> {
    /// Hands out what the throttle has granted.
    fn wake(&mut self) {
        while let Some((ticket, grant)) = self.throttle.poll_output() {
            let delivered = match self.waiters.remove(&ticket) {
                Some(waiter) => waiter.send(grant).is_ok(),
                None => false,
            };
            if !delivered {
                self.throttle.release(grant);
            }
        }
    }
}

/// A throttle that tasks share.
pub(crate) struct Gate<T: Throttle>(Mutex<GateState<T>>);

impl<T: Throttle> Gate<T> {
    pub(crate) fn new(throttle: T, now: Instant) -> Arc<Self> {
        Arc::new(Self(Mutex::new(GateState {
            throttle,
            stats: RequestStats::new(machine_time(now)),
            waiters: HashMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, GateState<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes or reads the throttle; what becomes free is handed out.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state.throttle);
        state.wake();
        result
    }

    /// Counts a request in and asks for a slot. `proxied` requests came through an activator.
    pub(crate) fn enter(self: &Arc<Self>, now: Instant, proxied: bool) -> Passage<T> {
        let mut state = self.lock();
        state.stats.start(machine_time(now), proxied);
        let place = Place::ask(&mut state, None);
        drop(state);
        Passage {
            gate: Arc::clone(self),
            place,
            proxied,
        }
    }

    /// The statistics since the last report.
    pub(crate) fn report(&self, now: Instant) -> RequestReport {
        self.lock().stats.report(machine_time(now))
    }

    /// What the report of this second will come to at least.
    pub(crate) fn so_far(&self, now: Instant) -> RequestReport {
        self.lock().stats.so_far(machine_time(now))
    }

    /// Requests inside the gate, waiting ones included.
    pub(crate) fn concurrency(&self) -> u32 {
        self.lock().stats.concurrency()
    }
}

/// Where a request stands at the gate.
enum Place<T: Throttle> {
    Inside(T::Grant),
    Waiting(Ticket, oneshot::Receiver<T::Grant>),
    Refused,
}

impl<T: Throttle> Place<T> {
    fn ask(state: &mut GateState<T>, avoid: Option<T::Grant>) -> Self {
        match state.throttle.acquire(avoid) {
            Entry::Granted(grant) => Self::Inside(grant),
            Entry::Full => Self::Refused,
            Entry::Queued(ticket) => {
                let (sender, receiver) = oneshot::channel();
                state.waiters.insert(ticket, sender);
                Self::Waiting(ticket, receiver)
            }
        }
    }

    /// Gives back whatever is held.
    fn leave(&mut self, state: &mut GateState<T>) {
        match std::mem::replace(self, Self::Refused) {
            Self::Inside(grant) => state.throttle.release(grant),
            Self::Waiting(ticket, mut receiver) => {
                state.waiters.remove(&ticket);
                if !state.throttle.cancel(ticket)
                    && let Ok(grant) = receiver.try_recv()
                {
                    state.throttle.release(grant);
                }
            }
            Self::Refused => return,
        }
        state.wake();
    }
}

/// The queue before the gate is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QueueFull;

/// One request's stay at a gate; dropping it gives the slot or the place in the queue back.
pub(crate) struct Passage<T: Throttle> {
    gate: Arc<Gate<T>>,
    place: Place<T>,
    proxied: bool,
}

impl<T: Throttle> Passage<T> {
    /// The slot, once there is one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T::Grant, QueueFull>> {
        match &mut self.place {
            Place::Inside(grant) => Poll::Ready(Ok(*grant)),
            Place::Refused => Poll::Ready(Err(QueueFull)),
            Place::Waiting(_, receiver) => {
                let received = std::task::ready!(std::pin::Pin::new(receiver).poll(cx));
                // The sender is dropped unsent only when this passage itself leaves.
                let grant = received.map_err(|_closed| QueueFull)?;
                self.place = Place::Inside(grant);
                Poll::Ready(Ok(grant))
            }
        }
    }

    /// Whether the request has to wait.
    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self.place, Place::Waiting(..))
    }

    /// Gives the slot back and asks again, for another one than `avoid` if possible.
    pub(crate) fn ask_again(&mut self, avoid: Option<T::Grant>) {
        let mut state = self.gate.lock();
        self.place.leave(&mut state);
        self.place = Place::ask(&mut state, avoid);
    }
}

impl<T: Throttle> Drop for Passage<T> {
    fn drop(&mut self) {
        let now = machine_time(Instant::now());
        let mut state = self.gate.lock();
        state.stats.end(now, self.proxied);
        self.place.leave(&mut state);
    }
}
