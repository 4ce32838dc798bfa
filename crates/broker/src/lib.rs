//! The event data plane: what is posted to a Broker or a channel is in its log before the sender
//! has its 202, and stays until every subscriber has had it. Takes `api::delivery::Change`; knows
//! no Kubernetes.
//!
//! In reading order: [`Config`] says what it is made of and [`Broker`] is all of it; `routes` finds
//! who is meant by host and path; `ingress` lets an event in and appends its `record` to a
//! [`Journal`]; `topic` is one Broker or channel; `dispatch` follows its log and hands events to
//! subscribers, through `sender` and `client`; `dead` keeps what could not be delivered;
//! `handlers` answer events themselves, `sources` make them; `stats` counts, `status` and `metrics` tell,
//! `spans` go to a collector, `troubles` to the objects' conditions.

mod answer;
mod backend;
mod broker;
mod client;
mod dead;
mod dispatch;
mod event_types;
mod filters;
mod handlers;
mod ingress;
mod jobs;
mod jsonata;
mod kept;
mod metrics;
mod record;
mod resend;
mod routes;
mod sender;
mod sources;
mod spans;
mod stats;
mod status;
mod tokens;
mod topic;
mod troubles;
mod workers;

pub use answer::Answer;
pub use backend::{AppendError, Backend, BackendError, Batch, Journal, Position};
pub use broker::{Broker, Config, EVENT_BYTES_MAX, LOG_BYTES_MAX};
pub use client::{ByMachine, Connect, Duplex, Stream, tls_connector};
pub use dead::DeadLetter;
pub use event_types::{EventTypes, NoEventTypes, Observed};
pub use jobs::{Job, JobState, Jobs, NoJobs};
pub use jsonata::check_expression;
pub use kept::Kept;
pub use resend::ResendError;
pub use sources::{Happened, NoWatches, Watches};
pub use stats::{BOUNDS_S, ByStatus, Histogram};
pub use status::{IngressStatus, SubscriberStatus};
pub use tokens::{NoTokens, Tokens};
pub use troubles::{NoReport, Report};
