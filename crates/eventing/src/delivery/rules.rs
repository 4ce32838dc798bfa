//! How one subscriber is to be treated: its delivery policy without the addresses, which are the
//! shell's.

use std::time::Duration;

use api::delivery::{Growth, Policy, Subscriber};

use super::{Answer, Recipient};

/// Requests on their way to one subscriber where it does not say how many.
const PARALLELISM: usize = 100;
/// Events held for one subscriber, whether they are sent or wait: the bound of its memory and of
/// what a later process has to look at again.
const WINDOW: usize = 1_024;
/// The longest wait between two attempts. Knative sets none: its waits overflow.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// See the module.
#[derive(Clone, PartialEq, Debug)]
pub struct Rules {
    /// Attempts after the first, of each recipient.
    pub retry: u32,
    /// How the waits between attempts grow; `None` waits not at all.
    pub backoff: Option<(Growth, Duration)>,
    /// Honour `Retry-After` of 429 and 503 up to this long.
    pub retry_after_max: Option<Duration>,
    /// There is a subscriber; else every event goes to the reply address as it is.
    pub has_target: bool,
    /// Answers that are events have somewhere to go.
    pub replies: bool,
    /// Events that fail have somewhere to go.
    pub dead_letters: bool,
    /// One event at a time, the oldest first, each finished before the next begins.
    pub ordered: bool,
    /// Requests on their way at once.
    pub parallelism: usize,
    /// Events held at once.
    pub window: usize,
}

impl Rules {
    /// The rules of `subscriber`.
    pub fn of(subscriber: &Subscriber) -> Self {
        let Policy {
            retry,
            backoff,
            retry_after_max,
            dead_letter,
            ..
        } = &subscriber.policy;
        Self {
            retry: *retry,
            backoff: *backoff,
            retry_after_max: *retry_after_max,
            has_target: subscriber.target.is_some(),
            replies: subscriber.reply.is_some() || subscriber.replies_to_ingress,
            dead_letters: dead_letter.is_some(),
            ordered: subscriber.ordered,
            parallelism: match subscriber.parallelism {
                0 => PARALLELISM,
                some => some as usize,
            },
            window: WINDOW,
        }
    }

    /// Who gets an event first.
    pub(super) fn first_recipient(&self) -> Recipient {
        if self.has_target {
            Recipient::Target
        } else {
            Recipient::Reply
        }
    }

    /// Requests on their way at once.
    pub(super) fn requests_max(&self) -> usize {
        if self.ordered {
            1
        } else {
            self.parallelism.max(1)
        }
    }

    /// How long to wait after attempt number `attempt` (from 0) got `answer`. Knative counts n
    /// from 0 in both policies, so that the first wait of the linear one is none.
    pub fn wait(&self, attempt: u32, answer: &Answer) -> Duration {
        let grown = match self.backoff {
            None => Duration::ZERO,
            Some((Growth::Linear, delay)) => delay.saturating_mul(attempt),
            Some((Growth::Exponential, delay)) => {
                delay.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX))
            }
        };
        let asked = match (self.retry_after_max, answer.retry_after()) {
            (Some(max), Some(asked)) => asked.min(max),
            _ => Duration::ZERO,
        };
        grown.max(asked).min(WAIT_MAX)
    }
}
