//! Stories of whole Services on a World without I/O: all planners run until nothing changes, with
//! Deployments, Pods and endpoints played by [`cluster::Cluster`].

mod children;
mod cluster;
mod stories;
