//! What one subscriber is sent, in which order, and when again: the delivery of a Trigger or a
//! Subscription as a [`Machine`].
//!
//! The shell (the broker) reads the log from [`Delivery::next`] on and offers the events that pass
//! the subscriber's filters while there is [`Delivery::room`]; for the others it says how far it
//! has looked. The machine says what to send to whom; the shell sends it, holds the answer's event
//! while that is on its way to the reply address, and tells what became of it. An event is
//! finished when it was delivered, dead-lettered or given up; the position in the log follows the
//! contiguous prefix of finished events.
//!
//! The rules are those of Knative's dispatcher (`pkg/kncloudevents`): which answers are tried
//! again ([`Answer::verdict`]), how long to wait ([`Rules::wait`]), and that a failure to deliver
//! the reply dead-letters the original event.

mod answer;
mod rules;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Failure, Verdict};
pub use rules::Rules;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stdx::{Instant, Machine};

/// A position in an ingress' log.
pub type Offset = u64;

/// What happens to a delivery.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The event at this offset, at or after [`Delivery::next`], passed the filters.
    Offer(Offset),
    /// Everything before this offset was offered or did not pass the filters.
    Scanned(Offset),
    /// What became of the last [`Output::Send`] for this event.
    Answered(Offset, Answer),
    /// The log no longer has this event.
    Gone(Offset),
    /// The subscriber was changed. What is on its way is judged by the new rules.
    Change(Rules),
}

/// What a delivery wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Send the event to the address that `to` stands for, and answer with
    /// [`Input::Answered`], after the policy's `timeout` at the latest.
    Send {
        /// The event.
        offset: Offset,
        /// Whom to send it to.
        to: Recipient,
        /// 0 at first.
        attempt: u32,
    },
    /// The event is finished: the shell may forget it and the reply it holds.
    Finished(Offset, Outcome),
    /// Everything before this offset is finished; worth writing down.
    Commit(Offset),
}

/// Whom an event is sent to.
#[derive(Clone, PartialEq, Debug)]
pub enum Recipient {
    /// The subscriber.
    Target,
    /// The reply address: gets the event of the subscriber's last answer, or the event itself if
    /// there is no subscriber.
    Reply,
    /// The dead letter sink: gets the event with [`Failure::extensions`].
    DeadLetter(Failure),
}

/// How an event ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// The subscriber took it, and the reply address what it answered.
    Delivered,
    /// Nobody took it but the dead letter sink.
    DeadLettered(Failure),
    /// Nobody took it: there is no dead letter sink, or it failed too.
    GivenUp(Failure),
}

/// What happened so far, for `status` and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Events that ended as [`Outcome::Delivered`].
    pub delivered: u64,
    /// Events that ended as [`Outcome::DeadLettered`].
    pub dead_lettered: u64,
    /// Events that ended as [`Outcome::GivenUp`].
    pub given_up: u64,
    /// Attempts beyond the first of each recipient.
    pub retried: u64,
}

impl Counts {
    /// Events that ended, however they did.
    #[must_use]
    pub const fn finished(&self) -> u64 {
        self.delivered + self.dead_lettered + self.given_up
    }
}

/// The delivery of one subscriber. See the module.
#[derive(Debug)]
pub struct Delivery {
    rules: Rules,
    next: Offset,
    /// The events that are not finished.
    open: BTreeMap<Offset, Open>,
    /// Those of them that wait for a free request, the oldest first.
    ready: BTreeSet<Offset>,
    /// Those that wait for their next attempt.
    waiting: BTreeSet<(Instant, Offset)>,
    /// Requests on their way.
    sending: usize,
    committed: Offset,
    counts: Counts,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Open {
    to: Recipient,
    attempt: u32,
    is_sent: bool,
}

impl Open {
    fn new(rules: &Rules) -> Self {
        Self {
            to: rules.first_recipient(),
            attempt: 0,
            is_sent: false,
        }
    }
}

impl Delivery {
    /// A delivery that begins at offset `next` of the log and with the events before it that an
    /// earlier process had not finished ([`Delivery::open`]).
    pub fn new(rules: Rules, next: Offset, unfinished: impl IntoIterator<Item = Offset>) -> Self {
        let ready: BTreeSet<_> = unfinished.into_iter().collect();
        let open = ready.iter().map(|offset| (*offset, Open::new(&rules)));
        let mut this = Self {
            next,
            open: open.collect(),
            ready,
            waiting: BTreeSet::new(),
            sending: 0,
            committed: next,
            counts: Counts::default(),
            outputs: VecDeque::new(),
            rules,
        };
        this.committed = this.committed();
        this.advance();
        this
    }

    /// Where the shell reads on.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// How many more events may be offered. Beyond it the log is the queue, not memory.
    pub fn room(&self) -> usize {
        self.rules.window.saturating_sub(self.open.len())
    }

    /// Everything before this offset is finished.
    pub fn committed(&self) -> Offset {
        let first = self.open.keys().next().copied();
        first.map_or(self.next, |first| first.min(self.next))
    }

    /// The events not finished, in order. With [`Delivery::next`] this says exactly what a later
    /// process has to deliver: these are offered first, then the log is read on.
    pub fn open(&self) -> impl Iterator<Item = Offset> {
        self.open.keys().copied()
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Requests on their way.
    pub fn in_flight(&self) -> usize {
        self.sending
    }

    fn offer(&mut self, offset: Offset) {
        if offset < self.next {
            // Offered before: finished or on its way.
            return;
        }
        self.next = offset + 1;
        self.open.insert(offset, Open::new(&self.rules));
        self.ready.insert(offset);
    }

    fn forget(&mut self, offset: Offset) {
        let Some(open) = self.open.remove(&offset) else {
            return;
        };
        self.sending -= usize::from(open.is_sent);
        self.ready.remove(&offset);
        self.waiting.retain(|(_, waiting)| *waiting != offset);
    }

    /// Sends what may be sent.
    fn advance(&mut self) {
        while self.sending < self.rules.requests_max() {
            let first = if self.rules.ordered {
                let head = self.open.keys().next().copied();
                head.filter(|head| self.ready.remove(head))
            } else {
                self.ready.pop_first()
            };
            let Some(offset) = first else { return };
            if !self.has_recipient(offset) {
                continue;
            }
            let Some(open) = self.open.get_mut(&offset) else {
                continue;
            };
            open.is_sent = true;
            self.sending += 1;
            self.outputs.push_back(Output::Send {
                offset,
                to: open.to.clone(),
                attempt: open.attempt,
            });
        }
    }

    /// Whether there is still somebody to send this event to; if not, that ends it, since the
    /// rules may have changed while it waited.
    fn has_recipient(&mut self, offset: Offset) -> bool {
        let Some(open) = self.open.get_mut(&offset) else {
            return false;
        };
        if open.to == Recipient::Target && !self.rules.has_target {
            open.to = Recipient::Reply;
        }
        let outcome = match &open.to {
            Recipient::Reply if !self.rules.replies => Outcome::Delivered,
            Recipient::DeadLetter(failure) if !self.rules.dead_letters => {
                Outcome::GivenUp(failure.clone())
            }
            _ => return true,
        };
        self.finish(offset, outcome);
        false
    }

    fn answered(&mut self, now: Instant, offset: Offset, answer: Answer) {
        let Some(open) = self.open.get_mut(&offset).filter(|open| open.is_sent) else {
            // An answer nobody waits for.
            return;
        };
        open.is_sent = false;
        self.sending -= 1;
        match answer.verdict() {
            Verdict::Taken => self.taken(offset, &answer),
            Verdict::TryAgain if open.attempt < self.rules.retry => {
                let wait = self.rules.wait(open.attempt, &answer);
                open.attempt += 1;
                self.counts.retried += 1;
                if wait.is_zero() {
                    self.ready.insert(offset);
                } else {
                    self.waiting.insert((now + wait, offset));
                }
            }
            Verdict::TryAgain | Verdict::Refused => self.failed(offset, answer),
        }
    }

    fn taken(&mut self, offset: Offset, answer: &Answer) {
        let Some(open) = self.open.get(&offset) else {
            return;
        };
        match &open.to {
            Recipient::Target if answer.has_event() && self.rules.replies => {
                self.pass_on(offset, Recipient::Reply);
            }
            Recipient::Target | Recipient::Reply => self.finish(offset, Outcome::Delivered),
            Recipient::DeadLetter(failure) => {
                let failure = failure.clone();
                self.finish(offset, Outcome::DeadLettered(failure));
            }
        }
    }

    fn failed(&mut self, offset: Offset, answer: Answer) {
        let Some(open) = self.open.get(&offset) else {
            return;
        };
        match &open.to {
            Recipient::DeadLetter(failure) => {
                let failure = failure.clone();
                self.finish(offset, Outcome::GivenUp(failure));
            }
            to => {
                let failure = Failure::new(to == &Recipient::Reply, answer);
                if self.rules.dead_letters {
                    self.pass_on(offset, Recipient::DeadLetter(failure));
                } else {
                    self.finish(offset, Outcome::GivenUp(failure));
                }
            }
        }
    }

    fn pass_on(&mut self, offset: Offset, to: Recipient) {
        if let Some(open) = self.open.get_mut(&offset) {
            open.to = to;
            open.attempt = 0;
            self.ready.insert(offset);
        }
    }

    fn finish(&mut self, offset: Offset, outcome: Outcome) {
        self.open.remove(&offset);
        let count = match outcome {
            Outcome::Delivered => &mut self.counts.delivered,
            Outcome::DeadLettered(_) => &mut self.counts.dead_lettered,
            Outcome::GivenUp(_) => &mut self.counts.given_up,
        };
        *count += 1;
        self.outputs.push_back(Output::Finished(offset, outcome));
    }
}

impl Machine for Delivery {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Offer(offset) => self.offer(offset),
            Input::Scanned(offset) => self.next = self.next.max(offset),
            Input::Gone(offset) => self.forget(offset),
            Input::Answered(offset, answer) => self.answered(now, offset, answer),
            Input::Change(rules) => self.rules = rules,
        }
        self.advance();
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, offset)) = self.waiting.pop_first() {
            if at > now {
                self.waiting.insert((at, offset));
                break;
            }
            self.ready.insert(offset);
        }
        self.advance();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front().or_else(|| {
            let committed = self.committed();
            (committed > self.committed).then(|| {
                self.committed = committed;
                Output::Commit(committed)
            })
        })
    }
}
