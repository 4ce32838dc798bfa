//! Knative Serving as pure logic: what objects to make of what the user wrote (`plan`), where a
//! request goes (`route`), how many requests may run at once (`throttle`), how many Pods there
//! should be (`autoscale`).
//!
//! No clock, no socket, no file: the `controller` and `gateway` crates drive these.

pub mod autoscale;
pub mod plan;
pub mod route;
pub mod throttle;
