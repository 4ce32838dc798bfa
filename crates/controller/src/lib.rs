//! The controllers' shell: one driver for all plans, of Knative's kinds and of Kubernetes' own.
//!
//! In reading order: `watch` turns a kind of the API server into updates; `mirror` keeps the
//! World from them and from the answers to our own writes; `queue` holds the keys a change
//! concerns; `driver` plans them and performs what they decide through `perform` and `request`;
//! `gather` finds out facts; `horizontal` runs
//! HorizontalPodAutoscalers; `events`, `record`, `metrics` and `report` tell people; `lease` makes one of several
//! processes the leader.
//!
//! Knows nobody who serves the API, runs Pods or forwards requests.

mod autoscale;
mod driver;
mod events;
mod gather;
mod horizontal;
pub mod lease;
mod metrics;
mod mirror;
mod perform;
mod queue;
pub mod record;
mod report;
pub mod request;
pub mod watch;

pub use autoscale::Shell;
pub use driver::{Driver, Effects, Handle, Observe, Observer};
pub use events::{Happening, Recorder};
pub use gather::{Gather, Gathered};
pub use horizontal::run as autoscale_horizontally;
pub use metrics::{BUCKET_BOUNDS_S, Histogram, Metrics, Workqueue};
pub use record::Record;
pub use report::Report;
