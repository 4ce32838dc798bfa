//! A bounded first-in-first-out line of waiters that may leave from the middle. Used by the
//! breaker and by the pool; neither the waiter nor its waking is known here.

use std::collections::BTreeSet;

/// A place in the line. Tickets rise: the smaller one came first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(u64);

/// The line.
#[derive(Debug)]
pub(super) struct WaitQueue {
    next: u64,
    waiting: BTreeSet<Ticket>,
    len_max: usize,
}

impl WaitQueue {
    pub(super) const fn new(len_max: usize) -> Self {
        Self {
            next: 0,
            waiting: BTreeSet::new(),
            len_max,
        }
    }

    /// Joins the end of the line; `None` when it is full.
    pub(super) fn join(&mut self) -> Option<Ticket> {
        if self.waiting.len() >= self.len_max {
            return None;
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket);
        Some(ticket)
    }

    /// Leaves the line; false when the ticket is not in it (any more).
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        self.waiting.remove(&ticket)
    }

    /// Takes the first of the line.
    pub(super) fn pop(&mut self) -> Option<Ticket> {
        self.waiting.pop_first()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) const fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
    }
}
