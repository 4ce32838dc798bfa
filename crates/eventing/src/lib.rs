//! Knative Eventing as pure logic: what one subscriber is sent and when (`delivery`).
//!
//! No clock, no socket, no file: the `controller` and `broker` crates drive these.

pub mod delivery;
