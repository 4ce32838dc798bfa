//! The agent: one pure machine per Pod decides (`machine`, with `container`, `probes`, `stop`
//! and `status`), one task per Pod does what it says (`worker`). `step` is the vocabulary
//! between the two.

mod container;
mod machine;
mod millis;
mod probes;
mod status;
mod step;
mod stop;
#[cfg(test)]
mod tests;

pub use machine::PodMachine;
pub use step::{Index, Input, LaunchFailure, Output, ProbeKind};
