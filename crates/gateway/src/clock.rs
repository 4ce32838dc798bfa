//! The process's monotonic time line, as the pure machines want it.

use std::sync::OnceLock;
use std::time::Instant;

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// `at` on the time line that begins with the first call.
pub(crate) fn machine_time(at: Instant) -> stdx::Instant {
    let origin = *ORIGIN.get_or_init(|| at);
    stdx::Instant::from_origin(at.saturating_duration_since(origin))
}
