//! When a refused connection is tried again: a millisecond later, then after twice as long each
//! time, for three seconds in all.

use std::time::{Duration, Instant};

use stdx::Backoff;

/// For how long connections are tried again before 502.
const RETRY_FOR: Duration = Duration::from_secs(3);
const PAUSES: Backoff = Backoff {
    base: Duration::from_millis(1),
    max: Duration::from_millis(100),
};

/// The tries of one request.
#[derive(Default)]
pub(crate) struct Retry {
    first_failure: Option<Instant>,
    failures: u32,
}

impl Retry {
    /// How long to wait before the next try; `None` when it is time to give up.
    pub(crate) fn pause(&mut self, now: Instant) -> Option<Duration> {
        let first = *self.first_failure.get_or_insert(now);
        let pause = PAUSES.delay(self.failures);
        self.failures += 1;
        (now.saturating_duration_since(first) < RETRY_FOR).then_some(pause)
    }
}
