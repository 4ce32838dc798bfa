//! The activator's throttler of one revision: which Pod takes the next request, and the queue
//! while none can (serving `pkg/activator/net/throttler.go` and `lb_policy.go`).
//!
//! Invariant: while anyone waits, no usable Pod has a free slot.

use std::collections::VecDeque;

use stdx::Rng;

use super::wait_queue::{Ticket, WaitQueue};

/// Up to this container concurrency the first Pod with a free slot is taken; above it, Pods take
/// turns.
const FIRST_AVAILABLE_CONCURRENCY_MAX: u32 = 3;

/// A Pod, by a number that its owner never uses again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PodId(pub u64);

/// What became of a request at the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acquire {
    /// A slot of this Pod is taken; give it back with [`Pool::release`].
    Pod(PodId),
    /// In the queue; a [`Grant`] will name the ticket.
    Queued(Ticket),
    /// The queue is full: `pending request queue full`.
    Full,
}

/// A slot taken for one that waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Who waited.
    pub ticket: Ticket,
    /// Whose slot it is.
    pub pod: PodId,
}

#[derive(Clone, Copy, Debug)]
struct PodLoad {
    id: PodId,
    in_flight: u32,
}

/// The Pods of a revision, what runs on each, and who waits.
#[derive(Debug)]
pub struct Pool {
    /// 0 is unlimited.
    container_concurrency: u32,
    usable: Vec<PodLoad>,
    /// Not to be used any more, but with requests still running.
    leaving: Vec<PodLoad>,
    /// Where the next turn begins, an index into `usable`.
    turn: usize,
    queue: WaitQueue,
    granted: VecDeque<Grant>,
    rng: Rng,
}

impl Pool {
    /// A pool without Pods, in which at most `queue_max` requests wait.
    pub const fn new(queue_max: usize, rng: Rng) -> Self {
        Self {
            container_concurrency: 0,
            usable: Vec::new(),
            leaving: Vec::new(),
            turn: 0,
            queue: WaitQueue::new(queue_max),
            granted: VecDeque::new(),
            rng,
        }
    }

    /// Says which Pods may be used, in order of address, and how many requests each takes at once
    /// (0 is unlimited). A Pod left out keeps its running requests and gets no new ones.
    pub fn set_pods(&mut self, container_concurrency: u32, pods: &[PodId]) {
        let before: Vec<PodLoad> = self
            .usable
            .drain(..)
            .chain(self.leaving.drain(..))
            .collect();
        let in_flight = |id: PodId| {
            let found = before.iter().find(|pod| pod.id == id);
            found.map_or(0, |pod| pod.in_flight)
        };
        self.usable.extend(pods.iter().map(|&id| PodLoad {
            id,
            in_flight: in_flight(id),
        }));
        let left = before
            .iter()
            .filter(|pod| pod.in_flight > 0 && !pods.contains(&pod.id));
        self.leaving.extend(left);
        self.container_concurrency = container_concurrency;
        self.grant();
    }

    /// Takes a slot on a Pod, or a place in the queue. `avoid` names a Pod that has just refused
    /// a connection: it is taken only when no other can.
    pub fn acquire(&mut self, avoid: Option<PodId>) -> Acquire {
        if self.queue.is_empty()
            && let Some(pod) = self.take(avoid)
        {
            return Acquire::Pod(pod);
        }
        self.queue.join().map_or(Acquire::Full, Acquire::Queued)
    }

    /// Gives a slot of `pod` back.
    pub fn release(&mut self, pod: PodId) {
        if let Some(load) = self.usable.iter_mut().find(|load| load.id == pod) {
            load.in_flight = load.in_flight.saturating_sub(1);
            self.grant();
        } else if let Some(at) = self.leaving.iter().position(|load| load.id == pod) {
            self.leaving[at].in_flight -= 1;
            if self.leaving[at].in_flight == 0 {
                self.leaving.swap_remove(at);
            }
        }
    }

    /// Leaves the queue; false when a slot was granted already, which is then to be released.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        self.queue.leave(ticket)
    }

    /// The next slot granted to one that waited, in the order of arrival.
    pub fn poll_output(&mut self) -> Option<Grant> {
        self.granted.pop_front()
    }

    /// Whether any Pod may be used at all.
    pub const fn has_pods(&self) -> bool {
        !self.usable.is_empty()
    }

    /// Requests that wait.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Requests that hold a slot of any Pod.
    pub fn in_flight(&self) -> u32 {
        self.usable
            .iter()
            .chain(&self.leaving)
            .map(|pod| pod.in_flight)
            .sum()
    }

    fn grant(&mut self) {
        while !self.queue.is_empty() {
            let Some(pod) = self.take(None) else { break };
            let Some(ticket) = self.queue.pop() else {
                break;
            };
            self.granted.push_back(Grant { ticket, pod });
        }
    }

    fn take(&mut self, avoid: Option<PodId>) -> Option<PodId> {
        let at = self.choose(avoid).or_else(|| self.choose(None))?;
        self.usable[at].in_flight += 1;
        Some(self.usable[at].id)
    }

    /// The index of the Pod the policy picks; `None` when none has a free slot.
    fn choose(&mut self, avoid: Option<PodId>) -> Option<usize> {
        match self.container_concurrency {
            0 => self.random_choice_2(avoid),
            1..=FIRST_AVAILABLE_CONCURRENCY_MAX => {
                (0..self.usable.len()).find(|&at| self.is_free(at, avoid))
            }
            _ => self.round_robin(avoid),
        }
    }

    /// Two different Pods at random, the one with fewer requests; a coin decides a tie.
    fn random_choice_2(&mut self, avoid: Option<PodId>) -> Option<usize> {
        if let Some(avoid) = avoid {
            let others: Vec<usize> = (0..self.usable.len())
                .filter(|&at| self.usable[at].id != avoid)
                .collect();
            let (first, second) = self.two_of(others.len())?;
            return Some(self.lesser(others[first], others[second]));
        }
        let (first, second) = self.two_of(self.usable.len())?;
        Some(self.lesser(first, second))
    }

    fn two_of(&mut self, len: usize) -> Option<(usize, usize)> {
        match len {
            0 => None,
            1 => Some((0, 0)),
            2 => Some((0, 1)),
            _ => {
                let first = self.rng.below(len as u64) as usize;
                let second = self.rng.below(len as u64 - 1) as usize;
                Some((first, second + usize::from(second >= first)))
            }
        }
    }

    fn lesser(&mut self, first: usize, second: usize) -> usize {
        match self.usable[first]
            .in_flight
            .cmp(&self.usable[second].in_flight)
        {
            std::cmp::Ordering::Less => first,
            std::cmp::Ordering::Greater => second,
            std::cmp::Ordering::Equal if self.rng.next_u64() & 1 == 0 => first,
            std::cmp::Ordering::Equal => second,
        }
    }

    fn round_robin(&mut self, avoid: Option<PodId>) -> Option<usize> {
        let len = self.usable.len();
        let at = (0..len)
            .map(|step| (self.turn + step) % len)
            .find(|&at| self.is_free(at, avoid))?;
        self.turn = (at + 1) % len;
        Some(at)
    }

    fn is_free(&self, at: usize, avoid: Option<PodId>) -> bool {
        let pod = self.usable[at];
        Some(pod.id) != avoid && pod.in_flight < self.container_concurrency
    }
}
