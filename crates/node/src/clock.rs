//! The node's time line: instants count from the Unix epoch as the wall clock had it when the
//! daemon started, and run monotonically from there. So they can be shown, and written down for
//! the next daemon.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stdx::Instant;

/// Reads the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: Duration,
    begun: std::time::Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            wall,
            begun: std::time::Instant::now(),
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_origin(self.wall + self.begun.elapsed())
    }

    /// The same instant on tokio's time line.
    pub(crate) fn tokio(&self, at: Instant) -> tokio::time::Instant {
        let since = at.since_origin().saturating_sub(self.wall);
        tokio::time::Instant::from_std(self.begun + since)
    }
}
