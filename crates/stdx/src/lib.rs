//! The small things every crate shares and the standard library lacks: simulated time, the
//! shape of a state machine, seeded randomness, a backoff curve, similar strings in little memory.
//!
//! Nothing here reads a clock, opens a file or knows Kubernetes.

mod backoff;
mod machine;
mod pack;
mod rng;
mod time;

pub use backoff::Backoff;
pub use machine::Machine;
pub use pack::{Kin, Packed, Packer};
pub use rng::Rng;
pub use time::Instant;
