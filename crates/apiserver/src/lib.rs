//! The Kubernetes API over a durable store, as a tower service.

pub mod store;
