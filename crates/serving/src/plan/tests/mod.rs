//! Stories of whole Services on a World without I/O: all planners run until nothing changes, with
//! Deployments, Pods and endpoints played by [`cluster::Cluster`].

#[allow(clippy::too_many_lines, reason = "snapshots are data, not code")]
mod children;
mod cluster;
#[allow(clippy::too_many_lines, reason = "snapshots are data, not code")]
mod fixtures;
mod history;
#[allow(clippy::too_many_lines, reason = "snapshots are data, not code")]
mod stories;
#[allow(clippy::too_many_lines, reason = "snapshots are data, not code")]
mod tls;
