//! How many Pods a revision should have: Knative's KPA as a pure machine.
//!
//! In reading order: a [`Stat`] is reported, the [`Collector`] puts it into [`Window`]s, the
//! [`Decider`] turns the averages into a [`Decision`] by the [`DeciderSpec`], and [`scaler`] says
//! what to do about it now.

mod collector;
mod decider;
mod decision;
mod delay;
mod sample;
pub mod scaler;
pub mod spec;
mod stat;
mod window;

pub use collector::{Collector, Observed, extrapolate};
pub use decider::{Decider, Input, TICK};
pub use decision::{Decision, Memory, UNKNOWN};
pub use sample::sample_size;
pub use spec::{Aggregation, DeciderSpec, Metric};
pub use stat::Stat;
pub use window::Window;

#[cfg(test)]
mod tests;
