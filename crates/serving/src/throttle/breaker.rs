//! The queue-proxy's breaker: a number of slots and a bounded queue before them (serving
//! `pkg/queue/breaker.go`). Driven by `gateway`, one per Pod.

use std::collections::VecDeque;

use super::wait_queue::{Ticket, WaitQueue};

/// Waiters that a Pod's breaker takes per slot before it refuses.
const QUEUE_PER_SLOT: usize = 10;

/// What became of a request at the breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// A slot is taken; give it back with [`Breaker::release`].
    Admitted,
    /// In the queue; [`Breaker::poll_output`] will name the ticket once a slot is taken for it.
    Queued(Ticket),
    /// The queue is full: `pending request queue full`.
    Full,
}

/// Slots and the queue before them. First come, first served.
#[derive(Debug)]
pub struct Breaker {
    /// 0 is unlimited.
    slots: u32,
    in_flight: u32,
    queue: WaitQueue,
    admitted: VecDeque<Ticket>,
}

impl Breaker {
    /// A breaker of `container_concurrency` slots (0 is unlimited) and ten waiters for each.
    pub const fn new(container_concurrency: u32) -> Self {
        Self {
            slots: container_concurrency,
            in_flight: 0,
            queue: WaitQueue::new(queue_max(container_concurrency)),
            admitted: VecDeque::new(),
        }
    }

    /// Takes a slot, or a place in the queue.
    pub fn acquire(&mut self) -> Admission {
        if self.queue.is_empty() && self.has_slot() {
            self.in_flight += 1;
            return Admission::Admitted;
        }
        self.queue.join().map_or(Admission::Full, Admission::Queued)
    }

    /// Gives a slot back. A slot that was never taken is not given back twice.
    pub fn release(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.admit();
    }

    /// Leaves the queue; false when the ticket had its slot already, which is then to be released.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        self.queue.leave(ticket)
    }

    /// Changes the number of slots. Fewer slots than requests in flight: nothing is admitted until
    /// enough of them have finished.
    pub fn set_container_concurrency(&mut self, container_concurrency: u32) {
        self.slots = container_concurrency;
        self.queue.set_len_max(queue_max(container_concurrency));
        self.admit();
    }

    /// The next ticket that was given a slot, in the order of arrival.
    pub fn poll_output(&mut self) -> Option<Ticket> {
        self.admitted.pop_front()
    }

    /// Requests that hold a slot.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Requests that wait for one.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    const fn has_slot(&self) -> bool {
        self.slots == 0 || self.in_flight < self.slots
    }

    fn admit(&mut self) {
        while self.has_slot() {
            let Some(ticket) = self.queue.pop() else {
                break;
            };
            self.in_flight += 1;
            self.admitted.push_back(ticket);
        }
    }
}

const fn queue_max(container_concurrency: u32) -> usize {
    container_concurrency as usize * QUEUE_PER_SLOT
}
