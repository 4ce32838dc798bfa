//! One timer per connection that is armed as seldom as possible: deadlines usually move later, so
//! it is left to fire early and armed anew only then.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// The timer. It belongs to one task.
#[derive(Default)]
pub(crate) struct Timer {
    armed: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Timer {
    /// Ready once `deadline` has passed. Without a deadline it never is.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let (at, sleep) = self
            .armed
            .get_or_insert_with(|| (deadline, Box::pin(sleep_until(deadline.into()))));
        if deadline < *at {
            *at = deadline;
            sleep.as_mut().reset(deadline.into());
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            *at = deadline;
            sleep.as_mut().reset(deadline.into());
        }
    }
}
