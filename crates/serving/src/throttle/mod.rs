//! How many requests run at once, and which Pod gets the next: the cores of Knative's activator
//! and queue-proxy.
//!
//! Each type is a pure machine in a synchronous variant of `stdx::Machine`: calls answer at once,
//! and what they set free is drained with `poll_output`. The `gateway` crate holds them under a
//! mutex and wakes whoever waits; nothing here knows a clock, a task or a socket.

mod breaker;
mod pool;
mod request_stats;
mod slice;
mod wait_queue;

pub use breaker::{Admission, Breaker};
pub use pool::{Acquire, Grant, PodId, Pool};
pub use request_stats::{RequestReport, RequestStats};
pub use slice::assign_slice;
pub use wait_queue::Ticket;

#[cfg(test)]
mod tests;
