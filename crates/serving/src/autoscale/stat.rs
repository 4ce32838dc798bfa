//! What the data plane reports to the autoscaler: once a second, at once for the first request of a
//! revision at zero, and ten times a second what the next report will say at least. The fields of
//! Knative's own `Stat` message, and whether its period is over.

use crate::route::RevisionKey;

/// One reporting period of one reporter for one revision.
#[derive(Clone, PartialEq, Debug)]
pub struct Stat {
    /// The revision the numbers are about.
    pub revision: RevisionKey,
    /// The reporter: a Pod's name, or `activator`.
    pub reporter: String,
    /// Requests in flight, averaged over the period by time.
    pub average_concurrent_requests: f64,
    /// The part of it that came through the activator (which reports it too).
    pub average_proxied_concurrent_requests: f64,
    /// Requests that arrived in the period.
    pub request_count: f64,
    /// The part of them that came through the activator.
    pub proxied_request_count: f64,
    /// The period is not over: the numbers are what it will come to if nothing more happens in its
    /// rest; of a revision without Pods, the requests that wait at this moment. Such a report is
    /// not counted, for the next one says the same again.
    pub so_far: bool,
}
