//! How many Pods a revision should have: Knative's KPA as a pure machine.

mod stat;

pub use stat::Stat;
