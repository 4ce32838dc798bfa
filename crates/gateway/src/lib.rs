//! The HTTP data plane: listeners, routing by host, the activator's buffer and queue-proxy's
//! limits, forwarding, statistics. Knows Pods and revisions as values of `serving::route`; knows no
//! Kubernetes.
//!
//! In reading order: [`Config`] says where to listen and how to reach a Pod; [`Gateway`] starts the
//! workers; `table` holds what the controllers said, `tls` the certificates; `front` decides what becomes of a request;
//! `gate`, `revision`, `pod` and `seat` decide when it may go where; `h1` carries HTTP/1.1 (the
//! fast path, our own), `h2` carries everything that touches HTTP/2 (through hyper); [`queue`] is
//! Knative's queue-proxy as a task; `stats`, `metrics`, `record`, [`request_log`] and `trace` say
//! what happened.

mod clock;
mod config;
mod forwarded;
mod front;
mod gate;
mod gateway;
mod h1;
mod h2;
mod internal;
mod metrics;
mod pod;
pub mod queue;
mod record;
mod reply;
pub mod request_log;
mod retry;
mod revision;
mod seat;
mod stats;
mod table;
mod timer;
mod tls;
mod trace;
mod wire;
mod worker;

pub use config::{Config, Dial, Face, Listen, ListenOn};
pub use gateway::{Error, Gateway};
pub use pod::Pods;
pub use tls::{Certificates, OneCertificate};

#[cfg(test)]
mod tests;
