//! The HTTP data plane: listeners, routing by host, the activator's buffer and queue-proxy's
//! limits, forwarding, statistics. Knows Pods and revisions as values of `serving::route`; knows no
//! Kubernetes.
//!
//! In reading order: [`Config`] says where to listen and how to reach a Pod; [`Gateway`] starts the
//! workers; `table` holds what the controllers said; `gate`, `revision` and `pod` decide when a
//! request may go where; `h1` carries HTTP/1.1 (the fast path, our own), `h2` carries everything
//! that touches HTTP/2 (through hyper); `queue` is Knative's queue-proxy as a task; `stats` and
//! `metrics` say what happened.

#![allow(dead_code)]

mod clock;
mod config;
mod front;
mod gate;
mod gateway;
mod h1;
mod pod;
mod reply;
mod revision;
mod stats;
mod table;
mod timer;
mod worker;

pub use config::{Config, Dial, Face, Listen, ListenOn};
pub use gateway::{Error, Gateway};
pub use pod::Pods;

#[cfg(test)]
mod tests;
