//! Pods as containers.

pub mod agent;
pub mod cgroup;
pub mod dns;
pub mod image;
pub mod launcher;
pub mod net;
