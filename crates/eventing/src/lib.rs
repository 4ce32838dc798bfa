//! Knative Eventing as pure logic: what objects to make of what the user wrote and whom the broker
//! delivers to (`plan`), what one subscriber is sent and when (`delivery`), when sources
//! that work by the clock are due (`schedule`).
//!
//! No clock, no socket, no file: the `controller` and `broker` crates drive these.

pub mod delivery;
pub mod plan;
pub mod schedule;
